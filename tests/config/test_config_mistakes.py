"""The exact line for each mistake in a source file."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from pipelines.config.loading import load
from pipelines.errors import ConfigError
from tests.project import FORGE, ONE, SHOP, TOP, Project, resource

_SPAN = "cursor: t, since_param: s, until_param: u, start: 2024-01-01"
_EDGE = "edge of two windows may be stored twice;"
_SHARED = "instant that two windows share would be stored twice;"
_WAYS_OUT = (
    "say `bounds: half_open` if the API leaves the end out, `bounds: closed` with `format: date` if it gives that day "
    "too, or `write: upsert` with a key"
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty project that is the current folder."""
    return Project(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(SHOP.replace("paginate", "pagenate"), [
            r"10: resources\.orders\.pagenate: unknown key \(did you mean paginate\?\)",
        ], id="a08-unknown-key"),
        pytest.param(TOP + "timeuot: 3s\n" + ONE, [r"2: timeuot: unknown key \(did you mean timeout\?\)"],
                     id="a08-unknown-key-at-the-top"),
        pytest.param(TOP + "retry: {wait: 1s, a, in words}\n" + ONE, [
            r"2: retry\.a: unknown key; known: .*",
            r"2: retry\.in words: unknown key \(a text with a comma needs quotes\); known: attempts, .*",
        ], id="comma-in-text"),
        pytest.param(TOP + "zzz: 3s\n" + ONE, [r"2: zzz: unknown key; known: .*"], id="nothing-near"),
        pytest.param(TOP + "resources: {r: {path: /x, paginate: {page_number: {sise: 5}}}}", [
            r"2: resources\.r\.paginate\.page_number\.sise: unknown key \(did you mean size\?\)",
        ], id="unknown-option-of-a-kind"),
        pytest.param(resource("path: /x", "paginate: link_heder"), [
            r"5: resources\.r\.paginate: no kind 'link_heder'; known: .* \(did you mean link_header\?\)",
        ], id="unknown-kind"),
        pytest.param(TOP + "auth: {baerer: x}\n" + ONE, [
            r"2: auth: no kind 'baerer'; known: api_key, basic, bearer.* \(did you mean bearer\?\)",
        ], id="unknown-auth"),
        pytest.param(TOP + "limits: {in_flight: many}\n" + ONE, [
            r"2: limits\.in_flight: needs a whole number, not 'many'",
        ], id="wrong-type"),
        pytest.param(TOP + "limits:\n  rate: 10\n" + ONE, [r"3: limits\.rate: needs a rate such as 10/s.*"],
                     id="rate-without-unit"),
        pytest.param(TOP + "retry:\n  wait: 5\n" + ONE, [
            r"3: retry\.wait: needs a number with its unit, such as 30s, 5min, 1h or 7d, not 5",
        ], id="duration-without-unit"),
        pytest.param(TOP + "max_response: 5 potatoes\n" + ONE, [
            r"2: max_response: needs a number with its unit, such as 64MB or 64MiB, not '5 potatoes'",
        ], id="unknown-unit"),
        pytest.param(resource("path: 3"), [r"4: resources\.r\.path: needs text, not 3; put it in quotes"],
                     id="no-text"),
        pytest.param(resource("params: [1]"), [r"3: resources\.r\.path: is required",
                                               r"4: resources\.r\.params: needs a mapping, not a list"], id="no-path"),
        pytest.param(resource("path: /x", "write: upset", "key: id"), [
            r"5: resources\.r\.write: needs append, replace, upsert or history, not 'upset' \(did you mean upsert\?\)",
        ], id="unknown-word"),
        pytest.param(resource("path: /x", "write: upsert"), [r"3: resources\.r: `write: upsert` needs a `key`"],
                     id="upsert-without-key"),
        pytest.param(resource("path: /x", "write: append",
                              "incremental: {cursor: t, since_param: s, start: 2024-01-01, lag: 1h}"), [
            r"6: resources\.r\.incremental\.lag: with `write: append` the rows read again would be stored twice.*",
        ], id="append-with-lag"),
        *(
            pytest.param(resource("path: /x", "write: append", *also,
                                  f"incremental: {{{_SPAN}{rest}}}"),
                         [rf"{line}: resources\.r\.{key}: with `write: append` a row at the {where} {_WAYS_OUT}"],
                         id=f"append-with-{name}")
            for name, also, rest, line, key, where in [
                ("windows-of-days", [], ", format: date, window: 1d", 6, r"incremental\.window", _EDGE),
                ("windows-of-time", [], ", window: 1d", 6, r"incremental\.window", _EDGE),
                ("halved-windows", [], ", format: date, most: 100", 6, r"incremental\.most", _EDGE),
                ("split-windows", ["errors: [{status: 400, do: split}]"], "", 6, "errors", _EDGE),
                ("closed-iso", [], ", bounds: closed, window: 1d", 6, r"incremental\.bounds", _SHARED),
                ("closed-epoch", [], ", bounds: closed, format: epoch_ms, most: 9", 6, r"incremental\.bounds", _SHARED),
                ("closed-pattern", [], ", bounds: closed, format: '%Y%m%d', window: 1d", 6, r"incremental\.bounds",
                 _SHARED),
            ]
        ),
        pytest.param(resource("path: /x", "write: history", "key: id", "deletes: {missing: true}",
                              "incremental: {cursor: updated, since_param: s, start: 2024-01-01}"), [
            r"7: resources\.r\.deletes\.missing: an incremental read does not have all rows.*; say `when`",
        ], id="missing-with-incremental"),
        pytest.param(resource("path: /x", "records: a..b"), [
            r"5: resources\.r\.records: 'a\.\.b' is not a JMESPath expression.*",
        ], id="not-jmespath"),
        *(
            pytest.param(resource("path: /x", "paginate:", f"  {kind}: {{{others}{key}: a..b}}"), [
                rf"6: resources\.r\.paginate\.{kind}\.{key}: 'a\.\.b' is not a JMESPath expression.*",
            ], id=f"{kind}-{key}-not-jmespath")
            for kind, others, key in [
                ("cursor", "param: p, ", "from"), ("cursor", "from: a, param: p, ", "more"), ("next_url", "", "from"),
                ("has_more", "", "from"), ("total_pages", "", "from"), ("page_number", "", "total"),
                ("last_id", "param: p, ", "field"), ("last_id", "param: p, ", "more"),
            ]
        ),
        pytest.param(resource("path: /x", "paginate: {next_url: a..b}"), [
            r"5: resources\.r\.paginate\.next_url.*: 'a\.\.b' is not a JMESPath expression.*",
        ], id="bare-not-jmespath"),
        pytest.param(TOP + 'headers: {X-Y: "${NOT_SET}"}\n' + ONE, [
            r"2: headers\.X-Y: \$\{NOT_SET\} is not set; set it in the environment or in `\.env`",
        ], id="a08-missing-variable"),
        pytest.param(TOP + 'limits: {rate: "${NOT_SET}"}\n' + ONE, [r"2: limits\.rate: \$\{NOT_SET\} is not set; .*"],
                     id="a08-missing-variable-told-once"),
        pytest.param(TOP + 'headers: {X-Y: "${not set}"}\n' + ONE, [r"2: headers\.X-Y: needs \$\{NAME\} or .*"],
                     id="not-a-reference"),
        pytest.param(TOP + ONE + "base_url: https://b.example\n", [
            r"3: base_url: the key appears twice, first in line 1",
        ], id="a08-duplicate-key"),
        pytest.param(TOP + "x: !!python/object/apply:os.system ['touch executed']\n" + ONE, [
            r"2: x: the tag !!python/object/apply:os\.system is refused; write a plain value",
            r"2: x: unknown key; .*",
        ], id="a08-s10-object-tag"),
        pytest.param("base_url: [\n", [r"2: is not YAML: .*"], id="not-yaml"),
        pytest.param("", [r"1: is empty"], id="empty"),
        pytest.param("- a\n", [r"1: needs a mapping of keys at its top"], id="a-list"),
        pytest.param(TOP, [r"1: resources: needs at least one resource.*"], id="no-resources"),
        pytest.param(TOP + "resources: {R1: {path: /x}}\n", [
            r"2: resources\.R1: cannot name a resource; a name is a lower-case letter, then .*",
        ], id="s13-resource-name"),
        pytest.param(TOP + "source: ../x\n" + ONE, [r"2: source: '\.\./x' cannot name a source; .*"],
                     id="s13-source-name"),
        pytest.param(TOP + "source: marts\n" + ONE, [r"2: source: 'marts' is kept for derived datasets"],
                     id="reserved"),
        *(pytest.param(TOP + f"source: {name}\n" + ONE, [
            rf"2: source: '{name}' is a schema of DuckDB's own, so that no query would find any source; say another.*",
        ], id=f"duckdb-{name}") for name in ("main", "pg_catalog", "information_schema")),
        pytest.param(resource("path: /x/{ofers.id}", "for_each: {resource: offers}"), [
            r"4: resources\.r\.path: no value for the placeholder \{ofers\.id\}; known here: \{offers\.FIELD\}",
            r"5: resources\.r\.for_each\.resource: no resource 'offers'; known: r",
        ], id="no-parent"),
        pytest.param(TOP + "resources:\n  a: {path: /a, for_each: {resource: b}}\n"
                     "  b: {path: /b, for_each: {resource: a}}\n", [
            r"3: resources\.a\.for_each: the parents form a circle: a > b > a",
        ], id="circle"),
        pytest.param(resource("path: /x/{0.__class__}/{ y }", "params: {since: '{window.start}'}"), [
            r"4: resources\.r\.path: '\{ y \}' is no placeholder; known here: none",
            r"4: resources\.r\.path: '\{0\.__class__\}' is no placeholder; known here: none",
            r"5: resources\.r\.params: no value for the placeholder \{window\.start\}; known here: none",
        ], id="s11-placeholders"),
        pytest.param(resource("path: /x", "body: {country: '{contry}', since: '{window.start}'}", "method: POST",
                              "for_each: {values: {country: [US]}}", "carry: {c: citty, d: country}"), [
            r"5: resources\.r\.body: no value for the placeholder \{contry\}; known here: \{country\}",
            r"5: resources\.r\.body: no value for the placeholder \{window\.start\}; known here: \{country\}",
            r"8: resources\.r\.carry\.c: no value for 'citty'; known here: \{country\}",
        ], id="placeholders-of-a-body"),
        pytest.param(resource("path: /x", "graphql: {query: 'orders{id}'}", "params: {since: '{window.strat}'}",
                              "incremental: {cursor: t, start: 2024-01-01}", "write: append"), [
            r"5: resources\.r\.graphql: no value for the placeholder \{id\}; known here: \{window\.end\}, .*",
            r"6: resources\.r\.params: no value for the placeholder \{window\.strat\}; known here: .*start\}",
        ], id="placeholders-of-a-query"),
        pytest.param(TOP + "resources:\n  a: {path: /a}\n  a__rejects: {path: /b}\n", [
            r"4: resources\.a__rejects: no name may end in __rejects: what is set aside of a resource goes there",
        ], id="name-of-what-is-set-aside"),
        pytest.param(TOP + "resources:\n  a: {path: /a, incremental: {cursor: t, since_param: s, start: 2024-01-01}, "
                     "key: id, write: upsert}\n  b: {path: '/a/{a.id}/b', for_each: {resource: a}, write: append}\n", [
            r"4: resources\.b\.write: a is `incremental`, so the newest of its records come again, and their rows .*",
        ], id="appended-below-an-incremental-parent"),
        pytest.param(resource("path: /x", "incremental: {cursor: t, since_param: s, start: 2024-01-01, per: shops}",
                              "write: append"), [
            r"5: resources\.r\.incremental\.per: 'shops' is not the parent of this resource: there is no parent; .*",
        ], id="per-without-parent"),
        pytest.param(resource("path: /x", "columns: {id: int64, total: int64}", "on_new_column: ignore", "key: [idd]",
                              "partition_by: [month(day)]", "sort_by: [total]"), [
            r"7: resources\.r\.key: no column 'idd' \(did you mean id\?\); declared: id, total",
            r"8: resources\.r\.partition_by: no column 'day'; declared: id, total",
        ], id="undeclared-columns"),
        pytest.param(resource("path: /x", "columns: {at: {type: timestamp, from: meta.at}}", "on_new_column: ignore",
                              "incremental: {cursor: updated, since_param: s, start: 2024-01-01}", "write: append"), [
            r"7: resources\.r\.incremental\.cursor: no column 'updated'; declared: at",
        ], id="undeclared-cursor"),
        pytest.param(resource("path: /x", "incremental: {cursor: at, start: 2024-01-01}", "columns: {at: int64}",
                              "write: append"), [
            r"6: resources\.r\.columns\.at: the cursor is a time, and int64 is none; "
            r"say `at: timestamp\(ms\) from epoch_ms` \(or epoch_s\), or `incremental: \{format: number\}`",
        ], id="c08-epoch-as-a-time"),
        pytest.param(resource("path: /x", "incremental: {cursor: n, start: 0, format: number}",
                              "columns: {n: timestamp}", "write: append"), [
            r"6: resources\.r\.columns\.n: the cursor is a number by its `format`, and timestamp is none",
        ], id="c08-time-as-a-number"),
        pytest.param(resource("path: /x", "incremental: {cursor: at, start: 2024-01-01, on_missing: include}",
                              "write: append"), [
            r"5: resources\.r\.incremental\.on_missing: with `write: append` a record without cursor would be .*",
        ], id="c04-append-with-rows-without-cursor"),
        pytest.param(resource("path: /x", "incremental: {cursor: at, start: 2024-01-01, ordered: up}",
                              "write: append"), [
            r"5: resources\.r\.incremental\.ordered: needs ascending or descending, not 'up'",
        ], id="c05-no-order"),
        pytest.param(resource("path: /x", "transform: os.system"), [
            r"5: resources\.r\.transform: unknown transform 'os\.system': write module:function of .*",
        ], id="s12-no-module"),
        pytest.param(resource("path: /x", "transform: os:system"), [
            r"5: resources\.r\.transform: unknown transform: transforms has no module 'os'; known: .*",
        ], id="s12-other-module"),
        pytest.param(resource("path: /x/{v}", "for_each: {values: {v: [1, 1.9, 1.1, 1.10]}}"), [
            r"5: resources\.r\.for_each: 1\.1 and 1\.10 would share a watermark and what `carry` writes, "
            r"as they are equal as numbers; put them in quotes",
        ], id="two-ways-to-write-a-number"),
        pytest.param(resource("path: /x", "for_each: [{a: 40.40, b: 1}, {a: 40.4, b: 2}, {a: 40.4, b: 1}]",
                              "params: {a: '{a}', b: '{b}'}"), [
            r"5: resources\.r\.for_each: 40\.40, 1 and 40\.4, 1 would share .*",
        ], id="two-ways-to-write-a-pair"),
        pytest.param(resource("path: /x/{year}", "for_each: {file: years.csv}"), [
            r"5: resources\.r\.for_each\.file: no such file: config/years\.csv",
        ], id="no-file"),
        pytest.param(resource("path: /x", "partition_by: [moth(day)]"), [r"5: resources\.r\.partition_by: .*moth.*"],
                     id="unknown-partition"),
        pytest.param(TOP + "schedule: {cron: '61 * * * *'}\n" + ONE, [
            r"2: schedule\.cron: '61' is no minute of a cron rule \(0 to 59\)",
        ], id="cron"),
        pytest.param(TOP + "schedule: {cron: '* * *', timezone: Mars/Base}\n" + ONE, [
            r"2: schedule\.cron: '\* \* \*' needs five fields: minute, hour, day of month, month, day of week",
            r"2: schedule\.timezone: 'Mars/Base' is no IANA time zone, such as Europe/Madrid",
        ], id="cron-and-zone"),
        pytest.param(TOP + "schedule: {}\n" + ONE, [r"2: schedule: needs exactly one of cron, interval and rrule"],
                     id="no-schedule"),
        pytest.param(TOP + "defaults: {pagenate: none}\nresources: {a: {path: /a}, b: {path: /b}}\n", [
            r"2: defaults\.pagenate: unknown key \(did you mean paginate\?\)",
        ], id="defaults-once"),
        pytest.param("base_url: ftp://a.example\n" + ONE, [r"1: base_url: needs a URL that starts with https://.*"],
                     id="s04-scheme"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_line_path_and_the_way_out(
    project: Project, content: str, expected: list[str]
) -> None:
    project.write(content)

    told = project.mistakes()

    assert len(told) == len(expected), told
    for line in told:
        assert any(re.fullmatch(f"config/shop\\.yaml:{pattern}", line) for pattern in expected), line
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "incremental",
    [
        pytest.param("format: date, window: 1d, most: 10, bounds: closed", id="days-closed"),
        pytest.param("format: date, window: 1d, most: 10, bounds: half_open", id="days-half-open"),
        pytest.param("window: 1d, most: 10, bounds: half_open", id="instants-half-open"),
        pytest.param("bounds: closed", id="one-window"),
    ],
)
def test_append_takes_windows_that_share_no_row(project: Project, incremental: str) -> None:
    asked = f"incremental: {{{_SPAN}, {incremental}}}"

    project.write(resource("path: /x", "write: append", asked))

    assert project.load()["shop"].resources["r"].write == "append"


def test_all_mistakes_of_all_files_are_told_at_once(project: Project) -> None:
    project.write(SHOP.replace("paginate", "pagenate").replace("in_flight: 8", "in_flight: 0"))
    project.write(FORGE.replace("/h", ""), "forge")

    told = project.mistakes()

    assert [line.split(": ")[0] for line in told] == [
        "config/forge.yaml:3",
        "config/shop.yaml:3",
        "config/shop.yaml:10",
    ]


def test_an_unknown_source_is_told_with_the_nearest_name(project: Project) -> None:
    project.write(SHOP)

    with pytest.raises(ConfigError, match=r"no source 'shp' \(did you mean shop\?\)"):
        load(Path("config"), env={}, only={"shp"})


def test_two_files_cannot_describe_one_source(project: Project) -> None:
    project.write(SHOP)
    project.write("source: shop\n" + SHOP, "store")

    assert project.mistakes() == [
        "config/store.yaml:1: source: the source shop is described in config/shop.yaml as well"
    ]


def test_a_transform_is_looked_up_without_running_its_module(project: Project, tmp_path: Path) -> None:
    project.write(resource("path: /x", "transform: shop:clean_order"))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "shop.py").write_text("open('executed', 'w')\ndef clean_orders(frame):\n    return frame\n")

    with pytest.raises(ConfigError, match=r"shop\.py has no 'clean_order' \(did you mean clean_orders\?\)"):
        load(Path("config"), env={}, transforms=folder)
    project.write(resource("path: /x", "transform: shop:clean_orders"))
    assert load(Path("config"), env={}, transforms=folder).names == ("shop",)
    assert not Path("executed").exists()


