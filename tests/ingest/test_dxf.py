"""DXF: places by hand and by ezdxf's own transformation, arcs by their formulas, everything else by counting."""

import math

import ezdxf
import numpy as np
import pytest
import shapely
from ezdxf.math import Vec3

from ingest import reader_for
from ingest.dxf import place as dxf_place
from ingest.dxf import reader as dxf
from layers.errors import CrsMissing, InvalidInput
from layers.source import Hints

NOWHERE = "+proj=tmerc +lat_0=0 +lon_0=0 +k=1 +x_0=0 +y_0=0 +ellps=GRS80 +units=m"
METRES = Hints(crs=NOWHERE)


def consumed(path, hints=METRES):
    reading = dxf.read(path, hints)
    return reading, [(layer, list(layer.batches())) for layer in reading.layers]


def drawn(tmp_path, draw, unit=6, name="plan.dxf"):
    """A drawing in the given unit; `draw(model, document)` fills it."""
    doc = ezdxf.new("R2018", setup=True)
    doc.header["$INSUNITS"] = unit
    draw(doc.modelspace(), doc)
    doc.saveas(tmp_path / name)
    return tmp_path / name


def shapes_of(layers):
    return [shape for _, batches in layers for batch in batches for shape in batch.geometry]


def only_shape(tmp_path, draw, hints=METRES, unit=6):
    [shape] = shapes_of(consumed(drawn(tmp_path, lambda model, _: draw(model), unit), hints)[1])
    return shape


def codes(items):
    return [item.code for item in items]


def test_every_kind_of_entity_comes_on_its_own_layer(tmp_path):
    def draw(model, doc):
        model.add_point((1, 2, 3), {"layer": "P"})
        model.add_line((0, 0), (3, 4), {"layer": "L"})
        model.add_lwpolyline([(0, 0), (4, 0), (4, 3)], close=True, dxfattribs={"layer": "A"})
        model.add_polyline3d([(0, 0, 1), (4, 0, 2), (4, 3, 3)], dxfattribs={"layer": "L"})
        model.add_text("井", dxfattribs={"layer": "T", "insert": (5, 6)})
        model.add_mtext("two\\Plines", {"layer": "T", "insert": (7, 8)})
        model.add_solid([(0, 0), (1, 0), (0, 1), (1, 1)], {"layer": "A"})
        doc.layers.add("empty")

    reading, layers = consumed(drawn(tmp_path, draw))
    assert reading.format == "DXF"
    assert {layer.name: layer.n_read for layer, _ in layers} == {"A": 2, "L": 2, "P": 1, "T": 2}
    assert not [reject for layer, _ in layers for reject in layer.rejects]
    stored = {layer.name: batches[0] for layer, batches in layers}
    assert stored["P"].geometry[0].coords[0] == (1, 2, 3)
    assert stored["T"].attributes.column("text").to_pylist() == ["井", "two\nlines"]
    assert sorted(shapely.area(stored["A"].geometry)) == [1, 6]  # a SOLID's third and fourth corner are crossed
    lines = dict(zip(stored["L"].attributes.column("entity").to_pylist(), stored["L"].geometry, strict=True))
    assert lines["LINE"].length == 5
    assert shapely.get_coordinates(lines["POLYLINE"], include_z=True)[:, 2].tolist() == [1, 2, 3]


