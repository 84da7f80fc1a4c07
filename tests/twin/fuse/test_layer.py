"""One layer into the city: PROJ's own topocentric conversion, hand arithmetic for pipes, rasterio for the ground."""

import numpy as np
import pyarrow as pa
import pyproj
import pytest
import rasterio
import shapely
import trimesh
from rasterio.transform import from_origin

from layers import catalogue
from layers.catalogue import Attribute, LayerType, Title
from layers.certificate import Certificate
from layers.errors import Unplaceable
from layers.frame import CityFrame
from layers.heights import Constant
from layers.mesh import Mesh, decode
from layers.source import FeatureBatch, VectorLayer
from twin.fuse.layer import LayerFuser
from twin.fuse.notes import SINGLY, Notes
from twin.terrain import Terrain, TerrainRaster

CITY, LON, LAT, UNDULATION = "EPSG:4549", 121.0, 28.1, 11.5
E0, N0 = 598273.711, 3109927.739
READ = Certificate("file-crs", source_crs=CITY)


def frame():
    return CityFrame(CITY, Constant(UNDULATION), LON, LAT)


def kind(layer_id, solid, geometry, *names):
    text = {"z_ref", "estimated", "source", "access", "cim_category"}
    attributes = tuple(Attribute(name, "string" if name in text else "number", Title(name, name)) for name in names)
    return LayerType(layer_id, Title("层", "layer"), geometry, "base", (3,), attributes, solid=solid)


BUILDING = kind("building", "extrude", "MultiPolygon", "base_elev_m", "height_m", "floors", "estimated")
PIPE = kind(
    "pipe_water", "tube", "LineStringZ", "dn_mm", "od_mm", "width_mm", "height_mm", "z_ref", "start_elev_m",
    "end_elev_m", "start_depth_m", "end_depth_m",
)  # fmt: skip
ELEMENT = kind("bim_element", "given", "MultiPolygon", "base_elev_m", "top_elev_m")


def fuser(layer_type, *, crs=CITY, vertical_crs=None, terrain=None):
    layer = VectorLayer(layer_type.id, layer_type.id, crs, lambda: iter(()), vertical_crs=vertical_crs)
    ground = Terrain([], CITY) if terrain is None else terrain
    return LayerFuser(layer, layer_type, frame=frame(), city_vertical="EPSG:5737", terrain=ground, read=READ)


def batch(shapes, meshes=None, **columns):
    n = len(shapes)
    geometry = np.array(shapes, dtype=object) if n else np.zeros(0, object)
    return FeatureBatch([f"f{k}" for k in range(n)], geometry, pa.table(columns), [None] * n, meshes)


def column(rows, name):
    return rows.attributes.column(name).to_pylist()


def mesh_of(rows, i=0):
    return decode(rows.meshes[i].blob)


def codes(made):
    return sorted(issue.code for issue in made.issues())


def proj_enu(enh):
    """East, north, normal height -> ENU by PROJ: inverse projection, geocentric, topocentric."""
    steps = (
        "+proj=pipeline +step +inv +proj=tmerc +lat_0=0 +lon_0=120 +k=1 +x_0=500000 +y_0=0 +ellps=GRS80 "
        "+step +proj=cart +ellps=WGS84 "
        f"+step +proj=topocentric +ellps=WGS84 +lon_0={LON} +lat_0={LAT} +h_0=0"
    )
    e, n, h = np.asarray(enh, float).T
    return np.stack(pyproj.Transformer.from_pipeline(steps).transform(e, n, h + UNDULATION), axis=1)


@pytest.fixture
def slope(tmp_path):
    """Ground that rises 1 m for 10 m eastwards: 20 m at E0."""
    cells = 200
    x = np.arange(cells)[None, :] + 0.5
    values = np.repeat(20 + 0.1 * (x - 100), cells, axis=0).astype(np.float32)
    values[:20] = -9999
    path = tmp_path / "dem.tif"
    profile = {"driver": "GTiff", "height": cells, "width": cells, "count": 1, "dtype": "float32", "crs": CITY}
    profile |= {"transform": from_origin(E0 - 100, N0 + 100, 1, 1), "nodata": -9999}
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)
    return path


def ground(path):
    return Terrain([TerrainRaster(path, CITY)], CITY)


def box(width, depth, east=0.0, north=0.0):
    return shapely.multipolygons([shapely.box(E0 + east, N0 + north, E0 + east + width, N0 + north + depth)])


