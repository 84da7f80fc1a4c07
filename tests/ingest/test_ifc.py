"""The IFC reader on the sample town's models and on small models made here, against truths that are not its own."""

import importlib
import json
import sys
import zipfile
from pathlib import Path

import ifcopenshell
import ifcopenshell.geom
import ifcopenshell.guid
import numpy as np
import pytest

from ingest import read as read_any
from ingest.ifc import reader as ifc
from layers import catalogue, crs
from layers.errors import InvalidInput, Unplaceable
from layers.source import ControlPoint, Hints

ROOT = Path(__file__).resolve().parents[2]
BIM = ROOT / "sample_data" / "town" / "bim"
TRUTHS = {Path(each["file"]).name: each for each in json.loads((BIM / "bim_truths.json").read_text("utf8"))}
PLACED = [name for name, truth in TRUTHS.items() if truth["method"] != "none"]
HINTS = Hints(city_crs="EPSG:4549")


def load(path, hints=HINTS):
    """Everything of one file: reading, then for each layer its rows with id, geometry and mesh."""
    reading = ifc.read(path, hints)
    layers = {}
    for layer in reading.layers:
        rows = {}
        for batch in layer.batches():
            meshes = batch.meshes or [None] * len(batch)
            for key, geometry, mesh, row, extra in zip(
                batch.ids, batch.geometry, meshes, batch.attributes.to_pylist(), batch.extra, strict=True
            ):
                assert key not in rows
                rows[key] = {**row, "geometry": geometry, "mesh": mesh, "extra": json.loads(extra or "{}")}
        assert layer.n_read == len(rows) + len(layer.rejects)
        layers[layer.layer_type] = (layer, rows)
    return reading, layers


@pytest.fixture(scope="module")
def town():
    return {name: load(BIM / name) for name in PLACED}


@pytest.mark.parametrize("name", PLACED)
def test_counts_and_classes_of_the_sample_models(town, name):
    _, layers = town[name]
    (elements, rows), (assemblies, parts) = layers["bim_element"], layers["bim_assembly"]
    assert (len(rows), len(parts)) == (TRUTHS[name]["n_bim_element"], TRUTHS[name]["n_bim_assembly"])
    assert not elements.rejects
    assert not assemblies.rejects
    stored = [row["ifc_class"] for row in [*rows.values(), *parts.values()]]
    expected = {k: v for k, v in TRUTHS[name]["products_by_class"].items() if k != "IfcOpeningElement"}
    assert {each: stored.count(each) for each in stored} == expected
    assert set(TRUTHS[name]["shapeless_assemblies"]) <= set(parts)


@pytest.mark.parametrize("name", PLACED)
def test_known_points_land_within_a_millimetre_of_hand_arithmetic(town, name):
    rows = town[name][1]["bim_element"][1]
    for point in TRUTHS[name]["known_points"]:
        away = rows[point["guid"]]["mesh"].vertices - [point["e"], point["n"], point["h"]]
        assert np.linalg.norm(away, axis=1).min() < 0.001, point["arithmetic"]


@pytest.mark.parametrize("name", PLACED)
def test_the_certificate_says_how(town, name):
    reading, layers = town[name]
    certificate = reading.certificate
    assert certificate.method == TRUTHS[name]["method"]
    assert certificate.contradictions == ()
    assert layers["bim_element"][0].crs == TRUTHS[name]["crs"]
    for key, value in TRUTHS[name].get("map_conversion", {}).items():
        assert certificate.parameters[key] == pytest.approx(value, abs=1e-9)
    kernels = [row["kernel"] for row in layers["bim_element"][1].values()]
    said = next(issue.message for issue in layers["bim_element"][0].issues if issue.code == "IFC_KERNELS")
    assert all(f"{kernel} made {kernels.count(kernel)}" in said for kernel in set(kernels))


def test_the_crest_of_the_sluice_is_the_crest_of_the_file(town):
    truth, rows = TRUTHS["sluice_ifc4x3.ifc"], town["sluice_ifc4x3.ifc"][1]["bim_element"][1]
    for guid in truth["crest_guids"]:
        assert rows[guid]["top_elev_m"] == pytest.approx(truth["crest_elev_m"], abs=1e-6)
    parts = town["sluice_ifc4x3.ifc"][1]["bim_assembly"][1].values()
    facility = next(row for row in parts if row["ifc_class"] == "IfcMarineFacility")
    assert json.loads(facility["psets"])["CityTwin_HydraulicWorks"]["CrestElevation"] == truth["crest_elev_m"]


