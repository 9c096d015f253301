"""What a user does wrong, or an API, or the disk: one clear error, a way out, an exit code; the rest goes on.

Most mistakes are made at once: one run of a project with a source for each.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.load.lake import Lake
from tests.fake_api import Answer, FakeApi, fake_api, say
from tests.shop import Ended, start

HEADER, QUERY, MASKED = "canary-header-4711", "canary query/4712", "canary-salt-4713"
SECRETS = {"HEADER": HEADER, "QUERY": QUERY, "SALT": MASKED}
FORMS = (HEADER, QUERY, "canary%20query", "canary+query", MASKED, "canary", "since=")
"""What must not be seen anywhere, as it is or as a URL has it."""

REPLACE, UPSERT = "write: replace", "write: upsert\n    key: id"
ROWS = [{"id": number, "size": number * 10, "mail": f"person{number}@example.org"} for number in range(20)]
SOURCE = """\
base_url: {url}
auth: {{bearer: "${{HEADER}}"}}
params: {{api_key: "${{QUERY}}"}}
retry: {{attempts: 2, wait: 10ms}}
resources:
  rows:
    path: /{path}
    paginate: none
    mask: {{mail: {{sha256: "${{SALT}}"}}}}
    {more}
"""
LOGIN = Answer(
    200, b"<!doctype html><html><body>Please log in, canary-header-4711</body></html>", {"Content-Type": "text/html"}
)
TRANSFORM = """\
def lost(frame):
    return frame[["id", "colour"]]
