"""pandas frames and series as one Arrow IPC file with a description of what Arrow does not say.

**Format 1.** A canonical Arrow IPC file (see `gitml.materializers.arrow`) with one field a column,
named by its label, then one field for each level of the row index that is not a plain range. The
schema's metadata has one key, ``gitml.pandas``: canonical JSON (`gitml.materializers.json`) with

- ``type``: ``"frame"`` or ``"series"``; ``attrs`` when there are any;
- ``arrays``: for each field its *dtype description*;
- ``index``, and for frames ``columns``: an *index description*. Column labels have another length
  than the rows, so they lie in ``labels``, an Arrow IPC file of their own in base64;
- for series ``name``.

A *dtype description* is the dtype's name where that says all (``"int64"``, ``"datetime64[us]"``,
``"Int64"``), otherwise an object whose ``kind`` is ``object``, ``string``, ``arrow``, ``datetime``,
``category``, ``period`` or ``interval``. Categories and the levels of an index are Arrow
dictionaries; where their values are categories again, a struct with the one field ``category``
stands between, since Arrow files hold no dictionary of dictionaries. pandas' own metadata of Arrow
files is not used: it holds library versions and loses frequencies, label types and the storage of
strings.

What is written is read back and compared before it is stored: dtypes, values, index, categories
and their order, time zones, frequencies. Refused: object columns of mixed types, or of others than
str, bytes, bool, int, float and date; sparse, complex and third-party dtypes; subclasses.
"""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

from gitml.errors import CorruptData, GitmlError, UnsupportedValue
from gitml.materializers import arrow, json
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, shown, type_name

_KEY = b"gitml.pandas"
_WRAPPED = "category"
_MASKED = frozenset(
    {"Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"}
    | {"Float32", "Float64", "boolean"}
)


