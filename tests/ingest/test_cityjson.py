"""CityJSON: volumes and areas by arithmetic, real files against MANIFEST facts and against trimesh."""

import json
import re
from collections import Counter

import numpy as np
import pytest
import shapely
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import reader_for, surfaces
from ingest.cityjson import reader as cityjson
from ingest.cityjson import types as cityjson_types
from ingest.surfaces import Surface
from layers import crs
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints
from tests.ingest.conftest import manifest

EAST, NORTH = 597000.0, 3109000.0
CRS = "https://www.opengis.net/def/crs/EPSG/0/4549"


def box_model(lod="2", semantics=True, **changes):
    """One house of 10 × 8 × 5 m; vertices in millimetres."""
    corners = [[x, y, z] for z in (0, 5000) for x, y in ((0, 0), (10000, 0), (10000, 8000), (0, 8000))]
    shell = [[[0, 3, 2, 1]], [[4, 5, 6, 7]], [[0, 1, 5, 4]], [[1, 2, 6, 5]], [[2, 3, 7, 6]], [[3, 0, 4, 7]]]
    geometry = {"type": "Solid", "lod": lod, "boundaries": [shell]}
    if semantics:
        kinds = [{"type": "GroundSurface"}, {"type": "RoofSurface"}, {"type": "WallSurface"}]
        geometry["semantics"] = {"surfaces": kinds, "values": [[0, 1, 2, 2, 2, 2]]}
    model = {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [EAST, NORTH, 20.0]},
        "metadata": {"referenceSystem": CRS},
        "CityObjects": {
            "h1": {"type": "Building", "geometry": [geometry], "attributes": {
                "storeysAboveGround": 2, "colour": "red"}},
        },
        "vertices": corners,
    }  # fmt: skip
    return {**model, **changes}


def only(path, hints=None):
    reading = cityjson.read(path, hints or Hints())
    [layer] = reading.layers
    return reading, layer, list(layer.batches())


def save(tmp_path, model, name="houses.city.json"):
    path = tmp_path / name
    path.write_text(json.dumps(model), "utf8")
    return path


def test_a_house_has_its_volume_its_footprint_and_its_colours(tmp_path):
    _, layer, [batch] = only(save(tmp_path, box_model()))
    assert (layer.layer_type, layer.crs, batch.ids) == ("building", "EPSG:4549", ["h1"])
    [mesh] = batch.meshes
    assert mesh.volume_m3() == pytest.approx(10 * 8 * 5)
    assert mesh.bounds() == pytest.approx((EAST, NORTH, 20, EAST + 10, NORTH + 8, 25))
    assert trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight
    assert batch.geometry[0].equals(shapely.multipolygons([shapely.box(EAST, NORTH, EAST + 10, NORTH + 8)]))
    row = batch.attributes.to_pylist()[0]
    assert (row["height_m"], row["base_elev_m"], row["floors"]) == (pytest.approx(5), pytest.approx(20), 2)
    assert json.loads(batch.extra[0]) == {"colour": "red"}
    colours = mesh.materials[mesh.material_ids]
    up = np.cross(*(mesh.vertices[mesh.triangles[:, i]] - mesh.vertices[mesh.triangles[:, 0]] for i in (1, 2)))[:, 2]
    assert (colours[up > 0] == cityjson.MATERIALS["RoofSurface"]).all()
    assert (colours[up < 0] == cityjson.MATERIALS["GroundSurface"]).all()


def test_without_semantics_the_footprint_is_the_outline_from_above(tmp_path):
    _, _, [batch] = only(save(tmp_path, box_model(semantics=False)))
    assert batch.geometry[0].area == pytest.approx(80)
    assert batch.meshes[0].materials is None


def test_the_highest_lod_is_taken_and_a_given_height_goes_before_the_measured(tmp_path):
    model = box_model()
    house = model["CityObjects"]["h1"]
    flat = {"type": "MultiSurface", "lod": "0", "boundaries": [[[0, 1, 2, 3]]]}
    house["geometry"] = [flat, *house["geometry"]]
    house["attributes"]["measuredHeight"] = 4.4
    _, _, [batch] = only(save(tmp_path, model))
    assert batch.meshes[0].volume_m3() == pytest.approx(400)
    assert batch.attributes.column("height_m").to_pylist() == [4.4]


def test_parts_are_merged_into_their_building_and_counted_once(tmp_path):
    model = box_model()
    model["vertices"] += [[x + 20000, y, z] for x, y, z in model["vertices"][:8]]
    part = json.loads(json.dumps(model["CityObjects"]["h1"]))
    part |= {"type": "BuildingPart", "parents": ["h1"], "attributes": {"roof": "flat"}}
    for ring in part["geometry"][0]["boundaries"][0]:
        ring[0] = [index + 8 for index in ring[0]]
    model["CityObjects"]["p1"] = part
    model["CityObjects"]["h1"]["children"] = ["p1"]
    _, layer, [batch] = only(save(tmp_path, model))
    assert layer.n_read == len(batch) == 1
    assert batch.meshes[0].volume_m3() == pytest.approx(800)
    assert batch.geometry[0].area == pytest.approx(160)
    assert json.loads(json.loads(batch.extra[0])["parts"]) == {"p1": {"roof": "flat"}}


