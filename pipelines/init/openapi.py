"""A source file from an OpenAPI document: what it declares, and questions where it is silent.

Nothing is asked of the API itself. OpenAPI 3 and Swagger 2, as JSON or YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import yaml

from pipelines.batch import Json
from pipelines.errors import ConfigError
from pipelines.init.declared import PAGING, Lines, Listed, paginate
from pipelines.init.drafting import Draft, heading
from pipelines.init.schemas import Schemas, columns_of, list_in
from pipelines.init.subject import file_name, source_name
from pipelines.init.writing import Line, Question, Reference, yaml_text

MOST_BYTES = 20 << 20
_SEARCHES = frozenset({"search", "query", "list", "filter", "find"})
_SINCE = re.compile(r"(since|updated_after|updatedafter|modified_after|changed_after|updated_from)", re.I)
_REVISED = re.compile(r"(updated|modified|changed)", re.I)
_TEXT = "tag:yaml.org,2002:str"


def describe(text: str, *, origin: str = "", name: str | None = None) -> Draft:
    """The draft for the document *text*, which came from the URL *origin* (empty for a file).

    Raises:
        ConfigError: It is no OpenAPI document, or describes no list.
    """
    document = _document(text)
    title = str((document.get("info") or {}).get("title") or "api")
    source = name or source_name(re.sub(r"\b(the|api|rest|openapi|v\d+)\b", " ", title, flags=re.I), "api")
    schemas = Schemas(document)
    listed, skipped = _listed(document, schemas)
    if not listed:
        raise ConfigError(
            "the document describes no GET or search that answers with a list", "try `threadmill init URL` instead"
        )
    auth, variables = _auth(document, source)
    lines: Lines = [Line("source", source, f"title: {title}"), *_server(document, origin), *auth]
    lines.append(Question("`limits`: how many requests does the API allow? For instance `limits: {rate: 5/s}`"))
    lines.append(Line("resources", below=tuple(Line(one.name, below=tuple(_resource(one, schemas))) for one in listed)))
    lines += [Question(what) for what in skipped]
    text = heading("threadmill init, from an OpenAPI document; no list was asked for") + yaml_text(lines)
    return Draft(source, text, to_set=tuple(variables))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen by what libyaml offers
    """Keys are text as in JSON, and no words but true and false are truth values."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[str, Any]:
        """The mapping, with each key as it is written."""
        if isinstance(node, yaml.MappingNode):
            self.flatten_mapping(node)
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    key.tag = _TEXT
        mapping: dict[str, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def _truth(loader: yaml.Loader, node: yaml.ScalarNode) -> bool | str:
    return {"true": True, "false": False}.get(node.value.lower(), str(node.value))


_Loader.add_constructor("tag:yaml.org,2002:bool", _truth)


def _parsed(text: str) -> Any:
    """*text* as JSON, or else as YAML: some JSON, such as half a surrogate, is none."""
    try:
        return json.loads(text)
    except ValueError:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - it is a safe one


def _document(text: str) -> dict[str, Any]:
    try:
        document = _parsed(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"the document is neither JSON nor YAML: {str(error)[:200]}", "give the address of it"
        ) from None
    if not isinstance(document, dict) or not (document.get("openapi") or document.get("swagger")):
        raise ConfigError("the document is not OpenAPI: it has neither `openapi` nor `swagger`", "without --openapi?")
    return document


def _server(document: Mapping[str, Any], origin: str) -> Iterator[Line | Question]:
    servers = document.get("servers") or []
    url = str(servers[0].get("url", "")) if servers else ""
    if servers:
        for variable, told in (servers[0].get("variables") or {}).items():
            url = url.replace(f"{{{variable}}}", str(told.get("default", "")))
    elif document.get("host"):
        scheme = "https" if "https" in (document.get("schemes") or ["https"]) else "http"
        url = f"{scheme}://{document['host']}{document.get('basePath', '')}"
    url = urljoin(origin, url or "/") if origin else url
    if urlsplit(url).scheme in ("http", "https"):
        others = f"; {len(servers) - 1} other servers are described" if len(servers) > 1 else ""
        yield Line("base_url", url.partition("?")[0].rstrip("/"), f"the first server{others}")
    else:
        yield Question("the document names no server: where is the API?")
        yield Line("base_url", "https://api.example.invalid", "stands for the answer")


def _auth(document: Mapping[str, Any], source: str) -> tuple[Lines, list[str]]:
    """The first security scheme that a source file can say, and the variables it needs."""
    components = document.get("components") or {}
    schemes = components.get("securitySchemes") or document.get("securityDefinitions") or {}
    for name, scheme in schemes.items():
        kind, style = scheme.get("type"), str(scheme.get("scheme", "")).lower()
        variable = f"{source}_TOKEN".upper()
        if kind == "http" and style == "bearer":
            return [Line("auth", {"bearer": Reference(f"${{{variable}}}")}, f"security scheme {name}")], [variable]
        if kind == "basic" or style == "basic":
            user, password = f"{source}_USER".upper(), f"{source}_PASSWORD".upper()
            pair = {"user": Reference(f"${{{user}}}"), "password": Reference(f"${{{password}}}")}
            return [Line("auth", {"basic": pair}, f"security scheme {name}")], [user, password]
        if kind == "apiKey" and scheme.get("in") in ("header", "query"):
            place = "header" if scheme["in"] == "header" else "param"
            key = {place: str(scheme.get("name")), "value": Reference(f"${{{variable}}}")}
            return [Line("auth", {"api_key": key}, f"security scheme {name}")], [variable]
    told = ", ".join(f"{name} ({scheme.get('type')})" for name, scheme in schemes.items())
    return ([Question(f"`auth`: the document describes {told}: which credentials are there?")] if schemes else []), []


def _listed(document: Mapping[str, Any], schemas: Schemas) -> tuple[list[Listed], list[str]]:
    """The lists that can be asked for as they are, and a question for each that needs a parent."""
    listed: dict[str, Listed] = {}
    skipped = []
    for path, item in (document.get("paths") or {}).items():
        verb, operation = _operation(item, schemas)
        schema, headers = _answer(operation, schemas)
        found = list_in(schema, schemas)
        if found is None:
            continue
        if "{" in path:
            parent = path.partition("/{")[0].rpartition("/")[2]
            skipped.append(
                f"{path} is a list for each of {parent}: a resource with `for_each: {{resource: {parent}}}`?"
            )
            continue
        params = schemas.params([*(item.get("parameters") or ()), *(operation.get("parameters") or ())])
        params = _fields(operation, schemas) if verb == "post" else params
        name = _name(path, listed)
        if not name:
            skipped.append(f"{path} is a list, too, and all its names are taken: what is it called?")
            continue
        records, around, row = found
        listed[name] = Listed(verb, name, path, operation, params, records, around, row, headers)
    return list(listed.values()), skipped


def _name(path: str, taken: Collection[str]) -> str:
    """The last telling step of *path*, with the steps before it where that is *taken*; empty where all are."""
    segments = [part for part in path.split("/") if part]
    telling = [part for part in segments if part.strip("_").lower() not in _SEARCHES] or segments
    longer = ("_".join(segments[-count:]) for count in range(2, len(segments) + 1))
    names = (file_name(text, "records") for text in (telling[-1] if telling else "records", *longer))
    return next((name for name in names if name not in taken), "")


def _operation(item: Json, schemas: Schemas) -> tuple[str, Mapping[str, Any]]:
    """The GET of a path, or else a POST whose body takes pages: that is a search, other POSTs change something."""
    told = item if isinstance(item, dict) else {}
    if isinstance(told.get("get"), dict):
        return "get", told["get"]
    post = told.get("post")
    if isinstance(post, dict) and not PAGING.isdisjoint(_fields(post, schemas)):
        return "post", post
    return "", {}


def _fields(operation: Mapping[str, Any], schemas: Schemas) -> dict[str, Mapping[str, Any]]:
    """The fields of the JSON body of a request, written as parameters are."""
    content: Mapping[str, Any] = schemas.resolved(operation.get("requestBody")).get("content") or {}
    media = content.get(next((kind for kind in content if "json" in kind), "")) or {}
    schema = schemas.resolved(media.get("schema"))
    if not schema:
        told = (schemas.resolved(one) for one in operation.get("parameters") or ())
        schema = next((schemas.resolved(one.get("schema")) for one in told if one.get("in") == "body"), {})
    required = schema.get("required")
    needed = required if isinstance(required, list) else ()
    fields: Mapping[str, Any] = schema.get("properties") or {}
    return {name: {"schema": schemas.resolved(told), "required": name in needed} for name, told in fields.items()}


def _answer(operation: Mapping[str, Any], schemas: Schemas) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The schema of the successful answer, and its headers."""
    responses = operation.get("responses") or {}
    code = next((code for code in ("200", "2XX", "default") if code in responses), None)
    told = schemas.resolved(responses.get(code))
    content: Mapping[str, Any] = told.get("content") or {}
    media = content.get(next((kind for kind in content if "json" in kind), "")) or {}
    schema = media.get("schema") or told.get("schema") or {}
    return schemas.resolved(schema), frozenset(str(header).lower() for header in told.get("headers") or {})


def _resource(one: Listed, schemas: Schemas) -> Iterator[Line | Question]:
    summary = str(one.operation.get("summary") or one.operation.get("operationId") or "")
    yield Line("path", one.path, summary)
    paging, used = paginate(one)
    needed = [name for name, told in one.params.items() if told.get("required") and name not in used]
    values: dict[str, Json] = {name: schemas.example(one.params[name]) for name in needed}
    key = "body" if one.verb == "post" else "params"
    if needed:
        yield Question(f"`{key}`: which values for {', '.join(needed)}? the document requires them")
    if needed or key == "body":
        yield Line(key, values, "examples or defaults of the document" if needed else "posted; paging adds its fields")
    if key == "body":
        yield Question("does it change anything to ask twice? If not, say `idempotent: true`: it is then retried")
    yield Line("records", one.records, "the list in the schema of the answer")
    yield from paging
    columns = dict(columns_of(one.item, schemas))
    yield from _writing(one, columns)
    if columns:
        yield Line("on_mismatch", "widen", "types are those of the document; answers may differ")
        below = tuple(Line(name, value, why) for name, (value, why) in columns.items())
        yield Line("columns", below=below)


def _writing(one: Listed, columns: Mapping[str, Any]) -> Iterator[Line | Question]:
    singular = one.name.removesuffix("s")
    key = next((name for name in ("id", "uuid", f"{singular}_id", "key", "code") if name in columns), None)
    since = next((name for name in one.params if _SINCE.search(name) and one.verb == "get"), None)
    cursor = next((name for name, (told, _) in columns.items() if _REVISED.search(name) and _is_time(told)), None)
    if key and since and cursor:
        lines: Lines = [Line("cursor", cursor, "by its name"), Line("since_param", since, "by its name")]
        lines.append(Question("`start`: how far back does the API go?"))
        lines.append(Line("start", "1970-01-01", "leaves nothing out"))
        yield Line("incremental", below=tuple(lines))
        yield Line("key", [key], "by its name")
        yield Line("write", "upsert", f"{since} asks for what is new, {key} tells records apart")
        return
    if key:
        yield Line("key", [key], "by its name")
    else:
        yield Question("`key`: which columns tell one record from another?")
    if since:
        yield Question(f"does `{since}` ask for what is new? With a `key` and a column of times say `incremental`")
    yield Line("write", "replace", "every run reads everything")


def _is_time(told: Json) -> bool:
    """Whether a column that is written like this holds points in time."""
    return (told["type"] if isinstance(told, dict) else told) in ("timestamp", "date")
