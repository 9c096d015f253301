"""Nager.Date: one call for each country and year."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

Ask = Callable[..., requests.Response]

HOLIDAYS = "https://date.nager.at/api/v3/PublicHolidays"


def test_a_year_of_a_country_is_a_list_in_the_order_of_dates(ask: Ask) -> None:
    rows = ask(f"{HOLIDAYS}/2013/US").json()

    assert rows[0] == {
        "date": "2013-01-01",
        "localName": "New Year's Day",
        "name": "New Year's Day",
        "countryCode": "US",
        "fixed": False,
        "global": True,
        "counties": None,
        "launchYear": None,
        "types": ["Public"],
    }
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("2013/XX", 404, id="unknown-country"),
        pytest.param("2031/US", 400, id="a-year-not-bundled"),
        pytest.param("soon/US", 400, id="no-year"),
    ],
)
def test_what_is_not_known_is_refused(ask: Ask, path: str, status: int) -> None:
    answer = ask(f"{HOLIDAYS}/{path}")

    assert (answer.status_code, answer.json()["status"]) == (status, status)