class PandasMaterializer(Materializer):
    """``pandas.DataFrame`` and ``pandas.Series``, exact or refused."""

    name = "pandas"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The Arrow IPC file; raises UnsupportedValue with the column, as ``value["a"]``."""
        pd = library("pandas", "pandas")
        if type(value) not in (pd.DataFrame, pd.Series):
            raise UnsupportedValue(f"value is a {type_name(value)}, a subclass with more to it")
        if not value.flags.allows_duplicate_labels:
            raise UnsupportedValue(
                "value has the flag `allows_duplicate_labels=False`, which is lost"
            )
        raw = _Writer(pd).write(value)
        self._compare(pd, value, raw)
        return raw

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The frame or series, with memory of its own; raises CorruptData."""
        return _read(library("pandas", "pandas"), content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Rows, the index's type, and the columns as pairs of label and dtype."""
        facts: dict[str, JSON] = {"rows": len(value), "index": str(value.index.dtype)}
        if value.ndim == 1:
            return {**facts, "name": str(value.name), "dtype": str(value.dtype)}
        pairs: list[JSON] = [
            [str(label), str(dtype)]
            for label, dtype in zip(value.columns, value.dtypes, strict=True)
        ]
        return {**facts, "columns": shown(pairs)}

    def _compare(self, pd: Any, value: Any, raw: bytes) -> None:
        """Raise UnsupportedValue unless the bytes give back what was saved."""
        same = pd.testing.assert_frame_equal if value.ndim == 2 else pd.testing.assert_series_equal
        exact = {"check_column_type": True} if value.ndim == 2 else {}
        try:
            same(_read(pd, raw), value, check_exact=True, check_index_type=True, **exact)
        except (AssertionError, GitmlError, TypeError, ValueError) as error:
            raise UnsupportedValue(
                f"this {type_name(value)} would not come back as it is",
                hint="`reset_index` and plain dtypes help; or return an Arrow table",
            ) from error


class _Writer:
    """Collects Arrow arrays and their descriptions while it walks one value."""

    def __init__(self, pd: Any) -> None:
        self._pd = pd
        self._pa = library("pyarrow", "pandas")
        self._numpy = library("numpy", "pandas")
        self._fields: list[tuple[str, Any]] = []
        self._kinds: list[JSON] = []

    def write(self, value: Any) -> bytes:
        """The whole file of a frame or series."""
        about: dict[str, JSON] = {"type": "frame" if value.ndim == 2 else "series"}
        if value.ndim == 2:
            for position, label in enumerate(value.columns):
                self._add(str(label), value.iloc[:, position].array, f"value[{label!r}]")
            labels = _Writer(self._pd)
            about["columns"] = labels.index(value.columns, "value.columns")
            about["labels"] = base64.b64encode(labels.file({})).decode()
        else:
            about["name"] = json.plain(value.name, "value.name")
            self._add(str(value.name), value.array, "value")
        about["index"] = self.index(value.index, "value.index")
        if value.attrs:
            about["attrs"] = json.plain(value.attrs, "value.attrs")
        return self.file(about)

    def file(self, about: dict[str, JSON]) -> bytes:
        """The arrays so far as an IPC file that is described by ``about``."""
        text = json.text({**about, "format": 1, "arrays": self._kinds})
        names = [name.encode(errors="backslashreplace").decode() for name, _ in self._fields]
        table = self._pa.Table.from_arrays(
            [array for _, array in self._fields], names=names, metadata={_KEY: text.encode()}
        )
        return arrow.write(table)

    def index(self, index: Any, where: str) -> JSON:
        """The description of an index, its values added as fields where they are needed."""
        pd = self._pd
        if type(index) is pd.MultiIndex:
            levels: list[JSON] = []
            for position, level in enumerate(index.levels):
                about, values = self._labels(level, f"{where}.levels[{position}]")
                levels.append(about)
                field = self._dictionary(index.codes[position], values)
                self._fields.append((f"index {position}", field))
                self._kinds.append(None)
            names = json.plain(list(index.names), f"{where}.names")
            return {"kind": "multi", "names": names, "levels": levels}
        name = json.plain(index.name, f"{where}.name")
        if type(index) is pd.RangeIndex:
            return {"kind": "range", "name": name, "range": _range(index)}
        about, values = self._labels(index, where)
        self._fields.append(("index", values))
        self._kinds.append(None)
        return {"kind": "plain", "name": name, "labels": about}

    def _add(self, name: str, values: Any, where: str) -> None:
        kind, array = self._array(values, where)
        self._fields.append((name, array))
        self._kinds.append(kind)

    def _labels(self, index: Any, where: str) -> tuple[JSON, Any]:
        """The values of an index without a name (a level, categories) and what else it is."""
        kind, array = self._array(index.array, where)
        about: dict[str, JSON] = {"values": kind}
        if type(index) is self._pd.RangeIndex:
            about["range"] = _range(index)
        if type(index) in (self._pd.DatetimeIndex, self._pd.TimedeltaIndex) and index.freq:
            about["freq"] = index.freq.freqstr
        return about, array

    def _dictionary(self, codes: Any, values: Any, ordered: bool = False) -> Any:
        """Codes that point into values, -1 for none; Arrow files hold no dictionary of one."""
        if self._pa.types.is_dictionary(values.type):
            values = self._pa.StructArray.from_arrays([values], [_WRAPPED])
        present = self._pa.array(codes, mask=self._numpy.asarray(codes) < 0)
        return self._pa.DictionaryArray.from_arrays(present, values, ordered=ordered)

    def _array(self, values: Any, where: str) -> tuple[JSON, Any]:
        """Dtype description and Arrow array of a column's or index's values."""
        pd, pa = self._pd, self._pa
        if type(values) is pd.arrays.NumpyExtensionArray:
            return self._plain(values.to_numpy(), where)
        dtype = values.dtype
        if isinstance(dtype, self._numpy.dtype):
            return self._plain(values.to_numpy(), where)
        if type(dtype) is pd.StringDtype:
            missing = "NA" if getattr(dtype, "na_value", pd.NA) is pd.NA else "nan"
            about: JSON = {"kind": "string", "storage": dtype.storage, "missing": missing}
            return about, self._joined(pa.array(values), where).cast(pa.large_string())
        if str(dtype) in _MASKED and type(dtype).__module__.partition(".")[0] == "pandas":
            return str(dtype), self._joined(pa.array(values), where)
        if type(dtype) is pd.ArrowDtype:
            return {"kind": "arrow"}, self._joined(pa.array(values), where)
        if type(dtype) is pd.DatetimeTZDtype:
            instants = pa.array(values.tz_convert(None).to_numpy())
            zoned = instants.cast(pa.timestamp(dtype.unit, "UTC"))
            return {"kind": "datetime", "unit": dtype.unit, "zone": _zone(dtype.tz, where)}, zoned
        if type(dtype) is pd.CategoricalDtype:
            return self._category(values, where)
        if type(dtype) is pd.PeriodDtype:
            freq = dtype.name.removeprefix("period[").removesuffix("]")
            return {"kind": "period", "freq": freq}, pa.array(values).storage
        if type(dtype) is pd.IntervalDtype:
            left, low = self._array(values.left.array, where)
            _, high = self._array(values.right.array, where)
            pair = pa.StructArray.from_arrays([low, high], ["left", "right"])
            return {"kind": "interval", "closed": dtype.closed, "of": left}, pair
        raise self._refused(dtype, where)

    def _plain(self, values: Any, where: str) -> tuple[JSON, Any]:
        """The same for NumPy's dtypes."""
        dtype = values.dtype
        if dtype.kind == "O":
            return self._objects(values, where)
        wide = dtype.kind == "f" and dtype.itemsize > 8
        if dtype.kind not in "biufmM" or wide or not dtype.isnative:
            raise self._refused(dtype, where)
        return str(dtype), self._pa.array(values, from_pandas=False)

    def _category(self, values: Any, where: str) -> tuple[JSON, Any]:
        dtype = values.dtype
        about, categories = self._labels(dtype.categories, f"{where}.categories")
        name = json.plain(dtype.categories.name, f"{where}.categories.name")
        dictionary = self._dictionary(values.codes, categories, bool(dtype.ordered))
        described = {"kind": "category", "ordered": dtype.ordered, "labels": about, "name": name}
        return described, dictionary

    def _objects(self, values: Any, where: str) -> tuple[JSON, Any]:
        """An object array whose values are of one type, apart from one kind of missing value."""
        pd, pa = self._pd, self._pa
        stored = {
            str: pa.large_string(),
            bytes: pa.large_binary(),
            bool: pa.bool_(),
            int: pa.int64(),
            float: pa.float64(),
            dt.date: pa.date32(),
        }
        missing = {type(None): "None", type(pd.NA): "NA", type(pd.NaT): "NaT"}
        kinds = {type(value) for value in values}
        no_number = all(value != value for value in values if type(value) is float)
        if no_number and not (kinds <= {float, *missing} and kinds & missing.keys()):
            missing[float] = "nan"  # NaN stands for a missing value, not for a float among others
        found = sorted(kinds - missing.keys(), key=type_name)
        gaps = sorted(missing[kind] for kind in kinds & missing.keys())
        if len(found) > 1 or len(gaps) > 1 or any(kind not in stored for kind in found):
            named = ", ".join([*(type_name(kind) for kind in found), *gaps])
            raise UnsupportedValue(
                f"{where} is an object column of {named}, of which Arrow keeps no exact copy",
                hint="give the column one dtype, for example with `astype` or `convert_dtypes`",
            )
        kind = found[0] if found else None
        about: JSON = {
            "kind": "object",
            "of": type_name(kind) if kind else None,
            "missing": gaps[0] if gaps else None,
        }
        items = [value if type(value) is kind else None for value in values]
        try:
            return about, pa.array(items, stored[kind] if kind else pa.null(), from_pandas=False)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise UnsupportedValue(f"{where} holds a value that Arrow cannot store") from error

    def _joined(self, array: Any, where: str) -> Any:
        return array.combine_chunks() if isinstance(array, self._pa.ChunkedArray) else array

    def _refused(self, dtype: Any, where: str) -> UnsupportedValue:
        return UnsupportedValue(
            f"{where} has dtype {dtype}, which has no exact form in Arrow",
            hint="convert the column to a plain dtype first, for example with `astype`",
        )


def _range(index: Any) -> JSON:
    return [index.start, index.stop, index.step]


def _zone(zone: Any, where: str) -> JSON:
    """A time zone as class and name; raises UnsupportedValue for one that has no name."""
    module = type(zone).__module__.partition(".")[0]
    if module == "zoneinfo" and zone.key:
        return ["zoneinfo", zone.key]
    if module == "pytz" and zone.zone:
        return ["pytz", zone.zone]
    if type(zone) is dt.timezone:
        offset = zone.utcoffset(None)
        if repr(zone) == repr(dt.timezone(offset)) and offset.microseconds == 0:
            return ["offset", offset.days * 86400 + offset.seconds]
    raise UnsupportedValue(
        f"{where} has the time zone {zone!r}, which has no name to find it by",
        hint="`tz_convert` it to a named zone or to UTC",
    )


def _read(pd: Any, raw: bytes) -> Any:
    """The frame or series of a file; raises CorruptData."""
    try:
        return _Reader(pd, raw).value()
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CorruptData("not a pandas value in gitml's format") from error


class _Reader:
    """One file, read back by its description."""

    def __init__(self, pd: Any, raw: bytes) -> None:
        self._pd = pd
        self._numpy = library("numpy", "pandas")
        self._table = arrow.read(raw)
        about = json.decode(self._table.schema.metadata[_KEY])
        if not isinstance(about, dict) or about["format"] != 1:
            raise CorruptData("a pandas value in a format of another version")
        self._about: dict[str, Any] = about
        self._arrays = [column.combine_chunks() for column in self._table.columns]

    def value(self) -> Any:
        """The frame or series."""
        pd, about = self._pd, self._about
        kinds = [(kind, array) for kind, array in zip(about["arrays"], self._arrays, strict=True)]
        columns = [self._array(kind, array) for kind, array in kinds if kind is not None]
        parts = [array for kind, array in kinds if kind is None]
        index = self.index(about["index"], parts)
        if about["type"] == "series":
            made = pd.Series(columns[0], index=index, dtype=columns[0].dtype, name=about["name"])
        else:
            labels = _Reader(pd, base64.b64decode(about["labels"], validate=True))
            series = [pd.Series(one, index=index, dtype=one.dtype, copy=False) for one in columns]
            made = pd.DataFrame(dict(enumerate(series)), index=index)
            made.columns = labels.index(about["columns"], labels._arrays)
        made.attrs = about.get("attrs", {})
        return made

    def index(self, about: Any, arrays: list[Any]) -> Any:
        """The index of a description, from its arrays in order."""
        pd = self._pd
        if about["kind"] == "range":
            return pd.RangeIndex(*about["range"], name=about["name"])
        if about["kind"] == "plain":
            return self._labels(about["labels"], arrays[0], about["name"])
        return pd.MultiIndex(
            levels=[
                self._labels(level, _dictionary_of(array), None)
                for level, array in zip(about["levels"], arrays, strict=True)
            ],
            codes=[self._codes(array) for array in arrays],
            names=about["names"],
        )

    def _labels(self, about: Any, array: Any, name: Any) -> Any:
        pd = self._pd
        if "range" in about:
            return pd.RangeIndex(*about["range"], name=name)
        values = self._array(about["values"], array)
        index = pd.Index(values, dtype=values.dtype, name=name)
        return type(index)(index, freq=about["freq"], name=name) if "freq" in about else index

    def _codes(self, array: Any) -> Any:
        return array.indices.fill_null(-1).to_numpy(zero_copy_only=False)

    def _array(self, kind: Any, array: Any) -> Any:
        """The pandas or NumPy array of a dtype description."""
        pd = self._pd
        if isinstance(kind, str):
            if kind in _MASKED:
                return pd.api.types.pandas_dtype(kind).__from_arrow__(array)
            values = self._numpy.array(array.to_numpy(zero_copy_only=False))
            if values.dtype != self._numpy.dtype(kind):
                raise CorruptData(f"a column of {values.dtype} that should be {kind}")
            return values
        if kind["kind"] == "object":
            return self._objects(kind, array)
        if kind["kind"] == "string":
            return self._string_dtype(kind).__from_arrow__(array)
        if kind["kind"] == "arrow":
            return pd.arrays.ArrowExtensionArray(array)
        if kind["kind"] == "datetime":
            naive = self._numpy.array(array.to_numpy(zero_copy_only=False))
            instants = pd.DatetimeIndex(naive).as_unit(kind["unit"])
            return instants.tz_localize("UTC").tz_convert(_named_zone(*kind["zone"])).array
        if kind["kind"] == "period":
            return pd.PeriodDtype(kind["freq"]).__from_arrow__(array)
        if kind["kind"] == "category":
            categories = self._labels(kind["labels"], _dictionary_of(array), kind["name"])
            dtype = pd.CategoricalDtype(categories, ordered=kind["ordered"])
            return pd.Categorical.from_codes(self._codes(array), dtype=dtype)
        if kind["kind"] == "interval":
            low, high = (self._array(kind["of"], array.field(side)) for side in ("left", "right"))
            return pd.arrays.IntervalArray.from_arrays(low, high, closed=kind["closed"])
        raise CorruptData(f"an unknown kind of column: {kind['kind']!r}")

    def _string_dtype(self, kind: Any) -> Any:
        pd = self._pd
        if kind["missing"] == "NA":
            return pd.StringDtype(kind["storage"])
        try:
            return pd.StringDtype(kind["storage"], na_value=self._numpy.nan)
        except TypeError as error:
            raise UnsupportedValue(
                f"the value has text columns as pandas 3 makes them, unknown to {pd.__version__}",
                hint="`pip install --upgrade pandas`",
            ) from error

    def _objects(self, kind: Any, array: Any) -> Any:
        pd = self._pd
        gap = {None: None, "None": None, "nan": self._numpy.nan, "NA": pd.NA, "NaT": pd.NaT}
        missing = gap[kind["missing"]]
        values = self._numpy.empty(len(array), dtype=object)
        values[:] = [missing if item is None else item for item in array.to_pylist()]
        return values


def _dictionary_of(array: Any) -> Any:
    """The values that a dictionary array's codes point into."""
    values = array.dictionary
    wrapped = [field.name for field in values.type] if values.type.num_fields == 1 else []
    return values.field(_WRAPPED) if wrapped == [_WRAPPED] else values


def _named_zone(kind: str, name: Any) -> Any:
    """The time zone that `_zone` described."""
    if kind == "offset":
        return dt.timezone(dt.timedelta(seconds=name))
    if kind == "zoneinfo":
        return library("zoneinfo", "pandas").ZoneInfo(name)
    if kind == "pytz":
        try:
            return library("pytz", "pandas").timezone(name)
        except GitmlError as error:
            raise UnsupportedValue(
                f"the time zone {name} was saved as one of pytz, which is not here",
                hint="`pip install pytz`",
            ) from error
    raise CorruptData(f"an unknown kind of time zone: {kind!r}")
