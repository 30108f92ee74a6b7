"""hf-xet as a command: ``xet.py up NAME`` into the local store ``store``, ``down NAME`` to ``out``.

The package has no command line, no names and no trees, so the addresses of what went up are kept
in a file beside the store. Run by the Python in which hf-xet is installed; imports nothing else.
"""

from __future__ import annotations

import json
import os
import sys


def main(verb: str, name: str = "") -> None:
    if verb == "version":
        from importlib.metadata import version

        print(version("hf-xet"))
        return
    import hf_xet  # type: ignore[import-not-found, unused-ignore]

    endpoint = "local://" + os.path.abspath("store")
    os.makedirs("store", exist_ok=True)
    if verb == "up":
        names = [name]
        if os.path.isdir(name):
            names = [os.path.join(top, file) for top, _, files in os.walk(name) for file in files]
        stored = hf_xet.upload_files(names, endpoint, None, None, None, None, skip_sha256=True)
        pairs = zip(names, stored, strict=True)
        with open("addresses.json", "w", encoding="utf-8") as out:
            json.dump([(file, put.hash, put.file_size) for file, put in pairs], out)
        return
    with open("addresses.json", encoding="utf-8") as kept:
        addresses = json.load(kept)
    for folder in {os.path.dirname(os.path.join("out", file)) for file, _, _ in addresses}:
        os.makedirs(folder, exist_ok=True)
    wanted = [
        hf_xet.PyXetDownloadInfo(os.path.join("out", file), address, size)
        for file, address, size in addresses
    ]
    hf_xet.download_files(wanted, endpoint, None, None, None)


if __name__ == "__main__":
    main(*sys.argv[1:])
