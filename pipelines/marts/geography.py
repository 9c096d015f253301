"""Distances on the sphere, all points against all cities, in bounded memory.

Every distance is a haversine. To avoid 58 million of them, a cosine between
unit vectors (three products) first tells which cities can matter for a point;
only for those the haversine is computed, so the figures are those of computing
all. Poles and the antimeridian are no special cases for vectors.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from msgspec import Struct

EARTH_RADIUS_KM = 6371.0088

# Two buffers of this size fit the cache of a core: three times as fast as 64 MB
_BUFFER_BYTES = 2_000_000
# The cosine of two unit vectors is off by 1e-15 at most
_SLACK = 1e-12

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Places(Struct, frozen=True):
    """Points in degrees with the people who live there."""

    latitude: Floats
    longitude: Floats
    people: Ints


class Surroundings(Struct, frozen=True):
    """For each point: its nearest place (-1 for none), how far, and how many people within each radius."""

    nearest: Ints
    km: Floats
    people: dict[float, Ints]


class _Pairs(Struct, frozen=True):
    """Points, by their row in a step, and the places that can matter for them, in the order of both."""

    row: Ints
    place: Ints
    km: Floats


def haversine_km(latitude: Floats, longitude: Floats, to_latitude: Floats, to_longitude: Floats) -> Floats:
    """Great-circle distances in km between points in degrees."""
    phi, lam, to_phi, to_lam = map(np.radians, (latitude, longitude, to_latitude, to_longitude))
    square = np.sin((to_phi - phi) / 2) ** 2 + np.cos(phi) * np.cos(to_phi) * np.sin((to_lam - lam) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(square, 1.0))), dtype=np.float64)


def surroundings(latitude: Floats, longitude: Floats, places: Places, radii_km: tuple[float, ...]) -> Surroundings:
    """Look around every point; of equally near places the first counts.

    A point without coordinates (NaN) has no nearest place, a distance of NaN
    and nobody around it. Memory: about 6 MB, whatever the number of points.
    """
    found = Surroundings(
        nearest=np.full(len(latitude), -1, dtype=np.int64),
        km=np.full(len(latitude), np.nan),
        people={radius: np.zeros(len(latitude), dtype=np.int64) for radius in radii_km},
    )
    known = np.flatnonzero(np.isfinite(latitude) & np.isfinite(longitude))
    if not len(places.people) or not len(known):
        return found
    to = _unit_vectors(places.latitude, places.longitude)
    reach = float(np.cos(min(max(radii_km, default=0.0) / EARTH_RADIUS_KM, np.pi)))
    step = max(1, _BUFFER_BYTES // (8 * len(places.people)))
    buffers = np.empty((2, step, len(places.people)))
    for start in range(0, len(known), step):
        points = known[start : start + step]
        at = latitude[points], longitude[points]
        cosine = _cosines(_unit_vectors(*at), to, buffers[:, : len(points)])
        near = cosine >= np.minimum(cosine.max(axis=1), reach)[:, None] - _SLACK
        # over a matrix, np.nonzero takes ten times as long
        row, place = np.divmod(np.flatnonzero(near), len(places.people))
        km = haversine_km(at[0][row], at[1][row], places.latitude[place], places.longitude[place])
        _fill(found, points, _Pairs(row, place, km), places.people)
    return found


def _unit_vectors(latitude: Floats, longitude: Floats) -> Floats:
    phi, lam = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])


def _cosines(at: Floats, to: Floats, buffers: Floats) -> Floats:
    """Cosine of the angle between every pair, in the first of two *buffers*.

    Not a matrix product: that would start threads of its own in each process.
    """
    total: Floats = buffers[0]
    product = buffers[1]
    np.multiply(at[0][:, None], to[0], out=total)
    for axis in (1, 2):
        np.multiply(at[axis][:, None], to[axis], out=product)
        total += product
    return total


def _fill(found: Surroundings, points: Ints, pairs: _Pairs, people: Ints) -> None:
    """Write the results of *points*; each has at least one of the *pairs*."""
    every = np.arange(len(points))
    starts = np.searchsorted(pairs.row, every)
    shortest = np.minimum.reduceat(pairs.km, starts)
    hits = np.flatnonzero(pairs.km == shortest[pairs.row])
    found.km[points] = shortest
    found.nearest[points] = pairs.place[hits[np.searchsorted(pairs.row[hits], every)]]
    for radius, around in found.people.items():
        around[points] = np.add.reduceat(np.where(pairs.km <= radius, people[pairs.place], 0), starts)