def test_attributes_and_colours_of_the_office(town):
    rows = town["office_ifc4_mm.ifc"][1]["bim_element"][1]
    wall = next(row for row in rows.values() if row["name"] == "外墙-2F-南")
    assert (wall["ifc_class"], wall["storey"], wall["tag"], wall["cim_level"]) == ("IfcWall", "2F", "W2南", 6)
    assert json.loads(wall["psets"])["Pset_WallCommon"]["FireRating"] == "2.0h"
    assert wall["base_elev_m"] == pytest.approx(5.6 + 3.6)
    assert next(row for row in rows.values() if row["ifc_class"] == "IfcPipeSegment")["system"] == "给水系统"
    assert next(row for row in rows.values() if row["ifc_class"] == "IfcColumn")["type_name"].startswith("圆柱 D500")
    window = next(row for row in rows.values() if row["ifc_class"] == "IfcWindow")["mesh"]
    # frame 0.25, 0.27, 0.30 and glass 0.55, 0.75, 0.85 with transparency 0.6, times 255
    assert {tuple(each) for each in window.materials.tolist()} == {(64, 69, 76, 255), (140, 191, 217, 102)}


def test_a_stair_is_an_assembly_whose_hull_is_that_of_its_flights(town):
    layers = town["office_ifc4_mm.ifc"][1]
    for guid in TRUTHS["office_ifc4_mm.ifc"]["shapeless_assemblies"]:
        stair = layers["bim_assembly"][1][guid]
        flights = [row for row in layers["bim_element"][1].values() if row["parent_id"] == guid]
        assert len(flights) == 3
        assert stair["mesh"] is None
        points = np.vstack([row["mesh"].vertices for row in flights])
        assert stair["geometry"].bounds == pytest.approx((*points.min(axis=0)[:2], *points.max(axis=0)[:2]))
        assert stair["top_elev_m"] == pytest.approx(points[:, 2].max())


@pytest.mark.parametrize("name", PLACED)
def test_volumes_agree_with_opencascade_in_this_process(town, name):
    """Windows cut out, solids closed and outward: the volume of each mesh is that of a second, foreign run."""
    model = ifcopenshell.open(BIM / name)
    settings = ifcopenshell.geom.settings()
    rows = town[name][1]["bim_element"][1]
    for entity in ("IfcWall", "IfcSlab", "IfcColumn", "IfcStairFlight", "IfcWindow"):
        for product in model.by_type(entity)[:3]:
            shape = ifcopenshell.geom.create_shape(settings, product)
            vertices = np.array(shape.geometry.verts).reshape(-1, 3)
            a, b, c = (vertices[np.array(shape.geometry.faces)[k::3]] for k in range(3))
            theirs = np.einsum("ij,ij->", a, np.cross(b, c)) / 6
            assert rows[product.GlobalId]["mesh"].volume_m3() == pytest.approx(theirs, rel=1e-5), product


def test_the_model_without_place_is_parked_with_the_next_step():
    with pytest.raises(Unplaceable) as parked:
        ifc.read(BIM / "guardhouse_ifc4.ifc", HINTS)
    assert parked.value.code == "IFC_NO_GEOREFERENCE"
    assert "IfcMapConversion" in parked.value.hint


def test_the_sample_models_are_made_the_same_again(tmp_path):
    sys.path.insert(0, str(ROOT))
    try:
        bim = importlib.import_module("sample_data.maker.bim")
    finally:
        sys.path.remove(str(ROOT))
    bim.write(tmp_path)
    for path in sorted(tmp_path.iterdir()):
        assert path.read_bytes() == (BIM / path.name).read_bytes(), path.name


# --- small models made here ---


