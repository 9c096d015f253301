"""World Bank: what its answers say between the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def clean_countries(countries: pd.DataFrame) -> pd.DataFrame:
    """Tell aggregates (World, Euro area) from countries, and give the capital's place as numbers.

    The API sends coordinates as text, an empty one where it has none.
    """
    return countries.assign(
        is_aggregate=countries["region"] == "Aggregates",
        longitude=_numbers(countries["longitude"]),
        latitude=_numbers(countries["latitude"]),
    )


def _numbers(texts: pd.Series) -> pd.Series:
    return texts.where(texts != "").astype("double[pyarrow]")
