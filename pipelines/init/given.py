"""What was given to go into the file, a secret by the name of a variable only.

One that was given literally, or as the default of a variable, is kept beside
the file: to ask with, and to tell which variables have to be set.
"""

from __future__ import annotations

import re

from msgspec import Struct, field

from pipelines.batch import Json
from pipelines.config.references import is_literal_secret
from pipelines.init.writing import Reference

SECRET = re.compile(
    r"(?:^|[_-]|(?<=[a-z])(?=[A-Z]))(?i:(api_?key|app_?id|key|token|secret|password|passwd|pass|authorization|salt"
    r"|sig|signature)s?)$|^(?i:hapikey)$"
)
REFERENCE = re.compile(r"\$\{[A-Za-z_]\w*(:-[^}]*)?\}")
_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*):-([^}]+)\}")


class Given(Struct):
    """The parts of the file's top while they are found."""

    name: str
    top: dict[str, Json] = field(default_factory=dict)
    literal: dict[str, str] = field(default_factory=dict)
    """Secrets that were given, by the variables that stand for them."""

    defaults: dict[str, str] = field(default_factory=dict)
    """Secrets that were given as defaults, by their variables."""

    def reference(self, value: str, word: str, *, is_secret: bool = True) -> Reference:
        """*value* of what is called *word*, by reference where it was given literally."""
        if REFERENCE.search(value):
            return Reference(_DEFAULT.sub(lambda match: self._named(match, is_secret), value))
        first = variable = f"{self.name}_{re.sub(r'[^A-Za-z0-9]+', '_', word)}".upper()
        number = 2
        while self.literal.get(variable, value) != value:
            variable, number = f"{first}_{number}", number + 1
        self.literal[variable] = value
        return Reference(f"${{{variable}}}")

    def posted(self, value: Json, *keys: str | int) -> Json:
        """What of a body is at *keys*, each secret in it by reference."""
        if isinstance(value, dict):
            return {key: self.posted(item, *keys, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self.posted(item, *keys, place) for place, item in enumerate(value)]
        is_secret = isinstance(value, str) and bool(value) and is_literal_secret(("body", *keys))
        if is_secret or (isinstance(value, str) and REFERENCE.search(value)):
            word = next(key for key in reversed(keys) if isinstance(key, str))
            return self.reference(value, word, is_secret=is_secret)
        return value

    def _named(self, match: re.Match[str], is_secret: bool) -> str:
        """A reference without its default, if that is a secret."""
        if not is_secret and not SECRET.search(match[1]):
            return match[0]
        self.defaults[match[1]] = match[2]
        return f"${{{match[1]}}}"
