"""When the marts of a run are made again, and what of: whole runs, YAML in, rows out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import pipelines
from pipelines.config.project import load_project
from pipelines.extract.events import Event
from pipelines.load.lake import Lake
from pipelines.report.result import RunReport
from pipelines.report.runs import read_run
from pipelines.run import run
from tests.fake_api import FakeApi

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
SHOP = """\
base_url: {base}
defaults: {{records: data, paginate: {{next_url: next}}, write: replace, allow_empty: true}}
resources:
  events: {{path: /events, columns: {{date: date}}}}
  weather: {{path: /weather, columns: {{date: date}}}}
  holidays: {{path: /holidays, columns: {{date: date, counties: "list<string>"}}}}
  rates: {{path: /rates, columns: {{date: date}}}}
"""
MARTS = """\
marts:
  city_day:
    inputs: {weather: shop.weather, holidays: shop.holidays, rates: shop.rates}
    function: city_day:city_day
    split_by: weather
  country_day: {inputs: {exposure: shop.events}, sql: country_day.sql}
  of_country_day: {inputs: {exposure: shop.events, more: marts.country_day}, sql: country_day.sql}
"""
COUNTRY_DAY = "marts: {country_day: {inputs: {exposure: shop.events}, sql: country_day.sql"
EVENT: dict[str, Any] = {
    "event_id": "e",
    "country_code": "ES",
    "country": "Spain",
    "date": "2024-01-01",
    "mag": 4.6,
    "km_to_city": 1.0,
    "people_100km": 5,
    "currency": "EUR",
    "rate": 1.0,
    "rate_change_pct": 0.5,
}
WEATHER: dict[str, Any] = {
    "place": "Seattle",
    "date": "2024-01-01",
    "precipitation_sum": 0.5,
    "temperature_2m_max": 9.5,
    "temperature_2m_min": 1.5,
    "wind_speed_10m_max": 3.5,
}
HOLIDAY = {"date": "2024-01-01", "country_code": "US", "name": "New Year's Day", "counties": None}
RATE = {"date": "2024-01-01", "currency": "USD", "rate": 1.1}
Shop = Callable[..., RunReport]


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path) -> Shop:
    """Run the project of the shop and its marts, once the API has these records."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SHOP.format(base=api.url))

    def ran(marts: str, *, now: datetime = NOON, stop_when: str = "", **records: list[Any]) -> RunReport:
        stop = threading.Event()

        def listen(source: str, event: Event) -> None:
            if event.kind == stop_when:
                stop.set()

        (tmp_path / "config" / "marts.yaml").write_text(marts)
        for resource in ("events", "weather", "holidays", "rates"):
            api.pages(f"/{resource}", records=records.get(resource, []))
        settings = {"THREADMILL_DATA": str(tmp_path / "data"), "THREADMILL_WORKERS": "1"}
        return run(load_project(settings, root=tmp_path), now=now, listen=listen, stop=stop)

    return ran


def told(report: RunReport) -> dict[str, tuple[str, str]]:
    """Verdict and evidence of each mart."""
    return {one.resource: (one.verdict, one.evidence) for one in report.resources if one.source == "marts"}


def test_a_mart_forgets_the_rows_of_inputs_that_are_empty_now(shop: Shop, tmp_path: Path) -> None:
    """Day 1: one event and one day of weather; day 2: neither; day 3: the same, and nothing is made again."""
    data = tmp_path / "data"
    there = {"events": [EVENT], "weather": [WEATHER], "holidays": [HOLIDAY], "rates": [RATE]}
    rows = []

    for day in (there, {}, {}):
        report = shop(MARTS, **day)
        assert report.exit_code == 0, report.problems
        rows.append([len(pipelines.read(f"marts.{name}", data=data)) for name in ("city_day", "country_day")])

    assert rows == [[1, 1], [0, 0], [0, 0]]
    assert {evidence for _, evidence in told(report).values()} == {"its inputs have not changed"}


