"""Mesh files: geometry against trimesh and hand arithmetic, places against pyproj, bad files refused."""

import base64
import io
import json
import struct
from contextlib import suppress

import numpy as np
import pyproj
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import ingest
from ingest import scan
from ingest.mesh import reader as mesh_file
from layers.errors import CityTwinError, InvalidInput, Unplaceable
from layers.source import ControlPoint, Hints
from tests.ingest import tile_files as files

CITY, E0, N0 = "EPSG:4549", 598_000.0, 3_110_000.0
LON, LAT, HEIGHT = 121.0, 28.1, 40.0
PLACE = {"lon": LON, "lat": LAT, "height": HEIGHT}
HERE = Hints(crs=CITY)
TO_ECEF = pyproj.Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)


def features(path, hints=HERE):
    """Everything of a file: reading, ids, attributes, meshes; and that nothing got lost."""
    reading = ingest.read(path, hints)
    (layer,) = reading.layers
    batches = list(layer.batches())
    ids = [each for batch in batches for each in batch.ids]
    rows = [row for batch in batches for row in batch.attributes.to_pylist()]
    meshes = [mesh for batch in batches for mesh in batch.meshes]
    assert layer.n_read == len(ids) + len(layer.rejects)
    return reading, ids, rows, meshes


def codes(reading):
    return [issue.code for issue in reading.issues]


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(file, "PNG")
    return file.getvalue()


def solid(at=(E0, N0, 5.0)):
    """A closed body with curved and flat sides, 10 m wide."""
    body = trimesh.creation.cylinder(5, 12, sections=24)
    body.apply_translation(at)
    return body


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("obj", {}), ("stl", {}), ("stl", {"file_type": "stl_ascii"}), ("ply", {}), ("ply", {"encoding": "ascii"})],
)
def test_a_solid_has_the_area_and_volume_that_trimesh_measures(tmp_path, suffix, options):
    body, path = solid(), tmp_path / f"tank.{suffix}"
    body.export(path, **options)
    reading, ids, (row,), (mesh,) = features(path)
    exact = 1e-4 if suffix == "obj" or options.get("file_type") else 1e-9  # eight decimals in text
    if suffix in {"stl", "ply"}:
        exact = 0.02  # float32 of a northing of three million metres: 0.25 m
        assert np.abs(mesh.vertices - body.vertices.mean(axis=0)).max() < 13
    else:
        assert row["area_m2"] == pytest.approx(body.area, rel=exact)
        assert row["volume_m3"] == pytest.approx(body.volume, rel=exact)
    assert ids == ["tank"]
    assert row["triangles"] == len(body.faces) == len(mesh.triangles)
    assert codes(reading) == ["MESH_UNIT"]
    assert (reading.layers[0].layer_type, reading.certificate.method) == ("model", "given-crs")


@pytest.mark.parametrize("suffix", ["obj", "stl", "ply", "glb"])
def test_small_coordinates_keep_their_area_and_volume(tmp_path, suffix):
    body, path = solid((0, 0, 0)), tmp_path / f"tank.{suffix}"
    (trimesh.Scene(body) if suffix == "glb" else body).export(path)
    _, _, (row,), (mesh,) = features(path, Hints(values=PLACE))
    assert row["area_m2"] == pytest.approx(body.area, rel=1e-5)
    assert row["volume_m3"] == pytest.approx(body.volume, rel=1e-5)
    assert len(mesh.triangles) == len(body.faces)


def test_an_open_shell_has_no_volume_and_a_flat_square_its_area(tmp_path):
    (tmp_path / "roof.obj").write_text("v 0 0 0\nv 4 0 0\nv 4 3 0\nv 0 3 0\nf 1 2 3 4\n")
    _, _, (row,), _ = features(tmp_path / "roof.obj", Hints(values=PLACE))
    assert (row["area_m2"], row["volume_m3"], row["triangles"]) == (12.0, None, 2)


OBJ = """# a house and a shed
mtllib house.mtl
o House
v 0 0 0
v 6 0 0
v 6 0 4
v 3 0 2
v 0 0 4
vt 0 0
vt 1 0
vt 1 1
usemtl brick
f 1/1 2/2 3/3 4/3 5/1
o Shed
v 10 0 0
v 11 0 0
v 11 0 1
usemtl tin
f -3 -2 -1
g left
f 6 7 99
"""
MTL = "newmtl brick\nKd 1 0 0\nmap_Kd -s 1 1 1 tex\\brick.png\nnewmtl tin\nKd 0.2 0.4 0.6\nd 0.5\n"


