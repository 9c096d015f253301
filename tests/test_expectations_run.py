"""What becomes of `expect` in whole runs: YAML in, rows, verdicts and the page of the run out."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import pipelines
from pipelines.cli import app
from pipelines.config.project import load_project
from pipelines.report.result import RunReport
from pipelines.run import run
from tests.fake_api import FakeApi

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHOP = """\
base_url: {base}
resources:
  orders: {{path: /orders, records: data, paginate: {{next_url: next}}, {more}}}
"""
BARE = [{"id": 1}, {"id": 2}]
Shop = Callable[..., RunReport]


@pytest.fixture
def shop(api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Load these records, two a page, as the resource says with *more*."""
    (tmp_path / "config").mkdir()
    monkeypatch.chdir(tmp_path)

    def ran(records: list[Any], more: str, *, now: datetime = NOON, batch_size: str = "16MB") -> RunReport:
        (tmp_path / "config" / "shop.yaml").write_text(SHOP.format(base=api.url, more=more))
        api.pages("/orders", records=records, page_size=2)
        settings = {"DATA": str(tmp_path / "data"), "WORKERS": "1", "BATCH_SIZE": batch_size}
        project = load_project({f"THREADMILL_{name}": value for name, value in settings.items()}, root=tmp_path)
        return run(project, now=now)

    return ran


def outcome(report: RunReport) -> tuple[int, int, int, tuple[str, ...]]:
    """Exit code, rows written, records set aside, and what was said."""
    (orders,) = report.resources
    said = (orders.problem.message,) if orders.problem else orders.warnings
    return report.exit_code, orders.new, orders.rejected, said


@pytest.mark.parametrize(
    ("check", "severity", "expected"),
    [
        pytest.param("not_null: size", "quarantine", (0, 0, 2, ()), id="null-quarantine"),
        pytest.param("not_null: size", "warn", (0, 2, 0, ("shop.orders: 2 rows: size is null",)), id="null-warn"),
        pytest.param("not_null: size", "fail", (1, 0, 0, ("shop.orders: 2 of 2 rows: size is null",)), id="null-fail"),
        *(
            pytest.param(check, severity, (0, 2, 0, ()), id=f"{check.partition(':')[0]}-{severity}")
            for check in ("between: {size: [0, 9]}", "between: {size: [null, 9]}", 'matches: {size: "[a-z]"}')
            for severity in ("quarantine", "warn", "fail")
        ),
    ],
)
def test_a_field_that_no_record_of_a_batch_has_is_null_to_checks_of_each_row(
    shop: Shop, tmp_path: Path, check: str, severity: str, expected: Any
) -> None:
    report = shop(BARE, f"write: replace, expect: [{{{check}, severity: {severity}}}]")

    assert outcome(report) == expected
    if expected[1]:
        assert pipelines.read("orders", data=tmp_path / "data").to_dict("list") == {"id": [1, 2]}


@pytest.mark.parametrize("batch_size", ["1B", "1MB"])
def test_what_is_set_aside_does_not_depend_on_how_rows_fall_into_batches(shop: Shop, batch_size: str) -> None:
    """Page 1 lacks the field, page 2 has it: 20 is out of bounds whether both are one batch or two."""
    sized = [{"id": 3, "size": 5}, {"id": 4, "size": 20}]

    report = shop(
        [*BARE, *sized],
        "write: replace, expect: [{between: {size: [0, 9]}, severity: quarantine}]",
        batch_size=batch_size,
    )

    assert outcome(report) == (0, 3, 1, ())


@pytest.mark.parametrize("severity", ["quarantine", "warn", "fail"])
def test_a_preview_tells_that_a_field_is_missing(shop: Shop, severity: str) -> None:
    shop(BARE, f"write: replace, expect: [{{not_null: size, severity: {severity}}}]")

    told = CliRunner().invoke(app, ["preview", "shop.orders"])

    assert told.exit_code == 0, told.output
    assert "2 of 2 rows: size is null" in told.output


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        pytest.param("{unique: id}, {min_rows: 2}", (0, 0, 0, ()), id="hold"),
        pytest.param("{min_rows: 3}", (1, 0, 0, ("shop.orders: 2 rows, expected 3 at least",)), id="few"),
        pytest.param("{unique: size}", (1, 0, 0, ("shop.orders: 1 rows repeat size",)), id="twice"),
    ],
)
def test_checks_of_a_whole_history_look_at_its_current_rows(shop: Shop, checks: str, expected: Any) -> None:
    """Order 1 was of size 5 and is of size 7, as order 2 is: three rows, two of them current."""
    assert shop([{"id": 1, "size": 5}, {"id": 2, "size": 7}], "write: history, key: id").exit_code == 0
    changed = [{"id": 1, "size": 7}, {"id": 2, "size": 7}]

    report = shop(changed, f"write: history, key: id, expect: [{checks}]", now=NOON + timedelta(days=1))

    assert outcome(report) == expected


