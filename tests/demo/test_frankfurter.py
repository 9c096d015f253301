"""Frankfurter v1: the ECB's file in a dictionary of dictionaries."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

import pipelines.demo

Ask = Callable[..., requests.Response]

V1 = "https://api.frankfurter.dev/v1"
ECB_FILE = Path(pipelines.demo.__file__).parent / "data" / "ecb" / "eurofxref-2012-2018q1.csv.gz"


def test_a_range_answers_working_days_only(ask: Ask) -> None:
    """From a Wednesday to the next: six days, the weekend has no key."""
    answer = ask(f"{V1}/2018-01-31..2018-02-07?symbols=JPY,PHP").json()

    assert (answer["amount"], answer["base"]) == (1.0, "EUR")
    assert sorted(answer["rates"]) == [f"2018-{day}" for day in ("01-31", "02-01", "02-02", "02-05", "02-06", "02-07")]
    assert answer["rates"]["2018-01-31"] == {"JPY": 135.6, "PHP": 63.872}


def test_the_dates_told_are_those_found(ask: Ask) -> None:
    """Saturday to Sunday week was asked for, Monday to Friday is answered."""
    answer = ask(f"{V1}/2018-02-03..2018-02-11").json()

    assert (answer["start_date"], answer["end_date"]) == ("2018-02-05", "2018-02-09")


def test_every_rate_is_the_one_in_the_ecbs_file(ask: Ask) -> None:
    """1,597 days, each value as the file has it; N/A has no key."""
    with gzip.open(ECB_FILE, "rt") as file:
        rows = {row.pop("Date"): row for row in csv.DictReader(file)}

    rates = ask(f"{V1}/2012-01-01..").json()["rates"]

    assert len(rates) == 1597
    published = {
        day: {code: float(text) for code, text in row.items() if text not in ("", "N/A")} for day, row in rows.items()
    }
    assert rates == published


def test_another_base_turns_the_rates_round(ask: Ask) -> None:
    """One euro was 1.2321 US dollars on 2018-03-29."""
    rates = ask(f"{V1}/2018-03-29..?base=USD").json()["rates"]["2018-03-29"]

    assert rates["EUR"] == 0.81162
    assert "USD" not in rates


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        pytest.param("2019-01-01..2019-02-01", 404, "not found", id="after-the-snapshot"),
        pytest.param("2018-02-03..2018-02-04", 404, "not found", id="a-weekend"),
        pytest.param("2018-02-01..2018-02-07?symbols=TWD", 404, "not found", id="a-currency-the-ecb-has-not"),
        pytest.param("2018-13-01..2018-02-07", 422, "invalid date", id="no-date"),
    ],
)
def test_nothing_found_and_bad_input_differ(ask: Ask, path: str, status: int, message: str) -> None:
    answer = ask(f"{V1}/{path}")

    assert (answer.status_code, answer.json()) == (status, {"message": message})


def test_an_unchanged_answer_is_304(ask: Ask) -> None:
    url = f"{V1}/2018-02-05..2018-02-07"
    etag = ask(url).headers["ETag"]

    answer = ask(url, If_None_Match=etag)

    assert (answer.status_code, answer.content) == (304, b"")