def test_obj_objects_concave_faces_materials_and_textures(tmp_path):
    (tmp_path / "tex").mkdir()
    (tmp_path / "house.obj").write_text(OBJ)
    (tmp_path / "house.mtl").write_text(MTL)
    (tmp_path / "tex" / "brick.png").write_bytes(png("red"))
    reading, ids, rows, (house, shed) = features(tmp_path / "house.obj", Hints(values=PLACE))
    assert ids == ["house.House", "house.Shed"]
    assert [row["name"] for row in rows] == ["House", "Shed"]
    assert rows[0]["area_m2"] == pytest.approx(18.0)  # 6 x 4 less the notch of 6 x 2 / 2; a fan would cover 24
    assert rows[1]["area_m2"] == pytest.approx(0.5)
    assert house.textures[0].media_type == "image/png"
    assert house.textures[0].data == png("red")
    assert house.uv.min() == 0.0
    assert house.uv.max() == 1.0
    assert house.materials.tolist() == [[255, 255, 255, 255]]
    assert shed.materials.tolist() == [[51, 102, 153, 128]]
    assert "MESH_FACES_BAD" in codes(reading)  # vertex 99 does not exist


def test_the_files_of_a_model_are_one_source_and_their_change_is_its_change(tmp_path):
    (tmp_path / "tex").mkdir()
    (tmp_path / "house.obj").write_text(OBJ)
    (tmp_path / "house.mtl").write_text(MTL)
    (tmp_path / "tex" / "brick.png").write_bytes(png("red"))
    (source,) = scan.sources(tmp_path)
    assert [part.name for part in source.parts] == ["house.obj", "house.mtl", "brick.png"]
    before = source.sha256
    (tmp_path / "tex" / "brick.png").write_bytes(png("blue"))
    assert scan.sources(tmp_path)[0].sha256 != before


@pytest.mark.parametrize("uri", ["../secret.png", "/etc/passwd", "http://example.com/a.png", "gone.png", "C:\\a.png"])
def test_nothing_outside_the_folder_is_read(tmp_path, uri):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(png("red"))
    (folder / "a.obj").write_text(
        f"mtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1\nmtllib {uri}\n"
    )
    (folder / "a.mtl").write_text(f"newmtl m\nKd 1 1 0\nmap_Kd {uri}\n")
    reading, _, _, (mesh,) = features(folder / "a.obj", Hints(values=PLACE))
    assert codes(reading).count("MESH_FILE_MISSING") == 2
    assert mesh.textures == ()
    assert mesh.materials.tolist() == [[255, 255, 0, 255]]


# glTF ---------------------------------------------------------------------------------------------------------------


def gltf(nodes, *, extra=None, primitive=None, views=None, accessors=None, data=b""):
    """One triangle, (0,0,0), (1,0,0), (0,1,0) in y-up axes; buffer inline."""
    binary = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0) + data
    uri = "data:application/octet-stream;base64," + base64.b64encode(binary).decode()
    return {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": nodes,
        "meshes": [{"name": "triangle", "primitives": [{"attributes": {"POSITION": 0}, **(primitive or {})}]}],
        "buffers": [{"byteLength": len(binary), "uri": uri}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}, *(views or [])],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}, *(accessors or [])],
        **(extra or {}),
    }  # fmt: skip


def written(tmp_path, document):
    path = tmp_path / "model.gltf"
    path.write_text(json.dumps(document))
    return path


def enu(mesh):
    """Vertices back in east, north, up metres of the given place, by pyproj."""
    xyz = np.stack(TO_ECEF.transform(*mesh.vertices.T), axis=1)
    matrix = np.array(files.enu_matrix(LON, LAT, HEIGHT)).reshape(4, 4).T
    return (xyz - matrix[:3, 3]) @ matrix[:3, :3]


