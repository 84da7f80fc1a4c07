"""Quantized mesh, decoded by another reader and by one written here from the specification."""

import struct

import numpy as np
import pytest
from egm96 import undulation

from layers.errors import NotFound
from layers.frame import CityFrame, geodetic_to_ecef
from layers.heights import Constant, Egm96
from tests.tiles.towns import MemoryCity, MemoryStore, layer_type
from tiles import quantized_mesh
from tiles.terrain import GRID, TerrainTiles

BOUNDS = (120.98, 28.08, 121.02, 28.12)


class Hills:
    """A ground that is a formula, with a hole, a nodata edge in the north, and 5 m cells."""

    is_empty = False
    lonlat_bounds = BOUNDS
    cell_m = 5.0

    def heights_lonlat(self, lon_deg, lat_deg):
        assert (np.asarray(lon_deg) >= BOUNDS[0]).all()
        heights = 50 + 40 * np.sin(lon_deg * 500) * np.cos(lat_deg * 400)
        gone = (np.hypot(lon_deg - 121, lat_deg - 28.1) < 0.002) | (lat_deg > 28.118)
        return np.where(gone, np.nan, heights)


class Nothing:
    is_empty = True
    lonlat_bounds = None
    cell_m = None


def terrain(ground=None, model=None):
    frame = CityFrame("EPSG:4549", model or Egm96(), 121.0, 28.1)
    return TerrainTiles(MemoryCity(MemoryStore(layer_type(), np.zeros((0, 6))), terrain=ground or Hills(), frame=frame))


def decode(data):
    """quantized-mesh 1.0 by its specification, one value after the other."""
    at = 88
    header = struct.unpack_from("<3d2f4d3d", data)
    (count,) = struct.unpack_from("<I", data, at)
    coded = np.frombuffer(data, "<u2", 3 * count, at + 4).reshape(3, count).astype(int)
    u, v, h = ((coded >> 1) ^ -(coded & 1)).cumsum(axis=1)
    at += 4 + 6 * count
    dtype, width = ("<u4", 4) if count > 65536 else ("<u2", 2)
    at += -at % width
    (triangles,) = struct.unpack_from("<I", data, at)
    codes = np.frombuffer(data, dtype, 3 * triangles, at + 4)
    at += 4 + 3 * triangles * width
    highest, indices = 0, []
    for code in codes.tolist():
        assert 0 <= code <= highest
        indices.append(highest - code)
        highest += code == 0
    edges = []
    for _ in range(4):
        (n,) = struct.unpack_from("<I", data, at)
        edges.append(np.frombuffer(data, dtype, n, at + 4).astype(int))
        at += 4 + n * width
    extensions = {}
    while at < len(data):
        number, length = struct.unpack_from("<BI", data, at)
        extensions[number] = data[at + 5 : at + 5 + length]
        at += 5 + length
    assert at == len(data)
    heights = header[3] + (header[4] - header[3]) * h / 32767
    return {
        "header": header, "u": u, "v": v, "h": heights, "edges": edges, "extensions": extensions,
        "triangles": np.array(indices).reshape(-1, 3),
    }  # fmt: skip


def bounds(z, x, y):
    side = 180 / 2**z
    return x * side - 180, y * side - 90, (x + 1) * side - 180, (y + 1) * side - 90


def places(tile, z, x, y):
    west, south, east, north = bounds(z, x, y)
    return west + (east - west) * tile["u"] / 32767, south + (north - south) * tile["v"] / 32767


def at(z, lon=121.005, lat=28.105):
    return z, int((lon + 180) * 2**z / 180), int((lat + 90) * 2**z / 180)


def test_another_reader_sees_the_same_mesh(tmp_path):
    foreign = pytest.importorskip("quantized_mesh_tile", reason="pip install quantized-mesh-tile")
    address = at(15)
    data = terrain().tile(*address, normals=True)
    (tmp_path / "tile.terrain").write_bytes(data)
    read = foreign.decode(str(tmp_path / "tile.terrain"), list(bounds(*address)), hasLighting=True)
    own = decode(data)
    np.testing.assert_array_equal(read.u, own["u"])
    np.testing.assert_array_equal(read.v, own["v"])
    np.testing.assert_array_equal(np.array(read.indices).reshape(-1, 3), own["triangles"])
    for name, mine in zip(("westI", "southI", "eastI", "northI"), own["edges"], strict=True):
        assert sorted(getattr(read, name)) == sorted(mine)
    heights = np.array([c[2] for c in read.getVerticesCoordinates()])
    np.testing.assert_allclose(heights, own["h"], atol=1e-3)
    assert len(read.vLight) == GRID**2


