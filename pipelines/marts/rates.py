"""Which exchange rate held on a day: the last one published on or before it.

Rates are euro rates: units of the currency for one euro. The euro itself counts
as a currency with rate 1 on every day on which any rate was published.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

EURO = "EUR"
# No closure of the ECB lasts longer than five days: an older rate is of a currency no longer quoted
MAX_AGE_DAYS = 10

_NO_DAY = -(2**31)
_SPAN = 2**33

Days = npt.NDArray[np.int64]


def days(column: pd.Series) -> Days:
    """Days since 1970 of dates or UTC timestamps; a null is far in the past."""
    dates = pa.array(column, from_pandas=True).cast(pa.date32(), safe=False)
    return np.asarray(dates.cast(pa.int32()).fill_null(_NO_DAY).to_numpy(zero_copy_only=False), dtype=np.int64)


def dates(day: Days, known: npt.NDArray[np.bool_]) -> pd.Series:
    """The inverse of `days`, null where not *known*."""
    values = pa.array(day.astype(np.int32), mask=~known).cast(pa.date32())
    return pd.Series(pd.arrays.ArrowExtensionArray(values))


class Rates(Struct, frozen=True):
    """All published rates, sorted for look-up by currency and day."""

    currencies: pa.Array
    keys: Days
    rate: npt.NDArray[np.float64]
    last_day: int

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Rates:
        """From the columns `date`, `currency`, `rate`; rows without a rate are left out."""
        frame = frame[["date", "currency", "rate"]].dropna()
        names = pa.array(frame["currency"], pa.string())
        currencies = pa.concat_arrays([names.unique(), pa.array([EURO])]).unique()
        day = days(frame["date"])
        published = np.unique(day)
        euro = np.full(len(published), EURO)
        keys = np.concatenate(
            [_keys(names, day, currencies), _keys(pa.array(euro, pa.string()), published, currencies)]
        )
        rate = np.concatenate([frame["rate"].to_numpy(np.float64), np.ones(len(published))])
        order = np.argsort(keys, kind="stable")
        return cls(currencies, keys[order], rate[order], int(published[-1]) if len(published) else _NO_DAY)

    def on_or_before(self, currency: pd.Series, day: Days) -> tuple[npt.NDArray[np.float64], Days]:
        """The rate of each currency on each day, and the day it is of; NaN where there is none.

        A rate older than `MAX_AGE_DAYS` is none.
        """
        if not len(self.keys):
            return np.full(len(day), np.nan), np.full(len(day), _NO_DAY)
        wanted = _keys(pa.array(currency, pa.string()), day, self.currencies)
        at = np.searchsorted(self.keys, wanted, side="right") - 1
        age = wanted - self.keys[at]
        # the age of another currency's rate is far beyond any limit, and so is that of a null day
        known = (at >= 0) & (age <= MAX_AGE_DAYS)
        return np.where(known, self.rate[at], np.nan), np.where(known, day - age, _NO_DAY)


def _keys(currency: pa.Array, day: Days, currencies: pa.Array) -> Days:
    """One number for each currency and day that sorts by both; an unknown currency sorts before all."""
    code = pc.index_in(currency, value_set=currencies, skip_nulls=True).fill_null(-1)
    return np.asarray(code.to_numpy(zero_copy_only=False), dtype=np.int64) * _SPAN + day
