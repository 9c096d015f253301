"""`threadmill init` as a user types it, and the worked example of its page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines.cli import app
from pipelines.demo import serve
from tests.fake_api import FakeApi, say
from tests.init.apis import Listing, drafted, orders, page_number, run_draft

ROOT = Path(__file__).parents[2]
_PAGE = ROOT / "docs" / "init.md"
_USGS = "https://earthquake.usgs.gov/fdsnws/event/1/query?format=geojson&starttime=2018-01-31"
_COUNTRIES = "https://api.worldbank.org/v2/country?format=json"
_HOLIDAYS = "https://date.nager.at/api/v3/PublicHolidays/2018/DE"
_RATES = "https://api.frankfurter.dev/v1/2012-01-02..2012-03-31?base=EUR"
_WEATHER = (
    "https://archive-api.open-meteo.com/v1/archive?latitude=40.71&longitude=-74.0"
    "&daily=temperature_2m_max,precipitation_sum&start_date=2012-01-01&end_date=2012-12-31"
)


@pytest.fixture(scope="module")
def origins() -> Iterator[dict[str, str]]:
    with serve(latency="0ms") as served:
        yield served


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("url", "rows"),
    [
        pytest.param(_USGS, 1_707, id="usgs"),
        pytest.param(_COUNTRIES, 299, id="worldbank"),
        pytest.param(_HOLIDAYS, 9, id="nager"),
        pytest.param(_RATES, 2_145, id="frankfurter"),
        pytest.param(_WEATHER, 366, id="openmeteo"),
    ],
)
def test_a_draft_of_each_bundled_api_reads_every_row(
    tmp_path: Path, origins: dict[str, str], url: str, rows: int
) -> None:
    written = drafted(url, origin_map=origins)
    for live, local in origins.items():
        written = type(written)(written.name, written.text.replace(live, local), written.asked)

    report = run_draft(written, tmp_path)

    assert report.problems == []
    assert report.rows == rows
    assert len(written.asked) <= 20


def test_the_file_is_written_and_passes_check(api: FakeApi, here: Path) -> None:
    api.route("/v1/orders", Listing(api, orders(57), page_number(1)))

    told = CliRunner().invoke(app, ["init", f"{api.url}/v1/orders", "--name", "shop"])
    checked = CliRunner().invoke(app, ["check"])

    assert told.exit_code == 0, told.output
    assert "written to config/shop.yaml" in told.stderr
    assert "of at most 20 requests:" in told.stderr
    assert (here / "config" / "shop.yaml").is_file()
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("options", [["--name", "shop"], ["--output", "config/shop.yaml"], []])
def test_a_file_that_is_there_is_never_overwritten(api: FakeApi, here: Path, options: list[str]) -> None:
    """Where its place is known before the API is asked, that is not asked."""
    api.route("/v1/orders", Listing(api, orders(5), page_number(1)))
    (here / "config").mkdir()
    for name in ("shop", "orders"):
        (here / "config" / f"{name}.yaml").write_text("mine")

    told = CliRunner().invoke(app, ["init", f"{api.url}/v1/orders", *options])

    assert told.exit_code == 2
    assert "exists already" in told.stderr
    assert {path.read_text() for path in (here / "config").iterdir()} == {"mine"}
    assert bool(api.asked) is not bool(options)


def test_a_dash_prints_the_file_and_nothing_else(api: FakeApi, here: Path) -> None:
    api.route("/v1/orders", Listing(api, orders(5), page_number(1)))

    told = CliRunner().invoke(app, ["init", f"{api.url}/v1/orders", "--output", "-"])

    assert told.stdout.startswith("# Written by threadmill init")
    assert "requests:" not in told.stdout
    assert not (here / "config").exists()


@pytest.mark.parametrize("options", [(), ("--openapi",)])
def test_a_secret_of_the_url_is_in_no_error(
    api: FakeApi, here: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("BOT_TOKEN", "81:c4nary")
    api.answer("/bot81:c4nary/orders", say({"error": "nobody is called 81:c4nary"}, status=404))

    told = CliRunner().invoke(app, ["init", f"{api.url}/bot${{BOT_TOKEN}}/orders", *options])

    assert (told.exit_code, "c4nary" in told.output) == (1, False)
    assert "/bot***/orders answered 404 (nobody is called ***)" in told.stderr


def test_the_help_has_an_example() -> None:
    told = CliRunner().invoke(app, ["init", "--help"])

    assert "threadmill init https://" in told.stdout


def test_the_worked_example_of_the_page_is_what_init_writes(origins: dict[str, str]) -> None:
    """`docs/init.md` shows a command and its file: both are compared word by word."""
    page = _PAGE.read_text(encoding="utf-8")
    url = re.search(r"threadmill init '([^']+)'", page)
    shown = re.search(r"```yaml\n(# Written.*?)```", page, re.DOTALL)
    assert url
    assert shown

    written = drafted(url[1], name="worldbank", origin_map=origins)

    assert written.text == shown[1]


@pytest.mark.parametrize("name", ["my-shop", "marts", "con", "Shop", "temp"])
@pytest.mark.parametrize("openapi", [False, True])
def test_a_name_that_no_source_can_have_is_refused_before_anything_is_asked(
    api: FakeApi, here: Path, name: str, openapi: bool
) -> None:
    api.answer("/v1/orders", say(orders(5)))

    told = CliRunner().invoke(app, ["init", f"{api.url}/v1/orders", "--name", name, *(["--openapi"] * openapi)])

    assert told.exit_code == 2
    assert f"'{name}'" in told.stderr
    assert api.asked == []
    assert not (here / "config").exists()


def test_a_draft_that_is_no_valid_source_leaves_no_file_behind(api: FakeApi, here: Path) -> None:
    """One invalid file would keep the sources beside it from running; `{year}` is a placeholder without a value."""
    api.answer("/v1/orders", say(orders(5)))

    told = CliRunner().invoke(app, ["init", f"{api.url}/v1/orders?of={{year}}", "--name", "shop"])

    assert told.exit_code == 2
    assert "no value for the placeholder {year}" in told.stderr
    assert list((here / "config").iterdir()) == []
