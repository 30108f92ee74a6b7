"""The shape of the code, read from its syntax trees: who may import what, and how long things get.

The layers themselves are an import-linter contract (.importlinter). Each rule here is a function
over one module's source, and each is shown to fail on a planted violation. There is no list of
exceptions: the tables say where a thing lives, and it lives nowhere else.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FUNCTION = 60

# Who may import a module: folders or files, as prefixes of paths.
HOMES = {
    "click": ("gitml/cli/",),
    "dulwich": ("gitml/git/",),
    "git": ("gitml/git/",),  # GitPython
    "subprocess": (
        "gitml/git/",
        "gitml/pipelines/command.py",
        "gitml/remotes/ssh.py",
        "gitml/testing/",
    ),
}
PRINTER = ("gitml/cli/render.py",)
CONVERSATION = ("gitml/cli/", "gitml/__main__.py")
ENVIRONMENT = (
    "gitml/api.py",
    "gitml/cli/",
    "gitml/git/process.py",
    "gitml/testing/",
)

# Never imported by importing gitml: each costs more than the rest of a command's start.
HEAVY = frozenset(
    {
        *("dulwich", "git", "numpy", "pandas", "pyarrow", "skops", "sklearn"),
        *("pyfastcdc", "sqlite3", "zstandard"),
    }
)
TYPE_ONLY = ("TYPE_CHECKING", "typing.TYPE_CHECKING")

# Words that say nothing about what is inside.
EMPTY_WORDS = frozenset(
    {"util", "utils", "helper", "helpers", "core", "common", "manager", "managers"}
)


@dataclass(frozen=True)
class Module:
    """One source file: its path from the root, with slashes, and its syntax tree."""

    path: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, source: str) -> Module:
        return cls(path, ast.parse(source, path))

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    def lives_in(self, places: tuple[str, ...]) -> bool:
        return self.path.startswith(places)


@cache
def every_module() -> list[Module]:
    return [
        Module.parse(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "gitml").rglob("*.py"))
    ]


# Reading a tree


def imported(module: Module, node: ast.AST) -> list[tuple[str, str]]:
    """What an import statement names, as pairs of a module and the name taken from it or ``""``."""
    if isinstance(node, ast.Import):
        return [(alias.name, "") for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = module.name.split(".")
            keep = len(package) - node.level + module.path.endswith("/__init__.py")
            base = ".".join([*package[:keep], *([base] if base else [])])
        return [(base, alias.name) for alias in node.names]
    return []


def at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported, without those only a type checker reads."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and dotted(child.test) in TYPE_ONLY:
            for other in child.orelse:
                yield other
                yield from at_import(other)
            continue
        yield child
        yield from at_import(child)


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


# The rules: what is wrong with a module, line by line


def imports_at_home(module: Module) -> Iterator[str]:
    for node in module.nodes:
        for name, _ in imported(module, node):
            top = name.partition(".")[0]
            if top in HOMES and not module.lives_in(HOMES[top]):
                yield f"{where(module, node)}: {top} belongs to {' and '.join(HOMES[top])}"


def light_at_import(module: Module) -> Iterator[str]:
    for node in at_import(module.tree):
        for name, _ in imported(module, node):
            top = name.partition(".")[0]
            if top in HEAVY:
                yield f"{where(module, node)}: {top} is imported when it is needed, in a function"


def only_the_printer_prints(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if is_call(node, "print") and not module.lives_in(PRINTER):
            yield f"{where(module, node)}: only {PRINTER[0]} prints"


def the_core_neither_asks_nor_exits(module: Module) -> Iterator[str]:
    names = ("input", "exit", "quit", "sys.exit", "getpass.getpass", "SystemExit")
    for node in module.nodes:
        if is_call(node, *names) and not module.lives_in(CONVERSATION):
            yield f"{where(module, node)}: only the command line asks and exits"


def the_environment_is_read_at_the_edge(module: Module) -> Iterator[str]:
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    if module.lives_in(ENVIRONMENT):
        return
    for node in module.nodes:
        taken = {name for base, name in imported(module, node) if base == "os"}
        if isinstance(node, ast.Attribute) and dotted(node.value) == "os":
            taken.add(node.attr)
        if taken & names:
            yield f"{where(module, node)}: the environment is read in {', '.join(ENVIRONMENT)}"


def functions_stay_short(module: Module) -> Iterator[str]:
    """The docstring does not count: what is long there is long for the reader's sake."""
    for node in functions(module):
        lines = (node.end_lineno or 0) - node.lineno + 1
        if ast.get_docstring(node) is not None:
            text = node.body[0]
            lines -= (text.end_lineno or 0) - text.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield f"{where(module, node)}: {node.name} has {lines} lines of {LONGEST_FUNCTION}"


def names_say_something(module: Module) -> Iterator[str]:
    for part in module.name.split("."):
        if empty := EMPTY_WORDS.intersection(part.lower().split("_")):
            yield f"{module.path}: {' and '.join(empty)} says nothing about what is inside"


RULES: tuple[Callable[[Module], Iterator[str]], ...] = (
    imports_at_home,
    light_at_import,
    only_the_printer_prints,
    the_core_neither_asks_nor_exits,
    the_environment_is_read_at_the_edge,
    functions_stay_short,
    names_say_something,
)


def where(module: Module, node: ast.AST) -> str:
    return f"{module.path}:{getattr(node, 'lineno', 0)}"


def is_call(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func) in names