def test_one_bad_object_is_rejected_with_its_json_path_and_content(tmp_path):
    model = box_model()
    bad = json.loads(json.dumps(model["CityObjects"]["h1"]))
    bad["geometry"][0]["boundaries"][0][3][0][1] = 99
    model["CityObjects"] |= {"h2": bad, "h3": {"type": "Building"}, "t": {"type": "TINRelief"}}
    reading = cityjson.read(save(tmp_path, model), Hints())
    relief, layer = sorted(reading.layers, key=lambda each: each.layer_type, reverse=True)
    [batch] = layer.batches()
    assert list(relief.batches()) == []
    assert (relief.layer_type, relief.n_read, relief.rejects[0].code) == ("relief", 1, "CJ_NO_GEOMETRY")
    assert batch.ids == ["h1"]
    assert layer.n_read == 3
    first, second = layer.rejects
    assert (first.code, second.code) == ("CJ_VERTEX_OUT_OF_RANGE", "CJ_NO_GEOMETRY")
    assert "/CityObjects/h2/geometry/0" in first.message
    assert first.content["geometry"] == bad["geometry"]


def test_a_sequence_is_read_line_by_line_with_the_header_transform(tmp_path):
    model = box_model()
    header = {**model, "CityObjects": {}, "vertices": []}
    lines = [header]
    for n in range(3):
        objects = {f"h{n}": model["CityObjects"]["h1"]}
        lines.append(
            {
                "type": "CityJSONFeature",
                "id": f"h{n}",
                "CityObjects": objects,
                "vertices": [[x + n * 20000, y, z] for x, y, z in model["vertices"]],
            }
        )
    path = tmp_path / "houses.city.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    _, layer, [batch] = only(path)
    assert (layer.n_read, batch.ids) == (3, ["h0", "h1", "h2"])
    assert [shape.bounds[0] for shape in batch.geometry] == [EAST, EAST + 20, EAST + 40]
    path.write_text(path.read_text() + '\n{"type": ')
    with pytest.raises(InvalidInput, match="line 5, column"):
        cityjson.read(path, Hints())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"transform": {"scale": [1, 1], "translate": [0, 0, 0]}}, "/transform/scale"),
        ({"vertices": [[0, 0]]}, "/vertices"),
        ({"vertices": None}, "/vertices"),
        ({"CityObjects": None}, "/CityObjects"),
        ({"CityObjects": {"a": {}}}, "/CityObjects/a/type"),
        ({"CityObjects": {}}, "no city objects"),
        ({"version": "3.1"}, "/version"),
        ({"type": "FeatureCollection"}, "/type"),
    ],
)
def test_what_is_wrong_is_named_with_its_json_path(tmp_path, changes, words):
    with pytest.raises(InvalidInput, match=re.escape(words)):
        cityjson.read(save(tmp_path, box_model(**changes)), Hints())


def test_triangles_of_a_wall_with_a_window_have_its_area_and_side():
    outer = [[0, 0, 0], [10, 0, 0], [10, 0, 6], [0, 0, 6]]
    hole = [[2, 0, 2], [2, 0, 4], [5, 0, 4], [5, 0, 2]]
    vertices = np.array(outer + hole, float) + np.array([EAST, NORTH, 0])
    triangles = surfaces.triangulate(vertices, [[0, 1, 2, 3], [4, 5, 6, 7]])
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(60 - 6)
    assert (normals[:, 1] < 0).all()  # the outer ring is counter-clockwise seen from the south


@settings(max_examples=50)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.2, 3.0), st.integers(3, 12))
def test_a_prism_turned_any_way_keeps_area_and_orientation(a, b, size, n):
    angles = np.linspace(0, 2 * np.pi, n, endpoint=False)
    flat = np.stack([size * np.cos(angles), size * np.sin(angles), np.zeros(n)], axis=1)
    turn = trimesh.transformations.euler_matrix(a, b, 0)[:3, :3]
    vertices = flat @ turn.T + [EAST, NORTH, 10]
    triangles = surfaces.triangulate(vertices, [list(range(n))])
    p, q, r = (vertices[triangles[:, i]] for i in range(3))
    normals = np.cross(q - p, r - p) / 2
    expected = n / 2 * size**2 * np.sin(2 * np.pi / n)
    assert np.linalg.norm(normals.sum(axis=0)) == pytest.approx(expected, rel=1e-6)
    assert np.allclose(normals.sum(axis=0) / expected, turn[:, 2], atol=1e-5)


def test_degenerate_surfaces_make_no_triangles():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 1, 0]], float)
    assert len(surfaces.triangulate(vertices, [[0, 1, 2]])) == 0
    assert len(surfaces.triangulate(vertices, [[0, 0, 1]])) == 0
    assert surfaces.footprint(vertices, [Surface([[0, 1, 2]])]).is_empty


