"""One test for each rule of the step cache key, named after what it prevents.

`*_is_a_miss` would otherwise be a stale hit, `*_stays_a_hit` a needless miss.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gitml.code.closure import Tracer, unwrap
from gitml.errors import UsageError
from tests.code.project import Project

# The step's own code, and what it reaches by name


def test_an_edit_of_the_step_is_a_miss(project: Project) -> None:
    project.write("steps.py", "def train(x):\n    return x + 1\n")
    assert project.is_miss_after("steps.py", "def train(x):\n    return x + 2\n")


def test_an_edit_of_a_helper_of_a_helper_is_a_miss(project: Project) -> None:
    code = "def inner(x): return {}\ndef outer(x): return inner(x)\n"
    code += "def train(x): return outer(x)\n"
    project.write("steps.py", code.format("x"))
    assert project.is_miss_after("steps.py", code.format("-x"))


def test_an_edit_of_an_unrelated_step_stays_a_hit(project: Project) -> None:
    code = (
        "def other(x):\n    return {}\n\ndef train(scale):\n    other = scale\n    return other\n"
    )
    project.write("steps.py", code.format("x"))
    assert not project.is_miss_after("steps.py", code.format("-x"))


def test_an_edit_of_a_method_of_a_reached_class_is_a_miss(project: Project) -> None:
    code = "class Net:\n    def fit(self):\n        return {}\n\ndef train(): return Net().fit()\n"
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_name_in_a_decorator_default_or_annotation_is_reached(project: Project) -> None:
    code = """
        import functools
        class Table: size = {size}
        def twice(f):
            @functools.wraps(f)
            def call(*args): return f(*args) * {times}
            return call
        @twice
        def train(x: "Table", y=len("{default}")): return x
    """
    values = {"size": 1, "times": 2, "default": "a"}
    for key, other in (("size", 5), ("times", 3), ("default", "bb")):
        project.write("steps.py", code.format(**values))
        assert project.is_miss_after("steps.py", code.format(**{**values, key: other})), key


def test_a_second_definition_of_a_reached_name_is_a_miss(project: Project) -> None:
    code = "def scale(x): return x\n{}\ndef train(x): return scale(x)\n"
    project.write("steps.py", code.format(""))
    assert project.is_miss_after("steps.py", code.format("def scale(x): return 2 * x"))


def test_a_branch_that_defines_a_reached_name_is_a_miss_either_way(project: Project) -> None:
    code = """
        import sys
        if sys.platform == "plan9":
            def scale(x): return {}
        else:
            def scale(x): return {}
        def train(x): return scale(x)
    """
    project.write("steps.py", code.format(1, 2))
    assert project.is_miss_after("steps.py", code.format(3, 2))
    assert project.is_miss_after("steps.py", code.format(3, 4))


def test_another_function_imported_under_the_same_name_is_a_miss(project: Project) -> None:
    project.write("clean.py", "def scale(x): return x\ndef shift(x): return x + 1\n")
    code = "from clean import {} as clean\ndef train(x): return clean(x)\n"
    project.write("steps.py", code.format("scale"))
    assert project.is_miss_after("steps.py", code.format("shift"))


def test_imports_on_one_line_or_on_two_stay_a_hit(project: Project) -> None:
    project.write("steps.py", "from math import sin, cos\ndef train(x): return sin(cos(x))\n")
    other = "from math import cos\nfrom math import sin\n\ndef train(x): return sin(cos(x))\n"
    assert not project.is_miss_after("steps.py", other)


def test_a_comprehension_variable_hides_no_global_outside_of_it(project: Project) -> None:
    code = "rate = {}\ndef train(xs):\n    ys = [rate for rate in xs]\n    return rate\n"
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_module_that_looks_its_own_names_up_counts_whole(project: Project) -> None:
    code = 'def scale(x): return {}\ndef train(x): return globals()["sc" + "ale"](x)\n'
    project.write("steps.py", code.format("x"))
    assert project.is_miss_after("steps.py", code.format("-x"))


def test_two_lambdas_on_one_line_do_not_share_hits(project: Project) -> None:
    project.write("steps.py", "pair = (lambda x: x + 1, lambda x: x + 2, lambda: lambda: 0)\n")
    first, second, third = project.load().pair
    ids = {project.trace(one).code_id for one in (first, second, third, third())}
    assert len(ids) == 4


# Globals and closure cells by value


def test_a_global_set_by_the_script_is_a_miss(project: Project) -> None:
    project.write("steps.py", "RATE = 1\ndef train(x): return x * RATE\n")
    module = project.load()
    before = project.trace(module.train)
    module.RATE = 2
    assert project.trace(module.train).code_id != before.code_id


def test_a_constant_of_another_type_is_a_miss(project: Project) -> None:
    project.write("steps.py", "RATE = 1\ndef train(x): return x * RATE\n")
    module = project.load()
    before = project.trace(module.train)
    module.RATE = True
    assert project.trace(module.train).code_id != before.code_id


def test_a_setting_of_an_imported_module_is_a_miss(project: Project) -> None:
    project.write("config.py", "depth = 3\n")
    project.write("steps.py", "import config\ndef train(x): return x * config.depth\n")
    module = project.load()
    before = project.trace(module.train)
    module.config.depth = 4
    after = project.trace(module.train)
    assert before.parts["module config.py"] == after.parts["module config.py"]
    assert before.code_id != after.code_id


def test_a_statement_that_changes_a_reached_table_is_a_miss(project: Project) -> None:
    code = "TABLE = {{}}\nTABLE.update(make({}))\ndef train(x): return TABLE\n"
    code = "class Table(dict): pass\ndef make(n): return {{n: n}}\n" + code
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_statement_about_a_reached_import_is_a_miss(project: Project) -> None:
    code = (
        "import decimal\ndecimal.getcontext().prec = {}\ndef train(x): return decimal.Decimal(x)\n"
    )
    project.write("steps.py", code.format(10))
    assert project.is_miss_after("steps.py", code.format(12))


def test_other_values_made_with_a_reached_import_stay_a_hit(project: Project) -> None:
    code = "import queue\n{}\ndef train(x): return queue.Queue()\n"
    project.write("steps.py", code.format(""))
    assert not project.is_miss_after("steps.py", code.format("JOBS = queue.Queue()"))


def test_the_order_of_statements_about_one_name_is_a_miss(project: Project) -> None:
    code = "import collections\nQ = collections.deque()\n{}\n{}\ndef train(): return Q\n"
    first, second = "OTHER = Q.append(1)", "Q.clear()"
    project.write("steps.py", code.format(first, second))
    before = project.closure()
    project.write("steps.py", code.format(second, first))
    assert project.closure().parts["order steps.py"] != before.parts["order steps.py"]


def test_functions_in_a_registry_are_followed(project: Project) -> None:
    code = """
        MODELS = {{}}
        def register(f):
            MODELS[f.__name__] = f
            return f
        @register
        def forest(): return {}
        def train(): return MODELS["forest"]()
    """
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_registry_shared_by_two_steps_is_followed_for_both(project: Project) -> None:
    code = """
        KNOWN = []
        def put(f): KNOWN.append(f)
        put(lambda x: x + 1)
        def train(x): return KNOWN[0](x)
        def test(x): return KNOWN[0](x)
    """
    project.write("steps.py", code)
    module, tracer = project.load(), Tracer(project.root)
    for step in (module.train, module.test):
        assert "statement steps.py:put" in tracer.trace(step).parts


def test_single_dispatch_registrations_are_a_miss(project: Project) -> None:
    code = """
        from functools import singledispatch
        @singledispatch
        def scale(x): return x
        @scale.register
        def _(x: int): return {}
        def train(x): return scale(x)
    """
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_subclass_that_its_base_is_told_of_is_a_miss(project: Project) -> None:
    code = """
        class Layer:
            kinds = {{}}
            def __init_subclass__(cls): Layer.kinds[cls.__name__] = cls
        class Relu(Layer):
            gain = {}
        def train(): return Layer.kinds["Relu"]()
    """
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_mutable_object_makes_the_step_uncached(project: Project) -> None:
    code = """
        class Counter:
            n = 0
        counter = Counter()
        def train(): return counter.n
        def other(): return 1
        def make():
            inner = Counter()
            def nested(): return inner.n
            return nested
        nested = make()
    """
    project.write("steps.py", code)
    assert project.closure("train").uncached == "the mutable global `counter`"
    assert project.closure("nested").uncached == "the mutable cell `inner`"
    assert project.closure("other").uncached is None


def test_a_mutable_object_used_at_import_and_later_makes_the_step_uncached(
    project: Project,
) -> None:
    code = """
        class Counter:
            def call(self, f): return f
        counter = Counter()
        def inner(): return counter
        def outer(): return inner()
        counter.call(outer)
        def train(): return outer()
    """
    project.write("steps.py", code)
    assert project.closure().uncached == "the mutable global `counter`"


def test_loggers_types_and_locks_do_not_make_a_step_uncached(project: Project) -> None:
    code = """
        import logging, re, threading, typing, pathlib, dataclasses, enum
        log = logging.getLogger("x")
        lock = threading.Lock()
        T = typing.TypeVar("T")
        Pair = typing.Annotated[tuple[int, int], "pair"]
        WORD = re.compile("a+")
        HERE = pathlib.Path(__file__).parent / "data"
        MISSING = object()
        class Mode(enum.Enum):
            FAST = 1
        @dataclasses.dataclass
        class Config:
            mode: Mode = Mode.FAST
        CONFIG = Config()
        def train(x: T) -> Pair: return log, lock, WORD, HERE, MISSING, CONFIG
    """
    project.write("steps.py", code)
    assert project.closure().uncached is None


def test_what_happened_at_import_only_does_not_make_a_step_uncached(project: Project) -> None:
    code = """
        class Client:
            def fetch(self): return {"a": 1}
        client = Client()
        TABLE = client.fetch()
        def train(): return TABLE
    """
    project.write("steps.py", code)
    assert project.closure().uncached is None


def test_a_value_beyond_64_kib_makes_the_step_uncached(project: Project) -> None:
    project.write("steps.py", "TEXT = 'x' * 70_000\ndef train(): return TEXT\n")
    assert project.closure().uncached == "global `TEXT` holds more than 64 KiB"


def test_steps_from_a_factory_differ_by_their_cells(project: Project) -> None:
    code = """
        def make(rate, f):
            def train(x): return f(x) * rate
            return train
        double = make(2, lambda x: x)
        triple = make(3, lambda x: x)
        deeper = make(3, make(4, abs))
        deepest = make(3, make(5, abs))
    """
    project.write("steps.py", code)
    module = project.load()
    steps = [module.double, module.triple, module.deeper, module.deepest]
    assert len({project.trace(one).code_id for one in steps}) == 4


def test_an_edit_of_the_factory_is_a_miss(project: Project) -> None:
    code = """
        def make():
            def scale(x): return {}
            def train(x): return scale(x)
            return train
        train = make()
    """
    project.write("steps.py", code.format("x"))
    assert project.is_miss_after("steps.py", code.format("-x"))


def test_what_a_factory_computes_before_is_a_miss(project: Project) -> None:
    code = """
        def make():
            size = {}
            def train(x=size): return x
            return train
        train = make()
    """
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_lambda_handed_to_a_registry_is_a_miss(project: Project) -> None:
    code = """
        KNOWN = []
        def put(f): KNOWN.append(f)
        put(lambda x: x + {})
        def train(x): return KNOWN[0](x)
    """
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_function_that_no_import_names_is_a_miss_with_its_package(project: Project) -> None:
    project.write("pkg/__init__.py", "")
    project.write("pkg/leaf.py", "def f(): return 1\n")
    code = "import importlib\nf = getattr(importlib.import_module('pkg' + '.leaf'), 'f')\n"
    project.write("steps.py", code + "def train(): return f()\n")
    assert project.is_miss_after("pkg/leaf.py", "def f(): return 2\n")
    assert project.is_miss_after("pkg/__init__.py", "N = 1\n")


def test_a_path_below_the_root_stays_a_hit_in_another_clone(project: Project) -> None:
    code = "import os\nDATA = os.path.dirname(__file__) + '/data'\ndef train(): return DATA\n"
    project.write("steps.py", code)
    here = project.closure()
    project.forget()
    clone = project.root / "clone"
    elsewhere = Project(clone, project.monkeypatch)
    elsewhere.write("steps.py", code)
    assert elsewhere.closure().code_id == here.code_id


def test_a_secret_from_the_environment_enters_no_digest(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import os\nKEY = os.environ['HUB_TOKEN']\ndef train(): return bool(KEY)\n"
    project.write("steps.py", code)
    monkeypatch.setenv("HUB_TOKEN", "abc")
    before = project.closure(declared_environment=["HUB_TOKEN"])
    monkeypatch.setenv("HUB_TOKEN", "xyz")
    assert project.closure(declared_environment=["HUB_TOKEN"]).parts == before.parts
    assert before.warnings == (
        "`HUB_TOKEN` looks like a secret: the key only holds whether it is set",
    )


# Imports


@pytest.mark.parametrize(
    "statement",
    [
        "import features.clean",
        "import features.clean as f",
        "from features import clean",
        "from features.clean import scale",
        "if x > 3:\n        from features.clean import scale",
        "try:\n        import missing\n    except ImportError:\n        import features.clean",
        "__import__('features.clean')",
        "from importlib import import_module; import_module('features.clean')",
    ],
)
def test_an_edit_of_an_imported_module_is_a_miss(project: Project, statement: str) -> None:
    project.write("features/__init__.py", "")
    project.write("features/clean.py", "def scale(x): return x\n")
    project.write("steps.py", f"def train(x):\n    {statement}\n    return x\n")
    assert project.is_miss_after("features/clean.py", "def scale(x): return -x\n")


def test_an_edit_of_a_module_imported_by_a_module_is_a_miss(project: Project) -> None:
    project.write("a.py", "def f():\n    from b import g\n    return g()\n")
    project.write("b.py", "import a\ndef g(): return 1\n")  # a cycle, too
    project.write("steps.py", "import a\ndef train(): return a.f()\n")
    assert project.is_miss_after("b.py", "import a\ndef g(): return 2\n")
    assert [file.path for file in project.closure().files] == ["a.py", "b.py", "steps.py"]


def test_an_edit_of_a_parent_package_is_a_miss(project: Project) -> None:
    project.write("pkg/__init__.py", "")
    project.write("pkg/deep/__init__.py", "")
    project.write("pkg/deep/leaf.py", "def f(): return 1\n")
    project.write("steps.py", "from pkg.deep.leaf import f\ndef train(): return f()\n")
    assert project.is_miss_after("pkg/__init__.py", "import random; random.seed(1)\n")
    assert project.is_miss_after("pkg/deep/__init__.py", "N = 1\n")


def test_relative_imports_of_a_package_are_followed(project: Project) -> None:
    project.write("pkg/__init__.py", "from .low import *\n")
    project.write("pkg/low.py", "from . import lower\n")
    project.write("pkg/lower.py", "from .sub.lowest import f\n")
    project.write("pkg/sub/__init__.py", "")
    project.write("pkg/sub/lowest.py", "from .. import side\ndef f(): return 1\n")
    project.write("pkg/side.py", "")
    project.write("pkg/unused.py", "")
    project.write("pkg/steps.py", "def train(): return 1\n")
    closure = project.closure(module="pkg.steps")
    paths = {file.path for file in closure.files}
    assert paths == {
        *("pkg/__init__.py", "pkg/low.py", "pkg/lower.py", "pkg/side.py", "pkg/steps.py"),
        *("pkg/sub/__init__.py", "pkg/sub/lowest.py"),
    }
    assert {"pkg", "pkg.low", "pkg.sub.lowest", "pkg.steps"} <= closure.modules


def test_a_package_without_init_is_followed(project: Project) -> None:
    project.write("space/clean.py", "def f(): return 1\n")
    project.write("steps.py", "from space import clean\ndef train(): return clean.f()\n")
    assert project.is_miss_after("space/clean.py", "def f(): return 2\n")


def test_a_module_beside_the_script_is_found_though_its_folder_is_not_on_the_path(
    project: Project,
) -> None:
    project.write("jobs/near.py", "N = 1\n")
    project.write("jobs/steps.py", "def train():\n    import near\n    return near.N\n")
    assert project.is_miss_after("jobs/near.py", "N = 2\n", module="jobs.steps")


def test_an_import_for_its_side_effect_is_a_miss(project: Project) -> None:
    project.write("patch.py", "N = 1\n")
    project.write("steps.py", "import patch\ndef train(): return 1\n")
    assert project.is_miss_after("patch.py", "N = 2\n")


def test_a_star_import_is_a_miss(project: Project) -> None:
    project.write("names.py", "def f(): return 1\n")
    project.write("steps.py", "from names import *\ndef train(): return f()\n")
    assert project.is_miss_after("names.py", "def f(): return 2\n")


def test_a_module_that_only_another_step_uses_stays_a_hit(project: Project) -> None:
    project.write("other.py", "N = 1\n")
    project.write("steps.py", "import other\ndef plot(): return other.N\ndef train(): return 1\n")
    assert not project.is_miss_after("other.py", "N = 2\n")


@pytest.mark.parametrize("statement", ["import a, b", "from pkg import a, b"])
def test_another_name_of_the_same_import_statement_stays_a_hit(
    project: Project, statement: str
) -> None:
    for folder in ("", "pkg/"):
        project.write(folder + "a.py", "N = 1\n")
        project.write(folder + "b.py", "N = 1\n")
    code = statement + "\ndef train(): return a.N\ndef other(): return b.N\n"
    project.write("steps.py", code)
    assert not project.is_miss_after("pkg/b.py" if "pkg" in code else "b.py", "N = 2\n")
    assert project.is_miss_after("pkg/a.py" if "pkg" in code else "a.py", "N = 2\n")


def test_data_of_the_standard_library_stays_a_hit(project: Project) -> None:
    project.write("steps.py", "from sys import argv\ndef train(): return argv\n")
    before = project.closure()
    project.monkeypatch.setattr(sys, "argv", ["other"])
    assert project.closure().code_id == before.code_id


def test_a_module_found_through_a_link_counts_by_file(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("links") / "libs"
    link.symlink_to(project.root / "libs")
    sys.path.append(str(link))
    project.write("libs/linked.py", "N = 1\n")
    project.write("steps.py", "import linked\ndef train(): return linked.N\n")
    try:
        closure = project.closure()
    finally:
        sys.modules.pop("linked", None)
    assert [file.path for file in closure.files] == ["libs/linked.py", "steps.py"]


def test_a_file_with_a_syntax_error_counts_by_its_bytes(project: Project) -> None:
    project.write("broken.py", "def (\n")
    code = (
        "def train():\n    try:\n        import broken\n    except SyntaxError:\n        return 1\n"
    )
    project.write("steps.py", code)
    assert project.is_miss_after("broken.py", "def ((\n")


def test_a_file_in_another_encoding_is_read_as_python_reads_it(project: Project) -> None:
    project.write("latin.py", "# coding: latin-1\nNAME = 'é'\n".encode("latin-1"))
    project.write("steps.py", "import latin\ndef train(): return latin.NAME\n")
    as_utf8 = "NAME = 'é'\n".encode()
    assert not project.is_miss_after("latin.py", as_utf8)
    assert project.is_miss_after("latin.py", "# coding: latin-1\nNAME = 'è'\n".encode("latin-1"))


def test_an_environment_inside_the_root_counts_by_version(project: Project) -> None:
    site = project.root / "env" / "lib" / "python3" / "site-packages"
    project.write("env/pyvenv.cfg", "")
    for version in ("1.0", "1.1"):
        info = site / f"My_Lib-{version}.dist-info"
        project.write(str(info / "RECORD"), "my_lib/__init__.py,,\n")
    project.write(str(site / "my_lib" / "__init__.py"), "")
    project.write(str(info / "METADATA"), "Name: My-Lib\nVersion: 1.1\n")
    project.write("steps.py", "import my_lib\ndef train(): return my_lib\n")
    sys.path.append(str(site))
    for path in (site / "My_Lib-1.0.dist-info").iterdir():
        path.unlink()
    closure = project.closure()
    assert closure.distributions == {"my-lib": "1.1"}
    assert [file.path for file in closure.files] == ["steps.py"]
    project.write("env/script.py", "N = 1\n")
    assert Tracer(project.root).territory.path_of(str(project.root / "env/script.py")) is None


def test_an_editable_install_inside_the_root_counts_by_file(project: Project) -> None:
    project.write("libs/mine/src/mine/__init__.py", "N = 1\n")
    sys.path.append(str(project.root / "libs/mine/src"))
    project.write("steps.py", "import mine\ndef train(): return mine.N\n")
    assert project.is_miss_after("libs/mine/src/mine/__init__.py", "N = 2\n")


def test_code_that_no_version_names_makes_the_step_uncached(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "loose.py").write_text("N = 1\n")
    sys.path.append(str(outside))
    project.write("steps.py", "import loose\ndef train(): return loose.N\n")
    try:
        reason = project.closure().uncached
    finally:
        sys.modules.pop("loose", None)
    assert reason == "`loose` is neither in the repository nor a distribution"


def test_versions_of_direct_imports_enter_and_a_missing_one_as_absent(project: Project) -> None:
    code = """
        import json, numpy as np
        from gitml import log_metrics
        try:
            import sklearn_that_is_missing as fast
        except ImportError:
            fast = None
        def train(x):
            log_metrics({})
            return fast or np.log(json.loads(x))
    """
    project.write("steps.py", code)
    closure = project.closure()
    assert closure.distributions == {
        "numpy": np.__version__,
        "sklearn-that-is-missing": "absent",
    }
    assert "distribution numpy" in closure.parts


# Trees, not text


def test_comments_layout_and_docstrings_stay_a_hit(project: Project) -> None:
    project.write("clean.py", '"""Old."""\ndef scale(x):\n    """Old."""\n    return x * 10\n')
    project.write("steps.py", "import clean\ndef train(x): return clean.scale(x)\n")
    new = '"""New."""\n# more\n\ndef scale(\n    x,\n):\n    """New."""\n'
    new += "    return (x * 0xA)  # ten\n"
    assert not project.is_miss_after("clean.py", new)


def test_the_docstring_of_a_class_is_a_miss(project: Project) -> None:
    code = 'class Ask:\n    """{}"""\n\ndef train(): return Ask\n'
    project.write("steps.py", code.format("Say yes."))
    assert project.is_miss_after("steps.py", code.format("Say no."))


def test_the_docstring_of_a_decorated_function_is_a_miss(project: Project) -> None:
    code = 'def ask(f): return f\n@ask\ndef train():\n    """{}"""\n'
    project.write("steps.py", code.format("Say yes."))
    assert project.is_miss_after("steps.py", code.format("Say no."))


def test_docstrings_are_a_miss_where_the_code_reads_them(project: Project) -> None:
    code = 'def ask():\n    """{}"""\n\ndef train(): return ask.__doc__\n'
    project.write("steps.py", code.format("Say yes."))
    assert project.is_miss_after("steps.py", code.format("Say no."))


@pytest.mark.parametrize(
    ("statement", "decorator"),
    [
        ("from gitml import step", "step"),
        ("from gitml import step as stage", "stage"),
        ("import gitml as g", "g.step"),
        ("from ours import step", "step"),
    ],
)
def test_arguments_and_docstring_of_a_step_stay_a_hit(
    project: Project, statement: str, decorator: str
) -> None:
    project.write("ours.py", "from gitml import step\n")
    code = f"{statement}\n@{decorator}({{}})\ndef train():\n    {{}}\n    return 1\n"
    project.write("steps.py", code.format("cache=False", "'''Old.'''"))
    assert not project.is_miss_after("steps.py", code.format("cache=True", "'''New.'''"))


def test_an_edit_of_what_only_the_step_decorator_uses_stays_a_hit(project: Project) -> None:
    project.write("settings.py", "NAMES = []\n")
    code = "from gitml import step\nfrom settings import NAMES\n"
    project.write("steps.py", code + "@step(environment=NAMES)\ndef train(): return 1\n")
    assert not project.is_miss_after("settings.py", "NAMES = ['MODE']\n")


def test_another_decorator_is_a_miss(project: Project) -> None:
    code = "def step(n):\n    return lambda f: f\n@step({})\ndef train(): return 1\n"
    project.write("steps.py", code.format(1))
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_future_import_is_a_miss(project: Project) -> None:
    project.write("steps.py", "def train(x: int): return train.__annotations__\n")
    new = "from __future__ import annotations\ndef train(x: int): return train.__annotations__\n"
    assert project.is_miss_after("steps.py", new)


# Identity, and what cannot be cached


MAIN = """
import random, sys
from helpers import scale

