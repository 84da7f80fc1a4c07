"""Quantized mesh of a ground that is a formula, decoded by another reader and by one written from the specification."""

import json
import struct
from itertools import pairwise

import numpy as np
import pytest
from egm96 import undulation
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput, NotFound
from layers.frame import CityFrame, geodetic_to_ecef
from layers.heights import Constant, Egm96
from tests.tiles.quantized_reader import at, bounds, decode, lattice_places, on_lattice, places
from tests.tiles.towns import MemoryCity, MemoryStore, layer_type
from tiles import quantized_mesh, rtin
from tiles.terrain import METADATA, NORMALS, TerrainTiles
from twin.terrain import TerrainFacts

BOUNDS = (120.98, 28.08, 121.02, 28.12)


class Hills:
    """A ground that is a formula, with 5 m cells; NaN outside its bounds."""

    is_empty = False
    lonlat_bounds = BOUNDS
    facts = TerrainFacts(10.0, 90.0, 1, 1_000_000, 0, 0, 0.0)
    extents = ((BOUNDS, 5.0),)

    def ground(self, lon, lat):
        return 50 + 40 * np.sin(lon * 500) * np.cos(lat * 400)

    def filled_lonlat(self, lon_deg, lat_deg, cell_m=None):
        west, south, east, north = self.lonlat_bounds
        inside = (lon_deg >= west) & (lon_deg <= east) & (lat_deg >= south) & (lat_deg <= north)
        return np.where(inside, self.ground(lon_deg, lat_deg), np.nan)

    def lattice(self, level, columns, rows):
        unit = 180 / (64 << level)
        return self.filled_lonlat(*np.meshgrid(columns * unit - 180, rows * unit - 90))


class Nothing:
    is_empty = True
    lonlat_bounds = None
    extents = ()
    facts = TerrainFacts(0.0, 0.0, 0, 0, 0, 0, 0.0)

    def filled_lonlat(self, lon_deg, lat_deg, cell_m=None):
        return np.full(len(lon_deg), np.nan)

    def lattice(self, level, columns, rows):
        return np.full((len(rows), len(columns)), np.nan)


def terrain(ground=None, model=None):
    frame = CityFrame("EPSG:4549", model or Egm96(), 121.0, 28.1)
    return TerrainTiles(MemoryCity(MemoryStore(layer_type(), np.zeros((0, 6))), terrain=ground or Hills(), frame=frame))


def test_another_reader_sees_the_same_mesh(tmp_path):
    foreign = pytest.importorskip("quantized_mesh_tile", reason="pip install quantized-mesh-tile")
    address = at(15)
    data = terrain().tile(*address, (NORMALS,))
    (tmp_path / "tile.terrain").write_bytes(data)
    read = foreign.decode(str(tmp_path / "tile.terrain"), list(bounds(*address)), hasLighting=True)
    own = decode(data)
    np.testing.assert_array_equal(read.u, own["u"])
    np.testing.assert_array_equal(read.v, own["v"])
    np.testing.assert_array_equal(np.array(read.indices).reshape(-1, 3), own["triangles"])
    for name, mine in zip(("westI", "southI", "eastI", "northI"), own["edges"], strict=True):
        assert getattr(read, name) == mine.tolist()
    heights = np.array([c[2] for c in read.getVerticesCoordinates()])
    np.testing.assert_allclose(heights, own["h"], atol=1e-9)
    assert len(read.vLight) == len(own["u"])


@pytest.mark.parametrize("z", [8, 12, 14, 15])
def test_the_surface_is_the_ground_plus_egm96_within_the_stated_error(z):
    made = terrain()
    address = at(z)
    tile = decode(made.tile(*address))
    lon, lat = lattice_places(*address)
    ground = Hills().filled_lonlat(lon, lat)
    known = ~np.isnan(ground)
    stated = made.layer_json()["extras"]["geometric_error_m"][z]
    wrong = (on_lattice(tile) - ground - undulation(lat, lon))[known]
    assert known.any()
    assert np.abs(wrong).max() <= stated + 1e-9