def test_arcs_are_within_the_tolerance_and_areas_follow(tmp_path):
    circle = only_shape(tmp_path, lambda model: model.add_circle((10, 20), 50))
    xy = shapely.get_coordinates(circle)
    assert np.hypot(*(xy - (10, 20)).T) == pytest.approx(50, abs=1e-9)
    middles = (xy[1:] + xy[:-1]) / 2 - (10, 20)
    assert (50 - np.hypot(*middles.T)).max() <= 0.001
    assert circle.area == pytest.approx(math.pi * 2500, rel=4e-5)
    arc = only_shape(tmp_path, lambda model: model.add_arc((0, 0), 10, 350, 80))
    assert arc.length == pytest.approx(10 * math.radians(90), rel=1e-4)
    assert shapely.get_coordinates(arc)[0] == pytest.approx(
        [10 * math.cos(math.radians(350)), 10 * math.sin(math.radians(350))]
    )
    half = only_shape(tmp_path, lambda model: model.add_lwpolyline([(0, 0, 1), (10, 0, 0)], format="xyb", close=True))
    assert half.area == pytest.approx(math.pi * 25 / 2, rel=1e-3)
    assert half.bounds[1] == pytest.approx(-5, abs=0.001)  # a positive bulge lies to the right
    ellipse = only_shape(tmp_path, lambda model: model.add_ellipse((0, 0), (20, 0), 0.5))
    assert ellipse.area == pytest.approx(math.pi * 20 * 10, rel=1e-3)


def test_splines_follow_their_curve(tmp_path):
    # a cubic Bézier curve: B(½) = (P0 + 3 P1 + 3 P2 + P3) / 8
    points = [(0, 0), (0, 8), (8, 8), (8, 0)]
    spline = only_shape(tmp_path, lambda model: model.add_open_spline([(*each, 0) for each in points], degree=3))
    assert spline.distance(shapely.Point(4, 6)) < 0.001
    assert shapely.get_coordinates(spline)[[0, -1]].tolist() == [[0, 0], [8, 0]]


def test_hatches_are_even_odd(tmp_path):
    def draw(model):
        hatch = model.add_hatch()
        hatch.paths.add_polyline_path([(0, 0), (10, 0), (10, 10), (0, 10)], is_closed=True)
        hatch.paths.add_polyline_path([(2, 2), (8, 2), (8, 8), (2, 8)], is_closed=True)
        edges = hatch.paths.add_edge_path()
        edges.add_arc((5, 5), 2, 0, 360)

    shape = only_shape(tmp_path, draw)
    assert shape.area == pytest.approx(100 - 36 + math.pi * 4, rel=1e-3)


def test_object_coordinates_become_world_coordinates(tmp_path):
    # extrusion (0, 0, -1): the arbitrary axis algorithm turns x round
    mirrored = only_shape(
        tmp_path, lambda model: model.add_lwpolyline([(1, 2), (3, 2)], dxfattribs={"extrusion": (0, 0, -1)})
    )
    assert shapely.get_coordinates(mirrored).tolist() == [[-1, 2], [-3, 2]]


def test_blocks_are_taken_apart_with_their_attributes(tmp_path):
    def draw(model, doc):
        block = doc.blocks.new("MANHOLE")
        block.add_circle((0, 0), 1)
        block.add_attdef("NO", (0, 0))
        outer = doc.blocks.new("PAIR")
        outer.add_blockref("MANHOLE", (0, 0))
        outer.add_blockref("MANHOLE", (10, 0))
        reference = model.add_blockref("MANHOLE", (100, 200), {"layer": "W", "xscale": 2, "yscale": 2})
        reference.add_auto_attribs({"NO": "W-17"})
        model.add_blockref("PAIR", (0, 0), {"layer": "W", "rotation": 90})

    _, layers = consumed(drawn(tmp_path, draw))
    rows = [
        (row["entity"], row["block"], row.get("NO"), shape)
        for _, batches in layers
        for batch in batches
        for row, shape in zip(batch.attributes.to_pylist(), batch.geometry, strict=True)
    ]
    counts = {kind: sum(row[0] == kind for row in rows) for kind in ("INSERT", "CIRCLE")}
    assert counts == {"INSERT": 4, "CIRCLE": 3}
    [(_, block, number, shape)] = [row for row in rows if row[2] == "W-17" and row[0] == "CIRCLE"]
    assert (block, number) == ("MANHOLE", "W-17")
    assert shape.bounds == pytest.approx((98, 198, 102, 202), abs=0.01)
    centres = sorted(
        tuple(np.round(row[3].centroid.coords[0], 6)) for row in rows if row[1] == "PAIR/MANHOLE" and row[0] == "CIRCLE"
    )
    assert centres == [(0, 0), (0, 10)]  # turned by 90°
    ids = [each for _, batches in layers for batch in batches for each in batch.ids]
    assert len(ids) == len(set(ids))


