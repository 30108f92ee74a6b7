"""The layout of packs and of their indexes: magic numbers, kinds of entries, and rows."""

from __future__ import annotations

import struct

VERSION = 1
PACK_MAGIC = b"gitmlpck"
INDEX_MAGIC = b"gitmlidx"
MARK = b"\x89GML"
"""How every entry of a pack begins."""

CHUNK = 1
BLOB = 2
TREE = 3

PACK_HEADER = struct.Struct("<8sII")
ENTRY = struct.Struct("<4sBBHQQ32s32s")
CHECK = 8
ENTRY_HEADER = ENTRY.size + CHECK
NO_BASE = bytes(32)
OBJECT = struct.Struct("<QQ")
"""What the payload of an object's entry begins with: plain bytes, and entries of a tree."""
PART = struct.Struct("<32sQ")
WHOLE = struct.Struct("<QQ32sQ")
"""The payload of a blob of one chunk: `OBJECT` and its only `PART`."""

INDEX_HEADER = struct.Struct("<8sIIQQQ")
FAN_OUT = struct.Struct("<256I")
CHUNK_ROW = struct.Struct("<QQQB7x")
OBJECT_ROW = struct.Struct("<QQQQB7x")
