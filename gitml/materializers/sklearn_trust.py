"""Which types an estimator file may name, and what is checked inside the ones that need it.

skops itself trusts Python's containers, NumPy's arrays and dtypes and every public estimator of
scikit-learn. ``TYPES`` adds what fitted estimators consist of: each holds data, none opens files,
starts processes or calls what it is given. ``FUNCTIONS`` are scores and the like that estimators
refer to; a file may name them, but not have them called with arguments of its own. Types that hold
arrays of indices are listed because `check_indices` looks into them; ``BSpline`` and most distances
are not, since nothing checks theirs.
"""

from __future__ import annotations

import importlib
import json
import types
from collections.abc import Iterator
from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import skops_form
from gitml.materializers.base import Rules

_FUNCTIONS = {
    "sklearn.metrics._classification": "accuracy_score balanced_accuracy_score brier_score_loss "
    "cohen_kappa_score f1_score fbeta_score jaccard_score log_loss matthews_corrcoef "
    "precision_score recall_score",
    "sklearn.metrics._ranking": "average_precision_score roc_auc_score top_k_accuracy_score",
    "sklearn.metrics._regression": "explained_variance_score max_error mean_absolute_error "
    "mean_absolute_percentage_error mean_squared_error mean_squared_log_error "
    "median_absolute_error r2_score root_mean_squared_error",
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_oneway f_regression",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.cluster._kmeans": "_kmeans_single_elkan _kmeans_single_lloyd",
    "numpy": "mean median",
}
_TYPES = {
    "builtins": "complex frozenset",
    "numpy": "dtype",
    "scipy.sparse._csc": "csc_array csc_matrix",
    "scipy.sparse._csr": "csr_array csr_matrix",
    "scipy.sparse._dia": "dia_array dia_matrix",
    "sklearn._loss.link": "HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit",
    "sklearn._loss.loss": "AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss "
    "HalfMultinomialLoss HalfPoissonLoss HalfSquaredError HalfTweedieLoss "
    "HalfTweedieLossIdentity HuberLoss PinballLoss",
    "sklearn.calibration": "_CalibratedClassifier _SigmoidCalibration",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.compose._column_transformer": "_RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.binning": "_BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.gaussian_process._gpc": "_BinaryGaussianProcessClassifierLaplace",
    "sklearn.gaussian_process.kernels": "CompoundKernel ConstantKernel DotProduct ExpSineSquared "
    "Exponentiation Matern PairwiseKernel Product RBF RationalQuadratic Sum WhiteKernel",
    "sklearn.metrics._dist_metrics": "ChebyshevDistance64 EuclideanDistance64 ManhattanDistance64",
    "sklearn.metrics._scorer": "_CurveScorer _PassthroughScorer _Scorer",
    "sklearn.model_selection._split": "GroupKFold GroupShuffleSplit KFold LeaveOneOut "
    "PredefinedSplit RepeatedKFold RepeatedStratifiedKFold ShuffleSplit StratifiedGroupKFold "
    "StratifiedKFold StratifiedShuffleSplit TimeSeriesSplit",
    "sklearn.multiclass": "_ConstantPredictor",
    "sklearn.neighbors._ball_tree": "BallTree",
    "sklearn.neighbors._kd_tree": "KDTree",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
}


def _names(table: dict[str, str]) -> frozenset[str]:
    return frozenset(
        f"{module}.{name}" for module, listed in table.items() for name in listed.split()
    )


FUNCTIONS: frozenset[str] = _names(_FUNCTIONS)
TYPES: frozenset[str] = _names(_TYPES)


def require_trust(named: set[str], schema: dict[str, Any], rules: Rules) -> list[str]:
    """The names to hand to skops as trusted: all of ``named``, if each of them is allowed.

    ``named`` is what skops does not trust by itself. Raises UnsupportedValue that names the others
    and the line of ``gitml.toml`` which would allow them.
    """
    called = _called(schema)
    shipped = TYPES | (FUNCTIONS - called)
    refused = sorted(
        name
        for name in named - shipped - rules.trusted_types
        if not _own(name, called, rules.trusted_modules)
    )
    if refused:
        line = f"trusted_types = {json.dumps(refused)}"
        raise UnsupportedValue(
            f"the estimator holds types that are not trusted here: {', '.join(refused)}",
            hint=f"once you trust them, add `{line}` below `[materializers]` in gitml.toml",
        )
    return sorted(named)


