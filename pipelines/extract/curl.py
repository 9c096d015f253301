"""The line that repeats a request in a shell, secrets hidden.

A secret that came from the environment is the name of its variable (`$SHOP_TOKEN`),
so the line works where that is set; any other is `***`.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from urllib.parse import parse_qsl, quote, urlsplit

Refer = Callable[[str], list[tuple[str, str]]]
"""Cuts a text into pieces: some that may be seen, each with what stands for the secret behind it, if any."""

MASK = "***"
_TELLING = re.compile(r"(access_?token|api_?key|secret|passw(or)?d|signature|^sig|^auth|authorization)$", re.I)
_OURS = frozenset({"connection", "content-length", "accept-encoding"})


def curl_line(  # noqa: PLR0913  # all that a request is made of
    method: str, url: str, headers: Mapping[str, str], body: bytes | None, *, secret: Collection[str], refer: Refer
) -> str:
    """The command that sends the same; headers and parameters named in *secret* are hidden whatever they hold."""
    hidden = {name.lower() for name in secret}
    words = ["curl", "--compressed"]
    words += [] if method == ("GET" if body is None else "POST") else ["--request", method]
    for name, value in headers.items():
        if name.lower() not in _OURS:
            words += _header(name, value, hidden, refer)
    if body is not None:
        words += ["--data-raw", _quoted(refer(body.decode("utf-8", "replace")))]
    return " ".join([*words, _quoted(_address(url, hidden, refer))])


def _header(name: str, value: str, hidden: Collection[str], refer: Refer) -> list[str]:
    kind, _, credentials = value.partition(" ")
    if name.lower() == "authorization" and kind.lower() == "basic":
        user = base64.b64decode(credentials).decode("utf-8", "replace")
        return ["--user", _quoted(_concealed(user, refer))]
    pieces = refer(value)
    if name.lower() in hidden:
        scheme, rest = (f"{kind} ", credentials) if credentials else ("", value)
        pieces = [(scheme, ""), *_concealed(rest, refer)]
    return ["--header", _quoted([(f"{name}: ", ""), *pieces])]


def _address(url: str, hidden: Collection[str], refer: Refer) -> list[tuple[str, str]]:
    """*url* in pieces, value for value."""
    parts = urlsplit(url)
    pieces = refer(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")
    for number, (name, value) in enumerate(parse_qsl(parts.query, keep_blank_values=True)):
        told = _concealed(value, refer) if name.lower() in hidden or _TELLING.search(name) else refer(value)
        pieces.append((f"{'&' if number else '?'}{quote(name, safe='[]')}=", ""))
        pieces += [(quote(text, safe="/:,@[]"), reference) for text, reference in told]
    return pieces


def _concealed(value: str, refer: Refer) -> list[tuple[str, str]]:
    """*value* in pieces, hidden as a whole where none of it is known as a secret."""
    pieces = refer(value)
    return pieces if any(reference for _, reference in pieces) else [("", MASK)]


def _quoted(pieces: Iterable[tuple[str, str]]) -> str:
    """One word of a shell: in double quotes where variables are named, so that they are replaced."""
    pieces = list(pieces)
    if not any(reference.startswith("$") for _, reference in pieces):
        return shlex.quote("".join(text + reference for text, reference in pieces))
    inside = "".join(re.sub(r'([\\"`$])', r"\\\1", text) + reference for text, reference in pieces)
    return f'"{inside}"'
