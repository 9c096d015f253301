"""The page of a run: complete, self-contained, small, and safe to open."""

from __future__ import annotations

import gzip
from base64 import b64decode, b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import orjson

from pipelines.extract.events import Event
from pipelines.report.html_report import page, write
from pipelines.report.result import Expected, Problem, ResourceReport, RunReport, SourceReport
from pipelines.report.runs import read_run
from tests.fake_api import FakeApi
from tests.runs import answer, batch, saved
from tests.shop import Shop

VOID = {"meta", "br"}
EVIL = "<script>alert('x')</script>\"'&"


class Page(HTMLParser):
    """Its tags, all in order; attributes that could load something; whether each tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.scripts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag opens."""
        self.tags.append(tag)
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))
        names = {"src", "href", "srcset", "action", "data", "xlink:href", "background"}
        self.loads += [(tag, name) for name, _ in attrs if name in names or name.startswith("on")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag opens and closes."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """The tag that was opened last closes."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        if self._open and self._open[-1] == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        self.text.append(data)


def test_a_run_leaves_a_page_that_shows_threads_workers_and_schemas(api: FakeApi, tmp_path: Path) -> None:
    shop = Shop(api, tmp_path)
    ran = shop.run("--json")

    text = (tmp_path / "data" / "runs" / f"{ran.report['run_id']}.html").read_text()

    found, words = Page(text), " ".join(Page(text).text)
    assert found.loads == []
    assert not {"link", "img", "iframe", "object"} & set(found.tags)
    assert "default-src 'none'" in text
    assert "unsafe-eval" not in text.partition("<title>")[0]
    run = [script for kind, script in found.scripts if not kind]
    packed = [script for kind, script in found.scripts if kind == "application/gzip"]
    drawn_by = [gzip.decompress(b64decode(packed[0])).decode(), *run]
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in drawn_by]
    assert text.partition("script-src ")[2].partition('"')[0] == " ".join(f"'sha256-{one}'" for one in hashes)
    assert (len(packed), len(run)) == (1, 1)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert "http" not in text.replace(packed[0], "").replace("http-equiv", "")
    for word in (
        "shop.orders",
        "bank.accounts",
        "workers",
        "26 ",
        "Critical path",
        "int64",
        "records that the API",
    ):
        assert word in words or word in text, word
    drawn = [orjson.loads(script) for kind, script in found.scripts if kind == "application/json"]
    spans = drawn[0]["datasets"]["spans"]
    kinds = {row[spans["columns"].index("kind")] for row in spans["rows"]}
    assert len(drawn) == 4
    assert len(spans["rows"]) > 15
    assert {"answered", "batch", "merged", "committed"} <= kinds


def test_every_text_of_a_run_is_escaped(tmp_path: Path) -> None:
    problem = Problem(EVIL, EVIL, EVIL, 1)
    resource = ResourceReport(EVIL, EVIL, "failed", evidence=EVIL, warnings=(EVIL,), problem=problem, rejected=2)
    source = SourceReport(EVIL, 1, False, (resource,), problem, foreign=(EVIL,))
    report = RunReport(
        "r1", EVIL, 1.0, EVIL, (source,), (EVIL,), machine={"workers": 2, "cpus": 2, "threads": {EVIL: 1}}
    )
    report.save(tmp_path / "runs")

    text = page(read_run(tmp_path), tmp_path)

    assert "<script>alert" not in text
    assert "".join(Page(text).text).count(EVIL) >= 8


def test_names_in_the_timeline_are_escaped(tmp_path: Path) -> None:
    run = saved(tmp_path, (EVIL, answer(1.0, 0.5, EVIL)), (EVIL, batch(2.0, 0.5, 0.1, resource=EVIL)), seconds=3.0)

    text = page(run, tmp_path)

    assert "<script>alert" not in text
    told = [orjson.loads(script) for kind, script in Page(text).scripts if kind == "application/json"]
    assert any(EVIL in row[2] for row in told[0]["datasets"]["spans"]["rows"])


def test_the_page_of_100_000_requests_stays_under_2_mb(tmp_path: Path) -> None:
    """Eight resources, with pauses in between; spans of one cell are drawn as one."""
    events = [("shop", answer(at=number / 50, seconds=0.1, resource=f"r{number % 8}")) for number in range(100_000)]
    events += [("shop", Event("paused", "r1", at=float(number), seconds=0.5)) for number in range(2_000)]
    run = saved(tmp_path, *events, seconds=2_001.0)

    path = write(run, tmp_path)

    assert path.stat().st_size < 700_000
    assert "are drawn as one" in path.read_text()


def test_the_same_report_gives_the_same_page(tmp_path: Path) -> None:
    run = saved(tmp_path, ("shop", answer(1.0, 0.5)), seconds=2.0)

    assert page(run, tmp_path) == page(run, tmp_path)


def test_a_report_of_an_older_version_still_makes_a_page(tmp_path: Path) -> None:
    """It has no warnings of sources, nor why records were set aside; what it cannot tell is not said to hold."""
    checks = (
        Expected("not_null: id", "quarantine", ("id is null",)),
        Expected("unique: id", "fail", ("rows repeat id",)),
    )
    resource = ResourceReport("shop", "orders", "complete", rejected=2, expected=checks)
    source = SourceReport("shop", 1, True, (resource,), foreign=("notes.txt",))
    report = RunReport("r1", "", 1.0, "", (source,), machine={"workers": 2, "cpus": 2})
    report.save(tmp_path / "runs")
    run = read_run(tmp_path)
    for kept, name in (
        (run, "stopped"),
        (run["sources"][0], "warnings"),
        (run["sources"][0]["resources"][0], "reasons"),
    ):
        del kept[name]

    text = page(run, tmp_path)

    assert "2 records are set aside in shop.orders__rejects" in text
    assert "<em>not known</em>" in text
    assert '<em class="complete">held</em>' in text
