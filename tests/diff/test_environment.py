"""Two environments side by side."""

from __future__ import annotations

from gitml.diff.environment import Installed, compare_environments

OLD = """\
# python CPython 3.11.2
# platform Linux x86_64
numpy==1.26.4
Private_Lib @ git+https://host/lib@1111111111111111111111111111111111111111
gone==1.0
"""
NEW = """\
# python CPython 3.12.1
# platform Linux x86_64
fresh==0.1
numpy==2.0.0
private-lib @ git+https://host/lib@2222222222222222222222222222222222222222
"""


def test_what_differs_stands_with_both_sides_python_first() -> None:
    one, two = "1" * 40, "2" * 40
    assert compare_environments(OLD, NEW) == (
        Installed("python", "CPython 3.11.2", "CPython 3.12.1"),
        Installed("fresh", None, "0.1"),
        Installed("gone", "1.0", None),
        Installed("numpy", "1.26.4", "2.0.0"),
        Installed("private-lib", f"git+https://host/lib@{one}", f"git+https://host/lib@{two}"),
    )


def test_an_environment_is_equal_to_itself_however_its_names_are_spelled() -> None:
    assert compare_environments(OLD, OLD.replace("Private_Lib", "private.lib")) == ()


def test_lines_that_mean_nothing_are_passed_over() -> None:
    assert compare_environments("\x00\n==\n# \n", "") == ()
    assert compare_environments("a==1\na==2\n", "a==1\n") == (Installed("a", "1, 2", "1"),)
