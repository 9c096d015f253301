"""The demo's answer: which quakes of the week were near people, and what their currency did.

`python -m pipelines.report.quake_report` reads the mart `quake_exposure` as it is committed
and writes one page without scripts: a map and a table. The map's land is made of
the cities that come with the package, so it needs neither tiles nor network.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Hashable, Iterator, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import PipelineError
from pipelines.marts import reference
from pipelines.reading import read

MART = "marts.quake_exposure"
FELT = 4.0
"""Smaller ones are hardly felt; the map has them, the table does not."""
_WEEK = pd.Timedelta(days=7)
_ROWS = 25
_NORTH, _SOUTH = 80.0, -60.0
_WIDTH, _HEIGHT = 1000.0, (_NORTH - _SOUTH) / 360 * 1000
_LARGEST = 17.0
_COLUMNS = [
    "event_id", "time", "mag", "place", "longitude", "latitude", "depth_km", "city", "country", "km_to_city",
    "people_100km", "gdp_per_head", "currency", "rate_change_pct",
]  # fmt: skip
_STYLE = """
.sea { fill: #eef2f5 } .land { fill: none; stroke: #b9c3cb; stroke-width: 1.7; stroke-linecap: round }
.grid { stroke: #dbe2e7; stroke-width: .6 } .small { fill: #7a8894; fill-opacity: .55 }
.felt { fill: #d8572a; fill-opacity: .62; stroke: #a33a14; stroke-width: .6 }
text { font: 13px system-ui, sans-serif; fill: #3a434b }
@media (prefers-color-scheme: dark) { .sea { fill: #171b1f } .land { stroke: #434d56 } .grid { stroke: #23292e }
.small { fill: #9aa7b1 } .felt { fill: #f08a4b; stroke: #ffc19a } text { fill: #c7d0d7 } }
"""


def week(data: Path) -> pd.DataFrame:
    """The events of the newest seven days, those with most people within 100 km first.

    Raises:
        ConfigError: The mart is not there yet.
    """
    events: pd.DataFrame = read(MART, columns=_COLUMNS, data=data)
    events = events[events["time"] > events["time"].max() - _WEEK]
    return events.sort_values(["people_100km", "mag", "event_id"], ascending=[False, False, True], kind="stable")


def picture(events: pd.DataFrame, *, titles: bool = False) -> str:
    """The map as an SVG of its own: a circle for each event, its area for the people within 100 km.

    With *titles* each circle tells what it is when one points at it; an image in a page cannot.
    """
    first, last = events["time"].min(), events["time"].max()
    told = f"{len(events):,} seismic events, {first:%d %b} to {last:%d %b %Y}; area: people within 100 km"
    legend = f'<text x="12" y="{_HEIGHT - 12:.0f}">{escape(told)}; in colour: magnitude {FELT:.0f} and more</text>'
    size = f'viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" role="img" aria-label="{escape(told)}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{_STYLE}</style>'
        f'<rect class="sea" width="100%" height="100%"/>{_grid()}<path class="land" d="{_land()}"/>'
        f"{''.join(_circles(events, titles=titles))}{legend}</svg>\n"
    )


def page(events: pd.DataFrame) -> str:
    """The report as one HTML document."""
    style = files("pipelines.report").joinpath("report.css").read_text(encoding="utf-8")
    drawn = picture(events, titles=True).replace('xmlns="http://www.w3.org/2000/svg" ', "")
    felt = events[(events["mag"] >= FELT).fillna(False)]
    near = felt[felt["people_100km"] > 0]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Quakes near people</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{style}</style></head><body><main><header><h1>Quakes near people</h1><p>{_span(events)}</p></header>"
        f'<p class="lead">{escape(_summary(events, felt, near))}</p><br>{drawn}'
        f"<section><h2>Magnitude {FELT:.0f} and more, by people within 100 km</h2>{_table(near.head(_ROWS))}"
        f"<p><small>{_rest(events, near)}</small></p></section></main></body></html>\n"
    )


def _span(events: pd.DataFrame) -> str:
    return f"{events['time'].min():%Y-%m-%d %H:%M} to {events['time'].max():%Y-%m-%d %H:%M} UTC"


def _summary(events: pd.DataFrame, felt: pd.DataFrame, near: pd.DataFrame) -> str:
    text = f"{len(events):,} events, {len(felt):,} of magnitude {FELT:.0f} and more"
    if near.empty:
        return f"{text}, none of them within 100 km of a city."
    strongest = near.sort_values("mag", ascending=False, kind="stable").iloc[0]
    return (
        f"{text}; {len(near):,} of these within 100 km of a city. The strongest near people: magnitude "
        f"{strongest['mag']:.1f}, {strongest['place']}, with {_people(strongest['people_100km'])} people around it."
    )


def _rest(events: pd.DataFrame, near: pd.DataFrame) -> str:
    left = len(events) - min(len(near), _ROWS)
    return (
        f"{left:,} more events are on the map. People: those in cities of 15,000 and more. Currency: against the euro,"
        " from the last ECB rate on or before the day to the one seven days later; that both happened is no cause."
    )


def _table(events: pd.DataFrame) -> str:
    titles = (
        "magnitude",
        "where",
        "when (UTC)",
        "people within 100 km",
        "nearest city",
        "GDP per head",
        "currency, 7 days",
    )
    head = "".join(f"<th>{title}</th>" for title in titles)
    rows = []
    for event in events.to_dict("records"):
        cells = (
            f"<b>{event['mag']:.1f}</b>",
            escape(str(event["place"])),
            f"{event['time']:%a %d %b %H:%M}".replace(" ", "\u00a0"),
            _people(event["people_100km"]),
            escape(f"{event['city']}, {event['country']}, {event['km_to_city']:.0f} km"),
            f"${event['gdp_per_head']:,.0f}" if pd.notna(event["gdp_per_head"]) else "",
            escape(_currency(event["currency"], event["rate_change_pct"])),
        )
        named = [f'<td data-title="{title}">{cell}</td>' for title, cell in zip(titles, cells, strict=True)]
        rows.append(f"<tr>{''.join(named)}</tr>")
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _people(number: int) -> str:
    return f"{number / 1e6:.1f} million" if number >= 1e6 else f"{number:,}"


def _currency(name: object, change: object) -> str:
    """In words, because a higher rate is a weaker currency."""
    if not isinstance(name, str):
        return ""
    if name == "EUR":
        return "EUR"
    if not isinstance(change, float) or np.isnan(change):
        return f"{name}, no rate"
    return f"{name} {'lost' if change > 0 else 'gained'} {abs(change):.1f}\u00a0%"


def _circles(events: pd.DataFrame, *, titles: bool) -> Iterator[str]:
    """The small ones first, so that large and felt ones lie on top."""
    most = max(float(events["people_100km"].max()), 1.0)
    felt = (events["mag"] >= FELT).fillna(False).astype(bool)
    for name, group in (("small", events[~felt]), ("felt", events[felt])):
        for event in group.sort_values("people_100km", ascending=False, kind="stable").to_dict("records"):
            x, y = _place(event["longitude"], event["latitude"])
            largest = _LARGEST if name == "felt" else _LARGEST / 3
            radius = 1.2 + largest * np.sqrt(event["people_100km"] / most)
            title = f"<title>{escape(_named(event))}</title>" if titles else ""
            yield f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">{title}</circle>'


def _named(event: Mapping[Hashable, Any]) -> str:
    mag = f"M {event['mag']:.1f}, " if pd.notna(event["mag"]) else ""
    return f"{mag}{event['place']}, {_people(event['people_100km'])} people within 100 km"


def _land() -> str:
    """A dot for each degree in which there is a city: together they look like the continents."""
    cities = reference.cities()
    cells = {
        (round(longitude), round(latitude))
        for longitude, latitude in zip(cities["longitude"], cities["latitude"], strict=True)
        if _SOUTH < latitude < _NORTH
    }
    places = (_place(*cell) for cell in sorted(cells))
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in places)


def _grid() -> str:
    across = (_place(0, latitude)[1] for latitude in range(-30, 61, 30))
    down = (_place(longitude, 0)[0] for longitude in range(-120, 121, 60))
    lines = [f'<path class="grid" d="M0 {y:.1f}H{_WIDTH:.0f}"/>' for y in across]
    return "".join([*lines, *(f'<path class="grid" d="M{x:.1f} 0V{_HEIGHT:.0f}"/>' for x in down)])


def _place(longitude: float, latitude: float) -> tuple[float, float]:
    return (longitude + 180) / 360 * _WIDTH, (_NORTH - latitude) / 360 * _WIDTH


def main() -> None:
    """Write `report/index.html` into the data folder; with --picture the map alone, too."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.report.quake_report", description=main.__doc__)
    parser.add_argument("--data", type=Path, help="folder of the output (default: that of the settings)")
    parser.add_argument("--picture", type=Path, help="where to write the map as an SVG of its own")
    told = parser.parse_args()
    try:
        data = told.data or _data()
        events = week(data)
    except PipelineError as error:
        sys.exit(f"{error.kind}: {error}")
    path = data / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(events), encoding="utf-8")
    if told.picture:
        told.picture.write_text(picture(events), encoding="utf-8")
    sys.stdout.write(f"{path}\n")


def _data() -> Path:
    from pipelines.config.settings import environment, read_settings

    return read_settings(environment(Path(), os.environ)).data


if __name__ == "__main__":
    main()
