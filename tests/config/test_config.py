"""From YAML to sources: what is accepted, and what it becomes."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import pytest

from pipelines.config.loading import NOT_SOURCES, load
from pipelines.extract.endpoint import Endpoint
from pipelines.extract.paginators import LinkHeader
from pipelines.load.target import Target
from pipelines.transform.columns import Shape
from tests.project import FORGE, ONE, SHOP, TOP, Project, resource

ROOT = Path(__file__).parents[2]


def source_files() -> list[Path]:
    return sorted(path for path in (ROOT / "config").glob("*.yaml") if path.stem not in NOT_SOURCES)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project that is the current folder."""
    return Project(tmp_path, monkeypatch)


def test_a_source_file_becomes_a_source_with_units_read_and_kinds_chosen(project: Project) -> None:
    project.write(SHOP)

    sources = project.load()

    shop = sources["shop"]
    orders = shop.resources["orders"]
    assert sources.names == ("shop",)
    assert sources.warnings == ()
    assert isinstance(orders.paginate, LinkHeader)
    assert orders.incremental is not None
    assert (orders.incremental.start, orders.incremental.lag) == ("2024-01-01", 3600.0)
    assert (shop.schedule and shop.schedule.timezone, shop.limits.in_flight) == ("Europe/Madrid", 8)


def test_each_stage_gets_its_part_of_a_resource_and_can_send_it_to_a_process(project: Project) -> None:
    project.write(SHOP)
    orders = project.load()["shop"].resources["orders"]

    parts = pickle.loads(pickle.dumps((orders.endpoint(), orders.shape(), orders.target())))  # noqa: S301  # our own

    endpoint, shape, target = parts
    assert [type(part) for part in parts] == [Endpoint, Shape, Target]
    assert (endpoint.path, list(shape.columns), target.key) == ("/orders", ["total", "created_at"], ("id",))
    assert (endpoint.incremental, endpoint.paginate) == (orders.incremental, orders.paginate)


def test_defaults_lie_under_each_resource_key_by_key(project: Project) -> None:
    project.write(FORGE, "forge")

    resources = project.load()["forge"].resources

    assert resources["repos"].params == {"per_page": 100, "state": "all"}
    assert resources["issues"].params == {"per_page": 100, "state": "open"}
    assert [resource.key for resource in resources.values()] == [("id",), ("id",)]


def test_null_takes_a_default_away(project: Project) -> None:
    project.write(
        FORGE.replace("{path: /orgs/acme/repos, write: replace}", "{path: /x, key: null, params: null}"), "forge"
    )

    repos = project.load()["forge"].resources["repos"]

    assert (repos.key, repos.params) == ((), {})


def test_dates_and_words_stay_text(project: Project) -> None:
    """YAML's own rules would give a date, two booleans, an octal and a sexagesimal number."""
    project.write(
        resource("path: /x", "params: {a: 2024-01-01, b: yes, c: 012, d: 1:30, e: 1_000, f: 1.5, g: 7, h: true, n: ~}")
    )

    params = project.load()["shop"].resources["r"].params

    assert params == {
        "a": "2024-01-01", "b": "yes", "c": "012", "d": "1:30", "e": "1_000", "f": 1.5, "g": 7, "h": True, "n": None,
    }  # fmt: skip


def test_a_number_that_python_writes_in_another_way_is_text_where_text_is_wanted(project: Project) -> None:
    """And a number where one is wanted; the hash of the configuration tells the two apart."""
    written = "[1.10, 1e3, 12345e7, +5, -0, .5, 1., 1e999, 123456789012345678901]"
    rest = ("body: {a: 1.10, b: [1e3]}", "for_each: [{v: 1.10}]")
    project.write(resource("path: /x", f"params: {{a: {written}}}", *rest))
    first = project.load()["shop"]
    project.write(resource("path: /x", f"params: {{a: {written}}}".replace("1.10", "1.1"), *rest))
    second = project.load()["shop"]

    assert first.resources["r"].params == {"a": written[1:-1].split(", ")}
    assert first.resources["r"].body == {"a": 1.1, "b": [1000.0]}
    assert first.resources["r"].model_dump()["for_each"]["values"] == [{"v": "1.10"}]
    assert second.resources["r"].params["a"] == [1.1, *written[1:-1].split(", ")[1:]]
    assert first.config_hash != second.config_hash


