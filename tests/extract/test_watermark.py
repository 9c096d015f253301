"""Where the next run begins: bounds, windows and order of cursor values, without any I/O."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.errors import CursorError
from pipelines.extract.watermark import Incremental, Kind, Watermark

NOW = datetime(2024, 1, 31, 12, 30, 15, 250_000, tzinfo=UTC)


def incremental(**written: Any) -> Incremental:
    return Incremental.model_validate({"cursor": "updated_at", "start": "2024-01-01", **written})


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        pytest.param("date", "2024-01-20", id="date"),
        pytest.param("iso", "2024-01-20T10:00:00.500Z", id="iso"),
        pytest.param("epoch_s", "1705744800", id="epoch-seconds"),
        pytest.param("epoch_ms", "1705744800500", id="epoch-milliseconds"),
        pytest.param("%Y%m%d%H", "2024012010", id="strftime"),
    ],
)
def test_the_lower_bound_is_written_as_the_api_reads_it(layout: str, expected: str) -> None:
    assert incremental(format=layout).since(Watermark("2024-01-20T12:00:00.500+02:00")) == expected


@pytest.mark.parametrize(
    ("written", "watermark", "expected"),
    [
        pytest.param({}, None, "2024-01-01T00:00:00Z", id="first-run"),
        pytest.param({}, "2024-01-20T10:00:00Z", "2024-01-20T10:00:00Z", id="from-the-watermark"),
        pytest.param({"lag": "1h"}, "2024-01-20T10:00:00Z", "2024-01-20T09:00:00Z", id="lag"),
        pytest.param({"lag": "7d"}, "2024-01-03T00:00:00Z", "2024-01-01T00:00:00Z", id="lag-not-before-start"),
        pytest.param({"format": "number", "start": 5}, None, "5", id="number-first"),
        pytest.param({"format": "number", "start": 5}, "90", "90", id="number"),
    ],
)
def test_a_run_asks_from_the_watermark_less_the_lag(
    written: dict[str, Any], watermark: str | None, expected: str
) -> None:
    model = incremental(**written)

    assert model.since(Watermark(watermark, model.kind) if watermark else None) == expected


def test_the_newest_is_left_to_settle_and_end_is_never_passed() -> None:
    assert incremental(settle="1d").until(NOW) == "2024-01-30T12:30:15.250Z"
    assert incremental(end="2024-01-10").until(NOW) == "2024-01-10T00:00:00Z"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(
            {"format": "date", "bounds": "closed", "window": "15d"},
            [("2024-01-01", "2024-01-15"), ("2024-01-16", "2024-01-30"), ("2024-01-31", "2024-01-31")],
            id="closed-days-share-none",
        ),
        pytest.param(
            {"format": "date", "bounds": "half_open", "window": "15d", "end": "2024-01-31"},
            [("2024-01-01", "2024-01-16"), ("2024-01-16", "2024-01-31")],
            id="half-open-days-leave-no-gap",
        ),
        pytest.param(
            {"window": "15d", "end": "2024-01-20T06:00:00Z"},
            [("2024-01-01T00:00:00Z", "2024-01-16T00:00:00Z"), ("2024-01-16T00:00:00Z", "2024-01-20T06:00:00Z")],
            id="instants",
        ),
        pytest.param({"format": "date"}, [("2024-01-01", "2024-01-31")], id="no-window"),
        pytest.param({"format": "date", "start": "2024-02-02"}, [], id="nothing-to-ask"),
        pytest.param(
            {"format": "date", "bounds": "closed", "start": "2024-01-31"}, [("2024-01-31", "2024-01-31")], id="today"
        ),
    ],
)
def test_windows_cover_all_time_up_to_the_frozen_bound(
    written: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    windows = incremental(**written).windows(None, NOW)

    told = [(window.start, window.end, window.order) for window in windows]
    assert told == [(start, end, number) for number, (start, end) in enumerate(expected)]


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        pytest.param("number", "9", "10", "10", id="numbers-not-texts"),
        pytest.param("number", "10", "9", "10", id="never-backwards"),
        pytest.param("number", "1.10", "1.9", "1.9", id="decimals"),
        pytest.param(
            "instant",
            "2024-01-01T00:00:00Z",
            "2024-01-01T00:00:00.500+00:00",
            "2024-01-01T00:00:00.500+00:00",
            id="fraction",
        ),
        pytest.param(
            "instant", "2024-01-01T00:00:00Z", "2024-01-01T01:00:00+02:00", "2024-01-01T00:00:00Z", id="offset"
        ),
        pytest.param("instant", "2024-01-01", "2024-01-02", "2024-01-02", id="days"),
        pytest.param("text", "b", "a", "b", id="text"),
        pytest.param("instant", "", "2024-01-02", "2024-01-02", id="first"),
        pytest.param("instant", "2024-01-02", "", "2024-01-02", id="no-rows"),
    ],
)
def test_a_watermark_moves_forward_in_the_order_of_its_kind(kind: Kind, old: str, new: str, expected: str) -> None:
    assert Watermark(old, kind).advance(new).value == expected


def test_each_parent_has_its_own_watermark() -> None:
    mark = Watermark("", "number").advance("5", "acme").advance("7", "zed").advance("3", "acme")

    assert (mark.for_parent("acme").value, mark.for_parent("zed").value, mark.for_parent("new").value) == ("5", "7", "")
    assert Watermark.from_json(mark.to_json()) == mark


def test_a_watermark_survives_the_commit() -> None:
    mark = Watermark("2024-01-02T00:00:00Z", "instant")

    assert Watermark.from_json(mark.to_json()) == mark
    assert Watermark.from_json(None) is None


@pytest.mark.parametrize(("kind", "value"), [("instant", "soon"), ("instant", "1517966773840"), ("number", "x")])
def test_a_cursor_that_cannot_be_compared_is_an_error(kind: Kind, value: str) -> None:
    with pytest.raises(CursorError):
        Watermark("", kind).advance(value)


@pytest.mark.parametrize(
    "written",
    [
        {"format": "dates"},
        {"start": "soon"},
        {"format": "number", "start": "1", "window": "7d"},
        {"lag": 3600},
        {"since": "x"},
    ],
)
def test_an_incremental_that_cannot_work_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        incremental(**written)