def box_model(extra="", *, names=("一号墙",), guids=None, conversion=True, points=((0, 0), (4, 0), (4, 1), (0, 1))):
    """IFC4 in metres: prisms 3 m high side by side, written out as text so that no library stands between."""
    guids = guids or [ifcopenshell.guid.compress(f"{i + 4096:032x}") for i in range(len(names))]
    outline = ",".join(f"#{60 + i}" for i in range(len(points)))
    lines = [
        "#1=IFCPROJECT('0000000000000000000001',$,'p',$,$,$,$,(#10),#20);",
        "#10=IFCGEOMETRICREPRESENTATIONCONTEXT($,'Model',3,1.E-05,#11,$);",
        "#11=IFCAXIS2PLACEMENT3D(#12,$,$);",
        "#12=IFCCARTESIANPOINT((0.,0.,0.));",
        "#20=IFCUNITASSIGNMENT((#21));",
        "#21=IFCSIUNIT(*,.LENGTHUNIT.,$,.METRE.);",
        "#30=IFCLOCALPLACEMENT($,#11);",
        "#40=IFCEXTRUDEDAREASOLID(#50,#11,#41,3.);",
        "#41=IFCDIRECTION((0.,0.,1.));",
        f"#50=IFCARBITRARYCLOSEDPROFILEDEF(.AREA.,$,#51);\n#51=IFCPOLYLINE(({outline},#60));",
        *(f"#{60 + i}=IFCCARTESIANPOINT(({float(x)},{float(y)}));" for i, (x, y) in enumerate(points)),
        "#55=IFCSHAPEREPRESENTATION(#10,'Body','SweptSolid',(#40));",
        "#56=IFCPRODUCTDEFINITIONSHAPE($,$,(#55));",
    ]
    if conversion:
        lines.append("#70=IFCPROJECTEDCRS('EPSG:4549',$,$,'EPSG:5737',$,$,#21);")
        lines.append("#71=IFCMAPCONVERSION(#10,#70,598000.,3109500.,5.,1.,0.,1.);")
    for i, (name, guid) in enumerate(zip(names, guids, strict=True)):
        coded = "".join(c if c.isascii() else f"\\X2\\{ord(c):04X}\\X0\\" for c in name)
        lines.append(f"#{100 + i}=IFCWALL('{guid}',$,'{coded}',$,$,#30,#56,$,$);")
    head = ["ISO-10303-21;", "HEADER;", "FILE_DESCRIPTION((''),'2;1');", "FILE_NAME('','',(''),(''),'','','');"]
    head += ["FILE_SCHEMA(('IFC4'));", "ENDSEC;", "DATA;"]
    return "\n".join([*head, *lines, extra, "ENDSEC;", "END-ISO-10303-21;", ""])


def saved(tmp_path, text, name="model.ifc", encoding="ascii"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


def test_a_written_out_wall_by_hand(tmp_path):
    _, layers = load(saved(tmp_path, box_model()))
    [row] = layers["bim_element"][1].values()
    assert row["name"] == "一号墙"
    assert row["mesh"].bounds() == pytest.approx((598000, 3109500, 5, 598004, 3109501, 8))
    assert row["mesh"].volume_m3() == pytest.approx(12)
    assert row["geometry"].area == pytest.approx(4)
    assert row["geometry"].geoms[0].exterior.coords[0][2] == pytest.approx(5)
    known = {each.name for each in catalogue.layer_type("bim_element").attributes}
    assert set(row) - {"geometry", "mesh", "extra"} <= known


def test_an_ifczip_is_the_same_model(tmp_path):
    plain = load(saved(tmp_path, box_model()))[1]["bim_element"][1]
    with zipfile.ZipFile(tmp_path / "model.ifczip", "w") as archive:
        archive.write(tmp_path / "model.ifc", "model.ifc")
    packed = load(tmp_path / "model.ifczip")[1]["bim_element"][1]
    assert packed.keys() == plain.keys()
    (tmp_path / "bad.ifczip").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InvalidInput, match="no whole zip archive"):
        ifc.read(tmp_path / "bad.ifczip", HINTS)


def test_a_duplicate_globalid_is_rejected_with_its_content(tmp_path):
    guid = ifcopenshell.guid.compress("1" * 32)
    _, layers = load(saved(tmp_path, box_model(names=("a", "b"), guids=[guid, guid])))
    layer, rows = layers["bim_element"]
    assert list(rows) == [guid]
    assert rows[guid]["name"] == "a"
    [reject] = layer.rejects
    assert (reject.code, reject.where, reject.content["name"]) == ("IFC_DUPLICATE_GUID", "#101", "b")