def test_nodes_turn_and_shift_and_y_up_becomes_z_up(tmp_path):
    half = 2**-0.5
    nodes = [
        {"children": [1, 2], "translation": [10, 0, 0]},
        {"mesh": 0, "name": "one", "scale": [2, 2, 2]},
        {"mesh": 0, "name": "two", "rotation": [0, half, 0, half], "translation": [0, 5, 0]},  # 90° about y (up)
    ]
    reading, ids, _, (one, two) = features(written(tmp_path, gltf(nodes)), Hints(values=PLACE))
    assert ids == ["model.one", "model.two"]
    assert enu(one) == pytest.approx(np.array([[10, 0, 0], [12, 0, 0], [10, 0, 2]]), abs=1e-4)
    assert enu(two) == pytest.approx(np.array([[10, 0, 5], [10, 1, 5], [10, 0, 6]]), abs=1e-4)  # glTF's -z is north
    assert one.shared.key == two.shared.key
    assert one.shared.vertices == pytest.approx(np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1]]))
    assert codes(reading) == []
    assert reading.certificate.method == "geocentric"
    assert reading.layers[0].crs == "EPSG:4979"


def test_a_mirrored_node_keeps_its_outside(tmp_path):
    _, _, _, (mesh,) = features(written(tmp_path, gltf([{"mesh": 0, "scale": [-1, 1, 1]}])), Hints(values=PLACE))
    a, b, c = enu(mesh)[mesh.triangles[0]]
    assert np.cross(b - a, c - a) == pytest.approx([0, -1, 0], abs=1e-4)  # as before: +z of glTF, which is south


def test_quantised_strips_and_texture_transform(tmp_path):
    """Four corners of a 2 x 2 square as 16-bit steps of 1/32767, a strip, half the texture turned by 90°."""
    corners = struct.pack("<16h", 0, 0, 0, 0, 32767, 0, 0, 0, 0, 32767, 0, 0, 32767, 32767, 0, 0)
    uv = struct.pack("<8f", 0, 0, 1, 0, 0, 1, 1, 1)
    image = "data:image/png;base64," + base64.b64encode(png("green")).decode()
    transform = {"offset": [0.5, 0.25], "scale": [0.5, 0.5], "rotation": np.pi / 2}
    document = gltf(
        [{"mesh": 0, "scale": [2, 2, 2]}], data=corners + uv,
        primitive={"mode": 5, "material": 0, "attributes": {"POSITION": 1, "TEXCOORD_0": 2}},
        views=[{"buffer": 0, "byteOffset": 36, "byteLength": 32, "byteStride": 8},
               {"buffer": 0, "byteOffset": 68, "byteLength": 32}],
        accessors=[{"bufferView": 1, "componentType": 5122, "normalized": True, "count": 4, "type": "VEC3"},
                   {"bufferView": 2, "componentType": 5126, "count": 4, "type": "VEC2"}],
        extra={"extensionsRequired": ["KHR_mesh_quantization", "KHR_texture_transform"],
               "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0.2140411, 0, 0.5], "baseColorTexture": {
                   "index": 0, "extensions": {"KHR_texture_transform": transform}}}}],
               "textures": [{"source": 0, "sampler": 0}], "samplers": [{"wrapS": 33071}], "images": [{"uri": image}]},
    )  # fmt: skip
    _, _, (row,), (mesh,) = features(written(tmp_path, document), Hints(values=PLACE))
    assert row["area_m2"] == pytest.approx(4.0)
    assert mesh.materials.tolist() == [[255, 127, 0, 128]] or mesh.materials.tolist() == [[255, 128, 0, 128]]
    assert (mesh.textures[0].media_type, mesh.textures[0].wrap) == ("image/png", "clamp")
    # the extension's matrix by hand: (u, v) -> (0.5 + 0.5 v, 0.25 - 0.5 u); then v counts from below
    by_hand = [[0.5 + 0.5 * v, 1 - (0.25 - 0.5 * u)] for u, v in ((0, 0), (1, 0), (0, 1), (1, 1))]
    assert mesh.uv == pytest.approx(np.array(by_hand), abs=1e-6)


