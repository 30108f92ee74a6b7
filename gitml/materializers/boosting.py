"""Boosted trees in the formats of the libraries that grow them: no pickle, readable elsewhere.

**xgboost, format 1**: the JSON of ``Booster.save_raw("json")``. Of an estimator (``XGBClassifier``
and the like) the booster has one attribute more, ``gitml``: the JSON of its class and parameters.
**lightgbm, format 1**: the text of ``Booster.model_to_string()``, and before its last line one that
lightgbm passes over: ``gitml best_iteration=<n> sha256=<of all other lines>``, since lightgbm
crashes on text that is damaged. Of an estimator store ``estimator.booster_``.
"""

from __future__ import annotations

import hashlib
import json as stdlib_json
from typing import Any

from gitml.errors import CorruptData, GitmlError, UnsupportedValue
from gitml.materializers import json
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name

_ATTRIBUTE = "gitml"


class XgboostMaterializer(Materializer):
    """``xgboost.Booster`` and xgboost's fitted estimators."""

    name = "xgboost"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The JSON; raises UnsupportedValue for an estimator that is not fitted, and subclasses."""
        xgboost = library("xgboost", "xgboost")
        if type(value) is xgboost.Booster:
            return bytes(value.save_raw("json"))
        name = type(value).__name__
        if getattr(xgboost, name, None) is not type(value):
            raise UnsupportedValue(f"value is a {type_name(value)}, a class of somebody else")
        try:
            booster = value.get_booster().copy()
        except Exception as error:
            raise UnsupportedValue(f"this {name} is not fitted") from error
        params = {key: one for key, one in value.get_params().items() if one == one}  # no NaN
        about = json.text(json.plain({"class": name, "params": params}, "value.get_params()"))
        booster.set_attr(**{_ATTRIBUTE: about})
        return bytes(booster.save_raw("json"))

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The booster or estimator; raises CorruptData."""
        xgboost = library("xgboost", "xgboost")
        raw = content.read()
        try:
            stdlib_json.loads(raw)
            booster = xgboost.Booster(model_file=bytearray(raw))
            about = booster.attr(_ATTRIBUTE)
            if about is None:
                return booster
            told: Any = json.decode(about.encode())
            kind = getattr(xgboost, told["class"])
            if not issubclass(kind, xgboost.XGBModel):
                raise TypeError("no estimator")
            booster.set_attr(**{_ATTRIBUTE: None})
            estimator = kind(**told["params"])
            estimator.load_model(bytearray(booster.save_raw("json")))
            estimator.set_params(**told["params"])
        except GitmlError:
            raise
        except Exception as error:
            raise CorruptData("not a model of xgboost") from error
        return estimator

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Class, rounds, and the features by name or number."""
        booster = value if hasattr(value, "num_boosted_rounds") else value.get_booster()
        names: list[JSON] = list(booster.feature_names or ())
        return {
            "class": type_name(value),
            "rounds": booster.num_boosted_rounds(),
            "features": shown(names) if names else booster.num_features(),
        }


class LightgbmMaterializer(Materializer):
    """``lightgbm.Booster``."""

    name = "lightgbm"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The text of all rounds, at which the best iteration stands, too."""
        text: str = value.model_to_string(num_iteration=-1)
        body, end = _split(text)
        line = f"gitml best_iteration={value.best_iteration} sha256={_sha256(text)}\n"
        return (body + line + end).encode()

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The booster; raises CorruptData."""
        lightgbm = library("lightgbm", "lightgbm")
        try:
            body, end = _split(content.read().decode())
            body, line = _split(body)
            mark, best, digest = line.split()
            if mark != "gitml" or digest != f"sha256={_sha256(body + end)}":
                raise ValueError("another digest")
            booster = lightgbm.Booster(model_str=body + end)
            booster.best_iteration = int(best.removeprefix("best_iteration="))
        except (ValueError, TypeError, lightgbm.basic.LightGBMError) as error:
            raise CorruptData("not a model of lightgbm") from error
        return booster

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Trees, and the features by name."""
        names: list[JSON] = list(value.feature_name())
        return {"trees": value.num_trees(), "features": shown(names)}


def _split(text: str) -> tuple[str, str]:
    """A text without its last line, and that line."""
    cut = text.rstrip("\n").rfind("\n") + 1
    return text[:cut], text[cut:]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
