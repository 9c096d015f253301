"""requests, without what it imports to guess the encoding of a text: nobody here asks for one.

`charset_normalizer` takes 30 ms to import.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from pipelines.later import Later

_GUESSES = "charset_normalizer"


def _stand_in() -> Later | None:
    """What requests gets for it; None where it would get nothing, or has it already."""
    if {"requests", _GUESSES, "chardet"} & sys.modules.keys():
        return None
    try:
        later = Later(_GUESSES)
        later.__version__ = version("charset-normalizer")  # type: ignore[attr-defined]  # requests looks whether it fits
    except PackageNotFoundError:
        return None
    return later


if stand_in := _stand_in():
    sys.modules[_GUESSES] = stand_in
    try:
        import requests
    finally:
        del sys.modules[_GUESSES]
import requests  # noqa: E402
from requests.adapters import HTTPAdapter  # noqa: E402

__all__ = ["HTTPAdapter", "requests"]
