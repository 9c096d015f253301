"""What marts may be made of: what a source file has, or what is committed without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.project import Project, load_project
from pipelines.errors import ConfigError

SOURCE = "base_url: https://a.example\nresources: {orders: {path: /orders}, refunds: {path: /refunds}}\n"


def loaded(root: Path, dataset: str, *, only: tuple[str, ...] | None = None, bank: str = SOURCE) -> Project:
    """A project of two sources and one mart, which is made of *dataset*."""
    marts = f"marts:\n  totals:\n    sql: country_day.sql\n    inputs:\n      orders: {dataset}\n"
    (root / "config").mkdir()
    for name, text in {"shop": SOURCE, "bank": bank, "marts": marts}.items():
        (root / "config" / f"{name}.yaml").write_text(text)
    return load_project({}, root=root, only=only)


@pytest.mark.parametrize("only", [None, ("bank",)], ids=["all", "another-source-only"])
@pytest.mark.parametrize("dataset", ["shop.ordres", "shop.ordres__rejects"])
def test_a_resource_that_its_source_has_not_is_refused(
    tmp_path: Path, dataset: str, only: tuple[str, ...] | None
) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, dataset, only=only)

    name = dataset.removeprefix("shop.")
    assert refused.value.message == (
        f"{tmp_path / 'config' / 'marts.yaml'}:5: marts.totals.inputs.orders: "
        f"the source shop has no resource {name!r} (did you mean orders?); known: orders, refunds"
    )


@pytest.mark.parametrize("dataset", ["shop.orders", "shop.orders__rejects", "bank.refunds"])
def test_what_its_source_has_is_taken(tmp_path: Path, dataset: str) -> None:
    project = loaded(tmp_path, dataset)

    assert (list(project.marts.marts), project.warnings) == (["totals"], ())


def test_a_source_without_a_file_is_told_and_may_have_been_committed_before(tmp_path: Path) -> None:
    project = loaded(tmp_path, "shopp.orders")

    (warning,) = project.warnings
    told = "marts.yaml:5: marts.totals.inputs.orders: no file describes the source 'shopp' (did you mean shop?)"
    assert told in warning


def test_a_file_that_cannot_be_read_and_was_not_asked_for_stops_no_run_of_another(tmp_path: Path) -> None:
    project = loaded(tmp_path, "bank.orders", only=("shop",), bank="resources: [\n")

    assert project.sources.names == ("shop",)
    assert project.warnings == ()


def test_a_check_that_would_set_rows_of_a_mart_aside_is_refused(tmp_path: Path) -> None:
    checks = "shop.orders\n    expect: [{min_rows: 1}, {not_null: [id], severity: quarantine}]"

    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, checks)

    assert refused.value.message == (
        f"{tmp_path / 'config' / 'marts.yaml'}:6: marts.totals.expect[1].severity: "
        "no row of a mart is set aside: say warn or fail, or check the resource that it is made of"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        pytest.param(
            "partition_by: moth(day)", "partition_by: 'moth(day)' is no partition; write field, ", id="no-partition"
        ),
        pytest.param("partition_by: [day, day]", "partition_by: two partitions would share a folder", id="twice"),
    ],
)
def test_a_mart_that_could_not_be_written_is_refused(tmp_path: Path, line: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, f"shop.orders\n    {line}")

    assert f"marts.yaml:6: marts.totals.{told}" in refused.value.message


@pytest.mark.parametrize(
    ("maker", "told"),
    [
        pytest.param("sql: country_dya.sql", "sql: no file country_dya.sql in ", id="no-query"),
        pytest.param("function: 'city_dya:city_day'", "function: no file city_dya.py in ", id="no-module"),
        pytest.param("function: 'city_day:city_dya'", "function: city_day.py has no 'city_dya'", id="no-function"),
    ],
)
def test_a_mart_without_what_makes_it_is_refused_with_what_was_meant(tmp_path: Path, maker: str, told: str) -> None:
    """It is looked for, and not imported."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "shop.yaml").write_text(SOURCE)
    marts = f"marts:\n  totals:\n    {maker}\n    inputs:\n      orders: shop.orders\n"
    (tmp_path / "config" / "marts.yaml").write_text(marts)

    with pytest.raises(ConfigError) as refused:
        load_project({}, root=tmp_path)

    assert f"marts.yaml:3: marts.totals.{told}" in refused.value.message
    assert "did you mean" in refused.value.message


def test_marts_may_be_in_a_file_that_ends_in_yml_but_not_in_two(tmp_path: Path) -> None:
    """As source files may."""
    loaded(tmp_path, "shop.orders")
    file = tmp_path / "config" / "marts.yaml"
    file.rename(file.with_suffix(".yml"))

    named = load_project({}, root=tmp_path).marts.marts
    file.write_text("marts: {}\n")
    with pytest.raises(ConfigError, match="there are two files of marts"):
        load_project({}, root=tmp_path)

    assert list(named) == ["totals"]