TABLE = []
def train(x): return scale(x), TABLE
def start(n=1): return train(n)
if __name__ == "__main__":
{}
"""


@pytest.mark.parametrize("path", ["steps.py", "helpers.py"])
@pytest.mark.parametrize(
    "block",
    [
        "start(2)",
        "print(start(), scale(3))\nsys.exit(start())",
        "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('n')\n"
        "for n in [1, 2]:\n    run = start(n)\n    run.shown = n\nraise SystemExit(0)",
        "import doctest\ndoctest.testmod()",
    ],
)
def test_a_block_that_only_starts_a_script_stays_a_hit(
    project: Project, path: str, block: str
) -> None:
    text = MAIN.replace("from helpers import scale", "def scale(x): return x")
    project.write("helpers.py", text.format("    start()"))
    project.write("steps.py", MAIN.format("    start()"))
    base = text if path == "helpers.py" else MAIN
    assert not project.is_miss_after(path, base.format(textwrap.indent(block, "    ")))


@pytest.mark.parametrize(
    "block",
    [
        "TABLE.append(1)",
        "random.seed(3)",
        "TABLE = [1]",
        "scale.rate = 2",
        "import random as other\nother.seed(1)",
        "from random import seed\nseed(1)",
        "def scale(x): return -x",
        "start(key=lambda x: scale(x))",
        "del TABLE",
        "globals()['TABLE'] = 1",
    ],
)
def test_a_block_that_does_more_is_a_miss(project: Project, block: str) -> None:
    text = MAIN.replace("from helpers import scale", "def scale(x): return x")
    project.write("steps.py", "import helpers\ndef train(x): return helpers.train(x)\n")
    project.write("helpers.py", text.format("    start()"))
    assert project.is_miss_after("helpers.py", text.format(textwrap.indent(block, "    ")))


def test_an_else_of_such_a_block_is_a_miss(project: Project) -> None:
    text = "RATE = 1\ndef train(x): return x * RATE\nif __name__ == '__main__':\n    train(1)\n"
    project.write("steps.py", text)
    assert project.is_miss_after("steps.py", text + "else:\n    RATE = 2\n")


SCRIPT = """
import json, sys
from pathlib import Path
import clean
from gitml.code.closure import Tracer