def test_a_number_may_be_written_in_any_way_where_one_is_wanted(project: Project) -> None:
    project.write(
        "base_url: https://a.example\n"
        "limits: {in_flight: 8.0, daily: 1e4}\nretry: {attempts: +3, statuses: [+500, 5.03e2]}\n"
        "resources:\n  r:\n    path: /x\n    weight: 2.00\n    flatten: -0\n    errors: [{status: [+404], do: skip}]\n"
        "    expect: [{between: {x: [-1.50, +1e3]}}, {min_rows: 1e2}]\n"
    )

    shop = project.load()["shop"]

    r = shop.resources["r"]
    assert (shop.limits.in_flight, shop.limits.daily) == (8, 10_000)
    assert (shop.retry.attempts, shop.retry.statuses) == (3, (500, 503))
    assert (r.weight, r.flatten, r.errors[0].status) == (2, 0, (404,))
    assert (r.expect[0].between, r.expect[1].min_rows) == ({"x": (-1.5, 1000.0)}, 100)


def test_a_reference_is_looked_up_in_the_environment_then_in_the_profile(project: Project) -> None:
    headers = '{a: "${A}", b: "${B}", c: "${C:-3 c}", d: "x-${A}-${B}", e: "$${A}", f: "$A"}'
    project.write(f"{TOP}headers: {headers}\n{ONE}")

    sources = load(Path("config"), env={"A": "1"}, variables={"A": "profile", "B": "2"})

    assert sources["shop"].headers == {"a": "1", "b": "2", "c": "3 c", "d": "x-1-2", "e": "${A}", "f": "$A"}


def test_a_reference_gives_numbers_flags_and_units_too(project: Project) -> None:
    project.write(
        "base_url: https://a.example\nlimits: {rate: '${RATE}', in_flight: '${FLIGHTS}'}\n"
        "resources: {r: {path: /x, allow_empty: '${EMPTY}'}}\n"
    )

    shop = project.load(RATE="10/s", FLIGHTS="3", EMPTY="true")["shop"]

    assert (shop.limits.in_flight, shop.resources["r"].allow_empty) == (3, True)


def test_s11_what_a_reference_says_is_never_read_again(project: Project) -> None:
    project.write(f'{TOP}headers: {{a: "${{A}}", b: "{{{{ x }}}}"}}\n{ONE}')

    headers = project.load(A="${SHOP_TOKEN}")["shop"].headers

    assert headers == {"a": "${SHOP_TOKEN}", "b": "{{ x }}"}


def test_only_the_sources_asked_for_need_to_be_right(project: Project) -> None:
    project.write(TOP + ONE)
    project.write("base_url: [", "broken")

    assert load(Path("config"), env={}, only={"shop"}).names == ("shop",)


@pytest.mark.parametrize("name", ["catalog", "memory", "system", "temp"])
def test_a_source_that_sql_would_not_find_is_warned_about(project: Project, name: str) -> None:
    project.write(f"{TOP}source: {name}\n{ONE}")

    sources = project.load()

    assert sources.names == (name,)
    assert sources.warnings == (
        f"config/shop.yaml:2: source: '{name}' is a catalog of DuckDB's own, so SQL does not find `{name}.DATASET`; "
        "say another with `source: ...`, or go on with `pipelines.read`",
    )


def test_the_marts_file_is_no_source(project: Project) -> None:
    project.write(SHOP)
    project.write("anything: else\n", "marts")

    assert project.load().names == ("shop",)


def test_an_anchor_may_be_used_again(project: Project) -> None:
    project.write(TOP + "resources:\n  a: &a {path: /a, params: {x: 1}}\n  b: *a\n")

    resources = project.load()["shop"].resources

    assert resources["a"] == resources["b"]


def test_the_source_files_of_the_repository_load_in_a_tenth_of_a_second() -> None:
    if not source_files():
        pytest.skip("no source files")
    variables = _AnyVariable()
    load(ROOT / "config", env={}, variables=variables)

    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        load(ROOT / "config", env={}, variables=variables)
        seconds.append(time.perf_counter() - began)

    assert min(seconds) < 0.1


class _AnyVariable(dict[str, str]):
    """Has a value for every name without a default."""