def test_the_error_halves_per_level_and_is_a_decimetre_at_the_last():
    stated = terrain().layer_json()["extras"]["geometric_error_m"]
    assert stated[-1] == 0.1
    assert all(a == 2 * b for a, b in pairwise(stated))


def test_vertices_are_within_half_a_step_of_the_ground():
    made = terrain()
    address = made.max_zoom, *at(made.max_zoom)[1:]
    tile = decode(made.tile(*address))
    column, row = (np.rint(tile[name] * 64 / 32767).astype(int) for name in "uv")
    lon, lat = (grid[row, column] for grid in lattice_places(*address))
    wrong = np.abs(tile["h"] - Hills().ground(lon, lat) - undulation(lat, lon))
    border = (column % 64 == 0) | (row % 64 == 0)
    step = (tile["header"][4] - tile["header"][3]) / 32767
    assert wrong[~border].max() <= step / 2 + 1e-9
    assert wrong[border].max() <= made.layer_json()["extras"]["edge_step_m"] / 2 + 1e-9
    assert np.log2(step) % 1 == 0
    assert np.abs(np.array([column, row]) * 32767 / 64 - [tile["u"], tile["v"]]).max() <= 0.5


def test_flat_ground_needs_few_triangles_and_rough_ground_many():
    class Flat(Hills):
        def ground(self, lon, lat):
            return 50 + 0 * lon

    class Rough(Hills):
        facts = TerrainFacts(-1000.0, 1000.0, 1, 1, 0, 0, 0.0)

        def ground(self, lon, lat):
            return 500 * np.sin(lon * 9e6) * np.cos(lat * 8e6)

    address = at(15)
    assert len(decode(terrain(Flat()).tile(*address))["triangles"]) < 1000
    assert len(decode(terrain(Rough()).tile(*address))["triangles"]) > 8000


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), rough=st.floats(0, 3), error=st.floats(0.01, 5), k=st.integers(1, 6))
def test_triangles_cover_the_square_once_keep_the_error_and_have_no_gaps(seed, rough, error, k):
    n = 2**k + 1
    y, x = np.mgrid[0:n, 0:n] / n
    draw = np.random.default_rng(seed)
    heights = draw.normal(0, rough, (n, n)) * (draw.random((n, n)) < 0.1) + 5 * x * y
    found = rtin.triangulate(heights, error)
    row, column = found // n, found % n
    twice = (column[:, 1] - column[:, 0]) * (row[:, 2] - row[:, 0])
    twice = twice - (column[:, 2] - column[:, 0]) * (row[:, 1] - row[:, 0])
    assert (twice > 0).all()
    assert twice.sum() == 2 * (n - 1) ** 2
    sides = np.sort(np.concatenate([found[:, [0, 1]], found[:, [1, 2]], found[:, [2, 0]]]), axis=1)
    _, uses = np.unique(sides, axis=0, return_counts=True)
    assert uses.max() <= 2
    assert (uses == 1).sum() == 4 * (n - 1)  # all of the border and nothing else
    for corners in found:
        r, c = corners // n, corners % n
        rows, columns = np.mgrid[r.min() : r.max() + 1, c.min() : c.max() + 1]
        system = np.array([[1, 1, 1], r, c], float)
        weights = np.linalg.solve(system, np.stack([np.ones(rows.size), rows.ravel(), columns.ravel()]))
        inside = (weights > -1e-9).all(axis=0)
        plane = weights[:, inside].T @ heights.ravel()[corners]
        there = heights[rows.ravel()[inside], columns.ravel()[inside]]
        assert np.abs(plane - there).max() <= error + 1e-9


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), base=st.floats(-400, 8000), relief=st.floats(0, 500), exponent=st.integers(-8, -1)
)
def test_rounding_is_exact_in_float32_and_float64_and_off_by_half_a_step(seed, base, relief, exponent):
    edge = max(2.0**exponent, quantized_mesh.power_of_two_step(relief + 1))
    heights = base + np.random.default_rng(seed).uniform(0, relief, (65, 65))
    found = quantized_mesh.quantise(heights, edge)
    low, high = np.float32(found.low_m), np.float32(found.low_m + 32767 * found.step_m)
    assert (float(low), float(high)) == (found.low_m, found.low_m + 32767 * found.step_m)
    assert (found.steps >= 0).all()
    assert (found.steps <= 32767).all()
    decoded = float(low) + found.steps / 32767 * (float(high) - float(low))
    np.testing.assert_array_equal(decoded, found.heights_m)
    border = np.ones((65, 65), bool)
    border[1:-1, 1:-1] = False
    assert np.abs(decoded - heights)[~border].max() <= found.step_m / 2
    np.testing.assert_array_equal(decoded[border], np.rint(heights[border] / edge) * edge)


