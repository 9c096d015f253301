"""Placeholders in paths and parameters: `{name}`, `{parent.field}`, `{window.start}`.

One pass over the configured text, never over the API's data; a name is looked
up in a dictionary, nothing is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

from pipelines.batch import Json
from pipelines.errors import ConfigError
from pipelines.extract.request import text

Scope = Mapping[str, Json]
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}", re.ASCII)


def names(template: Json) -> set[str]:
    """The placeholders in *template*, a text or anything that holds texts."""
    if isinstance(template, str):
        return set(_PLACEHOLDER.findall(template))
    if isinstance(template, Mapping):
        return set().union(*(names(value) for value in template.values()))
    if isinstance(template, list | tuple):
        return set().union(*(names(value) for value in template))
    return set()


def fill(template: Json, scope: Scope) -> Json:
    """*template* with its placeholders replaced; a text that is one placeholder keeps the value's type."""
    if isinstance(template, str):
        whole = _PLACEHOLDER.fullmatch(template)
        return look_up(whole[1], scope) if whole else _replace(template, scope, text)
    if isinstance(template, Mapping):
        return {key: fill(value, scope) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [fill(value, scope) for value in template]
    return template


def fill_path(template: str, scope: Scope) -> str:
    """A path with its placeholders replaced; a value cannot leave its place between two slashes.

    A value's own slashes stay (`acme/site` for `{repo.full_name}`); `..` and empty values are refused.
    """
    return _replace(template, scope, _path_value)


def look_up(name: str, scope: Scope) -> Json:
    """The value of the placeholder *name*.

    Raises:
        ConfigError: Nothing in scope has that name.
    """
    if name in scope:
        return scope[name]
    level: Json = scope
    for step in name.split("."):
        if not isinstance(level, Mapping) or step not in level:
            known = ", ".join(sorted(scope))
            raise ConfigError(f"no value for the placeholder {{{name}}}", f"known here: {known}" if known else "")
        level = level[step]
    return level


def _replace(template: str, scope: Scope, written: Callable[[Json], str]) -> str:
    return _PLACEHOLDER.sub(lambda match: written(look_up(match[1], scope)), template)


def _path_value(value: Json) -> str:
    written = quote(text(value), safe="/:@,;=+~!$'()*")
    if value is None or not written or any(step in ("", ".", "..") for step in written.split("/")):
        raise ConfigError("a value for the path is empty or leads out of its place", "look at the parent's field")
    return written
