"""When each version of a key held, worked out from what is stored and what was read.

The points of a key are the times at which anything happened to it: a version
began, was followed, or was deleted. A version holds from its own point until
the next one. So versions may come late, twice or out of order, and the result
depends on what was read only, not on when.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from msgspec import Struct

FROM, TO, HASH, GONE = "·from", "·to", "·hash", "·gone"
FILE, ROW, PART = "·file", "·row", "·part"
_POINT, _NEXT, _TICK = "·point", "·next", timedelta(microseconds=1)


class Timeline(Struct, frozen=True):
    """What happens: stored rows that end (`ended`: file, row, to) or are replaced (`gone`: file, row), and new rows.

    `added` has part, row, from, to of each row to store.
    """

    ended: pl.DataFrame
    gone: pl.DataFrame
    added: pl.DataFrame
    counts: dict[str, int]


def timeline(  # noqa: PLR0913 - the facts that decide
    live: pl.DataFrame,
    read: pl.DataFrame,
    keys: Sequence[str],
    *,
    versioned: bool,
    now: Any,
    missing: pl.DataFrame | None = None,
) -> Timeline:
    """Put the rows of *read* (key, from, hash, part, row, gone) into those of *live* (key, from, to, hash, file, row).

    With *versioned* a row says when it begins; else it begins *now*, if it
    differs from the one that holds. *missing* are keys that are no longer there: then
    all were read, and one that was ended and is there again holds from *now* on.
    """
    identity = [*keys, FROM] if versioned else [*keys]
    distinct = read.unique(identity, keep="last", maintain_order=True)
    if not versioned:
        distinct = distinct.with_columns(_after(live, distinct, keys, now))
    rows, marks = distinct.filter(~pl.col(GONE)), distinct.filter(pl.col(GONE)).select(*keys, FROM)
    known = live if versioned else live.filter(pl.col(TO).is_null())
    stored = known.select(*identity, pl.col(HASH).alias("·stored"))
    rows = rows.join(stored, on=identity, how="left", maintain_order="left")
    same = (rows[HASH] == rows["·stored"]).fill_null(value=False)
    changed, new = rows.filter(~same & pl.col("·stored").is_not_null()), rows.filter(~same).drop("·stored")
    if missing is not None:
        absent = missing.join(known, on=list(keys), how="semi")
        marks = pl.concat([marks, absent.with_columns(_after(live, absent, keys, now)).select(*keys, FROM)])
    marks = _closing(marks, live, new, keys)
    unchanged = int(same.sum())
    if versioned and missing is not None:
        newest = distinct.sort(FROM, maintain_order=True).unique(list(keys), keep="last", maintain_order=True)
        there = rows.join(newest.filter(~pl.col(GONE)), on=[*keys, FROM], how="semi", maintain_order="left")
        back = _returned(there, new, live, marks, keys, now)
        unchanged -= int((back[HASH] == back["·stored"]).sum())
        new = pl.concat([new, back.drop("·stored")])
    added_or_changed = new
    if versioned:
        new = pl.concat([new, _copies(changed, new, live, keys).select(new.columns)])
    gone = live.join(new, on=identity, how="semi") if versioned else live.head(0)
    left = live.join(new, on=identity, how="anti") if versioned else live
    points = _points(live, new, marks, keys)
    ended = _until(left, points, marks, keys)
    ended = ended.filter(pl.col(_NEXT).is_not_null() & pl.col(TO).is_null() | (pl.col(_NEXT) < pl.col(TO)))
    added = _until(new.with_columns(pl.lit(None, live[TO].dtype).alias(TO)), points, marks, keys)
    counts = {
        "new": len(added_or_changed.join(live, on=list(keys), how="anti")),
        "updated": len(added_or_changed.join(live, on=list(keys), how="semi")),
        "unchanged": unchanged,
        "removed": len(marks),
        "duplicates": len(read) - len(distinct),
    }
    return Timeline(
        ended.select(FILE, ROW, pl.col(_NEXT).alias(TO)),
        gone.select(FILE, ROW),
        added.select(PART, ROW, FROM, pl.col(_NEXT).alias(TO)),
        counts,
    )


def _after(live: pl.DataFrame, rows: pl.DataFrame, keys: Sequence[str], now: Any) -> pl.Series:
    """*now* for each of *rows*, or just after the last point of its key: a clock may go back, a history not."""
    last = live.group_by(list(keys)).agg(pl.max_horizontal(pl.col(FROM).max(), pl.col(TO).max()).alias(_POINT))
    joined = rows.join(last, on=list(keys), how="left", maintain_order="left")
    if not isinstance(now, datetime):
        return pl.Series(FROM, [now] * len(rows), live[FROM].dtype)
    later = pl.max_horizontal(pl.lit(now).cast(live[FROM].dtype), pl.col(_POINT) + _TICK)
    return joined.select(later.alias(FROM))[FROM]


def _closing(marks: pl.DataFrame, live: pl.DataFrame, new: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The deletions that end something: where a version holds at that time."""
    spans = pl.concat(
        [live.select(*keys, FROM, TO), new.select(*keys, FROM).with_columns(pl.lit(None).alias(TO))],
        how="vertical_relaxed",
    )
    found = marks.with_row_index("·mark").join(spans.rename({FROM: "·begin"}), on=list(keys), how="inner")
    holds = (pl.col("·begin") <= pl.col(FROM)) & (pl.col(TO).is_null() | (pl.col(TO) > pl.col(FROM)))
    numbers = found.filter(holds)["·mark"].unique()
    return marks.with_row_index("·mark").filter(pl.col("·mark").is_in(numbers.implode())).drop("·mark")