def test_an_input_that_is_empty_leaves_the_rows_of_the_others(shop: Shop, tmp_path: Path) -> None:
    shop(MARTS, weather=[WEATHER], holidays=[HOLIDAY], rates=[RATE])

    report = shop(MARTS, weather=[WEATHER])

    days = pipelines.read("marts.city_day", data=tmp_path / "data")
    assert report.exit_code == 0, report.problems
    assert (days["city"].tolist(), days["rate"].isna().tolist()) == (["Seattle"], [True])


def test_a_mart_of_an_input_that_never_had_a_row_waits(shop: Shop) -> None:
    report = shop(MARTS)

    assert told(report)["country_day"] == ("skipped", "no rows yet in shop.events")


def test_a_commit_that_takes_the_number_of_a_removed_one_makes_the_mart_again(shop: Shop, tmp_path: Path) -> None:
    """Commit 2 had two events and was removed; the new commit 2 has three."""
    data, mart = tmp_path / "data", COUNTRY_DAY + "}}"
    counts = []

    for events in (1, 2, 3):
        report = shop(mart, events=[EVENT | {"event_id": str(number)} for number in range(events)])
        counts.append((report.sources[0].commit, pipelines.read("marts.country_day", data=data)["events"].tolist()))
        (newest,) = data.glob("**/shop/log/000000000002.json") if events == 2 else [None]
        if newest:
            newest.unlink()

    assert counts == [(1, [1]), (2, [2]), (2, [3])]


@pytest.mark.parametrize(("severity", "exit_code"), [("fail", 1), ("warn", 0)])
def test_rows_of_a_mart_grow_old_though_its_inputs_do_not_change(shop: Shop, severity: str, exit_code: int) -> None:
    """The event of New Year's Day is fresh enough a day later, and too old a week later."""
    mart = f"{COUNTRY_DAY}, expect: [{{freshness: {{date: 2d}}, severity: {severity}}}]}}}}"
    codes = [shop(mart, events=[EVENT]).exit_code, shop(mart, events=[EVENT]).exit_code]

    report = shop(mart, events=[EVENT], now=NOON + timedelta(days=7))

    (one,) = [one for one in report.resources if one.source == "marts"]
    said = one.problem.message if one.problem else " ".join(one.warnings)
    assert (codes, report.exit_code) == ([0, 0], exit_code)
    assert "marts.country_day: the newest date is 2024-01-01" in said


def test_a_check_of_a_mart_that_was_not_made_again_is_not_said_to_hold(shop: Shop) -> None:
    mart = COUNTRY_DAY + ", expect: [{unique: date}, {freshness: {date: 2d}}]}}"

    first, second = shop(mart, events=[EVENT]), shop(mart, events=[EVENT])

    (made,) = [one for one in first.resources if one.source == "marts"]
    (left,) = [one for one in second.resources if one.source == "marts"]
    assert [bool(check.complaints) for check in (*made.expected, *left.expected)] == [True, True, False, True]


def test_a_mart_without_rows_has_the_columns_that_it_has_now(shop: Shop, tmp_path: Path) -> None:
    """Other marts and readers ask for them; those of its old rows are gone with the rows."""
    shop("marts: {one: {inputs: {exposure: shop.events}, sql: country_day.sql}}", events=[EVENT], weather=[WEATHER],
         holidays=[HOLIDAY], rates=[RATE])  # fmt: skip
    inputs = "{weather: shop.weather, holidays: shop.holidays, rates: shop.rates}"

    report = shop(f"marts: {{one: {{inputs: {inputs}, function: 'city_day:city_day', split_by: weather}}}}")

    found = pipelines.read("marts.one", data=tmp_path / "data")
    assert {one.problem for one in report.resources} == {None}
    assert len(found) == 0
    assert "temperature_max_c" in found.columns
    assert "people_100km" not in found.columns


WAITING = """\
marts:
  first: {inputs: {exposure: shop.events}, sql: country_day.sql, expect: [{min_rows: 2}]}
  second: {inputs: {exposure: shop.events, more: marts.first}, sql: country_day.sql}
  third: {inputs: {exposure: shop.events, more: marts.second}, sql: country_day.sql}
"""


