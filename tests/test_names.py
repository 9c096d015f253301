"""Names that an API or a user chooses: none leads out of its folder, and all come back as they were.

Values and fields come from an API, so every one of them is taken; names of
sources, resources, columns and marts come from the user's files, where a bad
one is refused with the file and the key.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

import pipelines
from pipelines.cli import app
from pipelines.config.loading import load
from pipelines.config.project import load_project
from pipelines.errors import ConfigError
from pipelines.load.partitions import decode
from pipelines.marts.model import Marts
from pipelines.report.result import RunReport
from pipelines.run import run
from tests.fake_api import FakeApi
from tests.load.test_readers import (
    Reader,
    by_duckdb,
    by_pandas,
    by_polars,
    by_pyarrow,
    whole_by_duckdb,
    whole_by_pandas,
    whole_by_polars,
    whole_by_pyarrow,
)

NFC, NFD = (unicodedata.normalize(form, "Malmö") for form in ("NFC", "NFD"))
VALUES = [
    *("..", "../../escape", "/etc/passwd", "a/b", "a\\b", "C:\\temp", "~root", "nul\0mid", "\0", "", " ", "x" * 300),
    *(
        NFC,
        NFD,
        "名前",
        "🙂",
        "\u202egpj",
        "\ufeffbom",
        "\u200b",
        "CON",
        "nul.txt",
        "COM1",
        "%",
        "%2F",
        "%2e%2e",
        "%zz",
    ),
    *(".hidden", "_private", "trailing.", "trailing ", " leading", "a\nb", "\r", "\t", "\x7f", "a=b", "a:b", '*?<>|"'),
    *("__null__", "__empty__", "by_team=x", "A", "a", "007", "-", "'; DROP TABLE x", None),
]
FIELDS = {
    "../up": "up",
    "/etc/passwd": "etc_passwd",
    "C:\\x": "c_x",
    "a\0b": "a_b",
    "": "_",
    "n" * 1_000: "n" * 54 + "_73db1b5c",
    "CON": "con",
    "%2F": "_2_f",
    ".hidden": "hidden",
    "_private": "private",
    "dot.": "dot",
    "space ": "space",
    "two\nlines": "two_lines",
    "名前": "名前",
    NFD: NFC.lower(),
    "select": "select",
    "__proto__": "proto",
    'quo"ted': "quo_ted",
}
SOURCE = """\
base_url: {url}
defaults: {{records: data, paginate: {{next_url: next}}, write: replace}}
resources:
  people: {{path: /people, partition_by: team}}
