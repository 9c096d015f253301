"""Marts of a user's own, in a copy of the package: what makes them may be edited here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fake_api import FakeApi
from tests.shop import ROOT, environment

SHOP = """\
base_url: {base}
resources:
  weather: {{path: /weather, records: data, paginate: {{next_url: next}}, write: replace}}
"""
WEATHER = [{"city": "Oslo", "mm": 1}, {"city": "Oslo", "mm": 3}]
RUN = """\
import pathlib, pipelines

def run():
    report = pipelines.run("shop")
    for one in report.resources:
        if one.source == "marts":
            print(one.resource, one.verdict, one.problem.message if one.problem else one.evidence, sep=": ")

marts = pathlib.Path(pipelines.__file__).parent / "marts"
"""


class Own:
    """A project of one source, and the folder of marts of a package of its own."""

    def __init__(self, folder: Path, package: Path) -> None:
        self.marts, self._folder, self._package = package / "marts", folder, package

    def said(self, config: str, script: str, *, workers: int = 1) -> list[str]:
        """The lines that *script* prints, once `marts.yaml` says *config*."""
        (self._folder / "config" / "marts.yaml").write_text(config)
        env = environment(PYTHONPATH=str(self._package.parent), THREADMILL_WORKERS=str(workers))
        command = [sys.executable, "-c", f"{RUN}\n{script}"]
        done = subprocess.run(command, cwd=self._folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, without the bundled APIs."""
    folder = tmp_path_factory.mktemp("package") / "pipelines"
    shutil.copytree(ROOT / "pipelines", folder, ignore=shutil.ignore_patterns("__pycache__", "demo"))
    return folder


@pytest.fixture
def own(api: FakeApi, tmp_path: Path, package: Path) -> Own:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SHOP.format(base=api.url))
    api.pages("/weather", records=WEATHER)
    return Own(tmp_path, package)


EDITED = """
for query in ("SELECT 1 AS n FROM weather", "SELECT 22 AS n FROM weather", "SELECT 22 AS n FROM weather"):
    (marts / "numbers.sql").write_text(query)
    run()
    print(pipelines.read("marts.numbers")["n"].tolist())
"""


def test_a_query_that_is_edited_between_two_runs_of_one_program_makes_its_mart_again(own: Own) -> None:
    said = own.said("marts: {numbers: {inputs: {weather: shop.weather}, sql: numbers.sql}}", EDITED)

    assert said == [
        "numbers: complete: 1 unit of rows",
        "[1, 1]",
        "numbers: complete: 1 unit of rows",
        "[22, 22]",
        "numbers: complete: its inputs have not changed",
        "[22, 22]",
    ]


EDITED_BELOW = """
run()
(marts / "shared" / "factors.py").write_text("FACTOR = 10")
run()
print(sorted(pipelines.read("marts.more")["mm"]))
"""


def test_a_module_in_a_folder_below_makes_the_mart_again_when_it_is_edited(own: Own) -> None:
    """Folders may stand among the tables in `data`, too."""
    (own.marts / "shared").mkdir()
    (own.marts / "data" / "older").mkdir()
    (own.marts / "shared" / "factors.py").write_text("FACTOR = 1")
    (own.marts / "more.py").write_text(
        "from pipelines.marts.shared.factors import FACTOR\n\n"
        "def more(weather):\n    return weather.assign(mm=weather.mm * FACTOR)\n"
    )

    said = own.said("marts: {more: {inputs: {weather: shop.weather}, function: 'more:more'}}", EDITED_BELOW)

    assert said == ["more: complete: 1 unit of rows", "more: complete: 1 unit of rows", "[10, 30]"]


CITIES = """\
def as_index(weather):
    return weather.groupby("city").mean()


def without(weather):
    return weather[["mm"]]


def grouped(weather):
    return weather.groupby("city", as_index=False).mean()
"""
KEYED = """\
marts:
  as_index: {inputs: {weather: shop.weather}, function: "cities:as_index", key: city}
  without: {inputs: {weather: shop.weather}, function: "cities:without", key: city}
  grouped: {inputs: {weather: shop.weather}, function: "cities:grouped", split_by: weather, key: city}
"""


@pytest.mark.parametrize(
    ("workers", "grouped"),
    [
        pytest.param(1, "complete: 1 unit of rows", id="one-worker"),
        pytest.param(2, "failed: marts.grouped: 1 rows repeat city", id="each-of-two-groups-its-own-rows"),
    ],
)
def test_a_mart_has_the_columns_of_its_key_and_one_row_for_each(own: Own, workers: int, grouped: str) -> None:
    (own.marts / "cities.py").write_text(CITIES)

    said = own.said(KEYED, "run()", workers=workers)

    assert sorted(said) == [
        "as_index: failed: mart as_index: cities:as_index returned city as the index of the frame",
        f"grouped: {grouped}",
        "without: failed: mart without: no column city",
    ]