def test_an_element_that_no_kernel_can_mesh_is_rejected_with_its_attributes(tmp_path):
    _, layers = load(saved(tmp_path, box_model(points=((1, 1), (1, 1)))))  # a profile of one point
    layer, rows = layers["bim_element"]
    assert not rows
    [reject] = layer.rejects
    assert reject.code == "IFC_NO_SHAPE"
    assert reject.content["name"] == "一号墙"
    assert "manifold" in reject.message
    assert "opencascade" in reject.message


def test_coordinates_of_forty_million_keep_their_shape(tmp_path):
    far = 39_500_000.0  # zone-prefixed easting in the shape itself, EPSG:4527 is zone 39
    points = ((far, 3109500), (far + 0.3, 3109500), (far + 0.3, 3109500.2), (far, 3109500.2))
    path = saved(tmp_path, box_model(conversion=False, points=points))
    _, layers = load(path, Hints(crs="EPSG:4527", city_crs="EPSG:4549"))
    [row] = layers["bim_element"][1].values()
    assert row["mesh"].volume_m3() == pytest.approx(0.3 * 0.2 * 3, rel=1e-6)
    assert row["mesh"].bounds()[0] == pytest.approx(far, abs=1e-6)


def test_names_in_raw_bytes_are_kept(tmp_path):
    text = box_model(names=("wall",)).replace("'wall'", "'外墙'")
    for encoding, code in (("utf-8", "info"), ("gbk", "warning")):
        reading, layers = load(saved(tmp_path, text, f"{encoding}.ifc", encoding))
        assert [row["name"] for row in layers["bim_element"][1].values()] == ["外墙"]
        assert [(i.code, i.severity) for i in reading.issues] == [("IFC_ENCODING", code)]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("外墙-2F-南（钢筋混凝土）", "gb18030"),
        ("标准层平面", "gbk"),
        ("外壁・コンクリート", "cp932"),
        ("標準 壁 1階", "cp932"),
        ("ソーラー表示", "cp932"),  # its second bytes are ASCII, one of them a backslash
        ("Außenwand Süd, Tür zum Gemüsegarten", "cp1252"),
        ("Façade côté jardin", "cp1252"),
    ],
)
def test_names_in_other_encodings_are_recognised_by_their_characters(tmp_path, name, encoding):
    text = box_model(names=("wall",)).replace("'wall'", f"'{name}'")
    reading, layers = load(saved(tmp_path, text, "raw.ifc", encoding))
    assert [row["name"] for row in layers["bim_element"][1].values()] == [name]
    [issue] = reading.issues
    assert (issue.code, issue.severity) == ("IFC_ENCODING", "warning")
    assert "gb18030" in issue.message if encoding == "gbk" else encoding in issue.message


@pytest.mark.parametrize(
    ("name", "encoding", "used"),
    [
        ("ソーラー表示 1階", "cp932", "cp932"),
        ("外墙-2F-南", "gb18030", "gb18030"),
        ("外墙", "utf-8", "utf-8"),
        ("Außenwand Süd", "latin-1", None),  # as the standard has it
        ("mur côté jardin, 2e étage", "latin-1", None),
    ],
)
def test_bytes_behind_eight_bit_escapes_are_read_as_what_they_are(tmp_path, name, encoding, used):
    raw = name.encode(encoding)
    coded = "".join({0x5C: "\\\\"}.get(b, chr(b)) if b < 128 else f"\\X\\{b:02X}" for b in raw)
    reading, layers = load(saved(tmp_path, box_model(names=("wall",)).replace("'wall'", f"'{coded}'")))
    assert [row["name"] for row in layers["bim_element"][1].values()] == [name]
    assert [used in issue.message for issue in reading.issues] == ([True] if used else [])


def test_a_given_encoding_goes_before_the_guess(tmp_path):
    text = box_model(names=("wall",)).replace("'wall'", "'фасад'")
    reading, layers = load(saved(tmp_path, text, "raw.ifc", "cp1251"), Hints(city_crs="EPSG:4549", encoding="cp1251"))
    assert [row["name"] for row in layers["bim_element"][1].values()] == ["фасад"]
    assert reading.issues[0].severity == "info"


