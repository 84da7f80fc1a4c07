"""Oracles: control values of the EPSG database (PROJ 9.5.1), brute force."""

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from layers import crs
from layers.errors import InvalidInput

CONTROL = [  # lon, lat, code, E, N
    (121.0, 28.1, "EPSG:4549", 598273.711, 3109927.739),
    (121.0, 28.1, "EPSG:4528", 40598273.711, 3109927.739),
    (121.4, 37.5, "EPSG:4549", 623798.842, 4152922.991),
    (120.0, 36.8, "EPSG:4549", 500000.000, 4074315.821),
    (121.7, 37.38, "EPSG:4550", 384860.594, 4139476.913),
]


@pytest.mark.parametrize(("lon", "lat", "code", "east", "north"), CONTROL)
def test_control_points_are_met_within_a_millimetre(lon, lat, code, east, north):
    got = crs.transform("EPSG:4490", code, np.array([lon]), np.array([lat]))
    assert np.allclose(np.ravel(got), [east, north], rtol=0, atol=1e-3)
    back = crs.transform(code, "EPSG:4490", *got)
    assert np.allclose(np.ravel(back), [lon, lat], rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://www.opengis.net/def/crs/EPSG/0/4549", "EPSG:4549"),
        ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "OGC:CRS84"),
        ("urn:ogc:def:crs:EPSG::4490", "EPSG:4490"),
        ("[EPSG:4490]", "EPSG:4490"),
        ("EPSG:4549+5737", "EPSG:4549+5737"),
    ],
)
def test_every_spelling_of_a_crs_is_read(text, expected):
    assert crs.name(text) == expected


def test_compound_crs_falls_into_its_parts():
    assert crs.horizontal("EPSG:4549+5737") == "EPSG:4549"
    assert crs.vertical("EPSG:4549+5737") == "EPSG:5737"
    assert crs.vertical("EPSG:4549") is None


@pytest.mark.parametrize("text", ["", "EPSG:999999", "nonsense", "x" * 30_000])
def test_what_is_no_crs_is_refused_with_a_reason(text):
    with pytest.raises(InvalidInput):
        crs.parse(text)


def test_axis_order_on_the_wire():
    north_first = {"EPSG:4490": True, "EPSG:4549": True, "EPSG:4326": True, "EPSG:3857": False, "OGC:CRS84": False}
    assert {code: crs.is_north_first(code) for code in north_first} == north_first


def test_swapping_axes_twice_changes_nothing_and_keeps_z():
    line = shapely.LineString([(1, 2, 3), (4, 5, 6)])
    swapped = crs.swap_axes(np.array([line, None, shapely.Point(7, 8)], dtype=object))
    assert list(swapped[0].coords) == [(2, 1, 3), (5, 4, 6)]
    assert swapped[1] is None
    assert swapped[2].equals(shapely.Point(8, 7))
    assert shapely.equals_exact(crs.swap_axes(swapped)[0], line)


@given(st.floats(120.2, 121.2), st.floats(27.5, 37.5), st.floats(0.2, 1.5))
def test_a_box_covers_every_point_that_lies_in_it(west, south, size):
    box = (west, south, west + size, south + size)
    outline = crs.transform_box("EPSG:4490", "EPSG:4549", box, points_per_edge=256)
    rng = np.random.default_rng(1)
    lon, lat = rng.uniform(box[0], box[2], 200), rng.uniform(box[1], box[3], 200)
    points = shapely.points(*crs.transform("EPSG:4490", "EPSG:4549", lon, lat))
    assert shapely.covers(outline.buffer(5.0), points).all()
    corners = shapely.box(
        *shapely.points(*crs.transform("EPSG:4490", "EPSG:4549", *np.array([(box[0], box[1]), (box[2], box[3])]).T))
        .tolist()[0]
        .bounds
    )
    assert outline.area > corners.area


def test_an_old_datum_reaches_wgs84_by_a_real_shift_that_is_named():
    """Amersfoort: the RD origin 155000, 463000 is published as 52.15517440 N, 5.38720621 E on Bessel, and lies at
    52.155172 N, 5.387204 E in ETRS89 (RDNAPTRANS), 100 m away from the same numbers on Bessel."""
    lon, lat = crs.transform("EPSG:28992", crs.WGS84, np.array([85_000.0]), np.array([446_700.0]))
    bessel_lon, bessel_lat = crs.transform("EPSG:28992", "EPSG:4289", np.array([85_000.0]), np.array([446_700.0]))
    shift = crs.CGCS2000_GEOD.inv(lon[0], lat[0], bessel_lon[0], bessel_lat[0])[2]
    assert 90 < shift < 130
    assert "allpark" not in crs.description("EPSG:28992", crs.WGS84)
    assert crs.accuracy_m("EPSG:28992", crs.WGS84) == pytest.approx(1.0, abs=1.0)


@pytest.mark.parametrize(
    ("code", "place", "expected"),
    [
        ("EPSG:4549", (121.0, 28.1), (119.1, 0.471, 1.000238)),
        ("EPSG:4549", (121.4, 37.5), (188.7, 0.852, 1.000377)),
        ("EPSG:4549", (120.0, 36.8), (0.0, 0.0, 1.0)),
        ("EPSG:4550", (121.7, 37.38), (163.2, -0.789, 1.000327)),
    ],
)
def test_scale_convergence_and_area_factor_are_the_published_ones(code, place, expected):
    ppm, convergence_deg, area = expected
    scale, convergence, areal = crs.scale_and_convergence(code, *place)
    assert (scale - 1) * 1e6 == pytest.approx(ppm, abs=0.06)
    assert convergence == pytest.approx(convergence_deg, abs=6e-4)
    assert areal == pytest.approx(area, abs=6e-7)


def test_a_local_grid_as_proj_string_or_wkt():
    text = "+proj=tmerc +lat_0=0 +lon_0=121 +k=1 +x_0=50000 +y_0=-3000000 +a=6378137 +rf=298.257222101"
    for spelling in (text, crs.parse(text).to_wkt("WKT2_2019"), crs.name(text)):
        x, y = crs.transform("EPSG:4490", spelling, np.array([121.0]), np.array([28.1]))
        assert float(x[0]) == pytest.approx(50000.0, abs=1e-3)
        assert float(y[0]) == pytest.approx(109523.773, abs=1e-3)


def test_the_box_of_a_lone_point_has_a_place():
    """GEOS refuses to densify a ring of one point, which is the extent of a layer with one point."""
    west, south, east, north = crs.transform_bounds(crs.CRS84, "EPSG:4549", (121.0, 28.1, 121.0, 28.1))
    there = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:4549", always_xy=True).transform(121.0, 28.1)
    assert (west, south) == (east, north) == pytest.approx(there, abs=1e-4)
