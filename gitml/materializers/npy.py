"""NumPy arrays and scalars as ``.npy``, NumPy's own and documented format, never with objects.

**Format 1.** A ``.npy`` file of the lowest version (1.0, 2.0, 3.0) that holds its header. A scalar
is the zero-dimensional array of it followed by the 12 bytes ``gitml:scalar``, which readers of
``.npy`` pass over, so that a scalar and an array of no dimensions have different digests. Padding
inside structured elements is zeroed, since it is memory that nobody wrote. C and Fortran order are
kept; any other layout is stored in C order.

Refused: object and variable-width string dtypes, subclasses (masked arrays, matrices, memory maps),
dtype metadata, and ``longdouble``, whose bytes mean other numbers on other machines.
"""

from __future__ import annotations

import io
import tokenize
from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules, library, type_name

_SCALAR = b"gitml:scalar"
_MAX_HEADER = 65536
# What NumPy's reader raises for a header or a length that make no sense.
_UNREADABLE = (
    *(ValueError, TypeError, LookupError, EOFError, ArithmeticError, MemoryError),
    *(SyntaxError, RecursionError, tokenize.TokenError),
)


class NpyMaterializer(Materializer):
    """Arrays of every dtype that has a meaning outside this process, and NumPy scalars."""

    name = "npy"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The ``.npy`` bytes; raises UnsupportedValue for what they cannot hold exactly."""
        numpy = library("numpy", "numpy")
        if not isinstance(value, numpy.generic):
            if type(value) is not numpy.ndarray:
                raise UnsupportedValue(
                    f"value is a {type_name(value)}, which is more than an array",
                    hint="return `numpy.asarray(value)` or the parts that matter",
                )
            return write_array(numpy, value)
        raw = write_array(numpy, numpy.asarray(value)) + _SCALAR
        again = _read(numpy, raw)
        shorter = value.dtype.kind in "SU" and len(again) != len(value)  # zeros at the end
        if shorter or type(again) is not type(value) or repr(again) != repr(value):
            raise UnsupportedValue(f"value is a {type_name(value)} that would come back as another")
        return raw

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The array, writable and with memory of its own, or the scalar; raises CorruptData."""
        return _read(library("numpy", "numpy"), content.read())

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Shape, dtype and size in bytes."""
        return {"shape": list(value.shape), "dtype": str(value.dtype), "size": value.nbytes}


def write_array(numpy: Any, array: Any, where: str = "value") -> bytes:
    """The ``.npy`` bytes of an array, its padding zeroed; raises UnsupportedValue at ``where``."""
    _check_dtype(array.dtype, where)
    if not _comes_back(numpy.lib.format, array.dtype):
        raise UnsupportedValue(f"{where} has dtype {array.dtype}, which `.npy` does not bring back")
    array = without_padding(numpy, array)
    for version in ((1, 0), (2, 0), (3, 0)):
        buffer = io.BytesIO()
        try:
            numpy.lib.format.write_array(buffer, array, version=version, allow_pickle=False)
        except ValueError:  # the header is too long for this version, or not in its alphabet
            continue
        raw = buffer.getvalue()
        if len(raw) - array.nbytes <= _MAX_HEADER:
            return raw
    raise UnsupportedValue(f"{where} has a dtype whose description is too long for `.npy`")


def without_padding(numpy: Any, array: Any) -> Any:
    """An equal array in which the bytes between the fields of a structured element are zero."""
    if array.dtype.names is None:
        return array
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    clean = numpy.zeros(array.shape, array.dtype, order="F" if fortran else "C")
    _copy_fields(clean, array)
    return clean


def _copy_fields(target: Any, source: Any) -> None:
    if source.dtype.names is None:
        target[...] = source
        return
    for name in source.dtype.names:
        _copy_fields(target[name], source[name])


def _check_dtype(dtype: Any, where: str) -> None:
    """Raise UnsupportedValue unless the bytes of each element mean the same on any machine."""
    if dtype.hasobject or dtype.kind not in "biufcmMSUV":
        raise UnsupportedValue(
            f"{where} has dtype {dtype}, whose elements are Python objects or no plain memory",
            hint="give it a fixed dtype, for example with `.astype(str)` or `.astype(float)`",
        )
    if dtype.subdtype is not None:
        _check_dtype(dtype.subdtype[0], where)
    if dtype.kind in "fc" and dtype.itemsize > (8 if dtype.kind == "f" else 16):
        raise UnsupportedValue(
            f"{where} has dtype {dtype}, whose bytes mean other numbers on other machines",
            hint="use `.astype(numpy.float64)` or `.astype(numpy.complex128)`",
        )
    for name in dtype.names or ():
        _check_dtype(dtype.fields[name][0], f"{where}[{name!r}]")
    if dtype.metadata is not None:
        raise UnsupportedValue(f"{where} has dtype {dtype} with metadata, which `.npy` drops")


def _comes_back(form: Any, dtype: Any) -> bool:
    try:
        return bool(form.descr_to_dtype(form.dtype_to_descr(dtype)) == dtype)
    except (ValueError, TypeError):
        return False


def _read(numpy: Any, raw: bytes) -> Any:
    stream = io.BytesIO(raw)
    try:
        array = numpy.lib.format.read_array(stream, allow_pickle=False, max_header_size=_MAX_HEADER)
    except _UNREADABLE as error:
        raise CorruptData("not an array in `.npy` format") from error
    rest = stream.read(len(_SCALAR) + 1)
    if rest not in (b"", _SCALAR) or (rest and array.shape):
        raise CorruptData("an array in `.npy` format with bytes behind it")
    return array[()] if rest else array