RIGID = """#70=IFCGEOGRAPHICCRS('EPSG:4490',$,$,$,#340,#21);
#71=IFCRIGIDOPERATION(#10,#70,IFCPLANEANGLEMEASURE(28.1),IFCPLANEANGLEMEASURE(121.),5.);
#340=IFCCONVERSIONBASEDUNIT(#341,.PLANEANGLEUNIT.,'DEGREE',#342);
#341=IFCDIMENSIONALEXPONENTS(0,0,0,0,0,0,0);
#342=IFCMEASUREWITHUNIT(IFCPLANEANGLEMEASURE(0.017453292519943295),#343);
#343=IFCSIUNIT(*,.PLANEANGLEUNIT.,$,.RADIAN.);"""


def test_a_rigid_operation_in_degrees_is_placed(tmp_path):
    text = box_model(RIGID, conversion=False).replace("'IFC4'", "'IFC4X3_ADD2'")
    reading, layers = load(saved(tmp_path, text))
    assert (reading.certificate.method, reading.certificate.contradictions) == ("rigid-operation", ())
    [row] = layers["bim_element"][1].values()
    east, north = crs.transform("EPSG:4490", "EPSG:4549", np.array([121.0]), np.array([28.1]))
    assert np.hypot(*(row["mesh"].vertices[:, :2] - [east[0], north[0]]).T).min() < 1e-6
    assert (row["base_elev_m"], row["top_elev_m"]) == (5, 8)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        ("#21=IFCSIUNIT(*,.AREAUNIT.,$,.SQUARE_METRE.);", 1.0),
        ("#21=IFCSIUNIT(*,.AREAUNIT.,.MILLI.,.SQUARE_METRE.);", 1e-6),
    ],
)
def test_the_floor_area_of_a_space_in_the_unit_of_the_project(tmp_path, unit, factor):
    text = box_model(
        f"""{unit.replace("#21", "#22")}
#500=IFCSPACE('2000000000000000000001',$,'101',$,$,#30,#56,$,.ELEMENT.,.INTERNAL.,$);
#501=IFCELEMENTQUANTITY('2000000000000000000002',$,'Qto_SpaceBaseQuantities',$,$,(#502,#503,#504));
#502=IFCQUANTITYAREA('GrossFloorArea',$,$,13.,$);\n#503=IFCQUANTITYAREA('NetFloorArea',$,$,12.,$);
#504=IFCQUANTITYVOLUME('NetVolume',$,#505,1000.,$);\n#505=IFCSIUNIT(*,.VOLUMEUNIT.,.DECI.,.CUBIC_METRE.);
#506=IFCRELDEFINESBYPROPERTIES('2000000000000000000003',$,$,$,(#500),#501);"""
    ).replace("((#21))", "((#21,#22))")
    row = load(saved(tmp_path, text))[1]["bim_assembly"][1]["2000000000000000000001"]
    assert row["area_m2"] == pytest.approx(12 * factor)
    assert row["volume_m3"] == pytest.approx(1)  # a thousand cubic decimetres


COLOURED = """#600=IFCTRIANGULATEDFACESET(#601,$,$,((1,2,3),(1,2,4),(1,3,4),(2,3,4)),$);
#601=IFCCARTESIANPOINTLIST3D(((0.,0.,0.),(1.,0.,0.),(0.,1.,0.),(0.,0.,1.)));
#602=IFCINDEXEDCOLOURMAP(#600,$,#603,(1,1,2,3));
#603=IFCCOLOURRGBLIST(((1.,0.,0.),(0.,1.,0.),(0.,0.,1.)));
#604=IFCSHAPEREPRESENTATION(#10,'Body','Tessellation',(#600));
#605=IFCPRODUCTDEFINITIONSHAPE($,$,(#604));"""


def test_colours_by_triangle(tmp_path):
    texture = "\n#700=IFCIMAGETEXTURE(.T.,.T.,$,$,$,'brick.jpg');"
    text = box_model(COLOURED + texture).replace("$,#30,#56,$,$)", "$,#30,#605,$,$)")
    layer, rows = load(saved(tmp_path, text))[1]["bim_element"]
    [row] = rows.values()
    assert "1 textures" in next(each.message for each in layer.issues if each.code == "IFC_TEXTURES_NOT_READ")
    mesh = row["mesh"]
    seen = [tuple(mesh.materials[each][:3].tolist()) for each in mesh.material_ids]
    assert sorted(seen) == sorted([(255, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)])