def test_a_listed_value_or_a_parent_may_be_called_window_where_there_is_none(project: Project) -> None:
    project.write(resource("path: /x/{window}", "for_each: {values: {window: [7, 30]}}", "carry: {days: window}"))

    assert project.load().names == ("shop",)


def test_a_file_of_parents_lies_beside_its_source_and_names_placeholders(project: Project) -> None:
    Path("config/years.csv").write_text("year,country\n2024,ES\n")
    project.write(resource("path: /x/{year}/{contry}", "for_each: {file: years.csv}"))

    assert project.mistakes() == [
        "config/shop.yaml:4: resources.r.path: no value for the placeholder {contry}; known here: {country}, {year}"
    ]


@pytest.mark.parametrize(
    ("each", "told"),
    [
        ("{file: years.csv, values: {country: [ES, FR]}}", "a list of `values`"),
        ("{file: years.csv, resource: country}", "the parent"),
    ],
)
def test_a_column_of_a_file_hides_no_other_value_of_its_name(project: Project, each: str, told: str) -> None:
    Path("config/years.csv").write_text("year,country\n2024,ES\n")
    project.write(resource("path: /x/{year}", f"for_each: {each}") + "  country: {path: /c, write: replace}\n")

    assert project.mistakes() == [
        "config/shop.yaml:5: resources.r.for_each.file: the column 'country' would hide another value of that name: "
        f"it is the name of {told} as well"
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("a.csv", "city\nS\xe3o Paulo\n".encode("latin-1"), "is not UTF-8", id="latin"),
        pytest.param("a.csv", b"city,zip\nLyon\n", "row 1 has not as many fields as the first line", id="short-row"),
        pytest.param("a.csv", b"city\nLyon,69000\n", "row 1 has not as many fields as the first line", id="long-row"),
        pytest.param("a.json", b'[{"city": "Lyon"}', "cannot be read: ", id="half-a-document"),
        pytest.param("a.json", b'{"city": "Lyon"}', "is no list of objects", id="no-list"),
        pytest.param("a.json", b'["Lyon"]', "is no list of objects", id="no-objects"),
        pytest.param("b.csv", None, "no such file: config/b.csv", id="not-there"),
    ],
)
def test_a_file_of_parents_that_is_none_is_told_with_its_key(
    project: Project, name: str, content: bytes | None, told: str
) -> None:
    if content is not None:
        Path("config", name).write_bytes(content)
    project.write(resource("path: /x/{city}", f"for_each: {{file: {name}}}"))

    (mistake,) = project.mistakes()

    assert mistake.startswith("config/shop.yaml:5: resources.r.for_each.file: ")
    assert told in mistake


