"""The canonical text of syntax trees, and what code touches."""

from __future__ import annotations

import ast
import json
import statistics
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitml.code import closure, syntax
from gitml.code.syntax import canonical, touched

REAL_FILES = [json.__file__, statistics.__file__, ast.__file__, syntax.__file__, closure.__file__]


def text_of(source: str, *, docstrings: bool = False) -> str:
    return canonical(ast.parse(textwrap.dedent(source)), docstrings=docstrings)


def test_the_form_is_as_documented_for_ever() -> None:
    assert canonical(ast.parse("def f(x): return x + 1").body[0]) == (
        '(FunctionDef args=(arguments args=[(arg arg="x")]) body=[(Return value=(BinOp '
        'left=(Name id="x") op=(Add) right=(Constant value=0x1)))] name="f")'
    )
    assert text_of("def f(x, *, k=1.5):\n    return {**x, 'é': -10, b'\\0': None}[k]\n") == (
        '(Module body=[(FunctionDef args=(arguments args=[(arg arg="x")] '
        "kw_defaults=[(Constant value=float 0x1.8000000000000p+0)] "
        'kwonlyargs=[(arg arg="k")]) body=[(Return value=(Subscript slice=(Name id="k") '
        'value=(Dict keys=[none (Constant value="\\u00e9") (Constant value=bytes "00")] '
        'values=[(Name id="x") (UnaryOp op=(USub) operand=(Constant value=0xa)) '
        '(Constant value=none)])))] name="f")])'
    )


@pytest.mark.parametrize("path", REAL_FILES)
def test_layout_comments_and_quotes_of_real_files_do_not_count(path: str) -> None:
    tree = ast.parse(Path(path).read_bytes())
    again = ast.parse(ast.unparse(tree))
    assert canonical(tree, docstrings=True) == canonical(again, docstrings=True)


CONSTANTS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, min_value=0),
    st.text(),
    st.binary(),
    st.just(...),
)


@given(CONSTANTS, CONSTANTS)
def test_constants_share_a_text_only_if_type_and_value_agree(one: object, other: object) -> None:
    same = type(one) is type(other) and repr(one) == repr(other)
    assert (canonical(ast.Constant(one)) == canonical(ast.Constant(other))) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f(a, b)", "f((a, b))"),
        ("{a: b}", "{a, b}"),
        ("[a, b]", "[[a], b]"),
        ("'a' 'b'", "'a', 'b'"),
        ("f(*a)", "f(**a)"),
        ("lambda a: b", "lambda *, a: b"),
        ("{**a}", "{None: a}"),
        ("f'{a}b'", "f'{a}' 'c'"),
        ("x[1:]", "x[1:None:2]"),
        ("f'{a}'", "f'{a!r}'"),
        ("0.0", "-0.0"),
        ("1e999", "'inf'"),
        ("async def f(): await g()", "def f(): g()"),
    ],
)
def test_different_programs_have_different_texts(one: str, other: str) -> None:
    assert text_of(one) != text_of(other)


def test_the_type_of_a_string_prefix_and_type_comments_do_not_count() -> None:
    with_comment = ast.parse("x = u'a'  # type: str\n", type_comments=True)
    assert canonical(with_comment) == text_of("x = 'a'\n")


def test_how_the_text_of_an_f_string_is_cut_does_not_count() -> None:
    cut = ast.JoinedStr([ast.Constant("a"), ast.Constant(""), ast.Constant("b")])
    assert canonical(cut) == canonical(ast.JoinedStr([ast.Constant("ab")]))


def test_docstrings_of_bare_functions_and_modules_only_are_dropped() -> None:
    source = '"""M"""\ndef f():\n    "F"\n@d\ndef g():\n    "G"\n'
    source += 'class C:\n    "C"\n    def m(self): "m"\n'
    kept = [
        name for name in "MFGCm" if f'(Expr value=(Constant value="{name}"))' in text_of(source)
    ]
    assert kept == ["G", "C"]
    assert '"F"' in text_of(source, docstrings=True)


def test_integers_and_chains_of_any_size_are_written() -> None:
    assert "0x1" + "0" * 5000 in text_of(f"x = 0x1{'0' * 5000}")
    chain: ast.expr = ast.Name("a", ast.Load())
    for _ in range(20_000):
        chain = ast.BinOp(chain, ast.Add(), ast.Name("b", ast.Load()))
    assert canonical(chain).count("BinOp") == 20_000
    assert touched([chain]).reads == {"a", "b"}


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("def f(a, *b, c=D, **e): return a, b, c, e, G", {"D", "G"}),
        ("def f(): a = 1; return a", set()),
        ("def f():\n    global a\n    a = 1", {"a"}),
        (
            "def f():\n    a = 1\n    def g():\n        nonlocal a\n        a = 2\n    return g",
            set(),
        ),
        ("def f(): return [a for a in b if c], a", {"a", "b", "c"}),
        ("def f(b): return {k: v for k, v in b.items()}", set()),
        ("def f(x): return [y := g(z) for z in x]", {"g"}),
        (
            "class C(B, metaclass=M):\n    size = 1\n    def m(self): return size",
            {"B", "M", "size"},
        ),
        ("def f(x):\n    import a.b as c, d.e\n    return c, d, a", {"a"}),
        ("def f(x):\n    try: pass\n    except E as e: return e", {"E"}),
        (
            "def f(x):\n    match x:\n        case [K(y), *z, {'a': u, **w}] as v: u, v, w, y, z",
            {"K"},
        ),
        ("def f(x: 'A', y: B) -> 'C': pass", {"A", "B", "C"}),
        ("def f() -> Annotated[A, 'label']: pass", {"Annotated", "A"}),
        ("def f(x):\n    with x as y: return lambda z=y: (y, z, w)", {"w"}),
        ("def f(x):\n    for y in x: del y\n    return y", set()),
        ("async def f(x):\n    async for y in x: yield y, g", {"g"}),
    ],
)
def test_names_that_code_reads_from_its_module(source: str, reads: set[str]) -> None:
    assert touched(ast.parse(source).body).reads == reads


def test_names_read_by_function_bodies_are_told_from_those_read_at_once() -> None:
    what = touched(ast.parse("@deco\ndef f(x=D) -> A:\n    return [L for _ in x], R\n").body)
    assert what.reads - what.late == {"deco", "D", "A"}
    assert what.late == {"L", "R"}
    assert what.binds == {"f"}


def test_the_words_that_change_what_counts_are_seen() -> None:
    assert touched(ast.parse("getattr(f, '__doc__')").body).reads_docstrings
    assert touched(ast.parse("inspect.getdoc(f)").body).reads_docstrings
    assert touched(ast.parse("class A:\n def __init_subclass__(c): ...").body).reads_subclasses
    assert touched(ast.parse("vars()['x']").body).reads_any_name
    assert not touched(ast.parse("vars(x)").body).reads_any_name
    assert touched(ast.parse("sys.modules[__name__]").body).reads_any_name
    assert touched(ast.parse("os.execv(a, b)").body).starts_processes
    assert not touched(ast.parse("os.path, model.eval()").body).starts_processes
