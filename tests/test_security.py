"""The page of threats is whole, and what no other test shows is shown here."""

from __future__ import annotations

import ast
import os
import pickle
import re
from pathlib import Path

import pytest

from tests.fake_api import FakeApi, fake_api, say
from tests.ledger_api import LedgerApi, row
from tests.test_faults import TESTS

ROOT = Path(__file__).parents[1]
_UNSAFE_MODULES = frozenset({"cloudpickle", "dill", "joblib", "marshal", "shelve"})
_UNSAFE_CALLS = frozenset({"eval", "exec", "compile", "read_pickle", "to_pickle", "unsafe_load", "full_load"})
_FLOORS = {"urllib3": (2, 7), "requests": (2, 32, 4), "pyarrow": (14, 0, 1), "pyyaml": (6, 0, 2)}


def test_every_threat_has_an_answer_and_tests_that_exist() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")

    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if re.match(r"\| S\d+ \|", line)]
    named = {row[0]: re.findall(r"`(test_\w+)`", row[-1]) for row in rows}

    assert list(named) == [f"S{number}" for number in range(1, 28)]
    assert [row for row in rows if len(row) != 4 or not named[row[0]]] == []
    assert {test for tests in named.values() for test in tests} - TESTS == set()


def test_s01_what_defaults_say_is_kept_from_an_origin_that_only_a_path_names(api: FakeApi, tmp_path: Path) -> None:
    """Of three resources there one has a header and a body of its own, one those of `defaults`, one no body."""
    with fake_api("localhost") as elsewhere:
        elsewhere.answer("/rows", say([{"id": 1}]))
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "ledger.yaml").write_text(
            f"base_url: {api.url}\n"
            f"allow_hosts: ['{elsewhere.url}']\n"
            "defaults: {headers: {X-Key: c4nary, X-Lent: c4nary}, body: {key: c4nary}, paginate: none}\n"
            "resources:\n"
            f"  rows: {{path: '{elsewhere.url}/rows', headers: {{X-Key: own}}, body: {{key: own}}}}\n"
            f"  others: {{path: '{elsewhere.url}/rows'}}\n"
            f"  bare: {{path: '{elsewhere.url}/rows', body: null}}\n"
        )

        report = LedgerApi(api, tmp_path).run()

        problems = [one.problem and one.problem.kind for one in report.resources]
        assert problems == [None, "OriginError", None]
        told = [(one.headers.get("x-key"), one.body) for one in elsewhere.asked if one.body]
        assert told == [("own", b'{"key":"own"}')]
        assert (len(elsewhere.asked), "c4nary" in repr(elsewhere.asked)) == (2, False)


def test_s09_no_code_of_ours_unpickles_or_evaluates() -> None:
    """Calls to workers are pickled in memory, by `multiprocessing` or for a cluster; nothing is read from a file so."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for folder in ("pipelines", "flows")
        for path in (ROOT / folder).rglob("*.py")
        for line, what in _unsafe(ast.parse(path.read_bytes()))
        if not (path.parent.name == "engines" and what == "pickle")
    ]

    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "import pickle\npickle.loads(x)",
        "pickle.load(file)",
        "pickle.Unpickler(file).load()",
        "from pickle import load",
        "import shelve",
        "pd.read_pickle('x')",
        "numpy.load('x', allow_pickle=True)",
        "eval('1')",
        "yaml.unsafe_load(x)",
    ],
)
def test_s09_the_search_for_such_code_finds_it(text: str) -> None:
    assert list(_unsafe(ast.parse(text)))


class _Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


def test_s09_a_pickle_among_the_spooled_pages_is_never_loaded(api: FakeApi, tmp_path: Path) -> None:
    """It lies where pages, parts and documents lie, under names that those have; the runs go on as ever."""
    ledger = LedgerApi(api, tmp_path)
    ledger.configure()
    ledger.rows = [row(1, "2024-03-01T00:00:00Z")]
    mark, bomb = tmp_path / "executed", pickle.dumps(_Bomb(tmp_path / "executed"))
    for name in ("spool/ledger/pages", "spool/ledger/rows.pickle", "spool/ledger/plan.json", "lake/ledger/tmp/x.pkl"):
        (ledger.data / name).parent.mkdir(parents=True, exist_ok=True)
        (ledger.data / name).write_bytes(bomb)

    first = ledger.read()
    ledger.rows.append(row(2, "2024-03-02T00:00:00Z"))
    second = ledger.read()

    assert (first.new, second.new, ledger.stored("id")) == (1, 1, [1, 2])
    assert not mark.exists()


@pytest.mark.parametrize(
    "lock", ["requirements.lock", "requirements-dev.lock", "benchmarks/requirements.lock", "docs/requirements.lock"]
)
def test_s25_every_locked_package_has_a_hash_and_none_is_below_its_floor(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    packages = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", " "))]

    versions = {one[0]: one[1] for line in packages if (one := re.findall(r"^([\w.-]+)==([\w.]+)", line)[0])}

    assert len(packages) > 10
    assert [line for line in packages if "--hash=sha256:" not in line] == []
    assert {
        name: versions[name] for name in _FLOORS if name in versions and _version(versions[name]) < _FLOORS[name]
    } == {}
    assert f"--require-hashes -r {lock}" in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x.example")', "\t=1", "'=1"])
def test_s26_text_that_a_spreadsheet_would_run_is_stored_as_it_was_sent(
    api: FakeApi, tmp_path: Path, text: str
) -> None:
    ledger = LedgerApi(api, tmp_path)
    ledger.configure()
    api.route("/rows", lambda asked: say({"data": [row(1, "2024-03-01T00:00:00Z", note=text)], "total": 1}))

    ledger.read()

    assert ledger.stored("note") == [text]


def _unsafe(tree: ast.AST) -> list[tuple[int, str]]:
    """The lines that unpickle, or run text as code."""
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            is_regex = isinstance(called, ast.Attribute) and name == "compile"
            found += [(line, name)] if name in _UNSAFE_CALLS and not is_regex else []
            is_pickled = isinstance(called, ast.Attribute) and getattr(called.value, "id", "") == "pickle"
            found += [(line, f"pickle.{name}")] if is_pickled and name not in {"dumps", "loads"} else []
            found += [(line, "allow_pickle") for word in node.keywords if word.arg == "allow_pickle"]
        found += [(line, name) for name in names if name.partition(".")[0] in {*_UNSAFE_MODULES, "pickle"}]
    return found


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