def test_faces_and_meshes_become_meshes(tmp_path):
    def draw(model, _):
        model.add_3dface([(0, 0, 1), (4, 0, 1), (4, 3, 2), (0, 3, 2)], {"layer": "F"})
        with model.add_mesh({"layer": "M"}).edit_data() as data:
            data.vertices = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
            data.faces = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3)]
        cube = ezdxf.render.forms.cube()
        cube.render_polyface(model, {"layer": "C"})

    _, layers = consumed(drawn(tmp_path, draw))
    meshes = {layer.name: batches[0].meshes[0] for layer, batches in layers}
    assert {name: round(mesh.volume_m3(), 9) for name, mesh in meshes.items() if name != "F"} == {
        "C": 1,
        "M": round(1 / 6, 9),
    }
    outline = {layer.name: batches[0].geometry[0] for layer, batches in layers}
    assert outline["F"].area == pytest.approx(12)


@pytest.mark.parametrize(("unit", "metres"), [(4, 0.001), (5, 0.01), (2, 0.3048), (0, 1.0), (6, 1.0)])
def test_the_unit_of_the_drawing_is_honoured(tmp_path, unit, metres):
    path = drawn(tmp_path, lambda model, _: model.add_line((0, 0, 5000), (3000, 4000, 5000)), unit)
    reading, layers = consumed(path)
    [line] = shapes_of(layers)
    assert line.length == pytest.approx(5000 * metres)
    assert shapely.get_coordinates(line, include_z=True)[0, 2] == pytest.approx(5000 * metres)
    assert codes(reading.issues) == (["DRAWING_UNIT_APPLIED"] if metres != 1 else [])
    [told] = shapes_of(consumed(path, Hints(crs=NOWHERE, unit_scale=1.0))[1])
    assert told.length == pytest.approx(5000)


def test_a_drawing_without_place_is_asked_for_one(tmp_path):
    path = drawn(tmp_path, lambda model, _: model.add_point((1, 2)))
    with pytest.raises(CrsMissing, match=r"plan\.dxf"):
        dxf.read(path, Hints())


DEFINITION = (
    '<?xml version="1.0"?><Dictionary version="1.0"><Alias id="4549" type="CoordinateSystem">'
    "<ObjectId>x</ObjectId><Namespace>EPSG Code</Namespace></Alias></Dictionary>"
)


def test_geodata_moves_scales_and_turns(tmp_path):
    def draw(model, _):
        geodata = model.new_geodata()
        geodata.coordinate_system_definition = DEFINITION
        geodata.dxf.coordinate_type = 1
        geodata.dxf.design_point = (10_000, 20_000, 0)
        geodata.dxf.reference_point = (597_000, 3_109_000, 0)
        geodata.dxf.horizontal_unit_scale = geodata.dxf.vertical_unit_scale = 0.001
        geodata.dxf.north_direction = (1, 0)  # north is to the right of the drawing, so its y is west
        model.add_line((10_000, 20_000, 0), (11_000, 22_000, 3_000))

    _, [(layer, [batch])] = consumed(drawn(tmp_path, draw, unit=4), Hints())
    assert layer.crs == "EPSG:4549"
    ends = shapely.get_coordinates(batch.geometry[0], include_z=True)
    # 1 m to the north, 2 m to the west, 3 m up
    assert ends.tolist() == pytest.approx(np.array([[597_000, 3_109_000, 0], [596_998, 3_109_001, 3]]), abs=1e-9)


