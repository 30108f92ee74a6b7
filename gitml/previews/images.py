"""The sizes of images, and small pictures of them for pages."""

from __future__ import annotations

import base64
import io
import struct
from typing import BinaryIO

from gitml.previews.preview import Preview

_SIDE = 256
_MAX_BYTES = 64 << 20
_MAX_PIXELS = 50_000_000
_MAX_PLAIN = 256 << 10
_MODES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
MAGIC = {b"\x89PNG": "png", b"GIF8": "gif", b"\xff\xd8\xff": "jpeg"}
"""How the files begin that are shown as pictures."""


def image(file: BinaryIO, size: int, *, picture: bool) -> Preview:
    """Format and size in pixels; with a ``picture`` a data URI of at most 256 pixels a side."""
    head = file.read(32)
    kind = next((name for magic, name in MAGIC.items() if head.startswith(magic)), "unknown")
    facts: dict[str, object] = {"format": kind}
    if kind == "png" and len(head) >= 26 and head[12:16] == b"IHDR":
        width, height, depth, colours = struct.unpack(">IIBB", head[16:26])
        facts |= {"width": width, "height": height}
        facts["pixels"] = f"{_MODES.get(colours, 'unknown')}, {depth} bits a sample"
    elif kind == "gif" and len(head) >= 10:
        width, height = struct.unpack("<HH", head[6:10])
        facts |= {"width": width, "height": height}
    elif kind == "jpeg":
        facts |= _jpeg_size(file)
    else:
        return Preview("image", facts, notes=("it is no image that is known here",))
    pixels = int(str(facts.get("width", 0))) * int(str(facts.get("height", 0)))
    shown = ""
    if picture and size <= _MAX_BYTES and pixels <= _MAX_PIXELS:
        file.seek(0)
        shown = _thumbnail(file.read(), kind)
    return Preview("image", facts, picture=shown)


def drawing(data: bytes, *, whole: bool, picture: bool) -> Preview:
    """An SVG: its first lines; for pages the picture itself, in which nothing runs."""
    from gitml.previews.texts import text

    found = text(data, whole=whole, facts={"format": "svg"})
    uri = _uri("svg+xml", data) if picture and whole and len(data) <= _MAX_PLAIN else ""
    return Preview("image", found.facts, text=found.text, notes=found.notes, picture=uri)


def _thumbnail(data: bytes, kind: str) -> str:
    """A small picture as a data URI, the image itself where Pillow is not here; else nothing."""
    try:
        from PIL import Image
    except ImportError:
        return _uri(kind, data) if len(data) <= _MAX_PLAIN else ""
    made = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data), formats=[kind.upper()]) as opened:
            opened.thumbnail((_SIDE, _SIDE))
            small = opened if opened.mode in ("1", "L", "LA", "P", "RGB", "RGBA") else None
            (small or opened.convert("RGB")).save(made, "PNG")
    except Exception:  # noqa: BLE001 - what a decoder raises for bytes that somebody made up
        return ""
    return _uri("png", made.getvalue())


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _jpeg_size(file: BinaryIO) -> dict[str, int]:
    """Width and height from the frame header, which stands behind the other segments."""
    file.seek(2)
    for _ in range(100):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF:
            break
        if head[1] in (0xC0, 0xC1, 0xC2, 0xC3):
            frame = file.read(5)
            if len(frame) < 5:
                break
            height, width = struct.unpack(">HH", frame[1:])
            return {"width": width, "height": height}
        file.seek(struct.unpack(">H", head[2:])[0] - 2, 1)
    return {}