def test_a_gltf_with_its_bin_beside_it_agrees_with_trimesh(tmp_path):
    scene = trimesh.Scene([solid((0, 0, 0)), trimesh.creation.box((1, 2, 3))])
    for name, data in trimesh.exchange.gltf.export_gltf(scene).items():
        (tmp_path / name).write_bytes(data)
    _, _, rows, _ = features(tmp_path / "model.gltf", Hints(values=PLACE))
    assert [row["volume_m3"] for row in rows] == pytest.approx(
        [each.volume for each in scene.geometry.values()], rel=1e-5
    )
    (tmp_path / next(iter(tmp_path.glob("*.bin"))).name).unlink()
    for left in tmp_path.glob("*.bin"):
        left.unlink()
    with pytest.raises(InvalidInput) as refusal:
        mesh_file.read(tmp_path / "model.gltf", Hints(values=PLACE))
    assert refusal.value.code == "MESH_BUFFER"


@pytest.mark.parametrize(
    "name", ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "EXT_mesh_gpu_instancing", "XX_new"]
)
def test_compressed_geometry_is_refused_by_name(tmp_path, name):
    path = written(tmp_path, gltf([{"mesh": 0}], extra={"extensionsUsed": [name], "extensionsRequired": [name]}))
    with pytest.raises(InvalidInput, match=name) as refusal:
        mesh_file.read(path, Hints(values=PLACE))
    assert refusal.value.code == "GLTF_EXTENSION"


def test_nodes_in_a_circle_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="tree"):
        mesh_file.read(written(tmp_path, gltf([{"mesh": 0, "children": [0]}])), Hints(values=PLACE))


# places -------------------------------------------------------------------------------------------------------------


def test_without_a_place_it_is_parked_with_the_lines_to_write(tmp_path):
    solid((0, 0, 0)).export(tmp_path / "tank.obj")
    with pytest.raises(Unplaceable) as refusal:
        mesh_file.read(tmp_path / "tank.obj", Hints())
    assert refusal.value.code == "MESH_NOT_PLACED"
    assert "values = { lon" in refusal.value.hint
    assert "control_points" in refusal.value.hint
    solid(files.ecef(LON, LAT, HEIGHT)).export(tmp_path / "earth.obj")
    with pytest.raises(Unplaceable, match="EPSG:4978"):
        mesh_file.read(tmp_path / "earth.obj", Hints())


def test_map_and_geocentric_coordinates_and_units_and_y_up(tmp_path):
    (tmp_path / "a.obj").write_text(f"v {E0} {N0} 5\nv {E0 + 3} {N0} 5\nv {E0} {N0 + 4} 5\nf 1 2 3\n")
    reading, _, _, (mesh,) = features(tmp_path / "a.obj")
    assert mesh.vertices.tolist() == [[E0, N0, 5], [E0 + 3, N0, 5], [E0, N0 + 4, 5]]
    assert reading.layers[0].crs == CITY
    x, y, z = files.ecef(LON, LAT, HEIGHT)
    (tmp_path / "b.obj").write_text(
        f"v {x:.4f} {y:.4f} {z:.4f}\nv {x + 3:.4f} {y:.4f} {z:.4f}\nv {x} {y} {z + 4}\nf 1 2 3\n"
    )
    _, _, (row,), (mesh,) = features(tmp_path / "b.obj", Hints(crs="EPSG:4978"))
    assert mesh.vertices[0] == pytest.approx([LON, LAT, HEIGHT], abs=1e-3)
    assert mesh.vertices[0, :2] == pytest.approx([LON, LAT], abs=2e-9)
    assert row["area_m2"] == pytest.approx(6.0, abs=1e-3)
    (tmp_path / "c.obj").write_text("v 0 0 0\nv 3000 0 0\nv 0 4000 0\nf 1 2 3\n")
    hints = Hints(values={**PLACE, "up": "y"}, unit_scale=0.001)
    reading, _, (row,), (mesh,) = features(tmp_path / "c.obj", hints)
    assert row["area_m2"] == pytest.approx(6.0)
    assert enu(mesh) == pytest.approx(np.array([[0, 0, 0], [3, 0, 0], [0, 0, 4]]), abs=1e-4)
    assert codes(reading) == []  # the unit was given


