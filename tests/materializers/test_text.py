from __future__ import annotations

from collections.abc import Mapping

import pytest

from gitml import CSVString, HTMLString, MarkdownString
from gitml.errors import CorruptData
from gitml.materializers.base import Materializer, type_name
from gitml.materializers.text import CsvMaterializer, HtmlMaterializer, MarkdownMaterializer
from gitml.testing.materializer_suite import MaterializerSuite, SavedContent


class TestHtml(MaterializerSuite):
    materializer = HtmlMaterializer
    library = "numpy"
    any_bytes = True

    def values(self, folder: object) -> Mapping[str, object]:
        return {"empty": HTMLString(""), "page": HTMLString("<p>Größe: 3 µm</p>\r\n")}

    def refused(self) -> Mapping[str, tuple[object, str]]:
        return {
            "plain": ("<p>", "is a str, not a HTMLString"),
            "another": (CSVString("a"), "is a gitml.CSVString"),
            "surrogate": (HTMLString("\udc80"), "lone surrogate"),
        }


class TestMarkdown(MaterializerSuite):
    materializer = MarkdownMaterializer
    library = "numpy"
    any_bytes = True

    def values(self, folder: object) -> Mapping[str, object]:
        return {"text": MarkdownString("# Birds\n"), "other": MarkdownString("# Fish\n")}


class TestCsv(MaterializerSuite):
    materializer = CsvMaterializer
    library = "numpy"
    any_bytes = True

    def values(self, folder: object) -> Mapping[str, object]:
        return {"table": CSVString("a,b\n1,2\n")}


@pytest.mark.parametrize("kind", [HtmlMaterializer, MarkdownMaterializer, CsvMaterializer])
def test_bytes_that_are_no_text(kind: type[Materializer]) -> None:
    with pytest.raises(CorruptData, match="no text"):
        kind().load(SavedContent(b"\xff"), None, TestCsv.rules)


def test_the_bytes_are_the_document_and_the_type_is_public() -> None:
    assert CsvMaterializer().save(CSVString("a,b\n"), TestCsv.rules) == b"a,b\n"
    assert type_name(CSVString("")) == "gitml.CSVString"
    assert HtmlMaterializer().metadata(HTMLString("a\nb")) == {"lines": 2}
