"""SHA-256 of a few bytes without OpenSSL, which takes a hook longer to load than all else."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def sha256_hex(data: bytes) -> str:
    """The digest in hexadecimal digits."""
    made: Any = _sha256()(data)
    return str(made.hexdigest())


def _sha256() -> Any:
    """Python's own implementation, which stands in another module since 3.12, or OpenSSL's."""
    for name in ("_sha2", "_sha256"):
        try:
            return import_module(name).sha256
        except ImportError:
            continue
    return import_module("hashlib").sha256