def test_a_building_stands_on_the_lowest_ground_under_it(slope):
    made = fuser(BUILDING, terrain=ground(slope))
    rows = made.fuse(batch([box(10, 6, east=5), box(4, 4, east=-30, north=-20)], height_m=[12.0, 3.0])).rows
    with rasterio.open(slope) as file:  # its own bilinear reading, at the lower corners
        corners = [file.index(E0 + 5, N0 + 1), file.index(E0 - 30, N0 - 20)]
        near = [float(file.read(1)[r, c]) for r, c in corners]
    assert column(rows, "base_elev_m") == pytest.approx([20.5, 17.0], abs=1e-4)
    assert column(rows, "base_elev_m") == pytest.approx(near, abs=0.051)
    assert made.used_terrain
    assert codes(made) == []
    mesh = mesh_of(rows)
    want = proj_enu([(E0 + 5, N0, 20.5), (E0 + 15, N0 + 6, 32.5)])
    assert np.abs(mesh.vertices - want[0]).max(axis=1).min() < 1e-4
    assert np.abs(mesh.vertices - want[1]).max(axis=1).min() < 1e-4
    # the projection stretches by 119.1 ppm here; at 38 m above the ellipsoid the ground is wider by 38 m / 6371 km
    stretch = (1 + 38 / 6.371e6) / (1 + 119.1e-6)
    assert mesh.volume_m3() == pytest.approx(10 * 6 * 12 * stretch**2, rel=2e-6)


def test_a_surveyed_base_is_kept_and_said_when_off_the_ground(slope):
    made = fuser(BUILDING, terrain=ground(slope))
    rows = made.fuse(batch([box(10, 6), box(10, 6, east=20)], height_m=[5.0, 5.0], base_elev_m=[18.0, 22.4])).rows
    assert column(rows, "base_elev_m") == [18.0, 22.4]
    [issue] = made.issues()
    assert (issue.code, issue.where, issue.severity) == ("BASE_OFF_TERRAIN", "f0", "info")
    assert "2.00 m below" in issue.message


def test_height_from_storeys_is_marked_and_no_height_gives_a_plate_on_the_ground(slope):
    made = fuser(BUILDING, terrain=ground(slope))
    shapes = [box(5, 5), box(5, 5, east=10), box(5, 5, east=20), box(5, 5, east=30)]
    rows = made.fuse(batch(shapes, height_m=[None, None, -3.0, 9.0], floors=[4, None, 2, 3])).rows
    assert column(rows, "height_m") == [12.0, None, 6.0, 9.0]
    assert column(rows, "estimated") == ["height_m", None, "height_m", None]
    tall = [mesh.bounds[5] - mesh.bounds[2] for mesh in rows.meshes]
    # 5 m along a slope of 10 % rise 0.5 m; the plate ends 0.1 m over the highest ground
    assert tall == pytest.approx([12.0, 0.6, 6.0, 9.0], abs=2e-3)
    for i in range(4):
        mesh = mesh_of(rows, i)
        assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight
    assert codes(made) == ["HEIGHT_IMPOSSIBLE", "HEIGHT_MISSING"]


def test_over_a_hole_in_the_ground_a_building_stands_on_the_nearest_ground(slope):
    made = fuser(BUILDING, terrain=ground(slope))
    rows = made.fuse(batch([box(5, 5, north=90), box(5, 20, north=70)], height_m=[5.0, 5.0])).rows
    assert 20 <= column(rows, "base_elev_m")[0] <= 22  # a slope of 10 %, and ground at most 20 m away
    assert column(rows, "base_elev_m")[1] == pytest.approx(20, abs=1e-4)  # the corners on ground decide
    assert "base_elev_m" in column(rows, "estimated")[0]
    assert "base_elev_m" not in (column(rows, "estimated")[1] or "")
    mesh = mesh_of(rows, 0)
    assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight
    assert codes(made) == ["GROUND_NEAREST"]


def test_without_any_terrain_buildings_stand_at_zero_and_say_so():
    made = fuser(BUILDING)
    rows = made.fuse(batch([box(5, 5)], height_m=[5.0])).rows
    assert column(rows, "base_elev_m") == [0.0]
    assert column(rows, "estimated") == ["base_elev_m"]
    assert codes(made) == ["NO_TERRAIN"]


def line(*points):
    return shapely.LineString([(E0 + p[0], N0 + p[1], *p[2:]) for p in points])


def axis_z(rows, i=0):
    return shapely.get_coordinates(rows.geometry[i], include_z=True)[:, 2]