"""


@dataclass(frozen=True)
class Mistake:
    """What is wrong with one source, and what the run must say of it."""

    kind: str
    told: tuple[str, ...]
    answer: Answer
    more: str = ""
    hint: str = ""


MISTAKES = {
    "unreachable": Mistake(
        "HttpError", ("GET {url}/unreachable: cannot connect: Connection refused",), say([]), hint="check `base_url`"
    ),
    "unauthorized": Mistake(
        "AuthError",
        ("GET {url}/unauthorized: answered 401",),
        say({"message": f"no such token: {HEADER} and key {QUERY}"}, status=401),
        hint="check `auth`",
    ),
    "missing": Mistake(
        "HttpError", ("GET {url}/missing: answered 404",), say({"message": "nothing here"}, status=404), hint="`path`"
    ),
    "html": Mistake("DecodeError", ("GET {url}/html: answered text/html, not JSON",), LOGIN, hint="check `path`"),
    "wrapped": Mistake("RecordsMissing", ("GET {url}/wrapped", "rows"), say({"rows": ROWS}), hint="`records"),
    "raising": Mistake(
        "TransformError",
        ("raising.rows: mistaken:lost failed at mistaken.py:2: KeyError", "colour"),
        say(ROWS),
        "write: replace\n    transform: mistaken:lost",
        hint="the frame has the columns id, size, mail",
    ),
    "keyless": Mistake(
        "KeyMissing", ("no value for", "(id)"), say([*ROWS, {"id": None, "size": 1}]), UPSERT, hint="key"
    ),
    "mistyped": Mistake(
        "TypeConflict",
        ("mistyped.rows: GET {url}/mistyped: record 21 of a page: the value of 'size' is a string",),
        say([*ROWS, {"id": 99, "size": "many"}]),
        "write: replace\n    columns: {size: int64}\n    on_mismatch: fail",
        hint="`columns`",
    ),
    "timeless": Mistake(
        "ConfigError",
        ("timeless.rows: the cursor 'at' is a number, and nothing says what it counts",),
        say([{**row, "at": 1517966773840} for row in ROWS]),
        f"{UPSERT}\n    incremental: {{cursor: at, since_param: since, start: 2018-01-01, format: epoch_ms}}",
        hint="timestamp",
    ),
    "unexpected": Mistake(
        "ExpectationFailed",
        ("unexpected.rows", "size is not between 0 and 100", "9 of 20"),
        say(ROWS),
        "write: replace\n    expect: [{between: {size: [0, 100]}}]",
        hint="severity",
    ),
    "twofold": Mistake(
        "ExpectationFailed",
        ("twofold.rows", "20 rows repeat id"),
        say([*ROWS, *ROWS]),
        "write: replace\n    expect: [{unique: id}]",
        hint="severity",
    ),
    "nameless": Mistake(
        "ExpectationFailed",
        ("nameless.rows", "there is no column colour"),
        say(ROWS),
        "write: replace\n    expect: [{unique: colour}, {min_rows: 20}]",
        hint="correct the data or the check",
    ),
    "required": Mistake(
        "ExpectationFailed",
        ("required.rows", "1 of 21 rows: size is null"),
        say([*ROWS, {"id": 99, "size": None}]),
        "write: replace\n    columns: {size: {type: int64, required: true}}",
        hint="correct the data or the check",
    ),
    "absent": Mistake(
        "ExpectationFailed",
        ("absent.rows", "20 of 20 rows: colour is null"),
        say(ROWS),
        "write: replace\n    columns: {colour: {type: string, required: true}}",
        hint="correct the data or the check",
    ),
    "unsorted": Mistake(
        "SchemaError",
        ("unsorted.rows", "`sort_by` names '-size', which is no column of the rows"),
        say(ROWS),
        "write: replace\n    sort_by: -size",
        hint="columns: id, size, mail",
    ),
    "scarce": Mistake(
        "ExpectationFailed",
        ("scarce.rows", "20 rows, expected 100 at least"),
        say(ROWS),
        "write: replace\n    expect: [{min_rows: 100}]",
        hint="severity",
    ),
}


DOUBTFUL = """write: replace
    expect: [{between: {size: [0, 100]}, severity: warn}, {min_rows: 100, severity: warn}]"""


@dataclass(frozen=True)
class Project:
    """A folder with a source for each mistake and one without; `ended` is its run, `table` the same for people."""

    folder: Path
    api: FakeApi
    ended: Ended
    table: Ended

    def url(self, name: str) -> str:
        """Where the source of that name is."""
        return "http://127.0.0.1:9" if name == "unreachable" else self.api.url


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("project")
    with fake_api() as api:
        write(folder, "settings.toml", f'workers = 2\ntransforms = "{folder}/transforms"\n')
        write(folder, "../transforms/mistaken.py", TRANSFORM)
        api.answer("/good", say(ROWS))
        write(folder, "good.yaml", SOURCE.format(url=api.url, path="good", more=UPSERT))
        api.answer("/doubtful", say(ROWS))
        write(folder, "doubtful.yaml", SOURCE.format(url=api.url, path="doubtful", more=DOUBTFUL))
        for name, mistake in MISTAKES.items():
            url = "http://127.0.0.1:9" if name == "unreachable" else api.url
            api.answer(f"/{name}", mistake.answer)
            write(folder, f"{name}.yaml", SOURCE.format(url=url, path=name, more=mistake.more or REPLACE))
        ended = run(folder, "--json")
        yield Project(folder, api, ended, run(folder, "html", "unauthorized", "good"))


def write(folder: Path, name: str, text: str) -> None:
    path = folder / "config" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def run(folder: Path, *arguments: str, data: str = "data", **env: str) -> Ended:
    return Ended.of(start(folder, "run", "--data", data, *arguments, **{**SECRETS, **env}))


@pytest.mark.parametrize("name", MISTAKES, ids=str)
def test_what_is_wrong_with_a_source_is_one_error_that_names_it_and_the_way_out(project: Project, name: str) -> None:
    mistake = MISTAKES[name]

    problem = project.ended.resource(f"{name}.rows")["problem"]

    assert problem is not None
    assert problem["kind"] == mistake.kind, problem
    assert [part for part in mistake.told if part.format(url=project.url(name)) not in problem["message"]] == [], (
        problem
    )
    assert mistake.hint in problem["hint"], problem
    assert problem["hint"], problem


def test_the_sources_without_mistake_still_commit(project: Project) -> None:
    good = project.ended.resource("good.rows")

    assert (good["new"], good["problem"], project.ended.code) == (20, None, 1)
    shown = sorted(path.name for path in (project.folder / "data" / "parquet").iterdir() if any(path.iterdir()))
    assert shown == ["doubtful", "good"]


SOUND = {"good", "doubtful"}


def test_a_check_that_only_warns_is_told_and_keeps_nothing_back(project: Project) -> None:
    doubtful = project.ended.resource("doubtful.rows")

    assert (doubtful["new"], doubtful["problem"]) == (20, None)
    assert doubtful["warnings"] == [
        "doubtful.rows: 9 rows: size is not between 0 and 100",
        "doubtful.rows: 20 rows, expected 100 at least",
    ]


def test_a_failed_source_leaves_no_file_in_the_lake(project: Project) -> None:
    parts = [path for path in (project.folder / "data" / "lake").rglob("*.parquet") if not SOUND & {*path.parts}]

    assert parts == []


def test_p4_no_secret_and_no_query_is_in_output_report_or_data(project: Project) -> None:
    """Although the API repeats the token in its error."""
    texts = {"json": project.ended.out + project.ended.err, "table": project.table.out + project.table.err}
    for path in (project.folder / "data").rglob("*"):
        if path.is_file():
            texts[str(path)] = path.read_bytes().decode("latin-1")

    leaks = [(where, form) for where, text in texts.items() for form in FORMS if form in text]

    assert leaks == []
    # the line that repeats a request names what the secret was read from
    told = [text[at.end() :] for text in texts.values() for at in re.finditer("api_key=", text)]
    assert told
    assert [text[:20] for text in told if not text.startswith("$QUERY")] == []


def test_the_table_for_people_shows_each_error_with_its_hint(project: Project) -> None:
    out = project.table.out

    assert f"html.rows: DecodeError GET {project.api.url}/html: answered" in out
    assert "unauthorized.rows: AuthError" in out
    assert out.count("hint:") == 2
    assert out.count("  repeat: curl ") == 2
    assert max(len(line) for line in out.splitlines() if not line.startswith("  repeat: ")) <= 80
    assert "Traceback" not in project.ended.err + project.table.err


class FullDisk:
    """A folder without room: a file system of 1 MB where one can be mounted, else files of 1 KB at most."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
        self.is_mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        if self.is_mounted:
            (folder / "filler").write_bytes(bytes((1024 - 12) * 1024))

    def command(self, *arguments: str) -> list[str]:
        """The command line, to be run where there is no room."""
        limit = "" if self.is_mounted else "ulimit -f 1; "
        return ["bash", "-c", f'{limit}exec "$@"', "bash", sys.executable, "-m", "pipelines", *arguments]

    def make_room(self) -> None:
        """From now on there is room."""
        (self.folder / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount."""
        if self.is_mounted:
            subprocess.run(["umount", str(self.folder)], check=True)


@pytest.fixture
def full_disk(project: Project) -> Iterator[FullDisk]:
    """The folder `full` of the project has no room left."""
    folder = project.folder / "full"
    folder.mkdir()
    disk = FullDisk(folder)
    try:
        yield disk
    finally:
        disk.close()


MISTAKEN_YAML = """\
base_url: https://api.example.org
auth: {bearer: "${NOT_SET_ANYWHERE}"}
limits: {in_flight: many}
resources:
  rows:
    path: /rows
    pagenate: none
"""
MISTAKEN_MARTS = """\
marts:
  one:
    inputs: {rows: shop.rows}
    fucntion: one:one
"""


MISTAKEN_CHECK = """\
marts:
  one:
    inputs: {rows: shop.rows}
    function: city_day:city_day
    expect: [{uniq: id}]
"""


@pytest.mark.parametrize(
    ("files", "arguments", "told"),
    [
        pytest.param(
            {"shop.yaml": MISTAKEN_YAML},
            ("run",),
            (
                "ConfigError: config/shop.yaml:2: auth.bearer: ${NOT_SET_ANYWHERE} is not set",
                "config/shop.yaml:3: limits.in_flight: needs a whole number, not 'many'",
                "config/shop.yaml:7: resources.rows.pagenate: unknown key (did you mean paginate?)",
            ),
            id="unknown-key-wrong-type-missing-variable",
        ),
        pytest.param(
            {"marts.yaml": MISTAKEN_MARTS},
            ("run",),
            ("ConfigError: config/marts.yaml:4: marts.one.fucntion: unknown key (did you mean function?)",),
            id="broken-marts",
        ),
        pytest.param(
            {"marts.yaml": "marts: [\n"}, ("check",), ("ConfigError: config/marts.yaml:2",), id="marts-that-are-no-yaml"
        ),
        pytest.param(
            {"marts.yaml": MISTAKEN_CHECK},
            ("check",),
            ("config/marts.yaml:5: marts.one.expect[0].uniq: unknown key (did you mean unique?)",),
            id="mart-with-a-broken-check",
        ),
        pytest.param({}, ("run", "sohp"), ("no source 'sohp' (did you mean shop?)", "known sources: shop"), id="name"),
        pytest.param({}, ("run", "shop.orders"), ("no source 'shop.orders' (did you mean shop?)",), id="resource"),
        pytest.param(
            {}, ("preview", "shop"), ("shop is a source: name one of its resources", "such as shop."), id="source-alone"
        ),
        pytest.param({}, ("run", "--config", "nowhere"), ("nowhere: no such file or folder",), id="no-config-folder"),
        pytest.param({}, ("run", "--workers", "none"), ("needs auto or a whole number from 1 to 256",), id="workers"),
    ],
)
def test_a_mistaken_configuration_is_told_with_file_and_line_and_nothing_runs(
    tmp_path: Path, files: dict[str, str], arguments: tuple[str, ...], told: tuple[str, ...]
) -> None:
    write(tmp_path, "shop.yaml", "base_url: http://127.0.0.1:9\nresources: {rows: {path: /rows, write: replace}}\n")
    for name, text in files.items():
        write(tmp_path, name, text)

    ended = Ended.of(start(tmp_path, *arguments))

    assert ended.code == 2, ended
    assert [line for line in told if line not in ended.err] == [], ended
    assert "hint:" in ended.err
    assert ended.out == ""
    assert not (tmp_path / "data").exists()


TAGGED = """\
base_url: https://api.example.org
resources: {rows: {path: /rows}}
headers: !!python/object/apply:os.system ["touch executed"]
"""
REPEATED = """\
base_url: https://api.example.org
resources:
  rows:
    path: /rows
    path: /others
"""


def test_a08_whatever_is_wrong_with_the_files_is_told_by_file_line_and_key_and_nothing_is_executed(
    tmp_path: Path, api: FakeApi
) -> None:
    """Four files, four mistakes, one error; the sound source beside them is not read either."""
    write(tmp_path, "sound.yaml", f"base_url: {api.url}\nresources: {{rows: {{path: /rows}}}}\n")
    write(tmp_path, "tagged.yaml", TAGGED)
    write(tmp_path, "repeated.yaml", REPEATED)
    write(tmp_path, "mistaken.yaml", MISTAKEN_YAML)

    ended = Ended.of(start(tmp_path, "run"))

    assert ended.code == 2, ended
    told = [line.strip().removeprefix("ConfigError: ") for line in ended.err.splitlines() if ".yaml:" in line]
    for wanted in (
        "config/tagged.yaml:3: headers: the tag !!python/object/apply:os.system is refused",
        "config/repeated.yaml:5: resources.rows.path: the key appears twice, first in line 4",
        "config/mistaken.yaml:2: auth.bearer: ${NOT_SET_ANYWHERE} is not set",
        "config/mistaken.yaml:7: resources.rows.pagenate: unknown key (did you mean paginate?)",
    ):
        assert any(line.startswith(wanted) for line in told), (wanted, ended)
    assert {path.name for path in tmp_path.iterdir()} == {"config"}
    assert api.asked == []


def test_a_data_folder_that_cannot_be_written_to_is_told_with_its_path(project: Project) -> None:
    (project.folder / "file").write_text("not a folder")

    ended = run(project.folder, "good", data="file/data")

    assert ended.code == 1, ended
    assert "StoreError: cannot create the data folder file/data: Not a directory" in ended.err
    assert "hint: set THREADMILL_DATA to a folder that you may write to" in ended.err


def test_k05_a_full_disk_is_told_as_such_and_the_next_run_has_all_rows(project: Project, full_disk: FullDisk) -> None:
    full = Ended.of(start(project.folder, *full_disk.command("run", "good", "--data", "full"), program=[], **SECRETS))
    full_disk.make_room()

    again = run(project.folder, "good", "--json", data="full")

    assert full.code == 1, full
    assert "good.rows: StoreError" in full.out
    assert "hint: " in full.out
    assert "Traceback" not in full.err
    assert (again.code, again.resource("good.rows")["new"]) == (0, 20)
    assert not any((project.folder / "full" / "lake" / "good" / "tmp").iterdir())


def test_k06_a_source_that_another_run_is_working_on_is_busy_and_the_others_go_on(project: Project) -> None:
    data = project.folder / "busy"
    lake = Lake(data, "missing")

    with lake.lock("the-other-run"):
        ended = run(project.folder, "missing", "good", "--json", data="busy")

    busy = next(one for one in ended.report["sources"] if one["source"] == "missing")["problem"]
    assert ended.code == 4, ended
    assert busy["kind"] == "Busy"
    assert "another run is working on missing (process " in busy["message"]
    assert "the-other-run" in busy["message"]
    assert ended.resource("good.rows")["new"] == 20
