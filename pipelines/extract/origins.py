"""Which origins a request may reach, and which of them see credentials.

The configured origin is the one that counts: where an origin is mapped to a
local stand-in, links in either form are taken, and requests are known by the
configured form everywhere but on the wire.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from pipelines.errors import OriginError

_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """Scheme, host and port of *url*, the port only where it is not the scheme's own.

    Raises:
        ValueError: Not http(s), no host, or a user name in the URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("needs a URL that starts with https:// (or http://)")
    if "@" in parts.netloc:
        raise ValueError("a URL with a user name is refused; say `auth: {basic: ...}`")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or _PORTS[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port == _PORTS[parts.scheme] else f":{port}")


class Origins:
    """The origins of one connection."""

    def __init__(self, home: str, allowed: Mapping[str, bool], stand_ins: Mapping[str, str] | None = None) -> None:
        """*home* is base_url's origin; *allowed* are others, and whether they see credentials."""
        self._home = f"{home}/"  # most URLs, told by their beginning
        self._trusted = {home, *(origin for origin, sees in allowed.items() if sees)}
        self._allowed = {home, *allowed}
        pairs = {origin_of(live): origin_of(local) for live, local in (stand_ins or {}).items()}
        self._local = {live: local for live, local in pairs.items() if live in self._allowed}
        self._live = {local: live for live, local in self._local.items()}

    def configured(self, url: str) -> str:
        """*url* in its configured origin.

        Raises:
            OriginError: The configuration allows no request there.
        """
        if url.startswith(self._home):
            return url
        origin = _origin(url)
        if origin in self._live:
            return self._live[origin] + url[_origin_length(url) :]
        if origin in self._allowed:
            return origin + url[_origin_length(url) :]
        raise OriginError(
            f"a link leads to {origin}, which is neither base_url's origin nor allowed",
            "if it is right, list the origin in `allow_hosts`",
        )

    def on_the_wire(self, url: str) -> str:
        """Where *url*, in its configured origin, is really asked."""
        if not self._local:
            return url
        origin = _origin(url)
        return self._local[origin] + url[_origin_length(url) :] if origin in self._local else url

    def sees_credentials(self, url: str) -> bool:
        """Whether credentials and common headers go to *url*."""
        return url.startswith(self._home) or _origin(url) in self._trusted


def _origin(url: str) -> str:
    try:
        return origin_of(url)
    except ValueError as error:
        raise OriginError(f"a link is not to be followed: {error}", "look at the API's answer") from None


def _origin_length(url: str) -> int:
    parts = urlsplit(url)
    return len(parts.scheme) + len("://") + len(parts.netloc)
