"""`${NAME}`, `${NAME:-default}` and `prefect-secret:NAME`: values that a file only names.

Looked up once, never in what was found: the result stays text whatever it says.
What is found for `auth`, headers, salts or anything named like a key is a secret
and is handed to the redactor; so is a secret that was written out literally, as a default, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from msgspec import Struct, field

from pipelines.batch import Json
from pipelines.config.problems import Document, Keys, Problem, nearest

PREFECT = "prefect-secret:"
_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}|\$\{[^}]*\}?")
_SECRET_NAME = re.compile(
    r"(^|[_-])(api_?key|app_?id|key|token|secret|password|passwd|pass|authorization|salt|sig|signature|hapikey)s?$",
    re.I,
)
_SECRET_IN_AUTH = re.compile(r"^(bearer|basic|token|refresh_token|password|value|client_secret|secret|key)$")
_SECRET_IN_BODY = re.compile(
    r"(?:^|[_-]|(?<=[a-z])(?=[A-Z]))(?i:(?:api|access|private|secret)_?key|token|secret|password|passwd|authorization)$"
)
_PLAIN_IN_AUTH = re.compile(r"(url|^header|^param|^path|^scopes?)$")


class Lookup(Struct, frozen=True):
    """Where values are found: the environment (with `.env`), then the profile's variables.

    `prefect_secret` reads a Secret block by name; None where there is no Prefect. `unset_secret`
    says what stands for a secret variable that is not set; None where that is a problem.
    """

    env: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    prefect_secret: Callable[[str], str] | None = None
    unset_secret: Callable[[str], str] | None = None


class Resolved(Struct, frozen=True):
    """A document's data with every reference replaced; in `public` secrets keep their names."""

    data: Json
    secrets: frozenset[str]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    public: Json
    variables: Mapping[str, str] = field(default_factory=dict)
    """The secrets that came from the environment, by the names of their variables."""


def resolve(document: Document, lookup: Lookup) -> Resolved:
    """Replace the references in all texts of *document*; note those that lead nowhere."""
    reader = _Reader(document, lookup)
    data = reader.walk(document.data, ())
    return Resolved(
        data=data,
        secrets=frozenset(reader.secrets),
        problems=tuple(dict.fromkeys(reader.problems)),
        warnings=tuple(dict.fromkeys(reader.warnings)),
        public=reader.public(document.data, ()),
        variables=reader.variables,
    )


def unread(name: str) -> str:
    """What stands for the secret *name* where nobody needs it: as long as a salt has to be."""
    return "********"


class _Reader:
    """One pass over a document; collects what it meets."""

    def __init__(self, document: Document, lookup: Lookup) -> None:
        self.document = document
        self.lookup = lookup
        self.secrets: set[str] = set()
        self.variables: dict[str, str] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def walk(self, value: Json, keys: Keys) -> Json:
        """*value* with its references replaced."""
        if isinstance(value, dict):
            return {key: self.walk(item, (*keys, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.walk(item, (*keys, number)) for number, item in enumerate(value)]
        return self._text(value, keys) if isinstance(value, str) else value

    def public(self, value: Json, keys: Keys) -> Json:
        """*value* with only those references replaced that hold no secret."""
        if isinstance(value, dict):
            return {key: self.public(item, (*keys, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.public(item, (*keys, number)) for number, item in enumerate(value)]
        if not isinstance(value, str) or value.startswith(PREFECT):
            return value
        return _REFERENCE.sub(lambda match: self._public(match, keys), value)

    def _text(self, text: str, keys: Keys) -> str:
        if text.startswith(PREFECT):
            return self._prefect(text.removeprefix(PREFECT).strip(), keys)
        if "${" in text:
            return _REFERENCE.sub(lambda match: self._found(match, keys), text)
        if text and is_literal_secret(keys):
            self._literal(text, keys, "a literal secret; write ${NAME} and set it in `.env`")
        return text

    def _literal(self, text: str, keys: Keys, what: str) -> None:
        self.secrets.add(text)
        self.warnings.append(self.document.problem(keys, what))

    def _found(self, match: re.Match[str], keys: Keys) -> str:
        name, default = match[1], match[3]
        if match[0] == "$${":
            return "${"
        if name is None:
            self.problems.append(
                self.document.problem(keys, "needs ${NAME} or ${NAME:-default}; write $${ for a plain ${")
            )
            return ""
        value = self._value(name)
        if value is None and match[2] is None:
            return self._unset(name, keys)
        if value and self._is_secret(name, keys):
            self.secrets.add(value)
            self.variables[name] = value
        elif value is None and default and (is_literal_secret(keys) or _SECRET_NAME.search(name)):
            self._literal(default, keys, f"its default is a literal secret; write ${{{name}}} and set it in `.env`")
        return (default or "") if value is None else value

    def _unset(self, name: str, keys: Keys) -> str:
        if self.lookup.unset_secret is not None and self._is_secret(name, keys):
            value = self.lookup.unset_secret(name)
            self.secrets.add(value)
            return value
        close = nearest(name, self.lookup.variables)
        what = f"${{{name}}} is not set{close}; set it in the environment or in `.env`"
        self.problems.append(self.document.problem(keys, what))
        return ""

    def _value(self, name: str) -> str | None:
        # an empty variable counts as unset, as `:-` has it in the shell
        return self.lookup.env.get(name) or self.lookup.variables.get(name)

    def _public(self, match: re.Match[str], keys: Keys) -> str:
        name = match[1]
        if name is None:
            return match[0]
        value = self._value(name)
        is_unset = value is None and match[2] is None and self.lookup.unset_secret is not None
        if (value or is_unset) and self._is_secret(name, keys):
            return match[0]
        return value or match[3] or ""

    def _is_secret(self, name: str, keys: Keys) -> bool:
        """Profile variables stand in a committed file; anything else is judged by its place and its names."""
        if not self.lookup.env.get(name) and name in self.lookup.variables:
            return False
        leaf = next((key for key in reversed(keys) if isinstance(key, str)), "")
        if "auth" in keys:
            return not _PLAIN_IN_AUTH.search(leaf) or bool(_SECRET_IN_AUTH.search(leaf))
        named = _SECRET_NAME.search(name) or _SECRET_NAME.search(leaf)
        return "headers" in keys or "mask" in keys or bool(named) or is_literal_secret(keys)

    def _prefect(self, name: str, keys: Keys) -> str:
        if self.lookup.prefect_secret is None:
            what = f"{PREFECT}{name} can be read in a Prefect flow only; run the flow, or write ${{NAME}}"
            self.problems.append(self.document.problem(keys, what))
            return ""
        try:
            value = self.lookup.prefect_secret(name)
        except (ValueError, LookupError, OSError):
            self.problems.append(self.document.problem(keys, f"Prefect has no Secret block {name!r}; create it"))
            return ""
        self.secrets.add(value)
        return value


def is_literal_secret(keys: Keys) -> bool:
    """Whether a text at *keys* ought to have been a reference."""
    leaf = next((key for key in reversed(keys) if isinstance(key, str)), "")
    if "auth" in keys:
        return bool(_SECRET_IN_AUTH.search(leaf))
    if "mask" in keys[:-2]:
        return leaf == "sha256"
    if "body" in keys or "graphql" in keys:
        return bool(_SECRET_IN_BODY.search(leaf))
    is_named = _SECRET_NAME.search(leaf) or _SECRET_IN_BODY.search(leaf)
    return ("headers" in keys or "params" in keys) and bool(is_named)
