"""Tests of distances at the awkward places of the sphere."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.marts.geography import EARTH_RADIUS_KM, Places, haversine_km, surroundings

QUARTER_KM = EARTH_RADIUS_KM * np.pi / 2


def places(*points: tuple[float, float, int]) -> Places:
    latitude, longitude, people = zip(*points, strict=True)
    return Places(np.array(latitude, float), np.array(longitude, float), np.array(people, np.int64))


def around(latitude: float, longitude: float, to: Places) -> tuple[int, float, list[int]]:
    found = surroundings(np.array([latitude]), np.array([longitude]), to, (50, 100, 250))
    return int(found.nearest[0]), float(found.km[0]), [int(people[0]) for people in found.people.values()]


@pytest.mark.parametrize(
    ("at", "to", "km"),
    [
        pytest.param((0, 0), (0, 0), 0.0, id="same-point"),
        pytest.param((0, 179.9), (0, -179.9), 0.2 * np.pi / 180 * EARTH_RADIUS_KM, id="antimeridian"),
        pytest.param((0, 180), (0, -180), 0.0, id="both-names-of-the-antimeridian"),
        pytest.param((90, 0), (90, 135), 0.0, id="pole-has-no-longitude"),
        pytest.param((90, 0), (0, 77), QUARTER_KM, id="pole-to-equator"),
        pytest.param((90, 0), (-90, 0), 2 * QUARTER_KM, id="pole-to-pole"),
        pytest.param((12, 34), (-12, -146), 2 * QUARTER_KM, id="antipodes"),
    ],
)
def test_a_distance_is_right_where_coordinates_jump(
    at: tuple[float, float], to: tuple[float, float], km: float
) -> None:
    direct = haversine_km(*(np.array([float(degrees)]) for degrees in (*at, *to)))
    nearest, found, _ = around(*at, places((*to, 1)))

    assert direct[0] == pytest.approx(km, abs=1e-4)
    assert (nearest, found) == (0, direct[0])


def test_people_beyond_the_antimeridian_and_the_pole_are_counted() -> None:
    beyond = places((-16.8, -179.99, 20_000), (-16.8, 170.0, 5))
    over = places((89.5, 180.0, 7_000), (80.0, 0.0, 5))

    assert around(-16.8, 179.99, beyond)[2] == [20_000, 20_000, 20_000]
    assert around(89.5, 0.0, over)[2] == [0, 0, 7_000]


def test_of_equally_near_places_the_first_is_nearest() -> None:
    assert around(0, 0, places((0, 1, 1), (0, -1, 2), (1, 0, 4)))[0] == 0


def test_a_radius_includes_a_place_at_exactly_that_distance() -> None:
    to = places((0, 1, 9))
    km = around(0, 0, to)[1]

    found = surroundings(np.array([0.0]), np.array([0.0]), to, (km, np.nextafter(km, 0)))

    assert [int(people[0]) for people in found.people.values()] == [9, 0]


def test_two_towns_a_metre_apart_are_told_apart() -> None:
    to = places((45.00001, 7.0, 1), (45.0, 7.0, 2))

    assert around(45.0, 7.0, to)[:2] == (1, 0.0)


def test_no_places_or_no_points_give_nothing() -> None:
    none = Places(np.empty(0), np.empty(0), np.empty(0, np.int64))

    assert around(1.0, 1.0, none)[0] == -1
    assert len(surroundings(np.empty(0), np.empty(0), places((0, 0, 1)), (50,)).km) == 0


def test_many_points_at_once_equal_one_at_a_time() -> None:
    random = np.random.default_rng(3)
    latitude, longitude = np.degrees(np.arcsin(random.uniform(-1, 1, 40))), random.uniform(-180, 180, 40)
    spread = zip(random.uniform(-90, 90, 9_000), random.uniform(-180, 180, 9_000), range(9_000), strict=True)
    to = places(*((float(lat), float(lon), people) for lat, lon, people in spread))

    found = surroundings(latitude, longitude, to, (50, 100, 250))

    for at in range(40):
        single = around(float(latitude[at]), float(longitude[at]), to)
        assert single == (found.nearest[at], found.km[at], [int(people[at]) for people in found.people.values()])