def page_of(report: RunReport) -> str:
    return (Path(report.data) / "runs" / f"{report.run_id}.html").read_text(encoding="utf-8")


def outcomes(report: RunReport) -> list[str]:
    """What the page of a run says of each check."""
    page = page_of(report)
    return re.findall(r'data-title="outcome"[^>]*><em[^>]*>([a-z ]+)<', page)


@pytest.mark.parametrize(
    ("severity", "exit_code", "shown"), [("fail", 1, "failed"), ("warn", 0, "warned")], ids=["fail", "warn"]
)
def test_a_check_that_is_new_is_looked_at_though_no_row_is(
    shop: Shop, severity: str, exit_code: int, shown: str
) -> None:
    twice = [{"id": 1}, {"id": 1}]
    assert shop(twice, "write: replace").exit_code == 0

    report = shop(twice, f"write: replace, expect: [{{unique: id, severity: {severity}}}]")

    assert (report.exit_code, outcomes(report)) == (exit_code, [shown])


def test_a_check_that_nobody_looked_at_is_not_said_to_hold(shop: Shop) -> None:
    """The first run warns of the rows; the second has nothing new, and looks at what it reads alone."""
    twice, more = [{"id": 1}, {"id": 1}], "write: replace, expect: [{not_null: id}, {unique: id, severity: warn}]"

    reports = [shop(twice, more), shop(twice, more), shop([*twice, {"id": 2}], more)]

    assert [sorted(outcomes(report)) for report in reports] == [
        ["held", "warned"],
        ["held", "not looked at"],
        ["held", "warned"],
    ]


@pytest.mark.parametrize(("severity", "shown"), [("fail", "failed"), ("warn", "warned")], ids=["fail", "warn"])
def test_a_check_of_a_column_that_is_missing_is_not_said_to_hold(shop: Shop, severity: str, shown: str) -> None:
    checks = f"{{unique: [id, size], severity: {severity}}}, {{freshness: {{at: 1d}}, severity: {severity}}}"

    report = shop(BARE, f"write: replace, expect: [{checks}]")

    assert outcome(report)[3][0].startswith("shop.orders: there is no column size")
    assert outcomes(report) == [shown, shown]


@pytest.mark.parametrize(
    ("broken", "holds"),
    [
        pytest.param("not_null: net_amount", "not_null: amount", id="begins-alike"),
        pytest.param("between: {depth: [-20, -10]}", "between: {depth: [-20, -1]}", id="ends-alike"),
    ],
)
def test_a_check_that_holds_is_not_taken_for_one_of_almost_the_same_words(shop: Shop, broken: str, holds: str) -> None:
    records = [{"id": number, "depth": -5, "amount": number, "net_amount": None} for number in (1, 2)]

    report = shop(records, f"write: replace, expect: [{{{holds}, severity: warn}}, {{{broken}, severity: warn}}]")

    assert outcomes(report) == ["warned", "held"]


def test_each_run_tells_the_records_that_it_has_set_aside_itself(shop: Shop) -> None:
    """Beside a new row: five records, the same again, then one of them and another, then none."""
    more = "key: id, write: upsert, expect: [{not_null: size, severity: quarantine}, {not_null: id}]"
    lacking = [[{"id": number} for number in numbers] for numbers in (range(5), range(5), (4, 7), ())]

    reports = [shop([{"id": 10 + day, "size": 5}, *records], more) for day, records in enumerate(lacking)]

    pages = [page_of(report) for report in reports]
    assert [outcome(report)[2] for report in reports] == [5, 5, 2, 0]
    assert [outcomes(report) for report in reports] == [["set aside", "held"]] * 3 + [["held", "held"]]
    assert [re.findall(r'data-title="records"[^>]*>([\d,]+)<', page) for page in pages] == [["5"], ["5"], ["2"], []]
    assert ['class="record">{&quot;id&quot;:' in page for page in pages] == [True, True, True, False]


def test_reasons_of_values_that_do_not_fit_are_counted_by_column(shop: Shop) -> None:
    """In batches of one page each; a check that sets one record aside is not lost among a hundred other reasons."""
    words = [{"id": number, "size": "x" * number} for number in range(1, 121) for _ in range(2)]
    more = "key: id, write: upsert, columns: {size: int64}, on_mismatch: quarantine"

    report = shop(
        [*words, {"id": 500, "size": 99}],
        f"{more}, expect: [{{between: {{size: [0, 9]}}, severity: quarantine}}]",
        batch_size="1B",
    )

    (orders,) = report.resources
    told = {(one.column, one.reason): one.records for one in orders.reasons}
    assert (orders.rejected, len(told), outcomes(report)) == (241, 101, ["set aside"])
    assert told["size", "size is not between 0 and 9"] == 1
    assert told["size", "is a string of 1 characters and no number"] == 2
