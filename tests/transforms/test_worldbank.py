"""World Bank: aggregates are told from countries, coordinates are numbers."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from pipelines.transforms.worldbank import clean_countries


def frame(*rows: dict[str, str]) -> pd.DataFrame:
    """Countries as a worker hands them to a transform: Arrow types."""
    countries: pd.DataFrame = pa.Table.from_pylist(list(rows)).to_pandas(types_mapper=pd.ArrowDtype)
    return countries


def test_aggregates_are_marked_and_coordinates_become_numbers() -> None:
    """Aruba has a capital; the World has none."""
    countries = frame(
        {"iso3": "ABW", "region": "Latin America & Caribbean", "longitude": "-70.0167", "latitude": "12.5167"},
        {"iso3": "WLD", "region": "Aggregates", "longitude": "", "latitude": ""},
    )

    cleaned = pa.Table.from_pandas(clean_countries(countries), preserve_index=False)

    assert cleaned.to_pylist() == [
        {
            "iso3": "ABW",
            "region": "Latin America & Caribbean",
            "longitude": -70.0167,
            "latitude": 12.5167,
            "is_aggregate": False,
        },
        {"iso3": "WLD", "region": "Aggregates", "longitude": None, "latitude": None, "is_aggregate": True},
    ]


def test_a_batch_without_any_coordinates_has_the_same_types() -> None:
    countries = frame({"iso3": "WLD", "region": "Aggregates", "longitude": "", "latitude": ""})

    cleaned = pa.Table.from_pandas(clean_countries(countries), preserve_index=False)

    assert cleaned.schema.field("longitude").type == pa.float64()
    assert cleaned.schema.field("is_aggregate").type == pa.bool_()
