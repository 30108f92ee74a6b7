"""Pillow images as PNG that every viewer opens and whose bytes follow from the pixels alone.

**Format 1.** A PNG with the chunks IHDR, PLTE for a palette, one IDAT, and IEND; rows without
filters, in stored blocks of deflate: the store compresses better, and no version of zlib decides
about the digest. Kept are mode, size, pixels and palette. What else an image carries (where it was
opened from, EXIF, resolution) is not.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from gitml.errors import CorruptData, UnsupportedValue
from gitml.materializers.base import JSON, Content, Materializer, Rules, library

_HEAD = b"\x89PNG\r\n\x1a\n"
# Mode → bits a sample, PNG's colour type, bytes a pixel (0: eight pixels a byte).
_MODES = {
    "1": (1, 0, 0),
    "L": (8, 0, 1),
    "P": (8, 3, 1),
    "LA": (8, 4, 2),
    "RGB": (8, 2, 3),
    "RGBA": (8, 6, 4),
    "I;16": (16, 0, 2),
}
_BLOCK = 65535


class ImageMaterializer(Materializer):
    """``PIL.Image.Image``, whatever it was opened from."""

    name = "image"
    version = 1

    def save(self, value: Any, rules: Rules) -> bytes:
        """The PNG; raises UnsupportedValue for modes that PNG does not have."""
        if value.mode not in _MODES or 0 in value.size:
            raise UnsupportedValue(
                f"value is an image of mode {value.mode} and size {value.size}, which PNG lacks",
                hint="return `image.convert('RGB')`, or the pixels as `numpy.asarray(image)`",
            )
        if "transparency" in value.info:
            raise UnsupportedValue(
                "value has a transparent colour beside its pixels",
                hint="return `image.convert('RGBA')`",
            )
        depth, colours, width = _MODES[value.mode]
        palette = b""
        if value.mode == "P":
            palette = bytes(value.getpalette("RGB") or ())[: 256 * 3]
            used = value.getextrema()[1] + 1
            palette = palette.ljust(used * 3, b"\0")
            if value.palette is not None and value.palette.mode != "RGB":
                raise UnsupportedValue(
                    "value has a palette that is not RGB", hint="return `image.convert('RGBA')`"
                )
        row = width * value.width or (value.width + 7) // 8
        pixels = value.tobytes()
        if depth == 16:
            swapped = bytearray(pixels)
            swapped[0::2], swapped[1::2] = pixels[1::2], pixels[0::2]
            pixels = bytes(swapped)
        rows = b"".join(b"\0" + pixels[start : start + row] for start in range(0, len(pixels), row))
        header = struct.pack(">IIBBBBB", value.width, value.height, depth, colours, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"PLTE", palette), (b"IDAT", _stored(rows)), (b"IEND", b"")]
        return _HEAD + b"".join(_chunk(*one) for one in chunks if one[1] or one[0] == b"IEND")

    def load(self, content: Content, wanted: type | None, rules: Rules) -> object:
        """The image, in memory; raises CorruptData."""
        image = library("PIL.Image", "image")
        raw = content.read()
        if not raw.startswith(_HEAD):
            raise CorruptData("not an image in PNG format")
        try:
            with image.open(io.BytesIO(raw), formats=["PNG"]) as opened:
                opened.load()
                made = opened.copy()
        except Exception as error:  # Pillow raises what its decoders raise
            raise CorruptData("not an image in PNG format") from error
        made.info.clear()
        return made

    def metadata(self, value: Any) -> dict[str, JSON]:
        """Width and height in pixels, and the mode."""
        return {"width": value.width, "height": value.height, "mode": value.mode}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _stored(data: bytes) -> bytes:
    """A zlib stream of the data, not compressed."""
    parts = [b"\x78\x01"]
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        parts += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join(parts) + struct.pack(">I", zlib.adler32(data))
