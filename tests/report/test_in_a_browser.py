"""The page of a run in a real browser: no complaint, no network, all of it readable on a phone and in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browser
from tests.fake_api import FakeApi, say
from tests.shop import Shop

EMAIL = "ada@shop.example"
_MASKED = """\
  people:
    path: /people
    write: replace
    records: data
    paginate: none
    mask: {email: drop, phone: last4}
    columns: {age: int64}
    on_mismatch: quarantine
    expect: [{min_rows: 5, severity: warn}, {min_rows: 1}, {between: {age: [0, 150]}, severity: quarantine}]
"""
_CONTRAST = """\
(() => {
  const light = color => { const [r, g, b] = color.match(/[0-9.]+/g).map(Number).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const page = light(getComputedStyle(document.body).backgroundColor)
  return Math.min(...[...document.querySelectorAll("h1, h2, td, small, em, summary, code, p, li")].map(one => {
    const ink = light(getComputedStyle(one).color)
    return (Math.max(page, ink) + 0.05) / (Math.min(page, ink) + 0.05) }))
})()"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A tab of a browser, the same for all tests."""
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def page(api: FakeApi, tmp_path: Path) -> Path:
    """The page of a run with a failure, warnings, and records that were set aside."""
    shop = Shop(api, tmp_path)
    (tmp_path / "config" / "shop.yaml").write_text((tmp_path / "config" / "shop.yaml").read_text() + _MASKED)
    people = [{"id": 1, "email": EMAIL, "phone": "+34 555 0199", "age": age} for age in (30, 200, "old")]
    api.route("/people", lambda asked: say({"data": people}))
    api.route("/shop/people", lambda asked: say({"data": people}))
    api.route("/bank/accounts", lambda asked: say({}, status=404))
    ran = shop.run("--json")
    assert ran.code == 1
    return tmp_path / "data" / "runs" / f"{ran.report['run_id']}.html"


def test_the_page_needs_no_network_and_the_browser_has_nothing_to_complain_of(tab: Browser, page: Path) -> None:
    tab.asked.clear()
    for width, dark in ((1280, False), (1280, True), (390, False), (390, True)):
        tab.show(page, width=width, dark=dark)

        assert tab.value("document.documentElement.scrollWidth") <= width, (width, dark)
        assert tab.value(_CONTRAST) > 3.0, (width, dark)
        assert tab.drawn() == 4, (width, dark)
        assert tab.value("document.querySelectorAll('figure svg path').length") > 40
    assert tab.complaints == []
    assert set(tab.asked) == {page.resolve().as_uri()}


_PLOT = """(() => { const box = document.querySelector("figure svg .role-scope path.background").getBoundingClientRect()
  return [box.x, box.y, box.width, box.height] })()"""
_LONGEST = """(() => { const box = [...document.querySelectorAll('figure .role-scope .mark-rect path')]
  .map(one => one.getBoundingClientRect()).sort((one, other) => other.width - one.width)[0]
  return [box.x + box.width / 2, box.y + box.height / 2] })()"""
_LANES = "[...document.querySelectorAll('figure .role-scope .mark-rect path')].map(one => one.getBBox().width)"


def test_a_stretch_that_is_marked_is_larger_in_the_lanes(tab: Browser, page: Path) -> None:
    tab.show(page)
    assert tab.drawn() == 4
    tab.value("document.querySelector('figure').scrollIntoView()")
    x, y, width, height = tab.value(_PLOT)
    before = max(tab.value(_LANES))

    tab.drag((x + 0.3 * width, y + height / 2), (x + 0.6 * width, y + height / 2))

    assert max(tab.value(_LANES)) > 2 * before
    assert tab.complaints == []


def test_a_span_that_is_pointed_at_says_what_it_is(tab: Browser, page: Path) -> None:
    tab.show(page)
    assert tab.drawn() == 4
    tab.value("document.querySelector('figure').scrollIntoView()")

    tab.point(*tab.value(_LONGEST))

    told = tab.value("document.getElementById('vg-tooltip-element').innerText")
    assert told.startswith("lane\t")
    assert "\nit\twaits for " in told or "\nit\tcomputes" in told or "\nit\tmerges" in told
    assert "\nseconds\t0." in told


def test_it_tells_what_was_set_aside_masked_and_what_became_of_each_check(tab: Browser, page: Path) -> None:
    tab.show(page)

    text = tab.value(
        "[...document.querySelectorAll('details')].forEach(one => one.open = true), document.body.innerText"
    )
    for told in ("Records set aside", "age is not between 0 and 150", "between: age 0 to 150", "min_rows: 1", "held",
                 "set aside", "warned", "*" , "0199", "curl --compressed", "/bank/accounts"):  # fmt: skip
        assert told in text, told
    assert EMAIL not in text
    assert "555" not in text