def test_control_points_place_a_model(tmp_path):
    """Turned by 90°, shifted: (x, y) -> (E0 - y, N0 + x)."""
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 3 0 0\nv 0 4 0\nv 0 0 9\nf 1 2 3\nf 1 2 4\n")
    pairs = [((0, 0, 0), (E0, N0, 7)), ((100, 0, 0), (E0, N0 + 100, 7)), ((0, 100, 0), (E0 - 100, N0, 7)),
             ((0, 0, 50), (E0, N0, 57))]  # fmt: skip
    hints = Hints(city_crs=CITY, control_points=tuple(ControlPoint(a, b) for a, b in pairs))
    reading, _, (row,), (mesh,) = features(tmp_path / "a.obj", hints)
    expected = np.array([[E0, N0, 7], [E0, N0 + 3, 7], [E0 - 4, N0, 7], [E0, N0, 16]])
    assert mesh.vertices == pytest.approx(expected, abs=1e-6)
    assert reading.certificate.method == "control-points"
    assert row["area_m2"] is None  # in the file's own unit, which nobody told


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("srs", ["EPSG:4549", "ENU:28.1,121.0"])
def test_the_metadata_of_a_photogrammetry_delivery_places_its_models(tmp_path, srs, depth):
    folder = tmp_path / "in" / "Data" / "Tile_1" if depth else tmp_path / "in"
    folder.mkdir(parents=True)
    origin = f"{E0},{N0},12" if srs.startswith("EPSG") else "0,0,0"
    (tmp_path / "in" / "metadata.xml").write_text(
        f'<?xml version="1.0"?><ModelMetadata version="1"><SRS>{srs}</SRS>'
        f"<SRSOrigin>{origin}</SRSOrigin></ModelMetadata>"
    )
    (folder / "Tile_1.obj").write_text("v 1 2 3\nv 4 2 3\nv 1 6 3\nf 1 2 3\n")
    (source,) = scan.sources(tmp_path / "in")
    assert source.path == folder / "Tile_1.obj"
    reading, _, _, (mesh,) = features(source.path, Hints(root=tmp_path / "in"))
    assert reading.certificate.method == "file-crs"
    assert reading.certificate.parameters["SRS"] == srs
    if srs.startswith("EPSG"):
        assert mesh.vertices[0].tolist() == [E0 + 1, N0 + 2, 15]
    else:
        matrix = np.array(files.enu_matrix(LON, LAT, 0)).reshape(4, 4).T
        xyz = np.array(TO_ECEF.transform(*mesh.vertices[0]))
        assert (xyz - matrix[:3, 3]) @ matrix[:3, :3] == pytest.approx([1, 2, 3], abs=1e-4)


@pytest.mark.parametrize(
    "text", ["<a", "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>", "<M><SRS>EPSG:4549</SRS><SRSOrigin>1,2</SRSOrigin></M>",
             "<M><SRS>nonsense</SRS></M>", "<M><SRS>ENU:x,y</SRS></M>"],
)  # fmt: skip
def test_metadata_that_cannot_be_used_is_refused(tmp_path, text):
    (tmp_path / "metadata.xml").write_text(text)
    (tmp_path / "a.obj").write_text("v 1 2 3\nv 4 2 3\nv 1 6 3\nf 1 2 3\n")
    with pytest.raises(InvalidInput):
        mesh_file.read(tmp_path / "a.obj", Hints())


def test_the_layer_comes_from_the_name_or_the_hint(tmp_path):
    (tmp_path / "bridge.obj").write_text(f"v {E0} {N0} 5\nv {E0 + 3} {N0} 5\nv {E0} {N0 + 4} 5\nf 1 2 3\n")
    assert mesh_file.read(tmp_path / "bridge.obj", HERE).layers[0].layer_type == "bridge"
    hints = Hints(crs=CITY, layer="building")
    reading, _, (row,), _ = features(tmp_path / "bridge.obj", hints)
    assert (reading.layers[0].layer_type, row["height_m"]) == ("building", 0.0)


# PLY ----------------------------------------------------------------------------------------------------------------


