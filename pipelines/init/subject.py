"""What the user gave: a URL, headers, maybe a body, taken apart into the top of a source file.

A secret is written as a reference to the environment, also where it was given
literally; its value is used for asking and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import orjson
from msgspec import Struct
from pydantic import ValidationError

from pipelines.batch import Json
from pipelines.config.naming import misnamed, not_found
from pipelines.config.problems import Document, refuse
from pipelines.config.redact import Redactor
from pipelines.config.references import Lookup, resolve
from pipelines.envelope import dumps, loads
from pipelines.errors import ConfigError
from pipelines.extract.connection import Connection
from pipelines.extract.origins import origin_of
from pipelines.extract.request import Request
from pipelines.init.given import REFERENCE, SECRET, Given
from pipelines.values import DEVICES

_BEARER = re.compile(r"^Bearer +(\S+)$", re.I)
_DULL = frozenset(
    {"www", "api", "rest", "data", "app", "v1", "v2", "com", "org", "net", "io", "dev", "gov", "co", "localhost"}
)
_VERSION = re.compile(r"v?\d+(\.\d+)*", re.I)
_EXTENSION = re.compile(r"\.(json|ndjson|jsonl|csv|xml|php|aspx)$", re.I)
_DECLARED = re.compile(r"\$(\w+)\s*:\s*([\w\[\]!]+)")
_ROOT_FIELD = re.compile(r"\{\s*(\w+)")
_FEW_TRIES = {"attempts": 1, "total": "60s"}
_ONE_AT_A_TIME = {"in_flight": 1}


class Subject(Struct, frozen=True):
    """The API under experiment, and the endpoint of it that was named."""

    name: str
    resource: str
    base_url: str
    path: str
    params: Mapping[str, list[str]]
    """As in the URL, without secrets; each with all its values."""

    top: Mapping[str, Json]
    """What all requests carry, as the file says it: `auth`, `headers`, `params`."""

    connection: Connection
    secrets: Redactor
    to_set: tuple[str, ...] = ()
    """Variables that stand for secrets given literally; the user has to set them."""

    body: Json = None
    """JSON to post, as given; None asks by GET. Of GraphQL it has `query` and `variables`."""

    sent: Json = None
    """The same with its references resolved."""

    is_named: bool = False
    """Whether the user said what the source is called."""

    variables: Mapping[str, str] | None = None
    """Of GraphQL: the variables that the query declares, and their types."""

    @property
    def posts(self) -> bool:
        """Whether wishes go into a body instead of the query of the URL."""
        return self.body is not None

    @property
    def request(self) -> Request:
        """The request that the user named."""
        address = self.connection.url(self.path)
        params = tuple((name, value) for name, values in self.params.items() for value in values)
        if not self.posts:
            return Request("GET", address, params)
        return Request("POST", address, params, body=dumps(self.sent))

    @property
    def wishes(self) -> Mapping[str, str]:
        """What the user asked for: the parameters, or the fields of the body by their dotted paths."""
        return dict(_leaves(self.body)) if self.posts else {name: values[-1] for name, values in self.params.items()}

    def changed(self, changes: Mapping[str, Json]) -> Request:
        """The request with *changes* to its parameters, or to the fields of its body."""
        if not self.posts:
            return self.request.with_params(changes)
        request = self.request
        for path, value in changes.items():
            request = request.with_field(path, value)
        return request

    def candidates(self, names: Iterable[str]) -> list[str]:
        """Those of *names* that can be wished for; of GraphQL the variables that the query declares."""
        if self.variables is None:
            return list(names)
        known = {name.lower(): name for name in self.variables}
        return [f"variables.{known[name.lower()]}" for name in dict.fromkeys(names) if name.lower() in known]


def subject_of(  # noqa: PLR0913  # each is one option of the command
    url: str,
    *,
    headers: Sequence[str] = (),
    env: Mapping[str, str],
    name: str | None = None,
    body: str | None = None,
    graphql: str | None = None,
) -> Subject:
    """The subject of *url*, asked with *headers* (`Name: value`); `${NAME}` is looked up in *env*.

    *body* is JSON to post, *graphql* a query to post instead.

    Raises:
        ConfigError: The URL, a header or the body is none, or a variable is not set.
    """
    posted = _posted(body, graphql)
    try:
        origin = origin_of(url)
    except ValueError as error:
        raise ConfigError(f"not a URL to draft from: {error}", "such as https://api.shop.example/v1/orders") from None
    parts = urlsplit(url)
    segments = [segment for segment in parts.path.split("/") if segment]
    slash = "/" if parts.path.endswith("/") else ""
    resource = file_name(_EXTENSION.sub("", segments[-1]) if segments else "records", "records")
    if graphql is not None and (field := _ROOT_FIELD.search(graphql)):
        resource = file_name(field[1], resource)
    written = Given(name or _name(parts.hostname or "", resource))
    for header in headers:
        _place(header, written)
    params = _params(parts.query, written)
    posted = posted if graphql is not None else written.posted(posted)
    base_url = "/".join([origin, *segments[:-1]])
    connection, secrets, sent = _connection(base_url, written, env, posted)
    return Subject(
        name=written.name,
        resource=resource,
        base_url=base_url,
        path=f"/{segments[-1]}{slash}" if segments else "/",
        params=params,
        top=written.top,
        connection=connection,
        secrets=secrets,
        to_set=(*written.literal, *(name for name in written.defaults if not env.get(name))),
        is_named=name is not None,
        body=posted,
        sent=sent,
        variables=None if graphql is None else dict(_DECLARED.findall(graphql)),
    )


def alone(values: Sequence[str]) -> Json:
    """The value of a parameter as the file says it: a list only where there are several."""
    return values[0] if len(values) == 1 else values


def file_name(text: str, default: str) -> str:
    """*text* as the name of a source or resource; *default* where nothing of it can be one."""
    name = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()).strip("_")
    name = name.lstrip("0123456789_")[:63].rstrip("_")
    return default if not name or name == "marts" or name in DEVICES else name


def source_name(text: str, default: str) -> str:
    """*text* as the name of a source that SQL finds."""
    name = file_name(text, default)
    return f"{name}_api" if misnamed(name) or not_found(name) else name


def _name(host: str, resource: str) -> str:
    labels = host.split(".")
    if all(label.isdigit() for label in labels):
        return source_name(resource, resource)
    telling = [label for label in labels[:-1] or labels if label not in _DULL and not _VERSION.fullmatch(label)]
    return source_name(telling[-1] if telling else resource, resource)


def _params(query: str, written: Given) -> dict[str, list[str]]:
    """The parameters of *query*; those with secrets are written down as what every request carries."""
    params: dict[str, list[str]] = {}
    for key, values in parse_qs(query, keep_blank_values=True).items():
        is_secret = SECRET.search(key) is not None
        if is_secret or any(map(REFERENCE.search, values)):
            references = [written.reference(value, key, is_secret=is_secret) for value in values]
            written.top.setdefault("params", {})[key] = alone(references)
        else:
            params[key] = values
    return params


def _place(header: str, written: Given) -> None:
    """Write one header down as `auth`, or among `headers`."""
    name, colon, value = (part.strip() for part in header.partition(":"))
    if not colon or not name or not value:
        raise ConfigError("--header needs `Name: value`", "such as --header 'Authorization: Bearer ${TOKEN}'")
    bearer = _BEARER.match(value)
    if name.lower() == "authorization" and bearer and "auth" not in written.top:
        written.top["auth"] = {"bearer": written.reference(bearer[1], "token")}
    elif name.lower() != "authorization" and SECRET.search(name) and "auth" not in written.top:
        written.top["auth"] = {"api_key": {"header": name, "value": written.reference(value, name)}}
    elif SECRET.search(name) or name.lower() == "cookie" or REFERENCE.search(value):
        is_secret = SECRET.search(name) is not None
        written.top.setdefault("headers", {})[name] = written.reference(value, name, is_secret=is_secret)
    else:
        written.top.setdefault("headers", {})[name] = value


def _posted(body: str | None, graphql: str | None) -> Json:
    """The body to post: *body* as JSON, or that of a GraphQL query; None for neither."""
    if graphql is not None:
        if body is not None:
            raise ConfigError("--body and --graphql exclude each other", "a GraphQL query is a body of its own")
        return {"query": graphql, "variables": {}}
    if body is None:
        return None
    try:
        posted = loads(body.encode(errors="surrogateescape"))
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"--body is no JSON: {error}", """such as --body '{"status": "open"}'""") from None
    if not isinstance(posted, dict):
        raise ConfigError("--body is no JSON object", """such as --body '{"status": "open"}'""")
    return posted


def _leaves(value: Json, above: str = "") -> Iterator[tuple[str, str]]:
    """The scalars of a body by their dotted paths."""
    for name, item in value.items():
        path = f"{above}.{name}" if above else str(name)
        if isinstance(item, dict):
            yield from _leaves(item, path)
        elif isinstance(item, str | int | float):
            yield path, str(item)


def _connection(
    base_url: str, written: Given, env: Mapping[str, str], posted: Json
) -> tuple[Connection, Redactor, Json]:
    """How to ask: what the file will say, with its references resolved, patient and one at a time; and the body."""
    document = Document(Path("init"), {"base_url": base_url, **written.top, "body": posted}, {})
    resolved = resolve(document, Lookup({**env, **written.literal}, written.defaults))
    if resolved.problems:
        raise refuse(resolved.problems)
    secrets = Redactor(resolved.secrets)
    secrets.add(*written.literal.values(), *written.defaults.values())
    asking = {**resolved.data, "retry": _FEW_TRIES, "limits": _ONE_AT_A_TIME}
    sent = asking.pop("body")
    try:
        return Connection.model_validate(asking), secrets, sent
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)
        )
        raise ConfigError(secrets.hide(told), "check the URL and the headers") from None