def test_a_mart_that_waits_for_one_that_failed_says_so(shop: Shop) -> None:
    """On day 1 each has rows; on day 2 the first fails, which the third feels through the second."""
    two = [EVENT, EVENT | {"date": "2024-01-02"}]
    days = [told(shop(WAITING, events=events)) for events in (two, [EVENT])]

    assert {verdict for verdict, _ in days[0].values()} == {"complete"}
    assert days[1]["first"][0] == "failed"
    assert days[1]["second"] == days[1]["third"] == ("skipped", "marts.first failed")


@pytest.mark.parametrize(
    ("expect", "verdict", "rows"),
    [
        pytest.param("", "failed", 0, id="by-itself"),
        pytest.param(", expect: [{unique: country_code, severity: warn}]", "complete", 2, id="lowered"),
    ],
)
def test_a_mart_whose_rows_repeat_its_key_fails_unless_it_may(
    shop: Shop, tmp_path: Path, expect: str, verdict: str, rows: int
) -> None:
    """Two days of one country."""
    two = [EVENT, EVENT | {"date": "2024-01-02"}]

    report = shop(f"{COUNTRY_DAY}, key: country_code{expect}}}}}", events=two)

    (one,) = [one for one in report.resources if one.source == "marts"]
    said = one.problem.message if one.problem else " ".join(one.warnings)
    assert (one.verdict, one.new) == (verdict, rows)
    assert "marts.country_day: 1 rows repeat country_code" in said


@pytest.mark.parametrize(
    ("marts", "before"), [(COUNTRY_DAY + "}}", "its marts were made"), ("marts: {}", "all was done")]
)
def test_a_run_that_is_stopped_when_its_sources_have_committed_is_not_complete(
    shop: Shop, tmp_path: Path, marts: str, before: str
) -> None:
    """Its report, its page and its process say 130; the next run makes the marts."""
    report = shop(marts, events=[EVENT], stop_when="committed")
    again = shop(marts, events=[EVENT])

    saved = read_run(tmp_path / "data", report.run_id)
    page = (tmp_path / "data" / "runs" / f"{report.run_id}.html").read_text(encoding="utf-8")
    assert (report.problems, report.exit_code, saved["exit_code"], saved["stopped"]) == ([], 130, 130, True)
    assert report.all_warnings == [f"the run was stopped before {before}; the next run goes on"]
    assert '<em class="interrupted">interrupted</em>' in page
    assert (told(report), again.exit_code) == ({}, 0)
    assert [verdict for verdict, _ in told(again).values()] == ["complete"] * ("country_day" in marts)


def test_a_mart_whose_order_alone_has_changed_is_written_in_the_new_one(shop: Shop, tmp_path: Path) -> None:
    """Two quakes on the first day and one on the second; a third run writes nothing."""
    days = ("2024-01-01", "2024-01-01", "2024-01-02")
    quakes = [EVENT | {"event_id": str(number), "date": day} for number, day in enumerate(days)]
    orders, files = [], []

    for sort_by in ("date", "events", "events"):
        report = shop(f"{COUNTRY_DAY}, sort_by: {sort_by}}}}}", events=quakes)
        orders.append(pipelines.read("marts.country_day", data=tmp_path / "data")["events"].tolist())
        files.append(sum(one.files_written for one in report.resources if one.source == "marts"))

    assert orders == [[2, 1], [1, 2], [1, 2]]
    assert files == [1, 1, 0]


def test_a_mart_that_is_no_longer_described_is_told_until_it_is_dropped(shop: Shop, tmp_path: Path) -> None:
    two = f"{COUNTRY_DAY}}}, other: {{inputs: {{exposure: shop.events}}, sql: country_day.sql}}}}"
    one = f"{COUNTRY_DAY}}}}}"

    warnings = [shop(marts, events=[EVENT]).sources[-1].warnings for marts in (two, one)]
    lake = Lake(tmp_path / "data", "marts")
    with lake.lock("drop"):
        lake.drop(["other"], "drop")
    last = shop(one, events=[EVENT])

    assert warnings == [(), ("marts.other: nothing makes it any more; `threadmill drop marts.other` takes it out",)]
    assert last.sources[-1].warnings == ()
    assert [path.name for path in (tmp_path / "data/parquet/marts").iterdir()] == ["country_day"]