@pytest.mark.parametrize(
    ("z_ref", "sizes", "shift"),
    [
        ("centre", {"od_mm": 500.0}, 0.0),
        ("crown", {"od_mm": 500.0, "dn_mm": 400.0}, -0.25),
        ("invert", {"od_mm": 500.0, "dn_mm": 400.0}, 0.2),
        ("invert", {"od_mm": 500.0}, 0.25),
        ("invert", {"width_mm": 2000.0, "height_mm": 1000.0}, 0.5),
    ],
)
def test_the_axis_of_a_pipe(z_ref, sizes, shift):
    made = fuser(PIPE)
    values = {name: [value] for name, value in sizes.items()}
    shape = line((0, 0), (30, 40), (30, 140))
    rows = made.fuse(batch([shape], z_ref=[z_ref], start_elev_m=[3.0], end_elev_m=[0.0], **values)).rows
    assert axis_z(rows) == pytest.approx(np.array([3.0, 2.0, 0.0]) + shift)
    mesh = mesh_of(rows)
    low, high = mesh.vertices[:, 2].min(), mesh.vertices[:, 2].max()
    tall = sizes.get("height_mm", sizes.get("od_mm")) / 1000
    assert high - low == pytest.approx(3 + tall, rel=0.03)
    section = np.pi * 0.25**2 if "od_mm" in sizes else 2.0
    length = np.hypot(50, 1) + np.hypot(100, 2)
    assert mesh.volume_m3() == pytest.approx(section * length, rel=0.004)


def test_depths_hang_from_the_ground_and_od_from_dn_is_said(slope):
    made = fuser(PIPE, terrain=ground(slope))
    depths = {"start_depth_m": [1.5], "end_depth_m": [2.0]}
    rows = made.fuse(batch([line((0, 0), (20, 0))], z_ref=["crown"], dn_mm=[1000.0], **depths)).rows
    assert axis_z(rows) == pytest.approx([20 - 1.5 - 0.5, 22 - 2 - 0.5], abs=1e-4)
    assert made.used_terrain
    assert codes(made) == ["OD_FROM_DN"]


def test_a_line_with_its_own_heights_is_followed():
    made = fuser(PIPE)
    rows = made.fuse(batch([line((0, 0, 5), (10, 0, 9), (20, 0, 5))], z_ref=["crown"], od_mm=[1000.0])).rows
    assert axis_z(rows) == pytest.approx([4.5, 8.5, 4.5])
    assert not made.used_terrain


def test_what_is_not_known_of_a_pipe_is_not_guessed():
    made = fuser(PIPE)
    given = {
        "z_ref": [None, "crown", "crown", "crown"],
        "od_mm": [500.0, None, 500.0, 0.0],
        "start_elev_m": [1.0, 1.0, 1.0, 1.0],
        "end_elev_m": [1.0, 1.0, None, 1.0],
    }
    shapes = [line((0, k), (10, k)) for k in range(4)]
    fused = made.fuse(batch(shapes, **given)).rows
    assert fused.meshes == [None] * 4
    assert codes(made) == ["PIPE_ELEV_MISSING", "PIPE_SIZE_MISSING", "PIPE_SIZE_MISSING", "PIPE_Z_REF_UNKNOWN"]
    assert shapely.equals_exact(fused.geometry[0], shapes[0])


def cube(east, north, base):
    ring = np.array([(0, 0), (2, 0), (2, 2), (0, 2)], float) + np.array([east, north])
    vertices = np.r_[np.c_[ring, np.full(4, base)], np.c_[ring, np.full(4, base + 2)]]
    sides = [(k, (k + 1) % 4, 4 + (k + 1) % 4, 4 + k) for k in range(4)]
    quads = [(3, 2, 1, 0), (4, 5, 6, 7), *sides]
    triangles = np.array([(q[0], q[i], q[i + 1]) for q in quads for i in (1, 2)])
    return Mesh(vertices, triangles, np.zeros(12, np.uint8), np.array([[200, 10, 10, 255]], np.uint8))


def test_a_given_mesh_lands_where_proj_puts_it_and_gets_an_outline():
    made = fuser(ELEMENT)
    fused = made.fuse(batch([None, None], [cube(E0 + 3, N0 + 4, 7.0), None], base_elev_m=[None, None])).rows
    mesh = mesh_of(fused)
    assert np.abs(mesh.vertices - proj_enu(cube(E0 + 3, N0 + 4, 7.0).vertices)).max() < 1e-4
    assert mesh.materials.tolist() == [[200, 10, 10, 255]]
    assert fused.geometry[0].area == pytest.approx(4)
    assert fused.geometry[1] is None
    assert fused.meshes[1] is None
    assert column(fused, "base_elev_m") == [7.0, None]
    assert column(fused, "top_elev_m") == [9.0, None]