def dotted(node: ast.AST) -> str:
    """The name that an expression is, such as ``sys.exit``; empty for any other expression."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def import_graph(modules: list[Module]) -> dict[str, set[str]]:
    """Who imports whom among the modules, also inside functions and for type checkers."""
    names = {module.name for module in modules}
    graph: dict[str, set[str]] = {}
    for module in modules:
        targets = set()
        for node in module.nodes:
            for base, name in imported(module, node):
                inner = f"{base}.{name}"
                targets.add(inner if inner in names else base)
        graph[module.name] = (targets & names) - {module.name}
    return graph


def cycle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of one import cycle, first and last the same; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


# The code keeps the rules


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_the_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    assert [fault for module in every_module() for fault in rule(module)] == []


def test_imports_have_no_cycle() -> None:
    assert cycle(import_graph(every_module())) == []


def test_importing_everything_loads_nothing_heavy() -> None:
    """What the rule on statements cannot see: a light module that brings a heavy one along."""
    names = [module.name for module in every_module() if module.name != "gitml.__main__"]
    script = (
        "import importlib, json, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(json.dumps(sorted({set(HEAVY)!r} & set(sys.modules))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def lint_layers(folder: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("importlinter")
    order = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command"
    return subprocess.run(
        [sys.executable, "-c", f"{order}; lint_imports_command(['--no-cache', '--no-logo'])"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_layers_hold() -> None:
    done = lint_layers(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


# Each rule fails on what it is against


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ({"errors.py": "from gitml.store import x"}, "gitml.errors -> gitml.store"),
        ({"store.py": "def f():\n    import gitml.cli"}, "gitml.store -> gitml.cli"),
        ({"newcomer.py": ""}, "newcomer"),
    ],
)
def test_layers_catch_a_planted_import(planted: dict[str, str], fault: str, tmp_path: Path) -> None:
    (tmp_path / ".importlinter").write_text((ROOT / ".importlinter").read_text())
    package = tmp_path / "gitml"
    package.mkdir()
    layers = (ROOT / ".importlinter").read_text().partition("layers =\n")[2].replace("|", " ")
    modules = ["__init__", *(name.strip("()") for name in layers.split())]
    for name, source in ({f"{name}.py": "" for name in modules} | planted).items():
        (package / name).write_text(source + "\n")
    done = lint_layers(tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert fault in done.stdout


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (imports_at_home, "gitml/repo/data.py", "import click"),
        (imports_at_home, "gitml/history/x.py", "def f():\n    from dulwich.objects import Blob"),
        (imports_at_home, "gitml/repo/data.py", "import git.repo"),
        (imports_at_home, "gitml/pipelines/x.py", "from subprocess import run"),
        (light_at_import, "gitml/materializers/x.py", "import numpy as np"),
        (light_at_import, "gitml/store/x.py", "try:\n    import zstandard\nexcept ImportError: 1"),
        (light_at_import, "gitml/store/x.py", "class A:\n    from pyarrow import ipc"),
        (light_at_import, "gitml/git/x.py", "import dulwich.repo"),
        (only_the_printer_prints, "gitml/cli/run.py", "print('x')"),
        (the_core_neither_asks_nor_exits, "gitml/repo/data.py", "import sys\nsys.exit(1)"),
        (the_core_neither_asks_nor_exits, "gitml/store/x.py", "input('sure?')"),
        (the_core_neither_asks_nor_exits, "gitml/store/x.py", "raise SystemExit(2)"),
        (the_environment_is_read_at_the_edge, "gitml/repo/data.py", "import os\nos.environ['A']"),
        (the_environment_is_read_at_the_edge, "gitml/repo/data.py", "from os import getenv"),
        (functions_stay_short, "gitml/x.py", "def f():\n" + "    1\n" * LONGEST_FUNCTION),
        (names_say_something, "gitml/store/pack_utils.py", ""),
        (names_say_something, "gitml/core/__init__.py", ""),
    ],
)
def test_a_planted_violation_is_found(
    rule: Callable[[Module], Iterator[str]], path: str, source: str
) -> None:
    assert len(list(rule(Module.parse(path, source)))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "source"),
    [
        (imports_at_home, "gitml/cli/run.py", "import click\nfrom gitml.git import refs"),
        (imports_at_home, "gitml/git/__init__.py", "from . import refs"),
        (light_at_import, "gitml/x.py", "def f():\n    import numpy"),
        (light_at_import, "gitml/x.py", "if TYPE_CHECKING:\n    import numpy"),
        (only_the_printer_prints, "gitml/cli/render.py", "print('x')"),
        (the_environment_is_read_at_the_edge, "gitml/cli/x.py", "import os\nos.environ['A']"),
        (
            functions_stay_short,
            "gitml/x.py",
            'def f():\n    """' + "a\n" * 50 + '"""\n' + "    1\n" * (LONGEST_FUNCTION - 1),
        ),
        (names_say_something, "gitml/scoreboard.py", ""),
    ],
)
def test_what_is_allowed_passes(
    rule: Callable[[Module], Iterator[str]], path: str, source: str
) -> None:
    assert list(rule(Module.parse(path, source))) == []


def test_a_planted_cycle_is_found() -> None:
    modules = [
        Module.parse("gitml/a.py", "def f():\n    from gitml import b"),
        Module.parse("gitml/b/__init__.py", "from .c import x"),
        Module.parse("gitml/b/c.py", "if TYPE_CHECKING:\n    import gitml.a"),
        Module.parse("gitml/__init__.py", ""),
    ]
    assert set(cycle(import_graph(modules))) == {"gitml.a", "gitml.b", "gitml.b.c"}
    assert cycle(import_graph(modules[:2])) == []
