"""Texts that say what they are: a page, a report, a table. Stored as the plain UTF-8 of their text.

The bytes are the document itself, so that a browser or a spreadsheet opens what `gitml artifact
get` writes; which of them it is stands in the record, as the type of the output.
"""

from __future__ import annotations

from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules, type_name


class _Document(str):
    """A text in a format of its own."""

    __slots__ = ()


class HTMLString(_Document):
    """A page in HTML: ``return HTMLString(report)`` shows as one."""

    __slots__ = ()


class MarkdownString(_Document):
    """A text in Markdown."""

    __slots__ = ()


class CSVString(_Document):
    """A table as comma-separated values."""

    __slots__ = ()


class SVGString(_Document):
    """A picture in SVG, as a stored matplotlib figure comes back; notebooks show it."""

    __slots__ = ()

    def _repr_svg_(self) -> str:
        return str(self)


_KINDS: dict[str, type[_Document]] = {
    "html": HTMLString,
    "markdown": MarkdownString,
    "csv": CSVString,
}
for _kind in (*_KINDS.values(), SVGString):
    _kind.__module__ = "gitml"  # where it is public: records name it so, whatever is imported


class _DocumentMaterializer(Materializer):
    """One kind of document; the bytes are its text in UTF-8."""

    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The text; raises UnsupportedValue for another kind, and for a lone surrogate."""
        if type(value) is not _KINDS[self.name]:
            raise UnsupportedValue(f"value is a {type_name(value)}, not a {self._title()}")
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedValue("value holds a lone surrogate, which is no text") from error

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The document; raises CorruptData for what is not UTF-8."""
        try:
            return _KINDS[self.name](content.read().decode())
        except UnicodeDecodeError as error:
            raise CorruptData(f"not a {self._title()}: its bytes are no text") from error

    def metadata(self, value: Any) -> dict[str, JSON]:
        """The number of lines."""
        return {"lines": len(value.splitlines())}

    def _title(self) -> str:
        return _KINDS[self.name].__name__


class HtmlMaterializer(_DocumentMaterializer):
    """`HTMLString`."""

    name = "html"


class MarkdownMaterializer(_DocumentMaterializer):
    """`MarkdownString`."""

    name = "markdown"


class CsvMaterializer(_DocumentMaterializer):
    """`CSVString`."""

    name = "csv"
