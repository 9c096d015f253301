"""How far resources have been read: to look at, and to set by hand in a commit of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec.structs import replace

from pipelines.batch import Json
from pipelines.config.problems import nearest
from pipelines.config.source import Resource, Source
from pipelines.errors import ConfigError, CursorError
from pipelines.extract.watermark import Watermark, comparable
from pipelines.load.lake import Committed, Lake
from pipelines.report.spans import takes_spans, watermark_of
from pipelines.version import CODE_VERSION

_MICROSECONDS = re.compile(r"\.0{6}(?=Z?$)")


def chosen(source: Source, resource: str, *, one: bool = False) -> Mapping[str, Resource]:
    """The incremental resource of that name, or all of them; *one*: it must be named.

    Raises:
        ConfigError: It is not there, or not incremental.
    """
    able = {name: each for name, each in source.resources.items() if each.incremental}
    known = f"with a watermark: {', '.join(f'{source.name}.{name}' for name in able) or 'none'}"
    if not resource:
        if one:
            raise ConfigError("say which resource: SOURCE.RESOURCE", known)
        return able
    if resource not in source.resources:
        raise ConfigError(f"{source.name} has no resource {resource!r}{nearest(resource, source.resources)}", known)
    if resource not in able:
        raise ConfigError(f"{source.name}.{resource} has no `incremental`, so it is read whole every time", known)
    return {resource: able[resource]}


def watermarks(lake: Lake, resources: Mapping[str, Resource]) -> list[dict[str, Json]]:
    """What the newest commit says of each resource, as plain values."""
    draft = lake.begin("")
    found = []
    for name, resource in resources.items():
        mark = watermark_of(draft, name)
        found.append(
            {
                "resource": f"{lake.folder.name}.{name}",
                "cursor": (mark and mark.cursor) or (resource.incremental.cursor if resource.incremental else None),
                "watermark": mark.value if mark else "",
                "parents": dict(mark.parents) if mark else {},
                "commit": draft.head.n if draft.head else None,
            }
        )
    return found


def move(  # noqa: PLR0913  # where, what, and what the commit says of it
    lake: Lake, resources: Mapping[str, Resource], value: str, parent: str, *, run: str, config_hash: str
) -> Committed:
    """Commit *value* as the watermark (of one *parent*) of *resources*; an empty one takes it away.

    Raises:
        ConfigError: *value* is not what the cursor is.
    """
    where = ", ".join(resources)
    draft = lake.begin(
        run, config_hash=config_hash, code_version=CODE_VERSION, note=f"state of {where}: {value or 'reset'}"
    )
    for name, resource in resources.items():
        kind = resource.incremental.kind if resource.incremental else "instant"
        cursor = resource.incremental.cursor if resource.incremental else ""
        try:
            comparable(value, kind) if value else None
        except CursorError as error:
            raise ConfigError(f"{name}: {error.message}", "write it as the cursor of the resource is") from None
        known = watermark_of(draft, name) or Watermark(kind=kind)
        # what is known of another cursor says nothing of this one
        base = known if known.cursor in {"", cursor} else Watermark()
        # what was asked for so far is not what will be asked for from there on
        base = replace(base, kind=kind, cursor=cursor, start="", asked="")
        moved = (
            replace(base, parents={**base.parents, parent: value}) if parent else replace(base, value=value, parents={})
        )
        rest = _without_watermark(draft.state(name) or {}, known)
        news = {**rest, "watermark": moved.to_json()} if value else rest
        if news or draft.state(name):
            draft.set_state(name, news or None)
    return lake.commit(draft)


def forget(lake: Lake, resources: Mapping[str, Resource], *, run: str, config_hash: str) -> Committed:
    """Take the watermark of each of *resources* away, once for *run*: asked again, what was read since stays.

    That it was done is part of the state, also where there was no watermark.
    """
    note = f"state of {', '.join(resources)}: reset"
    draft = lake.begin(run, config_hash=config_hash, code_version=CODE_VERSION, note=note)
    for name in resources:
        state = draft.state(name) or {}
        if state.get("reset_by") != run:
            rest = _without_watermark(state, watermark_of(draft, name))
            draft.set_state(name, {**rest, "reset_by": run})
    return lake.commit(draft)


def of_unasked(where: str, known: Watermark | None, resource: Resource, asked: str) -> tuple[str, ...]:
    """Warnings, once, about older records that what is *asked* now would give, and nobody asks for again."""
    incremental = resource.endpoint().incremental
    if known is None or incremental is None or not (reached := known.highest()):
        return ()

    def again(end: str) -> str:
        if incremental.kind == "text" or not takes_spans(resource):
            return f"`threadmill state reset {where}` and a run"
        begin, end = (_MICROSECONDS.sub("", text.replace(" ", "T")) for text in (incremental.start, end))
        return f"`threadmill backfill {where.partition('.')[0]} --from {begin} --to {end}`"

    told = []
    if known.start and incremental.begins_before(known.start):
        told.append(f"{where}: `start` is earlier now; what lies before {known.start} is read by {again(known.start)}")
    if known.asked and known.asked != asked:
        told.append(
            f"{where}: what is asked for has changed (`base_url`, `path`, `params`, `body`, `graphql` or `records`); "
            f"if that takes in other records, the older ones are read by {again(reached)}"
        )
    return tuple(told)


def _without_watermark(state: Mapping[str, Json], known: Watermark | None) -> dict[str, Json]:
    """*state* without its watermark, its parents named: their rows stay, and are compared until each has another."""
    rest = {key: item for key, item in state.items() if key != "watermark"}
    named = sorted({*state.get("backfilled", ()), *(known.parents if known else ())})
    return {**rest, "backfilled": named} if named else rest