def test_ply_colours_big_endian_and_polygons(tmp_path):
    head = ("ply\nformat binary_big_endian 1.0\nelement vertex 4\nproperty double x\nproperty double y\n"
            "property double z\nproperty uchar red\nproperty uchar green\nproperty uchar blue\n"
            "element face 1\nproperty list uchar int vertex_indices\nend_header\n")  # fmt: skip
    rows = b"".join(struct.pack(">3d3B", x, y, 0, 255, 0, 102) for x, y in ((0, 0), (2, 0), (2, 3), (0, 3)))
    (tmp_path / "a.ply").write_bytes(head.encode() + rows + struct.pack(">B4i", 4, 0, 1, 2, 3))
    reading, _, (row,), (mesh,) = features(tmp_path / "a.ply", Hints(values=PLACE))
    assert (row["area_m2"], row["triangles"]) == (6.0, 2)
    assert mesh.materials.tolist() == [[255, 0, 102, 255]]
    assert "MESH_VERTEX_COLOURS" in codes(reading)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_a_ply_without_faces_is_a_point_cloud(tmp_path, encoding):
    points = np.random.default_rng(3).uniform((E0, N0, 0), (E0 + 50, N0 + 50, 20), (500, 3))
    rgb = np.random.default_rng(4).integers(0, 256, (500, 3), dtype=np.uint8)
    head = f"ply\nformat {'ascii' if encoding == 'ascii' else 'binary_little_endian'} 1.0\nelement vertex 500\n"
    head += "".join(f"property double {axis}\n" for axis in "xyz")
    head += "".join(f"property uchar {each}\n" for each in ("red", "green", "blue")) + "end_header\n"
    path = tmp_path / "scan.ply"
    if encoding == "ascii":
        lines = [
            f"{x!r} {y!r} {z!r} {r} {g} {b}" for (x, y, z), (r, g, b) in zip(points.tolist(), rgb.tolist(), strict=True)
        ]
        path.write_text(head + "\n".join(lines) + "\n")
    else:
        rows = [struct.pack("<3d3B", *xyz, *each) for xyz, each in zip(points.tolist(), rgb.tolist(), strict=True)]
        path.write_bytes(head.encode() + b"".join(rows))
    assert ingest.module_of(path) == "points.ply"
    (layer,) = ingest.read(path, HERE).layers
    assert (layer.kind, layer.meta["points"]) == ("points", 500)
    layer.write(tmp_path / "out.copc.laz")
    import laspy

    cloud = laspy.read(tmp_path / "out.copc.laz")
    order, mine = np.argsort(cloud.x), np.argsort(points[:, 0])
    assert np.asarray(cloud.xyz)[order] == pytest.approx(points[mine], abs=1e-3)
    assert (np.asarray(cloud.red)[order] // 257).tolist() == rgb[mine, 0].tolist()


# whatever comes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.obj", b"v 1 2\nf 1 1 1\n"), ("a.obj", b"v 1 2 x\n"), ("a.obj", b"hello"), ("a.obj", b"\0\0\0"),
     ("a.stl", b"x" * 100), ("a.stl", b"\0" * 80 + b"\xff\xff\xff\xff"),
     ("a.stl", b"solid a\nfacet\nvertex 1 2\nendfacet"),
     ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 99999999999\nelement face 1\nend_header\n"),
     ("a.ply", b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\nelement face 2\n"
               b"property list uint int vertex_indices\nend_header\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
     ("a.glb", b"glTF"), ("a.glb", b"glTF\2\0\0\0\xff\xff\xff\xff\xff\xff\xff\xffJSON"), ("a.gltf", b"[]"),
     ("a.gltf", b'{"asset":{"version":"2.0"},"nodes":[{"mesh":7}]}'), ("a.gltf", b'{"a":' * 100_000)],
)  # fmt: skip
def test_damaged_files_are_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidInput):
        ingest.read(tmp_path / name, Hints(values=PLACE))


def samples():
    body = solid((0, 0, 0))
    made = {suffix: body.export(file_type=suffix) for suffix in ("obj", "stl", "stl_ascii", "ply")}
    made["glb"] = files.glb()
    made["gltf"] = json.dumps(gltf([{"mesh": 0}])).encode()
    made["ply_ascii"] = body.export(file_type="ply", encoding="ascii")
    return {key: value.encode() if isinstance(value, str) else value for key, value in made.items()}


SAMPLES = samples()


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(sorted(SAMPLES)),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=4)), max_size=5),
    st.integers(0, 4000),
)
def test_mutated_files_are_read_or_refused(tmp_path_factory, kind, edits, cut):
    data = bytearray(SAMPLES[kind])
    for at, value in edits:
        data[at % len(data) : at % len(data) + len(value)] = value
    path = tmp_path_factory.mktemp("fuzz") / f"x.{kind.split('_')[0]}"
    path.write_bytes(bytes(data[: len(data) - cut] if cut < 400 else data))
    with suppress(CityTwinError), np.errstate(all="ignore"):
        features(path, Hints(values=PLACE))