@pytest.mark.parametrize("z", [12, 14, 16])
def test_heights_are_the_ground_plus_egm96(z):
    address = at(z)
    tile = decode(terrain().tile(*address))
    lon, lat = places(tile, *address)
    inside = (lon >= BOUNDS[0]) & (lon <= BOUNDS[2]) & (lat >= BOUNDS[1]) & (lat <= BOUNDS[3])
    ground = np.full(len(lon), np.nan)
    ground[inside] = Hills().heights_lonlat(lon[inside], lat[inside])
    known = ~np.isnan(ground)
    assert known.sum() > 5
    step = (tile["header"][4] - tile["header"][3]) / 32767
    wrong = tile["h"][known] - ground[known] - undulation(lat[known], lon[known])
    assert np.abs(wrong).max() <= step / 2 + 1e-5


@pytest.mark.parametrize("model", [Egm96(), Constant(12.5)])
@pytest.mark.parametrize("z", [1, 6, 11, 13, 16])
def test_neighbours_agree_along_their_edge(z, model):
    made = terrain(model=model)
    (there,) = made.layer_json()["available"][z]
    x, y = there["startX"], there["startY"]
    if z > 8:
        _, x, y = at(z)
    here = decode(made.tile(z, x, y))
    step = (here["header"][4] - here["header"][3]) / 32767
    for dx, dy, mine, theirs in ((1, 0, 2, 0), (0, 1, 3, 1)):
        if x + dx > there["endX"] or y + dy > there["endY"]:
            continue
        other = decode(made.tile(z, x + dx, y + dy))
        a, b = here["edges"][mine], other["edges"][theirs]
        np.testing.assert_array_equal(here["v" if dx else "u"][a], other["v" if dx else "u"][b])
        steps = step + (other["header"][4] - other["header"][3]) / 32767
        assert np.abs(here["h"][a] - other["h"][b]).max() <= steps / 2 + 1e-5


def test_the_shared_edge_is_sampled_at_the_very_same_places():
    asked = []

    class Listening(Hills):
        def heights_lonlat(self, lon_deg, lat_deg):
            asked.append((lon_deg, lat_deg))
            return super().heights_lonlat(lon_deg, lat_deg)

    made = terrain(Listening())
    z, x, y = at(16, 121.01, 28.09)
    made.tile(z, x, y)
    asked.clear()
    made.tile(z, x, y)
    made.tile(z, x + 1, y)
    (lon, _), (next_lon, _) = asked
    assert lon.max() == next_lon.min()  # bit by bit


def test_triangles_cover_the_tile_once_and_look_up():
    tile = decode(terrain().tile(*at(14)))
    u, v = tile["u"][tile["triangles"]], tile["v"][tile["triangles"]]
    areas = ((u[:, 1] - u[:, 0]) * (v[:, 2] - v[:, 0]) - (u[:, 2] - u[:, 0]) * (v[:, 1] - v[:, 0])) / 2
    assert (areas > 0).all()
    assert areas.sum() == 32767**2
    for edge, (axis, value) in zip(tile["edges"], (("u", 0), ("v", 0), ("u", 32767), ("v", 32767)), strict=True):
        assert set(tile[axis][edge]) == {value}
        assert len(set(edge)) == GRID


def test_vertices_are_numbered_in_order_of_first_use():
    triangles = decode(terrain().tile(*at(14)))["triangles"].ravel()
    _, first = np.unique(triangles, return_index=True)
    assert (np.diff(first) > 0).all()


def test_a_large_grid_has_aligned_32_bit_indices():
    n = 301
    tile = decode(quantized_mesh.encode(np.linspace(10, 11, n), np.linspace(20, 21, n), np.zeros((n, n))))
    assert len(tile["u"]) == n * n
    assert len(tile["triangles"]) == 2 * (n - 1) ** 2


def test_sphere_holds_all_vertices_and_the_centre_is_in_it():
    for address in ((0, 1, 0), at(9), at(16)):
        tile = decode(terrain().tile(*address))
        points = geodetic_to_ecef(*places(tile, *address), tile["h"])
        centre, radius = np.array(tile["header"][5:8]), tile["header"][8]
        assert np.linalg.norm(points - centre, axis=1).max() <= radius * (1 + 1e-5)
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


def test_normals_only_on_request_and_as_the_slope_says():
    class Ramp(Hills):
        def heights_lonlat(self, lon_deg, lat_deg):
            return (np.asarray(lon_deg) - 120.98) * 111320 * np.cos(np.radians(28.1)) * 0.5  # 50 % up to the east

    made = terrain(Ramp(), Constant(0.0))
    address = at(16)
    assert decode(made.tile(*address))["extensions"] == {}
    tile = decode(made.tile(*address, normals=True))
    coded = np.frombuffer(tile["extensions"][1], np.uint8).reshape(-1, 2) / 255 * 2 - 1
    z = 1 - np.abs(coded).sum(axis=1)
    fold = np.clip(-z, 0, 1)[:, None]
    normals = np.column_stack([coded - np.where(coded < 0, -1, 1) * fold, z])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    lon, lat = (np.radians(value) for value in places(tile, *address))
    up = np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.column_stack([-np.sin(lon), np.cos(lon), np.zeros(len(lon))])
    expected = (up - 0.5 * east) / np.sqrt(1.25)
    assert np.degrees(np.arccos(np.clip((normals * expected).sum(axis=1), -1, 1))).max() < 1.2