@pytest.mark.parametrize("path", ["config", "config/none.yaml"])
def test_a_folder_without_sources_or_a_missing_file_is_an_error(project: Project, path: str) -> None:
    with pytest.raises(ConfigError, match="config"):
        load(Path(path), env={})


HOSTILE = {
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)),
    "brackets": "a: " + "[" * 900_000,
    "dashes": "- " * 500_000,
    "endless": "a: &a [*a]\n",
    "large": "#" * (1 << 20) + "\n" + SHOP,
    "many": "a:\n" + "- x\n" * 200_000,
    "digits": "base_url: " + "9" * 10_000 + "\n",
    "latin": "base_url: \udcff",
    "nul": "base_url: \x00",
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in HOSTILE.items()])
def test_s10_a_hostile_file_is_refused_in_a_second(project: Project, tmp_path: Path, content: str) -> None:
    (tmp_path / "config" / "shop.yaml").write_bytes(content.encode("utf-8", "surrogateescape"))

    began = time.process_time()
    told = project.mistakes()

    assert time.process_time() - began < 1.5
    assert all(line.startswith("config/shop.yaml:") and len(line) < 400 for line in told)


@pytest.mark.parametrize(
    ("cron", "fits"),
    [
        ("*/15 8-18 * * mon-fri", True),
        ("0 0 1 jan,jul *", True),
        ("0 0 * * 7", True),
        ("5,10-20/2 * * * *", True),
        ("60 * * * *", False),
        ("0 24 * * *", False),
        ("*/0 * * * *", False),
        ("20-10 * * * *", False),
        ("0 0 * foo *", False),
        ("@daily", False),
        ("; rm -rf", False),
    ],
)
def test_a_cron_rule_is_checked_field_by_field(project: Project, cron: str, *, fits: bool) -> None:
    project.write(f"{TOP}schedule: {{cron: '{cron}'}}\n{ONE}")

    if fits:
        assert project.load()["shop"].schedule is not None
    else:
        assert "schedule.cron" in project.mistakes()[0]