@pytest.mark.parametrize(("name", "code"), [("houses_of_parliament_georeferenced", 27700), ("Graz_10km_3m", 3395)])
def test_real_drawings_lie_where_ezdxf_puts_them(realdata, name, code):
    path = realdata / "vector" / f"{name}.dxf"
    _, [(layer, [batch])] = consumed(path, Hints())
    assert layer.crs == f"EPSG:{code}"
    doc = ezdxf.readfile(path)
    matrix, epsg = doc.modelspace().get_geodata().get_crs_transformation(no_checks=True)
    assert epsg == code
    corners = []
    for entity in doc.modelspace():
        points = entity.boundary_path_wcs() if entity.dxftype() == "IMAGE" else map(Vec3, entity.get_points("xy"))
        corners += [(point.x, point.y) for point in matrix.transform_vertices(points)]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    assert shapely.total_bounds(batch.geometry) == pytest.approx([*low, *high], abs=1e-6)


def test_what_is_not_read_is_named_with_its_number(tmp_path):
    def draw(model, doc):
        model.add_point((0, 0))
        model.add_xline((0, 0), (1, 0))
        model.add_xline((0, 0), (0, 1))
        doc.add_xref_def("other.dwg", "OTHER")
        model.add_blockref("OTHER", (0, 0))
        doc.blocks.new("LOOP").add_blockref("LOOP", (1, 1))
        model.add_blockref("LOOP", (0, 0))

    reading, _ = consumed(drawn(tmp_path, draw))
    said = {issue.code: issue.message for issue in reading.issues}
    assert "2 XLINE" in said["ENTITY_NOT_READ"]
    assert "1 INSERT within itself" in said["ENTITY_NOT_READ"]
    assert "1 INSERT of an external drawing" in said["ENTITY_NOT_READ"]
    assert "other.dwg" in said["FILE_REFERENCED"]


def test_endless_repetition_is_refused(tmp_path):
    def draw(model, doc):
        doc.blocks.new("A").add_point((0, 0))
        model.add_blockref(
            "A", (0, 0), {"row_count": 30_000, "column_count": 30_000, "row_spacing": 1, "column_spacing": 1}
        )

    with pytest.raises(InvalidInput) as caught:
        dxf.read(drawn(tmp_path, draw), METRES)
    assert caught.value.code == "TOO_LARGE"


def test_a_dwg_is_refused_with_the_next_step(tmp_path):
    path = tmp_path / "a.dxf"
    path.write_bytes(b"AC1032" + bytes(1000))
    with pytest.raises(InvalidInput, match="Save it as DXF"):
        dxf.read(path, METRES)
    with pytest.raises(InvalidInput, match="Save it as DXF"):
        reader_for(tmp_path / "a.DWG")


def test_mixed_kinds_on_one_layer_become_a_layer_each(tmp_path):
    def draw(model, _):
        model.add_lwpolyline([(0, 0), (4, 0), (4, 3)], close=True, dxfattribs={"layer": "建筑"})
        model.add_lwpolyline([(9, 0), (14, 0), (14, 3)], close=True, dxfattribs={"layer": "建筑"})
        model.add_text("3", dxfattribs={"layer": "建筑", "insert": (1, 1)})
        model.add_line((90, 0), (91, 0), {"layer": "other"})

    reading, layers = consumed(drawn(tmp_path, draw))
    assert [(layer.name, layer.layer_type, layer.n_read) for layer, _ in layers][1:] == [
        ("建筑", "building", 2),
        ("建筑_points", layers[2][0].layer_type, 1),
    ]
    assert "GEOMETRY_KINDS_SPLIT" in codes(reading.issues)


def test_the_epsg_alias_is_found_wherever_its_attributes_stand():
    assert dxf_place.epsg_code(DEFINITION) == 4549
    assert (
        dxf_place.epsg_code('<Alias type="CoordinateSystem" id="3857"><Namespace> EPSG Code </Namespace></Alias>')
        == 3857
    )
    assert dxf_place.epsg_code('<Alias type="Datum" id="6326"><Namespace>EPSG Code</Namespace></Alias>') is None