def test_holes_are_filled_and_the_apron_fades_to_sea_level():
    made = terrain()
    lon, lat = np.array([121.0, 121.0, 121.5, 121.0]), np.array([28.1, 28.119, 28.1, -60.0])
    heights = made.heights(lon, lat) - undulation(lat, lon)
    assert 10 <= heights[0] <= 90
    assert 10 <= heights[1] <= 90
    np.testing.assert_allclose(heights[2:], 0, atol=1e-9)
    path = np.linspace(121.02, 121.06, 200)
    along = made.heights(path, np.full(200, 28.1)) - undulation(np.full(200, 28.1), path)
    assert np.abs(np.diff(along)).max() < 3


def test_a_change_of_another_layer_does_not_prepare_the_apron_again():
    calls = []

    class Counting(Hills):
        def heights_lonlat(self, lon_deg, lat_deg):
            calls.append(len(lon_deg))
            return super().heights_lonlat(lon_deg, lat_deg)

    first = terrain(Counting())
    first.heights(np.array([121.01]), np.array([28.1]))
    assert calls[0] > 1
    calls.clear()
    first.city.terrain = Counting()
    TerrainTiles(first.city).heights(np.array([121.01]), np.array([28.1]))
    assert calls == [1]


def test_a_constant_height_model_holds_in_the_city_and_fades_into_egm96():
    made = terrain(model=Constant(99.0))
    lon, lat = np.array([121.01, 100.0]), np.array([28.1, 10.0])
    ground = Hills().heights_lonlat(lon[:1], lat[:1])[0]
    np.testing.assert_allclose(made.heights(lon, lat), [ground + 99.0, undulation(10.0, 100.0)], atol=1e-9)


def test_layer_json_suits_both_readers():
    document = terrain().layer_json()
    assert document["format"] == "quantized-mesh-1.0"
    assert (document["scheme"], document["projection"]) == ("tms", "EPSG:4326")
    assert isinstance(document["version"], str)
    assert "{version}" in document["tiles"][0]
    assert "metadataAvailability" not in document
    assert len(document["available"]) == document["maxzoom"] + 1
    assert document["available"][0] == [{"startX": 0, "startY": 0, "endX": 1, "endY": 0}]
    # 5 m cells: 64 intervals of at most 5 m across a tile
    assert 180 / 2 ** document["maxzoom"] / 64 * 111320 <= 5 < 180 / 2 ** (document["maxzoom"] - 1) / 64 * 111320


def test_available_comes_in_fours_and_covers_the_rasters():
    available = terrain().layer_json()["available"]
    for z in range(1, len(available)):
        (here,), (above,) = available[z], available[z - 1]
        assert here["startX"] % 2 == 0 == here["startY"] % 2
        assert here["endX"] % 2 == 1 == here["endY"] % 2
        assert above["startX"] <= here["startX"] // 2
        assert here["endX"] // 2 <= above["endX"]
        assert bounds(z, here["startX"], here["startY"])[0] <= BOUNDS[0]
        assert bounds(z, here["startX"], here["startY"])[1] <= BOUNDS[1]
        assert bounds(z, here["endX"], here["endY"])[2] >= BOUNDS[2]
        assert bounds(z, here["endX"], here["endY"])[3] >= BOUNDS[3]


def test_every_corner_of_what_is_available_is_there_and_nothing_else():
    made = terrain()
    for z, (there,) in enumerate(made.layer_json()["available"]):
        for x, y in ((there["startX"], there["startY"]), (there["endX"], there["endY"])):
            assert len(decode(made.tile(z, x, y))["u"]) == GRID**2
        with pytest.raises(NotFound):
            made.tile(z, there["endX"] + 1, there["startY"])
    with pytest.raises(NotFound):
        made.tile(made.max_zoom + 1, 0, 0)


def test_without_rasters_the_earth_is_still_there():
    made = terrain(Nothing())
    assert made.layer_json()["maxzoom"] == 0
    tile = decode(made.tile(0, 1, 0))
    lon, lat = places(tile, 0, 1, 0)
    step = (tile["header"][4] - tile["header"][3]) / 32767
    assert np.abs(tile["h"] - undulation(lat, lon)).max() <= step / 2 + 1e-4
