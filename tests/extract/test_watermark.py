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


NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("layout", "zone", "expected"),
    [
        pytest.param("date", NEW_YORK, "2024-01-19", id="the-evening-before"),
        pytest.param("date", "Asia/Tokyo", "2024-01-20", id="the-same-day"),
        pytest.param("date", None, "2024-01-20", id="utc"),
        pytest.param("%Y-%m-%d %H:%M", NEW_YORK, "2024-01-19 22:30", id="local"),
        pytest.param("%d/%m/%Y", NEW_YORK, "19/01/2024", id="local-day"),
    ],
)
def test_a_bound_that_names_no_zone_is_written_in_that_of_the_api(layout: str, zone: str | None, expected: str) -> None:
    assert incremental(format=layout, zone=zone).since(Watermark("2024-01-20T03:30:00Z")) == expected


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        pytest.param("iso", "2024-01-20T03:30:00Z", id="iso"),
        pytest.param("epoch_s", "1705721400", id="epoch"),
        pytest.param("%Y-%m-%dT%H:%M:%S%z", "2024-01-20T03:30:00+0000", id="offset"),
        pytest.param("%Y-%m-%dT%H:%M:%SZ", "2024-01-20T03:30:00Z", id="a-z"),
        pytest.param("%Y-%m-%dT%H:%M:%S+00:00", "2024-01-20T03:30:00+00:00", id="an-offset-of-none"),
        pytest.param("%d/%m/%Y", "19/01/2024", id="none"),
    ],
)
def test_the_zone_of_the_column_is_for_bounds_that_name_none(layout: str, expected: str) -> None:
    assert incremental(format=layout).with_zone(NEW_YORK).since(Watermark("2024-01-20T03:30:00Z")) == expected
    assert incremental(format="%d/%m/%Y", zone="UTC").with_zone(NEW_YORK).zone == "UTC"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(
            {"format": "date", "bounds": "closed", "start": "2024-03-08", "end": "2024-03-13", "window": "2d"},
            [("2024-03-08", "2024-03-09"), ("2024-03-10", "2024-03-11"), ("2024-03-12", "2024-03-13")],
            id="closed-days-one-of-23-hours",
        ),
        pytest.param(
            {"format": "date", "bounds": "closed", "start": "2024-11-02", "end": "2024-11-05", "window": "1d"},
            [(f"2024-11-0{day}", f"2024-11-0{day}") for day in (2, 3, 4, 5)],
            id="closed-days-one-of-25-hours",
        ),
        pytest.param(
            {"format": "date", "bounds": "half_open", "start": "2024-11-02", "end": "2024-11-05", "window": "1d"},
            [(f"2024-11-0{day}", f"2024-11-0{day + 1}") for day in (2, 3, 4)],
            id="half-open-days",
        ),
        pytest.param(
            {"format": "%d %H:%M", "start": "2024-11-02T01:30", "end": "2024-11-04T01:30", "window": "1d"},
            [("02 01:30", "03 02:00"), ("03 02:00", "04 01:30")],
            id="no-window-ends-in-an-hour-that-comes-twice",
        ),
        pytest.param(
            {"format": "date", "start": "2024-03-01T20:00", "end": "2024-03-02T20:00:00Z"},
            [("2024-03-01", "2024-03-02")],
            id="a-bound-with-a-zone",
        ),
    ],
)
def test_windows_are_cut_by_the_clock_of_the_zone(written: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    windows = incremental(zone=NEW_YORK, **written).windows(None, datetime(2025, 1, 1, tzinfo=UTC))

    assert [(window.start, window.end) for window in windows] == expected


def test_days_that_begin_at_one_are_all_asked_for() -> None:
    """São Paulo had no midnight on 4 November 2018."""
    days = incremental(
        zone="America/Sao_Paulo", format="date", bounds="closed", start="2018-11-03", end="2018-11-06", window="1d"
    )

    windows = days.windows(None, NOW)

    assert [(window.start, window.end) for window in windows] == [(f"2018-11-0{day}",) * 2 for day in (3, 4, 5, 6)]


@pytest.mark.parametrize("bounds", ["closed", "half_open"])
@pytest.mark.parametrize(("start", "end"), [("2024-03-08", "2024-03-13"), ("2024-11-01", "2024-11-06")])
def test_halves_of_days_with_23_or_25_hours_leave_no_day_out_and_share_none(start: str, end: str, bounds: str) -> None:
    days = incremental(zone=NEW_YORK, format="date", bounds=bounds, start=start, end=end)
    last = 1 if bounds == "closed" else 0

    found: list[tuple[int, int]] = []
    whole = days.windows(None, datetime(2025, 1, 1, tzinfo=UTC))
    while whole:
        window = whole.pop(0)
        halves = days.halves(window)
        whole = halves + whole
        found += [] if halves else [(int(window.start[-2:]), int(window.end[-2:]) + last)]

    assert found == [(day, day + 1) for day in range(int(start[-2:]), int(end[-2:]) + last)]


@pytest.mark.parametrize("hour", ["05:00", "05:30", "06:00", "06:59"])
def test_a_lower_bound_in_an_hour_that_comes_twice_lies_before_it(hour: str) -> None:
    """05:00 to 07:00 UTC are 01:00 to 02:00 in New York, twice; of the bounds around them none is moved."""
    local = incremental(zone=NEW_YORK, format="%d %H:%M:%S")

    assert local.since(Watermark(f"2024-11-03T{hour}:00Z")) == "03 00:59:59"
    assert local.since(Watermark("2024-11-03T04:59:58Z")) == "03 00:59:58"
    assert local.since(Watermark("2024-11-03T07:00:00Z")) == "03 02:00:00"


@pytest.mark.parametrize("year", ["0001-01-01", "9999-12-31T23:59:59"])
@pytest.mark.parametrize("zone", [NEW_YORK, "Asia/Tokyo"])
def test_the_first_and_the_last_day_of_the_calendar_are_days_in_every_zone(year: str, zone: str) -> None:
    assert incremental(zone=zone, format="date", start=year).since(None) in (year[:10], "9999-12-31")


@pytest.mark.parametrize("zone", [NEW_YORK, "Asia/Tokyo", None])
def test_the_first_days_of_the_calendar_are_windows_in_every_zone(zone: str | None) -> None:
    """Year 1 begins in Tokyo before it does in UTC, where no year is before it."""
    days = incremental(zone=zone, format="date", bounds="closed", start="0001-01-01", window="1d")

    windows = days.windows(None, datetime(1, 1, 3, 12, tzinfo=UTC))

    assert [(window.start, window.end) for window in windows] == [(f"0001-01-0{day}",) * 2 for day in (1, 2, 3)]


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
        {"zone": "Mars/Base", "format": "date"},
        {"zone": "Europe", "format": "date"},
        {"zone": "", "format": "date"},
        {"zone": "Europe/Madrid"},
        {"zone": "Europe/Madrid", "format": "%Y-%m-%dT%H:%M:%SZ"},
        {"zone": "Europe/Madrid", "format": "epoch_s"},
    ],
)
def test_an_incremental_that_cannot_work_is_refused(written: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        incremental(**written)


@pytest.mark.parametrize(
    ("hour", "expected"), [pytest.param(3, False, id="evening-in-new-york"), pytest.param(5, True, id="midnight-there")]
)
def test_a_day_is_over_where_the_api_is(hour: int, expected: bool) -> None:
    new_york = incremental(format="date", zone="America/New_York")

    assert new_york.reaches("2024-02-01", datetime(2024, 2, 1, hour, tzinfo=UTC)) is expected