def test_a_building_with_its_own_mesh_keeps_it():
    made = fuser(BUILDING)
    rows = made.fuse(batch([box(2, 2)], [cube(E0, N0, 7.0)], height_m=[None])).rows
    assert column(rows, "base_elev_m") == [7.0]
    assert column(rows, "height_m") == [2.0]
    assert mesh_of(rows).volume_m3() == pytest.approx(8 / (1 + 119.1e-6) ** 2, rel=1e-5)


def test_from_degrees_and_ellipsoidal_heights():
    """The first control point of the requirements: 121.0 E, 28.1 N is E 598273.711, N 3109927.739."""
    layer_type = kind("pump", None, "PointZ")
    made = fuser(layer_type, crs="EPSG:4490", vertical_crs="EPSG:4979")
    fused = made.fuse(batch([shapely.Point(LON, LAT, 30.0), shapely.Point(LON, LAT)])).rows
    assert shapely.get_coordinates(fused.geometry[:1], include_z=True)[0] == pytest.approx((E0, N0, 18.5), abs=1e-3)
    assert not fused.geometry[1].has_z
    assert "H = h - N" in made.certificate.transformation


def test_heights_of_egm96_and_of_the_citys_datum():
    from egm96 import undulation

    at = shapely.Point(E0, N0, 30.0)
    layer_type = kind("pump", None, "PointZ")
    same = fuser(layer_type, vertical_crs="EPSG:5737").fuse(batch([at])).rows.geometry[0]
    moved = fuser(layer_type, vertical_crs="EPSG:5773").fuse(batch([at])).rows.geometry[0]
    assert same.z == 30.0
    assert moved.z == pytest.approx(30 + float(undulation(LAT, LON)) - UNDULATION, abs=1e-3)


@pytest.mark.parametrize("vertical", ["EPSG:5736", "EPSG:5703", "EPSG:5709"])
def test_another_height_datum_is_refused_not_passed_through(vertical):
    with pytest.raises(Unplaceable, match="cannot be converted"):
        fuser(BUILDING, vertical_crs=vertical)


@pytest.mark.parametrize("source", ["EPSG:2437", "EPSG:4214", "EPSG:4610", "EPSG:28992"])
def test_an_old_datum_without_known_shift_is_refused(source):
    with pytest.raises(Unplaceable, match="datum shift"):
        fuser(BUILDING, crs=source)


def test_equal_modern_datums_are_written_down():
    made = fuser(BUILDING, crs="EPSG:4326")
    assert "taken as equal" in made.certificate.contradictions[0]
    assert fuser(BUILDING).certificate.contradictions == ()


def test_what_falls_outside_is_rejected_with_its_content_and_the_rest_is_stored():
    made = fuser(BUILDING, crs="EPSG:4490")
    good = shapely.multipolygons([shapely.box(120.99, 28.09, 120.991, 28.091)])
    far = shapely.multipolygons([shapely.box(10, 50, 10.1, 50.1)])
    swapped = shapely.multipolygons([shapely.box(28.09, 120.99, 28.091, 120.991)])
    fused = made.fuse(batch([far, good, swapped], height_m=[3.0, 4.0, 5.0]))
    assert fused.rows.ids == ["f1"]
    assert [(reject.code, reject.where) for reject in fused.rejects] == [("PLACED_OUTSIDE", k) for k in ("f0", "f2")]
    assert fused.rejects[0].content["height_m"] == 3.0
    assert shapely.from_wkt(fused.rejects[0].content["geometry"]).equals_exact(far, 1e-6)


def test_zone_prefixed_coordinates_called_unprefixed_are_outside():
    made = fuser(BUILDING)
    fused = made.fuse(batch([shapely.affinity.translate(box(5, 5), 40_000_000)], height_m=[3.0]))
    assert fused.rows.ids == []
    assert fused.rejects[0].code == "PLACED_OUTSIDE"


def test_common_attributes_are_filled_from_the_catalogue():
    rain = catalogue.layer_type("pipe_rain")
    made = fuser(rain)
    rows = made.fuse(batch([line((0, 0, 1), (5, 0, 1))], cim_category=pa.array([None], pa.string()))).rows
    assert column(rows, "cim_category") == ["base"]
    assert column(rows, "cim_level") == [rain.level[0]]
    assert column(rows, "type_code") == ["YS"]


def test_many_equal_issues_are_counted_not_listed():
    notes = Notes()
    notes.add("X", [f"f{k}" for k in range(200)], [f"says {k}." for k in range(200)], "hint", "warning")
    issues = notes.issues()
    assert len(issues) == SINGLY + 1
    assert f"{200 - SINGLY} more" in issues[-1].message
    assert issues[-1].where == "f199"