RULES = {"b": {3, 1, 2}, "a": frozenset({"x", "y", "z"})}
class Config:
    rate: float = 0.5
def helper(x): return Config, RULES, clean.scale(x)
REGISTRY = {"helper": helper, "config": Config}
def train(x): return REGISTRY["helper"](x)

def report():
    found = Tracer(Path(__file__).parent.parent).trace(train)
    return [found.source, found.code_id, dict(found.parts), found.uncached]

if __name__ == "__main__":
    print(json.dumps(report()))
"""


def test_a_script_and_its_import_share_hits_in_every_process(project: Project) -> None:
    project.write("jobs/clean.py", "def scale(x): return x\n")
    project.write("jobs/steps.py", SCRIPT)
    sys.path.insert(0, str(project.root / "jobs"))
    imported = project.load("steps").report()
    assert imported[0] == "jobs/steps.py:train"
    assert imported[3] is None
    for seed in ("1", "2"):
        ran = subprocess.run(
            [sys.executable, "steps.py"],
            cwd=project.root / "jobs",
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        assert json.loads(ran.stdout) == imported


def test_a_partial_is_its_inner_function(project: Project) -> None:
    project.write("steps.py", "def train(x, rate, depth=3): return x\n")
    train = project.load().train
    partial = functools.partial(train, rate=0.5, depth=4)
    assert project.trace(partial).code_id == project.trace(train).code_id
    assert unwrap(partial) == (train, {"rate": 0.5, "depth": 4})
    assert unwrap(functools.partial(train, 7)) == (train, {"x": 7})
    assert unwrap(train) == (train, {})
    with pytest.raises(UsageError, match="do not fit"):
        unwrap(functools.partial(train, colour="red"))


def test_wrapped_functions_and_class_methods_are_known_by_their_own_code(project: Project) -> None:
    code = """
        import functools
        @functools.lru_cache
        def train(x): return {}
        class Steps:
            @classmethod
            def fit(cls, x): return x
        fit = Steps.fit
    """
    project.write("steps.py", code.format(1))
    assert project.closure().source == "steps.py:train"
    assert project.closure("fit").source == "steps.py:Steps.fit"
    assert project.is_miss_after("steps.py", code.format(2))


def test_a_callable_without_source_is_uncached(project: Project) -> None:
    space: dict[str, Any] = {}
    exec("def train(x): return x", space)
    assert (
        project.trace(space["train"]).uncached == "the source of `train` is not in the repository"
    )
    assert project.trace(len).uncached == "`len` has no source"
    assert project.trace(textual := "".join).uncached == "`str.join` has no source", textual
    assert (project.trace(json.dumps).uncached or "").endswith("is not in the repository")


def test_an_edit_without_reload_makes_the_step_uncached(project: Project) -> None:
    project.write("config.py", "RATE = 1\n")
    project.write("clean.py", "import config\ndef scale(x): return x * config.RATE\n")
    project.write("steps.py", "import clean\ndef train(x): return clean.scale(x)\n")
    train = project.load().train
    assert project.trace(train).uncached is None
    project.write("config.py", "RATE = 2\n")
    assert project.trace(train).uncached == "config.py has changed on disk since it was imported"
    project.write("clean.py", "import config\ndef scale(x): return x - config.RATE\n")
    assert project.trace(train).uncached == "clean.py has changed on disk since it was imported"
    project.write("steps.py", "\n\nimport clean\ndef train(x): return clean.scale(-x)\n")
    assert project.trace(train).uncached == "`train` cannot be found in steps.py"


def test_undeclared_variables_and_programs_are_named(project: Project) -> None:
    project.write("clean.py", "import os\ndef f(): return os.environ.get('MODE')\n")
    code = (
        "import os, clean, subprocess\ndef train():\n    os.getenv('DEPTH'); os.environ['SIZE']\n"
    )
    code += "    'FLAG' in os.environ\n    return clean.f(), subprocess.run(['ls'])\n"
    project.write("steps.py", code)
    closure = project.closure(declared_environment=["DEPTH"])
    named = [(text.split()[0], text.split("`")[1]) for text in closure.warnings if "`" in text]
    assert named == [("clean.py", "MODE"), ("steps.py", "FLAG"), ("steps.py", "SIZE")]
    assert "steps.py starts other programs; what they read is not in the cache key" in (
        closure.warnings
    )


def test_computed_imports_are_marked_for_the_observer(project: Project) -> None:
    project.write("steps.py", "import importlib\ndef train(n): return importlib.import_module(n)\n")
    assert project.closure().computed_imports


def test_blobs_are_named_as_git_names_them(project: Project, tmp_path: Path) -> None:
    project.write("steps.py", "def train(): return 1\n")
    (file,) = project.closure().files
    hashed = subprocess.run(
        ["git", "hash-object", "steps.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (file.path, file.blob) == ("steps.py", hashed.stdout.strip())