def _returned(  # noqa: PLR0913, PLR0917 - the facts that decide
    rows: pl.DataFrame, new: pl.DataFrame, live: pl.DataFrame, marks: pl.DataFrame, keys: Sequence[str], now: Any
) -> pl.DataFrame:
    """Those of *rows*, the newest of each key that is there, of which no version would hold, as it was ended once.

    They hold from *now* on.
    """
    last = _points(live, new, marks, keys).filter(pl.col(_NEXT).is_null())
    held = live.filter(pl.col(TO).is_null() | (pl.col(TO) > pl.col(FROM)))  # not what ended as it began
    begins = pl.concat([frame.select(*keys, pl.col(FROM).alias(_POINT)) for frame in (held, new)])
    closed = last.join(begins, on=[*keys, _POINT], how="anti").join(marks, on=list(keys), how="anti")
    back = rows.join(closed, on=list(keys), how="semi")
    return back.with_columns(_after(live, back, keys, now))


def _copies(changed: pl.DataFrame, new: pl.DataFrame, live: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """*changed* rows once more for each stored copy of what they change: a version that was missed and came back."""
    copies = live.select(*keys, pl.col(FROM).alias(_POINT), pl.col(HASH).alias("·copy"))
    found = changed.join(copies, on=list(keys), how="inner")
    found = found.filter((pl.col(_POINT) > pl.col(FROM)) & (pl.col("·copy") == pl.col("·stored")))
    return found.with_columns(pl.col(_POINT).alias(FROM)).join(new, on=[*keys, FROM], how="anti")


def _points(live: pl.DataFrame, new: pl.DataFrame, marks: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Every point of every key once, with the one after it."""
    times = [
        *(frame.select(*keys, pl.col(FROM).alias(_POINT)) for frame in (live, new, marks)),
        live.filter(pl.col(TO).is_not_null()).select(*keys, pl.col(TO).alias(_POINT)),
    ]
    points = pl.concat(times).unique().sort(*keys, _POINT)
    return points.with_columns(pl.col(_POINT).shift(-1).over(list(keys)).alias(_NEXT))


def _until(rows: pl.DataFrame, points: pl.DataFrame, marks: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """*rows* with the point at which each ends; one that was deleted as it began ends there."""
    joined = rows.join(points.rename({_POINT: FROM}), on=[*keys, FROM], how="left", maintain_order="left")
    at_once = joined.join(marks.unique().with_columns(pl.lit(1).alias("·mark")), on=[*keys, FROM], how="left")
    until = pl.when(pl.col("·mark").is_not_null()).then(pl.col(FROM)).otherwise(pl.col(_NEXT))
    return at_once.with_columns(until.alias(_NEXT)).drop("·mark")
