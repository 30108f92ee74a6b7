"""The types of columns, as what can be done with their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

MAX_DEPTH = 60
"""How deep the types of columns that can be compared are nested."""


def is_text(kind: pa.DataType) -> bool:
    """Whether values are texts or bytes."""
    import pyarrow.types as types

    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
    )


def is_plain(kind: pa.DataType) -> bool:
    """Whether values of this type have a size of their own, and can be compared as they are."""
    import pyarrow.types as types

    return bool(
        types.is_boolean(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_temporal(kind)
    )


def is_number(kind: pa.DataType) -> bool:
    """Whether values can be counted with."""
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def is_dictionary(kind: pa.DataType) -> bool:
    """Whether values stand once, and rows name them."""
    import pyarrow.types as types

    return bool(types.is_dictionary(kind))


def is_fraction(kind: pa.DataType) -> bool:
    """Whether values are such as no key has."""
    import pyarrow.types as types

    return bool(types.is_floating(kind) or types.is_boolean(kind))


def is_list(kind: pa.DataType, depth: int = 0) -> bool:
    """Whether values are lists of what has a size of its own: their texts are not much larger."""
    import pyarrow.types as types

    if depth > MAX_DEPTH:
        return False
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return is_list(kind.value_type, depth + 1)
    if types.is_struct(kind):
        return all(is_list(kind.field(n).type, depth + 1) for n in range(kind.num_fields))
    return bool(types.is_null(kind)) or is_plain(kind) or is_text(kind)


def name_of(kind: pa.DataType) -> str:
    """A type as people write it; a dictionary is how it is stored, not what it is."""
    text = str(kind.value_type if is_dictionary(kind) else kind)
    return text if len(text) <= 60 else f"{text[:59]}…"