"""
READERS: tuple[Reader, ...] = (by_pandas, by_pyarrow, by_duckdb, by_polars)
WHOLE = (whole_by_pandas, whole_by_pyarrow, whole_by_duckdb, whole_by_polars)
BAD_NAMES = [
    *(
        "..",
        "../x",
        "a/b",
        "/a",
        "nul\0",
        "",
        "n" * 64,
        "café",
        "cafe\u0301",
        "CON",
        "con",
        "aux",
        "com1",
        "lpt9",
        "%2e",
    ),
    *(".a", "_a", "a.", "a ", " a", "a\nb", "a-b", "A", "1a"),
]


def run_of(api: FakeApi, folder: Path) -> RunReport:
    """A whole run, with a worker process, of a project in *folder*."""
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "hr.yaml").write_text(SOURCE.format(url=api.url))
    return run(load_project({"THREADMILL_WORKERS": "1"}, root=folder, data=folder / "data"))


def paths_below(folder: Path) -> set[str]:
    """Every file and folder, by its path from *folder*."""
    tops = [(Path(top), names) for top, folders, files in os.walk(folder) for names in (folders, files)]
    return {(top / name).relative_to(folder).as_posix() for top, names in tops for name in names}


def test_s13_any_value_of_an_api_stays_in_its_folder_and_is_read_back_as_it_was(api: FakeApi, tmp_path: Path) -> None:
    """Traversal, devices, control characters, both forms of unicode, 300 characters; four readers, no option."""
    rows = [{"id": number, "team": value} for number, value in enumerate(VALUES)]
    api.pages("/people", records=rows)

    report = run_of(api, tmp_path / "project")

    folder = tmp_path / "project/data/parquet/hr/people"
    found = [sorted(reader(folder, ["id", "team"]), key=lambda row: int(row["id"])) for reader in READERS]
    labels = {path.name.partition("=")[2] for path in folder.iterdir()}
    values = {decode(label) for label in labels if "~" not in label}
    assert report.exit_code == 0
    assert found == [rows] * len(READERS)
    assert values == {value for value in VALUES if value is None or len(value) < 300}
    assert len(labels) == len(VALUES)
    assert {path.partition("/")[0] for path in paths_below(tmp_path)} == {"project"}
    assert {path.partition("/")[0] for path in paths_below(tmp_path / "project")} == {"config", "data"}
    assert [
        path for path in paths_below(folder) if not re.fullmatch(r"by_team=[\x21-\x7e]{1,120}(/[\w.-]+)?", path)
    ] == []
    assert [path for path in paths_below(folder) if re.search(r'[\\:*?"<>|]|\.(/|$)', path)] == []


def test_s23_any_field_of_an_api_becomes_a_column_that_four_readers_can_name(api: FakeApi, tmp_path: Path) -> None:
    """Separators, control characters, devices, 1,000 characters: snake case of at most 63 bytes, no value lost."""
    api.pages("/people", records=[{"team": "x", **{field: number for number, field in enumerate(FIELDS)}}])

    report = run_of(api, tmp_path / "project")

    folder = tmp_path / "project/data/parquet/hr/people"
    assert report.exit_code == 0, [p.problem for p in report.sources[0].resources]
    columns = {name: number for number, name in enumerate(FIELDS.values())}
    read = [{name: value for name, value in reader(folder)[0].items() if name != "by_team"} for reader in WHOLE]
    assert read == [{"team": "x", **columns}] * len(WHOLE)


@pytest.mark.parametrize(("one", "other"), [("A", "a"), (NFC, NFD), ("a.b", "a/b"), ("x y", "x_y")])
def test_s23_fields_that_would_share_a_column_are_refused_by_name(
    api: FakeApi, tmp_path: Path, one: str, other: str
) -> None:
    api.pages("/people", records=[{"team": "x", one: 1, other: 2}])

    report = run_of(api, tmp_path / "project")

    problem = report.sources[0].resources[0].problem
    assert problem is not None
    assert "share the column" in problem.message
    assert problem.hint == "give one another name: `rename`"


def refused(folder: Path, text: str, name: str = "hr.yaml") -> str:
    """What loading a folder with this source file says."""
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / name).write_text(text)
    with pytest.raises(ConfigError) as raised:
        load(folder / "config", env={})
    return raised.value.message


def quoted(name: str) -> str:
    """*name* as YAML and JSON write it."""
    return '"' + "".join(f"\\u{ord(char):04x}" if char < " " else char for char in name) + '"'


@pytest.mark.parametrize("name", BAD_NAMES)
def test_s13_a_bad_name_is_refused_with_its_file_and_key(tmp_path: Path, name: str) -> None:
    top = "base_url: https://a.example\n"

    source = refused(tmp_path, f"{top}source: {quoted(name)}\nresources: {{r: {{path: /x}}}}\n")
    resource = refused(tmp_path, f"{top}resources:\n  {quoted(name)}: {{path: /x}}\n")

    assert f"hr.yaml:2: source: {name!r} cannot name a source; a name is a lower-case letter" in source
    assert re.search(r"hr\.yaml:3: resources\..+: cannot name a resource; a name is a lower-case letter", resource)
    assert (source + resource).isprintable()


@pytest.mark.parametrize("name", ["..", "a/b", "/a", "nul\0", "", "e\u0301", "%2e", ".a", "a.", "a ", "a\nb", "a\n"])
def test_s23_a_bad_name_of_a_column_is_refused_with_its_file_and_key(tmp_path: Path, name: str) -> None:
    """As a column, as what a field is renamed to, and as what folders are made from."""
    top = "base_url: https://a.example\nresources:\n  r:\n    path: /x\n"

    column = refused(tmp_path, f"{top}    columns: {{{quoted(name)}: string}}\n")
    renamed = refused(tmp_path, f"{top}    rename: {{x: {quoted(name)}}}\n")
    folder = refused(tmp_path, f"{top}    partition_by: {quoted(name)}\n")

    assert f"{name!r} cannot name a column" in column
    assert f"{name!r} cannot name a column" in renamed
    assert re.search(r"hr\.yaml:5: resources\.r\.partition_by.*no partition", folder)
    assert all(text.startswith(str(tmp_path / "config/hr.yaml")) for text in (column, renamed))


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "nul\0", "", "CON", "con", "é", ".a", "a ", "a\nb"])
def test_s13_a_bad_name_of_a_mart_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="needs a name such as city_day"):
        Marts.model_validate({"marts": {name: {"inputs": {"x": "hr.people"}, "sql": "x.sql"}}})


@pytest.mark.parametrize("name", ["..", "../hr", "/etc", "hr/..", "", "hr/people", "%2e%2e", "é"])
def test_s13_no_command_takes_a_name_for_a_path(api: FakeApi, tmp_path: Path, name: str) -> None:
    api.pages("/people", records=[{"id": 1, "team": "x"}])
    run_of(api, tmp_path / "project")
    before = paths_below(tmp_path)
    words = [("log", name), ("rollback", name, "1"), ("vacuum", name), ("compact", name), ("verify", name)]
    words += [("repair", name), ("show", f"{name}.people"), ("show", f"hr.{name}"), ("diff", name, "1", "1")]

    ended = [CliRunner().invoke(app, [*each, "--data", str(tmp_path / "project/data")]) for each in words]

    assert [one.exit_code for one in ended] == [2] * len(words)
    assert paths_below(tmp_path) == before
    with pytest.raises(ConfigError, match="no dataset"):
        pipelines.read(f"{name}.people", data=tmp_path / "project/data")
