"""What pyproject.toml cannot say: the pages of the manual are written when a wheel is built."""

import sys
from pathlib import Path

from setuptools import setup  # isort: skip - it brings the distutils below
from distutils.command.install_data import install_data

HERE = Path(__file__).parent


class InstallData(install_data):
    """Writes the pages from the commands themselves, and installs them beside the package."""

    def run(self) -> None:
        """Put every page below ``share/man/man1``."""
        sys.path.insert(0, str(HERE))
        from gitml.cli import main
        from gitml.cli.manual import pages

        folder = HERE / "build" / "man"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages(main).items():
            (folder / name).write_text(text, encoding="utf-8")
        files = [str((folder / name).relative_to(HERE)) for name in pages(main)]
        self.data_files = [("share/man/man1", files)]
        super().run()


setup(cmdclass={"install_data": InstallData}, data_files=[("share/man/man1", [])])
