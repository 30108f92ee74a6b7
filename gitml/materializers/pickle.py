r"""Any Python object through pickle: only where the repository allows it, and then it shows.

Loading a pickle runs whatever its author put into it, so both saving and loading need
``[materializers] pickle = true``. Bytes: the line ``gitml-pickle 1\n``, then a pickle of protocol
5. Neither law of this layer is promised: equal values may give other bytes, and a value comes back
as its own ``__reduce__`` sees fit.
"""

from __future__ import annotations

import pickle
from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules, type_name

_HEAD = b"gitml-pickle 1\n"
_HINT = "`pickle = true` below `[materializers]` in gitml.toml allows it, for artifacts you trust"


class PickleMaterializer(Materializer):
    """The last resort for values of any type, asked for by name or when the rules allow pickle."""

    name = "pickle"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The pickle; raises UnsupportedValue when it is not allowed or the value has none."""
        if not rules.allow_pickle:
            raise UnsupportedValue(
                f"a value of type {type_name(value)} would need pickle, which is not allowed here",
                hint=_HINT,
            )
        try:
            return _HEAD + pickle.dumps(value, protocol=5)
        except Exception as error:
            raise UnsupportedValue(
                f"a value of type {type_name(value)} cannot be pickled"
            ) from error

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The value; raises UnsupportedValue when pickle is not allowed, before a byte is read."""
        if not rules.allow_pickle:
            raise UnsupportedValue(
                "this artifact is a pickle, and loading it would run code that it brings along",
                hint=_HINT,
            )
        raw = content.read()
        if not raw.startswith(_HEAD):
            raise CorruptData("not a pickle of gitml's format 1")
        try:
            return pickle.loads(raw[len(_HEAD) :])  # noqa: S301 (the rules allow it)
        except Exception as error:
            raise CorruptData("the pickled value cannot be rebuilt here") from error

    def metadata(self, value: Any) -> dict[str, JSON]:
        """``pickle: true``, so that every listing can show it, and the type."""
        return {"pickle": True, "type": type_name(value)}
