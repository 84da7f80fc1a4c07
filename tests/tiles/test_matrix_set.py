"""Grids against morecantile, which reads our documents itself, and against the rules of OGC 17-083r4."""

import json

import morecantile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers import crs
from layers.errors import NotFound
from tiles import matrix_set

CITY = "EPSG:4549"
ALL = [*matrix_set.ids(CITY), "EPSG4525Quad", "EPSG32651Quad"]
CITY_OF = {"EPSG4525Quad": "EPSG:4525", "EPSG32651Quad": "EPSG:32651"}


def the(set_id):
    return matrix_set.get(set_id, CITY_OF.get(set_id, CITY))


def foreign(set_id):
    """Our JSON document as morecantile understands it: axis order and all."""
    return morecantile.TileMatrixSet.model_validate(json.loads(json.dumps(the(set_id).document())))


@st.composite
def tiles(draw):
    set_id = draw(st.sampled_from(ALL))
    z = draw(st.integers(0, 24))
    columns, rows = the(set_id).size(z)
    return set_id, z, draw(st.integers(0, columns - 1)), draw(st.integers(0, rows - 1))


@given(tiles())
@settings(max_examples=150, deadline=None)
def test_bounds_are_those_that_morecantile_reads_from_the_document(tile):
    set_id, z, x, y = tile
    np.testing.assert_allclose(
        the(set_id).bounds(z, x, y), foreign(set_id).xy_bounds(x, y, z), rtol=1e-12, atol=the(set_id).cell_size(z) / 100
    )


@pytest.mark.parametrize("set_id", ["WebMercatorQuad", "WorldCRS84Quad"])
def test_the_known_sets_are_those_of_the_registry(set_id):
    known, ours = morecantile.tms.get(set_id), the(set_id).document()
    assert ours["uri"] == str(known.uri)
    assert ours["crs"] == known.crs.model_dump(mode="json")
    assert ours["wellKnownScaleSet"] == str(known.wellKnownScaleSet)
    assert ours["orderedAxes"] == known.orderedAxes
    for each, their in zip(ours["tileMatrices"], known.tileMatrices, strict=False):
        assert each["id"] == their.id
        assert each["scaleDenominator"] == pytest.approx(their.scaleDenominator, rel=1e-9)
        assert each["cellSize"] == pytest.approx(their.cellSize, rel=1e-12)
        assert tuple(each["pointOfOrigin"]) == their.pointOfOrigin
        assert (each["matrixWidth"], each["matrixHeight"]) == (their.matrixWidth, their.matrixHeight)


@given(tiles())
@settings(max_examples=100, deadline=None)
def test_children_cover_their_parent_and_neighbours_share_their_edge_to_the_bit(tile):
    set_id, z, x, y = tile
    grid = the(set_id)
    west, south, east, north = grid.bounds(z, x, y)
    assert east == grid.bounds(z, x + 1, y)[0]
    assert south == grid.bounds(z, x, y + 1)[3]
    children = [grid.bounds(z + 1, 2 * x + i, 2 * y + j) for i in (0, 1) for j in (0, 1)]
    lows, highs = np.min(children, axis=0)[:2], np.max(children, axis=0)[2:]
    np.testing.assert_allclose((west, south, east, north), (*lows, *highs), rtol=1e-14)
    inner = (
        west + (east - west) / 3,
        south + (north - south) / 3,
        east - (east - west) / 3,
        north - (north - south) / 3,
    )
    assert grid.cover(z, inner) == (x, y, x, y)


@pytest.mark.parametrize("set_id", ALL)
def test_a_document_keeps_the_rules_of_the_standard(set_id):
    document = the(set_id).document()
    north_first = crs.is_north_first(the(set_id).crs)
    assert document["orderedAxes"][0].upper() in ({"LAT", "N"} if north_first else {"LON", "X", "E"})
    metres = the(set_id).metres_per_unit
    for z, each in enumerate(document["tileMatrices"]):
        assert each["id"] == str(z)
        # 17-083r4, 6.1.1: scale denominator = cell size * metres per unit / 0.28 mm
        assert each["scaleDenominator"] * 0.00028 == pytest.approx(each["cellSize"] * metres, rel=1e-12)
        assert each["cornerOfOrigin"] == "topLeft"
        low, high = document["boundingBox"]["lowerLeft"], document["boundingBox"]["upperRight"]
        first, second = ("matrixHeight", "matrixWidth") if north_first else ("matrixWidth", "matrixHeight")
        spans = each["cellSize"] * 256 * np.array([each[first], each[second]])
        np.testing.assert_allclose(np.array(high) - low, spans, rtol=1e-12)
    if north_first:
        assert each["pointOfOrigin"] == [high[0], low[1]]
    else:
        assert each["pointOfOrigin"] == [low[0], high[1]]


def test_cgcs2000_is_the_grid_of_crs84_with_latitude_first():
    ours, theirs = the("CGCS2000Quad"), the("WorldCRS84Quad")
    assert ours.crs == "EPSG:4490"
    assert ours.document()["tileMatrices"][0]["pointOfOrigin"] == [90, -180]
    assert ours.bounds(5, 40, 9) == theirs.bounds(5, 40, 9)


def test_the_set_of_a_zone_has_metre_cells_and_holds_the_zone():
    plain, prefixed = the("EPSG4549Quad"), the("EPSG4525Quad")
    assert plain.cell_size(17) == 1.0
    assert plain.bounds(17, 0, 0)[0] == -(2.0**24)
    west, south, east, north = plain.bounds(0, 0, 0)
    x0, y0, x1, y1 = crs.transform_bounds(crs.CRS84, "EPSG:4549", crs.area_of_use("EPSG:4549"))
    assert west < x0 < x1 < east
    assert south < y0 < y1 < north
    # a zone number before the easting moves the grid by as much
    assert prefixed.bounds(17, 5, 7)[0] == plain.bounds(17, 5, 7)[0] + 37e6


def test_only_projected_crs_with_a_code_have_a_set():
    assert matrix_set.ids("EPSG:4490") == list(matrix_set.WORLD)
    assert matrix_set.ids("EPSG:4549+5737")[-1] == "EPSG4549Quad"
    assert matrix_set.ids("EPSG:3857")[-1] == "EPSG3857Quad"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ((25, 0, 0), "level 25"),
        ((-1, 0, 0), "level -1"),
        ((3, -1, 0), "column -1"),
        ((3, 8, 0), "column 8"),
        ((3, 0, 8), "row 8"),
    ],
)
def test_what_is_off_the_grid_is_named(address, said):
    with pytest.raises(NotFound, match=said):
        the("WebMercatorQuad").require(*address)


def test_an_unknown_set_is_answered_with_those_there_are():
    with pytest.raises(NotFound, match="WebMercatorQuad, WorldCRS84Quad, CGCS2000Quad, EPSG4549Quad"):
        matrix_set.get("EPSG4550Quad", CITY)


@given(st.floats(1e-6, 1e6), st.sampled_from(ALL))
def test_the_level_of_a_cell_size_is_the_first_that_is_as_fine(cell, set_id):
    grid = the(set_id)
    z = grid.level_of(cell)
    assert z == grid.max_zoom or grid.cell_size(z) <= cell * (1 + 1e-6)
    assert z == 0 or grid.cell_size(z - 1) > cell * (1 - 1e-6)