def check_indices(root: object) -> None:
    """Raise CorruptData where a loaded estimator would read outside its arrays.

    scikit-learn follows the indices in its trees without looking, so a crafted file could crash
    the process or read foreign memory; files that fitting wrote pass.
    """
    for value in _reachable(root):
        state = getattr(value, "__dict__", {})
        check = _CHECKS.get(f"{type(value).__module__}.{type(value).__name__}")
        if check is not None:
            check(value)
        elif hasattr(value, "check_format"):
            try:
                value.check_format(full_check=True)
            except ValueError as error:
                raise CorruptData("a sparse matrix points outside itself") from error
        features = state.get("n_features_in_")
        for part in _parts_of(state):
            if part != features:
                raise CorruptData("an estimator and its trees disagree on the number of features")


def _called(schema: dict[str, Any]) -> set[str]:
    """The names in a schema that loading calls, as against those that it only looks up."""
    return {
        f"{node.get('__module__')}.{node.get('__class__')}"
        for node in skops_form.nodes(schema)
        if node["__loader__"] != "FunctionNode"
    }


def _own(name: str, called: set[str], modules: frozenset[str]) -> bool:
    """Whether ``name`` is a class or function that one of the trusted modules itself defines.

    What a module merely imports does not count: ``mine.system`` after ``from os import system``
    would make any file run commands. For the same reason its functions may be named, not called.
    """
    module, _, attribute = name.rpartition(".")
    if module not in modules:
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError as error:
        raise UnsupportedValue(f"the module {module}, which defines {name}, is not here") from error
    if isinstance(found, types.FunctionType):
        return found.__module__ == module and name not in called
    return isinstance(found, type) and found.__module__ == module


def _reachable(root: object) -> Iterator[Any]:
    """Every object inside a loaded estimator, each once."""
    stack, seen = [root], set()
    kept: list[object] = []  # so that no id is used again while we walk
    while stack:
        value: Any = stack.pop()
        if id(value) in seen or value is None or isinstance(value, (str, bytes, int, float)):
            continue
        seen.add(id(value))
        kept.append(value)
        yield value
        if isinstance(value, (list, tuple, set, frozenset)):
            stack.extend(value)
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif type(value).__module__ == "numpy":
            if getattr(getattr(value, "dtype", None), "hasobject", False):
                stack.extend(value.ravel().tolist())
            continue
        if not isinstance(value, type):
            stack.extend(getattr(value, "__dict__", {}).values())


def _parts_of(state: dict[str, Any]) -> Iterator[object]:
    """The numbers of features that must equal an estimator's own: its tree's, its members'."""
    if hasattr(state.get("tree_"), "n_features"):
        yield state["tree_"].n_features
    if "estimators_features_" in state or "n_features_in_" not in state:
        return
    members = state.get("estimators_", ())
    for one in members.ravel() if hasattr(members, "ravel") else members:
        if hasattr(getattr(one, "__dict__", {}).get("tree_"), "n_features"):
            yield one.__dict__.get("n_features_in_")


def _check_tree(tree: Any) -> None:
    state = tree.__getstate__()
    nodes, values = state["nodes"], state["values"]
    inner = nodes["left_child"] != -1
    split = nodes[inner]
    place = inner.nonzero()[0]
    children = [split["left_child"], split["right_child"]]
    if not (
        len(nodes) == len(values) == tree.node_count
        and all(((place < child) & (child < len(nodes))).all() for child in children)
        and ((split["feature"] >= 0) & (split["feature"] < tree.n_features)).all()
    ):
        raise CorruptData("a decision tree points outside itself")


def _check_predictor(predictor: Any) -> None:
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    split = nodes[inner]
    place = inner.nonzero()[0]
    sets = min(len(predictor.binned_left_cat_bitsets), len(predictor.raw_left_cat_bitsets))
    categorical = split[split["is_categorical"] != 0]
    if not (
        all(
            ((place < split[side]) & (split[side] < len(nodes))).all() for side in ("left", "right")
        )
        and (split["feature_idx"] >= 0).all()
        and (categorical["bitset_idx"] < sets).all()
    ):
        raise CorruptData("a boosted tree points outside itself")


def _check_neighbors(tree: Any) -> None:
    state = tree.__getstate__()
    data, order, nodes, bounds = state[:4]
    weights = state[12]
    inner = (nodes["is_leaf"] == 0).nonzero()[0]
    if not (
        len(nodes) == state[6] == bounds.shape[1]
        and bounds.shape[2] == data.shape[1]
        and len(order) == len(data)
        and ((order >= 0) & (order < len(data))).all()
        and ((nodes["idx_start"] >= 0) & (nodes["idx_end"] <= len(data))).all()
        and (2 * inner + 2 < len(nodes)).all()
        and (weights is None or len(weights) == len(data))
    ):
        raise CorruptData("a tree of neighbours points outside itself")


_CHECKS = {
    "sklearn.tree._tree.Tree": _check_tree,
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor": _check_predictor,
    "sklearn.neighbors._kd_tree.KDTree": _check_neighbors,
    "sklearn.neighbors._ball_tree.BallTree": _check_neighbors,
}
