"""World Bank: what its answers say between the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def mark_aggregates(countries: pd.DataFrame) -> pd.DataFrame:
    """Add `is_aggregate`: true for World, Euro area and the like, which stand among the countries."""
    return countries.assign(is_aggregate=countries["region"] == "Aggregates")
