"""World Bank: an array of two, and errors under HTTP 200."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

Ask = Callable[..., requests.Response]

V2 = "https://api.worldbank.org/v2"
INVALID = [{"message": [{"id": "120", "key": "Invalid value", "value": "The provided parameter value is not valid"}]}]


def test_countries_come_50_a_page(ask: Ask) -> None:
    """299 rows, 81 of them aggregates, on six pages."""
    pages = [ask(f"{V2}/country?format=json&page={number}").json() for number in range(1, 7)]

    rows = [row for _, page in pages for row in page]

    assert pages[0][0] == {"page": 1, "pages": 6, "per_page": "50", "total": 299}
    assert [len(page) for _, page in pages] == [50, 50, 50, 50, 50, 49]
    assert len({row["id"] for row in rows}) == 299
    assert sum(row["region"]["value"] == "Aggregates" for row in rows) == 81


@pytest.mark.parametrize("indicator", ["SP.POP.TOTL", "NY.GDP.PCAP.PP.KD", "SP.DYN.LE00.IN"])
def test_an_indicator_has_a_row_for_each_country(ask: Ask, indicator: str) -> None:
    """171 rows of 2014; the year is text, and a null is a row."""
    meta, rows = ask(f"{V2}/country/all/indicator/{indicator}?format=json&date=2010:2020&per_page=1000").json()

    assert (meta["page"], meta["pages"], meta["per_page"], meta["total"]) == (1, 1, 1000, 171)
    assert {(row["indicator"]["id"], row["date"]) for row in rows} == {(indicator, "2014")}
    assert len({row["countryiso3code"] for row in rows}) == 171


def test_a_null_value_is_a_row(ask: Ask) -> None:
    _, rows = ask(f"{V2}/country/all/indicator/NY.GDP.PCAP.PP.KD?format=json&per_page=1000").json()

    nulls = [row for row in rows if row["value"] is None]

    assert nulls


def test_a_year_without_rows_answers_null(ask: Ask) -> None:
    meta, rows = ask(f"{V2}/country/all/indicator/SP.POP.TOTL?format=json&date=1999").json()

    assert (meta["total"], rows) == (0, None)


def test_chosen_countries_are_answered_by_either_code(ask: Ask) -> None:
    _, rows = ask(f"{V2}/country/US;jpn/indicator/SP.POP.TOTL?format=json").json()

    assert sorted(row["countryiso3code"] for row in rows) == ["JPN", "USA"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("country/all/indicator/NO.SUCH?format=json", id="unknown-indicator"),
        pytest.param("country/XYZ?format=json", id="unknown-country"),
        pytest.param("country?format=json&page=0", id="page-zero"),
        pytest.param("country?format=json&per_page=32501", id="page-too-large"),
        pytest.param("country/all/indicator/SP.POP.TOTL?format=json&date=soon", id="no-year"),
    ],
)
def test_an_error_is_http_200_with_an_array_of_one(ask: Ask, path: str) -> None:
    answer = ask(f"{V2}/{path}")

    assert (answer.status_code, answer.json()) == (200, INVALID)


def test_without_format_the_answer_is_xml(ask: Ask) -> None:
    answer = ask(f"{V2}/country")

    assert answer.headers["Content-Type"].startswith("text/xml")