def test_a_hint_gives_values_and_layer(tmp_path):
    hints = Hints(city_crs="EPSG:4549", layer="hydraulic_structure", values={"phase": "construction"})
    _, layers = load(saved(tmp_path, box_model()), hints)
    [row] = layers["hydraulic_structure"][1].values()
    assert row["phase"] == "construction"
    assert row["extra"]["ifc_class"] == "IfcWall"


EPSET = """#200=IFCPROPERTYSET('0000000000000000000002',#9,'ePSet_MapConversion',$,(#201,#202,#203,#204));
#201=IFCPROPERTYSINGLEVALUE('Eastings',$,IFCREAL(598000.),$);
#202=IFCPROPERTYSINGLEVALUE('Northings',$,IFCREAL(3109500.),$);
#203=IFCPROPERTYSINGLEVALUE('OrthogonalHeight',$,IFCREAL(5.),$);
#204=IFCPROPERTYSINGLEVALUE('XAxisOrdinate',$,IFCREAL(1.),$);
#205=IFCPROPERTYSET('0000000000000000000003',#9,'ePSet_ProjectedCRS',$,(#206));
#206=IFCPROPERTYSINGLEVALUE('Name',$,IFCLABEL('EPSG:4549'),$);
#207=IFCRELDEFINESBYPROPERTIES('0000000000000000000004',#9,$,$,(#210),#200);
#208=IFCRELDEFINESBYPROPERTIES('0000000000000000000005',#9,$,$,(#210),#205);
#210=IFCSITE('0000000000000000000006',#9,'s',$,$,#30,$,$,.ELEMENT.,$,$,$,$,$);
#9=IFCOWNERHISTORY(#8,#7,$,.ADDED.,$,$,$,0);
#8=IFCPERSONANDORGANIZATION(#5,#6,$);
#5=IFCPERSON($,'x',$,$,$,$,$,$);
#6=IFCORGANIZATION($,'x',$,$,$);
#7=IFCAPPLICATION(#6,'1','x','x');"""


def test_ifc2x3_with_property_sets_for_the_map_conversion(tmp_path):
    text = box_model(EPSET, conversion=False).replace("'IFC4'", "'IFC2X3'").replace("$,#30,#56,$,$)", "$,#30,#56,$)")
    reading, layers = load(saved(tmp_path, text))
    assert reading.certificate.method == "map-conversion"
    # x axis to the north: local (4, 1) comes to (-1, 4)
    [row] = layers["bim_element"][1].values()
    assert row["mesh"].bounds() == pytest.approx((597999, 3109500, 5, 598000, 3109504, 8))


# --- what cannot be read ---


