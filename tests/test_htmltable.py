from __future__ import annotations

from gitml.htmltable import table


def test_every_text_is_escaped_and_what_is_absent_is_empty() -> None:
    shown = table(["<b>"], [["<script>"], [None], [0.123456789]], "a & b")
    assert shown == (
        "<table><caption>a &amp; b</caption><thead><tr><th>&lt;b&gt;</th></tr></thead><tbody>"
        "<tr><td>&lt;script&gt;</td></tr><tr><td></td></tr><tr><td>0.123457</td></tr></tbody></table>"
    )