FACTS = {
    name: row["expected"] for name, row in manifest().items()
    if name.startswith("city/") and name.endswith((".json", ".jsonl")) and "cityobjects" in row["expected"]
}  # fmt: skip


def told(facts, key):
    found = re.search(rf"{key}=([^;]*)", facts)
    return found[1].strip() if found else ""


def all_of(path, hints):
    """Reading, then by layer the features and meshes that came out and the rejects."""
    reading = reader_for(path).read(path, hints)
    return reading, {layer.layer_type: (layer, list(layer.batches())) for layer in reading.layers}


@pytest.mark.parametrize("name", sorted(FACTS) or ["none"])
def test_real_models_have_the_measured_objects(realdata, name):
    """Every object of the manifest is a feature, a reject with its content, or part of its parent's shape."""
    if name == "none":
        pytest.skip("no MANIFEST.csv")
    facts = FACTS[name]
    needs_crs = "crs=None" in facts and "tyler" not in name  # that one has its CRS in the header beside it
    if needs_crs:
        with pytest.raises(CrsMissing):
            reader_for(realdata / name).read(realdata / name, Hints(root=realdata))
    hints = Hints(root=realdata, crs="+proj=tmerc +ellps=GRS80 +units=m" if needs_crs else None)
    reading, layers = all_of(realdata / name, hints)
    wanted = Counter({kind: int(n) for kind, n in re.findall(r"(\w+):(\d+)", told(facts, "types"))})
    for kind in [each for each in wanted if cityjson_types.is_merged(each)]:
        del wanted[kind]
    found = Counter(cityjson_types.layer_of(kind) for kind in wanted.elements())
    if "geometry_instance" in name:
        found = Counter({"city_object_point": 1})  # its template is a point
    read = {each: layer.n_read for each, (layer, _) in layers.items()}
    assert read == dict(found)
    for layer, batches in layers.values():
        assert layer.n_read == sum(map(len, batches)) + len(layer.rejects)
        assert all(reject.content["id"] for reject in layer.rejects)
    if layers and told(facts, "crs").startswith("crs/EPSG"):
        assert crs.parse(reading.certificate.source_crs).to_epsg() in {
            int(told(facts, "crs").rsplit("/", 1)[1]), 28992
        }  # fmt: skip
    _has_bounds(name, facts, layers)


def _has_bounds(name, facts, layers):
    """Meshes lie in the measured box (which also holds vertices of lower LoDs), and nearly fill it."""
    meshes = [
        mesh for _, batches in layers.values() for batch in batches for mesh in batch.meshes or () if mesh is not None
    ]
    if not meshes or "tyler" in name:  # measured there without the header's scale
        return
    box = np.array(json.loads(told(facts, "bbox"))).reshape(2, 3)
    ends = np.array([mesh.bounds() for mesh in meshes]).reshape(-1, 2, 3)
    low, high = ends[:, 0].min(axis=0), ends[:, 1].max(axis=0)
    if "geom_temp" not in name:  # trees reach out from the reference points that were measured
        assert (low >= box[0] - 0.001).all()
        assert (high <= box[1] + 0.001).all()
        assert ((high - low)[:2] >= 0.95 * (box[1] - box[0])[:2]).all()


BAD = {
    "cityjson_duplicate_keys.json": "JSON_DUPLICATE_KEY",
    "cityjson_missing_type.json": "CJ_INVALID",
    "cityjson_truncated_80pct.city.json": "JSON_BROKEN",
    "cityjson_vertex_index_out_of_range.json": "CJ_INVALID",
}


@pytest.mark.parametrize("name", BAD)
def test_real_bad_files_are_refused_with_their_code(realdata, name):
    path = realdata / "bad" / name
    with pytest.raises(InvalidInput) as caught:
        reader_for(path).read(path, Hints(crs="EPSG:28992"))
    assert caught.value.code == BAD[name]


def test_the_hundred_houses_are_closed_and_have_the_measured_bounds(realdata):
    _, layer, [batch] = only(realdata / "city" / "lod2_buildings_v2.json")
    assert layer.crs == "EPSG:3068"
    solids = [trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False) for mesh in batch.meshes]
    assert all(each.is_watertight and each.volume > 0 for each in solids)
    bounds = np.array([mesh.bounds() for mesh in batch.meshes])
    assert [*bounds[:, :3].min(axis=0), *bounds[:, 3:].max(axis=0)] == pytest.approx([0, 0, 0, 96, 98, 12])


def test_the_town_houses_have_the_volumes_of_their_formulas(town):
    truths = json.loads((town / "expected.json").read_text("utf8"))
    if "lod2" not in truths:
        pytest.skip("expected.json has no volumes")
    _, _, batches = only(town / "vector" / "buildings_lod2.city.json")
    volumes = {each: mesh.volume_m3() for batch in batches for each, mesh in zip(batch.ids, batch.meshes, strict=True)}
    wanted = {row["object_id"]: row["volume_m3"] for row in truths["lod2"]}
    assert volumes.keys() == wanted.keys()
    assert all(volumes[each] == pytest.approx(wanted[each], rel=1e-3) for each in wanted)