def broken(text):
    line = text.count("\n", 0, text.index("#40=")) + 1
    return [
        ("empty", "", "is empty", "FILE_EMPTY"),
        ("not_step", "hello", "ISO-10303-21", "IFC_SYNTAX"),
        ("xml", "<ifcXML/>", "ISO-10303-21", "IFC_SYNTAX"),
        ("cut_off", text[: len(text) // 2], "is cut off", "IFC_TRUNCATED"),
        ("older", text.replace("IFC4'", "IFC2X2_FINAL'"), "IFC2X2_FINAL", "IFC_SCHEMA_UNSUPPORTED"),
        ("bracket", text.replace("(#50,#11", "((#50,#11"), f"line {line}", "IFC_SYNTAX"),
        ("keyword", text.replace("IFCEXTRUDEDAREASOLID", "IFCXX"), f"line {line}", "IFC_SYNTAX"),
        ("repeated", text.replace("#41=", "#40="), "#40", "IFC_SYNTAX"),
        ("no_project", text.replace("#1=IFCPROJECT(", "#1=IFCPROJECTLIBRARY("), "no IfcProject", "IFC_EMPTY"),
    ]


@pytest.mark.parametrize("index", range(len(broken(box_model()))), ids=lambda i: broken(box_model())[i][0])
def test_a_broken_file_is_refused_with_its_line(tmp_path, index):
    name, text, words, code = broken(box_model())[index]
    with pytest.raises(InvalidInput) as refused:
        ifc.read(saved(tmp_path, text, f"{name}.ifc"), HINTS)
    assert words in str(refused.value)
    assert refused.value.code == code
    assert refused.value.hint


def test_a_reference_to_nothing_is_told_with_its_line(tmp_path):
    text = box_model(names=("a", "b")).replace("'b',$,$,#30,#56,$,$)", "'b',$,$,#30,#5656,$,$)")
    reading, layers = load(saved(tmp_path, text))
    [issue] = reading.issues
    line = text.count("\n", 0, text.index("#5656")) + 1
    assert (issue.code, issue.where, issue.severity) == ("IFC_DANGLING_REFERENCE", f"line {line}", "error")
    assert "#5656" in issue.message
    assert [row["name"] for row in layers["bim_element"][1].values()] == ["a"]
    assert [row["name"] for row in layers["bim_assembly"][1].values()] == ["b"]  # its attributes are not lost


def test_comments_are_not_missing_instances(tmp_path):
    text = box_model().replace("#30=", "/* was:\n#30=IFCLOCALPLACEMENT($,$);\n#999=IFCXX(); */\n#30=")
    assert len(load(saved(tmp_path, text))[1]["bim_element"][1]) == 1


def test_a_release_candidate_is_read_as_the_final_schema_and_its_losses_are_counted(tmp_path):
    text = box_model("#900=IFCPRESENTATIONSTYLEASSIGNMENT((.NULL.));\n#901=IFCDIRECTION((0.,0.,1.),$);")
    reading, layers = load(saved(tmp_path, text.replace("IFC4'", "IFC4X3_RC2'")))
    assert len(layers["bim_element"][1]) == 1
    said = {issue.code: issue.message for issue in reading.issues}
    assert "IFC4X3_RC2" in said["IFC_SCHEMA_CANDIDATE"]
    assert "1 IFCPRESENTATIONSTYLEASSIGNMENT" in said["IFC_CANDIDATE_LOST"]
    assert said["IFC_CANDIDATE_ATTRIBUTES"].startswith("1 instances")


def test_identical_shapes_are_shared_and_their_vertices_are_the_shape_moved(tmp_path):
    lines = "#31=IFCLOCALPLACEMENT($,#32);\n#32=IFCAXIS2PLACEMENT3D(#33,$,$);\n#33=IFCCARTESIANPOINT((7.,0.,0.));"
    text = box_model(lines, names=("a", "b")).replace("'b',$,$,#30,#56", "'b',$,$,#31,#56")
    rows = list(load(saved(tmp_path, text))[1]["bim_element"][1].values())
    first, second = (row["mesh"] for row in rows)
    assert first.shared.key == second.shared.key
    assert np.array_equal(first.shared.vertices, second.shared.vertices)
    assert first.vertices == pytest.approx(first.shared.vertices + np.array([598000, 3109500, 5]), abs=1e-9)
    assert second.vertices == pytest.approx(first.shared.vertices + np.array([598007, 3109500, 5]), abs=1e-9)


def test_control_points_place_a_model_that_says_nothing(tmp_path):
    # by hand: a quarter turn left and a shift, (x, y) -> (598000 - y, 3109500 + x)
    points = tuple(
        ControlPoint((x, y, z), (598000.0 - y, 3109500.0 + x, 20.0 + z))
        for x, y, z in ((0.0, 0.0, 0.0), (4.0, 0.0, 3.0), (4.0, 1.0, 0.0), (0.0, 1.0, 3.0))
    )
    path = saved(tmp_path, box_model(conversion=False))
    with pytest.raises(Unplaceable):
        ifc.read(path, HINTS)
    reading = read_any(path, Hints(city_crs="EPSG:4549", control_points=points))
    assert reading.certificate.method == "control-points"
    [batch] = reading.layers[0].batches()
    assert batch.meshes[0].bounds() == pytest.approx((597999, 3109500, 20, 598000, 3109504, 23), abs=1e-6)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="does not exist"):
        ifc.read(tmp_path / "nothing.ifc", HINTS)


def test_the_site_is_where_the_town_put_it():
    """The committed school lies at its plot: degrees, minutes, seconds and millionths back to metres."""
    dms = TRUTHS["school_ifc2x3.ifc"]["site"]
    lat, lon = (d + m / 60 + (s + u / 1e6) / 3600 for d, m, s, u in (dms["lat_dms"], dms["lon_dms"]))
    east, north = crs.transform("EPSG:4326", "EPSG:4549", np.array([lon]), np.array([lat]))
    point = TRUTHS["school_ifc2x3.ifc"]["known_points"][0]
    assert np.hypot(east[0] - point["e"], north[0] - point["n"]) == pytest.approx(np.hypot(30, 2), abs=1e-4)