@pytest.mark.parametrize(
    ("schedule", "fits"),
    [
        ("{interval: 6h}", True),
        ("{rrule: 'FREQ=WEEKLY;BYDAY=MO', timezone: Europe/Madrid}", True),
        ("{rrule: 'FREQ=SOMETIMES'}", False),
        ("{interval: 6h, cron: '* * * * *'}", False),
        ("{interval: 0s}", False),
    ],
)
def test_an_interval_or_an_rrule_will_do(project: Project, schedule: str, *, fits: bool) -> None:
    project.write(f"{TOP}schedule: {schedule}\n{ONE}")

    if fits:
        assert project.load()["shop"].schedule is not None
    else:
        assert "schedule" in project.mistakes()[0]


@pytest.mark.parametrize(
    ("lines", "is_doubted"),
    [
        (["write: append"], True),
        (["write: append", "key: id"], True),
        (["write: append", "transform: worldbank:clean_countries"], False),
        (["write: append", "incremental: {cursor: at, since_param: since, start: 2024-01-01}"], False),
        (["write: replace"], False),
    ],
)
def test_records_that_each_run_would_append_again_are_doubted(
    project: Project, lines: list[str], is_doubted: bool
) -> None:
    project.write(resource("path: /x", *lines))

    told = project.load().warnings

    assert ["no `incremental` each run stores all records once more" in one for one in told] == [True] * is_doubted
    assert all(one.startswith("config/shop.yaml:5: resources.r.write: ") for one in told)
