from __future__ import annotations

from tests.code.project import project

__all__ = ["project"]