def test_heights_that_do_not_fit_are_refused():
    heights = np.zeros((65, 65))
    heights[3, 3] = 1000.0
    with pytest.raises(InvalidInput, match="do not go into steps"):
        quantized_mesh.quantise(heights, 2.0**-10)


def test_triangles_cover_the_tile_once_and_look_up():
    tile = decode(terrain().tile(*at(14)))
    u, v = tile["u"][tile["triangles"]], tile["v"][tile["triangles"]]
    areas = ((u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (u[:, 2] - u[:, 0]) * (v[:, 1] - v[:, 0])) / 2
    assert (areas > 0).all()
    assert areas.sum() == 32767**2
    for edge, (axis, value) in zip(tile["edges"], (("u", 0), ("v", 0), ("u", 32767), ("v", 32767)), strict=True):
        assert set(tile[axis][edge]) == {value}
        assert (np.diff(tile["v" if axis == "u" else "u"][edge]) > 0).all()  # in order of place
        assert len(edge) == (tile[axis] == value).sum()


def test_vertices_are_numbered_in_order_of_first_use():
    triangles = decode(terrain().tile(*at(14)))["triangles"].ravel()
    used, first = np.unique(triangles, return_index=True)
    assert (np.diff(first) > 0).all()
    assert used.tolist() == list(range(len(used)))


def test_a_large_mesh_has_aligned_32_bit_indices():
    n = 257
    heights = np.random.default_rng(0).uniform(0, 100, (n, n))
    row, column = (grid.ravel() for grid in np.mgrid[: n - 1, : n - 1])
    corner = row * n + column
    halves = np.concatenate(
        [np.column_stack([corner, corner + 1, corner + n]), np.column_stack([corner + 1, corner + n + 1, corner + n])]
    )
    tile = decode(quantized_mesh.encode((10, 20, 11, 21), quantized_mesh.quantise(heights, 2.0**-7), halves))
    assert len(tile["u"]) == n * n > 65536
    assert len(tile["triangles"]) == 2 * (n - 1) ** 2


def test_sphere_holds_all_vertices_and_the_centre_is_in_it():
    for address in ((0, 1, 0), at(9), at(15)):
        tile = decode(terrain().tile(*address))
        points = geodetic_to_ecef(*places(tile, *address), tile["h"])
        centre, radius = np.array(tile["header"][5:8]), tile["header"][8]
        assert np.linalg.norm(points - centre, axis=1).max() <= radius * (1 + 1e-9)
        assert np.linalg.norm(np.array(tile["header"][:3]) - centre) <= radius


def test_no_point_is_hidden_while_its_horizon_point_is_seen():
    """Cameras all round the Earth: where the tile is hidden, so is the line to each vertex."""
    radii = np.array([6378137.0, 6378137.0, 6356752.314245179])
    rng = np.random.default_rng(0)
    for address in (at(3), at(7), at(12)):
        tile = decode(terrain().tile(*address))
        horizon = np.array(tile["header"][9:])
        points = geodetic_to_ecef(*places(tile, *address), tile["h"]) / radii
        hidden = 0
        for camera in rng.normal(size=(300, 3)):
            eye = camera / np.linalg.norm(camera) * rng.uniform(1.01, 4)
            if not _occluded(eye, horizon[None])[0]:
                continue
            hidden += 1
            # the sphere is shrunk by 1 mm, so that points exactly on the ground do not decide
            assert _occluded(eye * (1 + 2e-10), points / (1 + 1e-4))[points @ eye < 0].all()
        assert hidden > 50


def _occluded(eye, points):
    """Is the unit sphere between the eye and the points? By the distance of the line from the centre."""
    to = points - eye
    along = -(to @ eye) / (to * to).sum(axis=1)
    nearest = eye + np.clip(along, 0, 1)[:, None] * to
    return (np.linalg.norm(nearest, axis=1) < 1) & (along < 1)


def test_the_horizon_point_agrees_with_another_implementation():
    foreign = pytest.importorskip(
        "quantized_mesh_tile.horizon_occlusion_point", reason="pip install quantized-mesh-tile"
    )
    from quantized_mesh_tile.bbsphere import BoundingSphere

    for address in (at(10), at(15)):
        tile = decode(terrain().tile(*address))
        points = geodetic_to_ecef(*places(tile, *address), tile["h"])
        sphere = BoundingSphere()
        sphere.center, sphere.radius = list(tile["header"][5:8]), tile["header"][8]
        other = foreign.fromPoints(points.tolist(), sphere)
        np.testing.assert_allclose(tile["header"][9:], other, rtol=1e-6)


@pytest.mark.parametrize(("to_east", "to_north"), [(0.5, 0.0), (0.0, -0.3), (0.2, 0.4)])
def test_normals_only_on_request_and_as_the_slope_says(to_east, to_north):
    class Ramp(Hills):
        facts = TerrainFacts(-3000.0, 3000.0, 1, 1, 0, 0, 0.0)

        def ground(self, lon, lat):
            east = (np.asarray(lon) - 120.98) * 111320 * np.cos(np.radians(28.1))
            return east * to_east + (np.asarray(lat) - 28.08) * 110_800 * to_north

    made = terrain(Ramp(), Constant(0.0))
    address = at(15)
    assert decode(made.tile(*address))["extensions"] == {}
    tile = decode(made.tile(*address, (NORMALS,)))
    assert set(tile["extensions"]) == {1}
    coded = np.frombuffer(tile["extensions"][1], np.uint8).reshape(-1, 2) / 255 * 2 - 1
    assert len(coded) == len(tile["u"])
    z = 1 - np.abs(coded).sum(axis=1)
    fold = np.clip(-z, 0, 1)[:, None]
    normals = np.column_stack([coded - np.where(coded < 0, -1, 1) * fold, z])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    lon, lat = (np.radians(value) for value in places(tile, *address))
    up = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.column_stack([-np.sin(lon), np.cos(lon), np.zeros(len(lon))])
    expected = up - to_east * east - to_north * np.cross(up, east)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.degrees(np.arccos(np.clip((normals * expected).sum(axis=1), -1, 1))).max() < 1.2


def test_metadata_only_on_request_and_lists_exactly_the_tiles_below():
    made = terrain()
    available = made.layer_json()["available"]
    for address in ((0, 1, 0), at(8), at(12), at(14)):
        z, x, y = address
        body = decode(made.tile(*address, (METADATA, NORMALS)))["extensions"][4]
        (length,) = struct.unpack_from("<I", body)
        assert length == len(body) - 4
        below = json.loads(body[4:])["available"]
        for level, ranges in enumerate(available[z + 1 :], start=z + 1):
            shift = level - z
            for each in ranges:
                listed = [
                    other for other in (below[level - z - 1] if level - z <= len(below) else [])
                    if other["startX"] >= each["startX"] and other["endX"] <= each["endX"]
                ]  # fmt: skip
                x0, x1 = max(each["startX"], x << shift), min(each["endX"], ((x + 1) << shift) - 1)
                y0, y1 = max(each["startY"], y << shift), min(each["endY"], ((y + 1) << shift) - 1)
                expected = [{"startX": x0, "startY": y0, "endX": x1, "endY": y1}] if x0 <= x1 and y0 <= y1 else []
                assert listed == expected


def test_the_apron_fades_to_sea_level():
    made = terrain()
    lon, lat = np.array([121.5, 121.0]), np.array([28.1, -60.0])
    np.testing.assert_allclose(made.heights(lon, lat) - undulation(lat, lon), 0, atol=1e-9)
    path = np.linspace(121.02, 121.06, 200)
    along = made.heights(path, np.full(200, 28.1)) - undulation(np.full(200, 28.1), path)
    assert np.abs(np.diff(along)).max() < 3
    assert abs(along[-1]) < abs(along[5])


def test_a_change_of_another_layer_does_not_prepare_the_apron_again():
    calls = []

    class Counting(Hills):
        def filled_lonlat(self, lon_deg, lat_deg, cell_m=None):
            calls.append(len(lon_deg))
            return super().filled_lonlat(lon_deg, lat_deg, cell_m)

    first = terrain(Counting())
    first.heights(np.array([121.01]), np.array([28.1]))
    assert max(calls) > 1
    calls.clear()
    first.city.terrain = Counting()
    TerrainTiles(first.city).heights(np.array([121.01]), np.array([28.1]))
    assert calls == [1]


def test_a_constant_height_model_holds_in_the_city_and_fades_into_egm96():
    made = terrain(model=Constant(99.0))
    lon, lat = np.array([121.01, 100.0]), np.array([28.1, 10.0])
    ground = Hills().ground(lon[:1], lat[:1])[0]
    np.testing.assert_allclose(made.heights(lon, lat), [ground + 99.0, undulation(10.0, 100.0)], atol=1e-9)


def test_layer_json_suits_both_readers():
    document = terrain().layer_json()
    assert document["format"] == "quantized-mesh-1.0"
    assert (document["scheme"], document["projection"]) == ("tms", "EPSG:4326")
    assert isinstance(document["version"], str)
    assert "{version}" in document["tiles"][0]
    assert "metadataAvailability" not in document
    # CesiumJS would ask for `metadata` and then fail on each tile that has it, without metadataAvailability
    assert document["extensions"] == ["octvertexnormals"]
    assert len(document["available"]) == document["maxzoom"] + 1
    assert document["available"][0] == [{"startX": 0, "startY": 0, "endX": 1, "endY": 0}]
    # 5 m cells: 64 intervals of at most 5 m across a tile
    assert 180 / 2 ** document["maxzoom"] / 64 * 111320 <= 5 < 180 / 2 ** (document["maxzoom"] - 1) / 64 * 111320


def test_every_corner_of_what_is_available_is_there_and_nothing_else():
    made = terrain()
    for z, (there,) in enumerate(made.layer_json()["available"]):
        for x, y in ((there["startX"], there["startY"]), (there["endX"], there["endY"])):
            assert len(decode(made.tile(z, x, y))["u"]) >= 4 * 64
        with pytest.raises(NotFound):
            made.tile(z, there["endX"] + 1, there["startY"])
    with pytest.raises(NotFound):
        made.tile(made.max_zoom + 1, 0, 0)
    with pytest.raises(NotFound):
        made.tile(-1, 0, 0)


def test_without_rasters_the_earth_is_still_there():
    made = terrain(Nothing())
    assert made.layer_json()["maxzoom"] == 0
    for x in (0, 1):
        tile = decode(made.tile(0, x, 0))
        lon, lat = lattice_places(0, x, 0)
        assert np.abs(on_lattice(tile) - undulation(lat, lon)).max() <= 0.1 + 1e-9
