"""What an analyst adds to the flights: plain pandas on every batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def delays(frame: pd.DataFrame) -> pd.DataFrame:
    """Add whether a flight came late, what it made up in the air, and how fast it flew."""
    return frame.assign(
        late=frame["arr_delay"] > 15,
        made_up=frame["dep_delay"] - frame["arr_delay"],
        miles_per_hour=frame["distance"] / frame["air_time"] * 60,
    )
