"""World Bank: aggregates are told from countries."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from pipelines.transforms.worldbank import mark_aggregates


def test_aggregates_are_marked_among_the_countries() -> None:
    """A region named `Aggregates` is how the API tells; the types stay Arrow's."""
    table = pa.table({"iso3": ["ABW", "WLD"], "region": ["Latin America & Caribbean", "Aggregates"]})

    marked = mark_aggregates(table.to_pandas(types_mapper=pd.ArrowDtype))

    assert pa.Table.from_pandas(marked, preserve_index=False)["is_aggregate"].to_pylist() == [False, True]
    assert marked.dtypes["is_aggregate"] == pd.ArrowDtype(pa.bool_())
