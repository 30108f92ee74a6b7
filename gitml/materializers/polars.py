"""Polars frames and series as one canonical Arrow IPC file.

**Format 1.** The file of `gitml.materializers.arrow`; its schema's metadata has one key,
``gitml.polars``, which is ``frame`` or ``series``. What is written is read back and compared, with
its dtypes, before it is stored: what Arrow cannot say (objects, lazy frames) is refused.
"""

from __future__ import annotations

from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers import arrow
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name

_KEY = b"gitml.polars"


class PolarsMaterializer(Materializer):
    """``polars.DataFrame`` and ``polars.Series``, exact or refused."""

    name = "polars"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The Arrow IPC file; raises UnsupportedValue for what would not come back."""
        pl = library("polars", "polars")
        if type(value) not in (pl.DataFrame, pl.Series):
            raise UnsupportedValue(f"value is a {type_name(value)}, no frame and no series")
        series = type(value) is pl.Series
        frame = value.to_frame() if series else value
        for name, dtype in frame.schema.items():
            if dtype == pl.Object:
                raise UnsupportedValue(
                    f"value[{name!r}] has dtype Object, whose elements are Python objects",
                    hint="cast it to a dtype of polars before it is returned",
                )
        table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        raw = arrow.write(table.replace_schema_metadata({_KEY: b"series" if series else b"frame"}))
        again = _read(pl, raw)
        if again.to_frame().schema != frame.schema if series else again.schema != frame.schema:
            raise UnsupportedValue(
                f"this {type_name(value)} has a dtype that Arrow does not bring back",
                hint="cast the column, for example with `.cast(polars.String)`",
            )
        if not again.equals(value, null_equal=True):
            raise UnsupportedValue(f"this {type_name(value)} would not come back as it is")
        return raw

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The frame or series; raises CorruptData."""
        return _read(library("polars", "polars"), content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Rows, and the columns as pairs of name and dtype."""
        if hasattr(value, "columns"):
            pairs: list[JSON] = [[name, str(dtype)] for name, dtype in value.schema.items()]
            return {"rows": value.height, "columns": shown(pairs)}
        return {"rows": len(value), "name": value.name, "dtype": str(value.dtype)}


def _read(pl: Any, raw: bytes) -> Any:
    table = arrow.read(raw)
    kind = (table.schema.metadata or {}).get(_KEY)
    if kind not in (b"frame", b"series") or (kind == b"series" and table.num_columns != 1):
        raise CorruptData("an Arrow table that is not of polars")
    try:
        table.validate(full=True)  # polars believes all that is said of the buffers
        _check_names(table.schema)
        frame = pl.from_arrow(table.replace_schema_metadata(None))
    except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
        raise CorruptData("an Arrow table that polars does not take") from error
    except pl.exceptions.PanicException as error:  # which is no Exception
        raise CorruptData("an Arrow table that polars cannot stand") from error
    return frame.to_series() if kind == b"series" else frame


def _check_names(fields: Any) -> None:
    """Raise UnicodeDecodeError for the name of a column, or of a field of one, that is no text."""
    for one in fields:
        str(one.name)
        _check_names(one.type.field(at) for at in range(one.type.num_fields))
