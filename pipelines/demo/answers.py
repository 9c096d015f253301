"""What the answers of all bundled APIs have in common."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response


class Json(Response):
    """A JSON answer, numbers as short as they can be written exactly."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of *content*."""
        return orjson.dumps(content)


def whole_number(text: str) -> int | None:
    """The number in *text*, or None where it is not a plain non-negative whole one."""
    return int(text) if text.isascii() and text.isdigit() else None
