"""CityGML: volumes and places by arithmetic, every kind of object, real files against MANIFEST facts and trimesh."""

import json
import re

import numpy as np
import pytest
import shapely
import trimesh
from lxml import etree

from ingest import reader_for
from ingest.citygml import reader as citygml
from layers.errors import InvalidInput
from layers.source import Hints
from tests.ingest.conftest import manifest

EAST, NORTH, BASE = 597000.0, 3109000.0, 20.0
CRS = "urn:ogc:def:crs:EPSG::4549"  # north first
GML = {"2.0": "http://www.opengis.net/gml", "3.0": "http://www.opengis.net/gml/3.2"}
MODULES = (
    "appearance", "bridge", "building", "cityfurniture", "cityobjectgroup", "construction", "generics", "landuse",
    "relief", "transportation", "tunnel", "vegetation", "waterbody",
)  # fmt: skip
FACES = {
    "GroundSurface": [(0, 3, 2, 1)],
    "RoofSurface": [(4, 5, 6, 7)],
    "WallSurface": [(0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)],
}


def document(members, version="2.0", srs=CRS, extra=""):
    names = " ".join(f'xmlns:{m}="http://www.opengis.net/citygml/{m}/{version}"' for m in MODULES)
    envelope = f'<gml:boundedBy><gml:Envelope srsName="{srs}" srsDimension="3"/></gml:boundedBy>' if srs else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<CityModel xmlns="http://www.opengis.net/citygml/{version}" '
        f'xmlns:gml="{GML[version]}" xmlns:xlink="http://www.w3.org/1999/xlink" {names} '
        'xmlns:uro="https://www.geospatial.jp/iur/uro/2.0" xmlns:utl="http://www.citygml.org/ade/utility/0.9.2">\n'
        f"{envelope}\n" + "".join(f"<cityObjectMember>\n{m}\n</cityObjectMember>\n" for m in members)
        + extra + "</CityModel>"
    )  # fmt: skip


def corners(x=0.0, y=0.0, dx=10.0, dy=8.0, h=5.0, *, z=BASE):
    return [(EAST + x + a, NORTH + y + b, z + c) for c in (0, h) for a, b in ((0, 0), (dx, 0), (dx, dy), (0, dy))]


def pos(points, north_first=True):
    return " ".join(f"{n!r} {e!r} {z!r}" if north_first else f"{e!r} {n!r} {z!r}" for e, n, z in points)


def polygon(points, name="", *, closed=True, ring="", holes=(), north_first=True):
    points = [*points, points[0]] if closed else points
    given = f' gml:id="{name}"' if name else ""
    inner = "".join(
        f"<gml:interior><gml:LinearRing><gml:posList>{pos([*h, h[0]], north_first)}</gml:posList></gml:LinearRing>"
        "</gml:interior>"
        for h in holes
    )
    ring = f' gml:id="{ring}"' if ring else ""
    return (
        f"<gml:Polygon{given}><gml:exterior><gml:LinearRing{ring}><gml:posList>{pos(points, north_first)}</gml:posList>"
        f"</gml:LinearRing></gml:exterior>{inner}</gml:Polygon>"
    )


def multi(polygons):
    inner = "".join(f"<gml:surfaceMember>{p}</gml:surfaceMember>" for p in polygons)
    return f"<gml:MultiSurface>{inner}</gml:MultiSurface>"


def shell(members):
    inner = "".join(f"<gml:surfaceMember>{m}</gml:surfaceMember>" for m in members)
    return f"<gml:Solid><gml:exterior><gml:CompositeSurface>{inner}</gml:CompositeSurface></gml:exterior></gml:Solid>"


def links(names):
    inner = "".join(f'<gml:surfaceMember xlink:href="#{n}"/>' for n in names)
    return f"<gml:Solid><gml:exterior><gml:CompositeSurface>{inner}</gml:CompositeSurface></gml:exterior></gml:Solid>"


def house(name="h1", version="2.0", *, inner="", points=None, tag="building:Building", lod=2):
    """Solid of references to the polygons of its boundary surfaces, as most files have it."""
    points = points or corners()
    prefix, wrap = ("building:", "building:boundedBy") if version == "2.0" else ("construction:", "boundary")
    own = "building:" if version == "2.0" else ""
    surfaces, names = "", []
    for kind, faces in FACES.items():
        for number, face in enumerate(faces):
            key = f"{name}_{kind}_{number}"
            names.append(key)
            body = multi([polygon([points[i] for i in face], key, ring=f"{key}_ring")])
            surfaces += (
                f"<{wrap}><{prefix}{kind} gml:id='{key}_s'><{own}lod{lod}MultiSurface>{body}</{own}lod{lod}MultiSurface>"  # noqa: E501
                f"</{prefix}{kind}></{wrap}>"
            )
    solid = f"<{own}lod{lod}Solid>{links(names)}</{own}lod{lod}Solid>"
    first, last = (solid, surfaces) if version == "2.0" else (surfaces, solid)
    return f"<{tag} gml:id='{name}'>{inner}{first}{last}</{tag}>"


def save(tmp_path, text, name="houses.gml"):
    path = tmp_path / name
    path.write_text(text, "utf8")
    return path


def opened(tmp_path, members, hints=None, **kwargs):
    return citygml.read(save(tmp_path, document(members, **kwargs)), hints or Hints())


def only(tmp_path, members, hints=None, **kwargs):
    reading = opened(tmp_path, members, hints, **kwargs)
    [layer] = reading.layers
    return reading, layer, list(layer.batches())


def rows(layer):
    out = []
    for batch in layer.batches():
        for i, row in enumerate(batch.attributes.to_pylist()):
            extra = json.loads(batch.extra[i]) if batch.extra[i] else {}
            mesh = batch.meshes[i] if batch.meshes else None
            out.append((batch.ids[i], {k: v for k, v in row.items() if v is not None}, extra, batch.geometry[i], mesh))
    assert layer.n_read == len(out) + len(layer.rejects)
    return out


def is_watertight(mesh):
    return trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False).is_watertight


@pytest.mark.parametrize("version", ["2.0", "3.0"])
def test_a_house_has_its_volume_its_footprint_and_its_colours(tmp_path, version):
    reading, layer, [batch] = only(tmp_path, [house(version=version)], version=version)
    assert reading.format == f"CityGML {version}"
    assert (layer.layer_type, layer.crs, batch.ids) == ("building", "EPSG:4549", ["h1"])
    [mesh] = batch.meshes
    assert mesh.volume_m3() == pytest.approx(10 * 8 * 5)
    assert mesh.bounds() == pytest.approx((EAST, NORTH, 20, EAST + 10, NORTH + 8, 25))
    assert is_watertight(mesh)
    assert len(mesh.vertices) == 8
    assert batch.geometry[0].equals(shapely.multipolygons([shapely.box(EAST, NORTH, EAST + 10, NORTH + 8)]))
    row = batch.attributes.to_pylist()[0]
    assert (row["height_m"], row["base_elev_m"], row["lod"]) == (pytest.approx(5), pytest.approx(20), "2")
    up = np.cross(*(mesh.vertices[mesh.triangles[:, i]] - mesh.vertices[mesh.triangles[:, 0]] for i in (1, 2)))[:, 2]
    colours = mesh.materials[mesh.material_ids]
    assert (colours[up > 0] == (170, 88, 70, 255)).all()
    assert (colours[up < 0] == (120, 120, 120, 255)).all()
    assert reading.certificate.parameters["axis_order_of_file"] == "north, east"


def test_attributes_of_every_kind_are_kept(tmp_path):
    inner = """<gml:name>Town hall</gml:name>
    <generics:stringAttribute name="colour"><generics:value>red</generics:value></generics:stringAttribute>
    <generics:intAttribute name="flats"><generics:value>12</generics:value></generics:intAttribute>
    <generics:doubleAttribute name="share"><generics:value>0.5</generics:value></generics:doubleAttribute>
    <generics:dateAttribute name="seen"><generics:value>2024-02-03</generics:value></generics:dateAttribute>
    <generics:uriAttribute name="page"><generics:value>http://a.example/1</generics:value></generics:uriAttribute>
    <generics:measureAttribute name="area"><generics:value uom="m2">80.5</generics:value></generics:measureAttribute>
    <generics:genericAttributeSet name="energy">
      <generics:intAttribute name="class"><generics:value>3</generics:value></generics:intAttribute>
      <generics:genericAttributeSet name="heat">
        <generics:stringAttribute name="by"><generics:value>gas</generics:value></generics:stringAttribute>
      </generics:genericAttributeSet>
    </generics:genericAttributeSet>
    <building:function codeSpace="list.xml">1000</building:function><building:function>1010</building:function>
    <building:yearOfConstruction>1985</building:yearOfConstruction>
    <building:measuredHeight uom="ft">20</building:measuredHeight>
    <building:storeysAboveGround>2</building:storeysAboveGround>
    <building:address><Address><xalAddress><a>1 High Street</a><b>Town</b></xalAddress></Address></building:address>
    <uro:buildingID><uro:BuildingID><uro:city codeSpace="c.xml">14201</uro:city></uro:BuildingID></uro:buildingID>"""
    _, layer, _ = only(tmp_path, [house(inner=inner)])
    [(_, row, extra, _, _)] = rows(layer)
    assert (row["name"], row["use"], row["year"], row["floors"]) == ("Town hall", "1000;1010", 1985, 2)
    assert row["height_m"] == pytest.approx(20 * 0.3048)
    assert extra["measuredHeight.uom"] == "20 ft"
    assert extra["function.codeSpace"] == "list.xml"
    expected = {"colour": "red", "flats": 12, "share": 0.5, "seen": "2024-02-03", "page": "http://a.example/1"}
    assert expected.items() <= extra.items()
    assert (extra["area"], extra["area.uom"]) == (80.5, "m2")
    assert (extra["energy.class"], extra["energy.heat.by"]) == (3, "gas")
    assert extra["address"] == "1 High Street Town"
    assert (extra["uro:buildingID.uro:city"], extra["uro:buildingID.uro:city.codeSpace"]) == ("14201", "c.xml")


def test_attributes_of_version_3(tmp_path):
    inner = """<genericAttribute><generics:StringAttribute><generics:name>colour</generics:name>
      <generics:value>red</generics:value></generics:StringAttribute></genericAttribute>
    <construction:dateOfConstruction>1929-01-01</construction:dateOfConstruction>
    <construction:height><construction:Height><construction:highReference>top</construction:highReference>
      <construction:value uom="m">11.5</construction:value></construction:Height></construction:height>"""
    _, layer, _ = only(tmp_path, [house(version="3.0", inner=inner)], version="3.0")
    [(_, row, extra, _, _)] = rows(layer)
    assert (row["year"], row["height_m"]) == (1929, 11.5)
    assert (extra["colour"], extra["height.highReference"]) == ("red", "top")


def test_parts_are_merged_rooms_are_features_with_their_parent(tmp_path):
    part = house("p1", tag="building:BuildingPart", points=corners(20), inner="<gml:name>wing</gml:name>")
    room = (
        "<building:interiorRoom><building:Room gml:id='r1'><building:lod4Solid>"
        + shell([polygon([corners(1, 1, 3, 3, 2)[i] for i in face]) for faces in FACES.values() for face in faces])
        + "</building:lod4Solid></building:Room></building:interiorRoom>"
    )
    inner = f"<building:consistsOfBuildingPart>{part}</building:consistsOfBuildingPart>{room}"
    reading = opened(tmp_path, [house(inner=inner)])
    found = {layer.layer_type: rows(layer) for layer in reading.layers}
    [(_, row, extra, shape, mesh)] = found["building"]
    assert mesh.volume_m3() == pytest.approx(800)
    assert shape.area == pytest.approx(160)
    assert json.loads(extra["parts"]) == {"p1": {"name": "wing"}}
    [(key, row, _, _, mesh)] = found["city_object"]
    assert (key, row["parent_id"], row["object_type"], row["lod"]) == ("r1", "h1", "BuildingRoom", "4")
    assert mesh.volume_m3() == pytest.approx(18)


def thing(tag, prop, geometry, name="x", inner=""):
    module = tag.split(":", maxsplit=1)[0]
    return f"<{tag} gml:id='{name}'>{inner}<{module}:{prop}>{geometry}</{module}:{prop}></{tag}>"


SLAB = multi([polygon(corners()[4:])])
KINDS = [
    ("bridge:Bridge", "bridge"), ("tunnel:Tunnel", "tunnel"), ("waterbody:WaterBody", "water_body"),
    ("landuse:LandUse", "land_use"), ("vegetation:PlantCover", "plant_cover"),
    ("vegetation:SolitaryVegetationObject", "vegetation"), ("cityfurniture:CityFurniture", "city_furniture"),
    ("generics:GenericCityObject", "city_object"), ("construction:OtherConstruction", "other_construction"),
    ("transportation:Road", "traffic_area"), ("transportation:Railway", "traffic_area"),
    ("transportation:Square", "traffic_area"), ("transportation:Track", "traffic_area"),
    ("uro:Pavilion", "city_object"),
]  # fmt: skip


@pytest.mark.parametrize(("tag", "layer_type"), KINDS)
def test_every_module_has_its_layer(tmp_path, tag, layer_type):
    _, layer, [batch] = only(tmp_path, [thing(tag, "lod2MultiSurface", SLAB)])
    assert layer.layer_type == layer_type
    assert len(batch) == layer.n_read == 1
    assert batch.meshes[0].bounds() == pytest.approx((EAST, NORTH, 25, EAST + 10, NORTH + 8, 25))
    assert shapely.centroid(batch.geometry[0]).equals_exact(shapely.Point(EAST + 5, NORTH + 4), 1e-6)


def test_relief_traffic_areas_lines_points_and_groups(tmp_path):
    p = corners()
    triangle = f"<gml:Triangle>{polygon(p[:3])[len('<gml:Polygon>') : -len('</gml:Polygon>')]}</gml:Triangle>"
    tin = f"<gml:TriangulatedSurface><gml:trianglePatches>{triangle}</gml:trianglePatches></gml:TriangulatedSurface>"
    relief = (
        "<relief:ReliefFeature gml:id='t'><relief:lod>1</relief:lod><relief:reliefComponent>"
        + thing("relief:TINRelief", "tin", tin, "tin") + "</relief:reliefComponent></relief:ReliefFeature>"
    )  # fmt: skip
    area = thing("transportation:TrafficArea", "lod2MultiSurface", SLAB, "a")
    road = f"<transportation:Road gml:id='r'><transportation:trafficArea>{area}</transportation:trafficArea></transportation:Road>"  # noqa: E501
    curve = f"<gml:LineString><gml:posList>{pos(p[:2])}</gml:posList></gml:LineString>"
    line = thing("transportation:Road", "lod0Network", curve, "axis")
    point = thing(
        "generics:GenericCityObject", "lod0Geometry", f"<gml:Point><gml:pos>{pos(p[:1])}</gml:pos></gml:Point>", "p"
    )
    group = "<cityobjectgroup:CityObjectGroup gml:id='g'><cityobjectgroup:groupMember xlink:href='#r'/></cityobjectgroup:CityObjectGroup>"  # noqa: E501
    reading = opened(tmp_path, [relief, road, line, point, group])
    found = {layer.layer_type: rows(layer) for layer in reading.layers}
    assert found["relief"][0][4].bounds()[:3] == pytest.approx((EAST, NORTH, BASE))
    assert found["traffic_area"][0][3].area == pytest.approx(80)
    assert found["road"][0][3].length == pytest.approx(10)
    assert shapely.get_coordinates(found["city_object_point"][0][3], include_z=True).tolist() == [[EAST, NORTH, BASE]]
    assert json.loads(found["city_object_group"][0][1]["members"]) == ["r"]


def test_the_utility_network_is_counted_and_named(tmp_path):
    reading = opened(tmp_path, [house(), "<utl:Network gml:id='n'/>", "<utl:Network gml:id='m'/>"])
    [issue] = [each for each in reading.issues if each.code == "CG_NOT_READ"]
    assert "2 × Network (UtilityNetwork ADE)" in issue.message


def test_the_highest_lod_counts_and_the_outline_of_lod_0_is_the_footprint(tmp_path):
    flat = multi(
        [
            polygon(
                [
                    (EAST - 1, NORTH - 1, 20),
                    (EAST + 11, NORTH - 1, 20),
                    (EAST + 11, NORTH + 9, 20),
                    (EAST - 1, NORTH + 9, 20),
                ]
            )
        ]
    )
    low = shell([polygon([corners(h=3)[i] for i in f]) for faces in FACES.values() for f in faces])
    inner = f"<building:lod0FootPrint>{flat}</building:lod0FootPrint><building:lod1Solid>{low}</building:lod1Solid>"
    _, layer, _ = only(tmp_path, [house(inner=inner)])
    [(_, row, _, shape, mesh)] = rows(layer)
    assert mesh.volume_m3() == pytest.approx(400)
    assert (row["lod"], shape.area) == ("2", pytest.approx(12 * 10))


def test_a_solid_with_copies_of_its_surfaces_is_there_once(tmp_path):
    text = house()
    for faces, kind in ((faces, kind) for kind, faces in FACES.items()):
        for number, face in enumerate(faces):
            copy = f"<gml:surfaceMember>{polygon([corners()[i] for i in face])}</gml:surfaceMember>"
            text = text.replace(f'<gml:surfaceMember xlink:href="#h1_{kind}_{number}"/>', copy)
    _, layer, _ = only(tmp_path, [text])
    [(_, _, _, _, mesh)] = rows(layer)
    assert mesh.volume_m3() == pytest.approx(400)
    assert len(mesh.triangles) == 12
    assert set(map(tuple, mesh.materials[mesh.material_ids])) == {
        (170, 88, 70, 255), (120, 120, 120, 255), (222, 214, 200, 255),
    }  # fmt: skip


def test_orientable_surfaces_holes_and_geometry_of_another_member(tmp_path):
    points = corners()
    faces = [face for faces in FACES.values() for face in faces]
    turned = polygon([points[i] for i in reversed(faces[0])], "floor")
    oriented = (
        f'<gml:OrientableSurface orientation="-"><gml:baseSurface>{turned}</gml:baseSurface></gml:OrientableSurface>'
    )
    solid = shell([oriented, *(polygon([points[i] for i in face]) for face in faces[1:])])
    first = f"<building:Building gml:id='a'><building:lod1Solid>{solid}</building:lod1Solid></building:Building>"
    ring = [(EAST + x, NORTH + y, 20.0) for x, y in ((2, 2), (2, 4), (4, 4), (4, 2))]
    holed = multi([polygon(points[:4], holes=[ring])])
    second = (
        f"<landuse:LandUse gml:id='b'><landuse:lod1MultiSurface>{holed}</landuse:lod1MultiSurface></landuse:LandUse>"
    )
    member = '<gml:MultiSurface><gml:surfaceMember xlink:href="#floor"/></gml:MultiSurface>'
    third = (
        f"<landuse:LandUse gml:id='c'><landuse:lod1MultiSurface>{member}</landuse:lod1MultiSurface></landuse:LandUse>"
    )
    lost = third.replace("#floor", "#nowhere").replace("'c'", "'d'")
    reading = opened(tmp_path, [third, first, second, lost])
    found = {layer.layer_type: rows(layer) for layer in reading.layers}
    [(_, _, _, _, mesh)] = found["building"]
    assert mesh.volume_m3() == pytest.approx(400)
    assert is_watertight(mesh)
    by_id = {key: shape for key, _, _, shape, _ in found["land_use"]}
    assert by_id["b"].area == pytest.approx(80 - 4)
    assert by_id["c"].area == pytest.approx(80)
    land = next(layer for layer in reading.layers if layer.layer_type == "land_use")
    [reject] = land.rejects
    assert (reject.code, "d" in reject.where) == ("CG_NO_GEOMETRY", True)
    assert "nowhere" in next(each.message for each in land.issues if each.code == "LINK_UNRESOLVED")


def test_templates_are_placed_turned_and_shared(tmp_path):
    def tree(name, x, turned, shape):
        matrix = "0 -2 0 0 2 0 0 0 0 0 2 0 0 0 0 1" if turned else "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
        at = pos([(EAST + x, NORTH, BASE)])
        return (
            f"<vegetation:SolitaryVegetationObject gml:id='{name}'><vegetation:height uom='m'>4</vegetation:height>"
            f"<vegetation:lod2ImplicitRepresentation><ImplicitGeometry><transformationMatrix>{matrix}"
            f"</transformationMatrix>{shape}<referencePoint><gml:Point><gml:pos>{at}</gml:pos></gml:Point>"
            "</referencePoint></ImplicitGeometry></vegetation:lod2ImplicitRepresentation>"
            "</vegetation:SolitaryVegetationObject>"
        )

    box = [(x, y, z) for z in (0.0, 3.0) for x, y in ((0, 0), (1.0, 0), (1.0, 2.0), (0, 2.0))]
    faces = [polygon([box[i] for i in f], north_first=False) for faces in FACES.values() for f in faces]
    inline = f"<relativeGMLGeometry>{multi(faces).replace('<gml:MultiSurface>', '<gml:MultiSurface gml:id="crown">', 1)}</relativeGMLGeometry>"  # noqa: E501
    _, layer, _ = only(
        tmp_path, [tree("t1", 0, False, inline), tree("t2", 50, True, '<relativeGMLGeometry xlink:href="#crown"/>')]
    )
    first, second = rows(layer)
    assert first[4].shared.key == second[4].shared.key == "crown"
    assert first[4].bounds() == pytest.approx((EAST, NORTH, BASE, EAST + 1, NORTH + 2, BASE + 3))
    # turned by 90° and twice as large: x' = -2 y, y' = 2 x
    assert second[4].bounds() == pytest.approx((EAST + 46, NORTH, BASE, EAST + 50, NORTH + 2, BASE + 6))
    assert second[4].volume_m3() == pytest.approx(6 * 8)
    assert (first[4].triangles == second[4].triangles).all()
    assert (first[3].x, first[3].y, first[1]["height_m"]) == (EAST, NORTH, 4)


def test_bad_objects_are_named_with_line_and_id_and_the_good_ones_stay(tmp_path):
    good = corners()
    nan = thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(good[:4])]).replace(repr(EAST), "NaN", 1), "n1")
    word = thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(good[:4])]).replace(repr(EAST), "x1", 1), "word")
    odd = thing(
        "landuse:LandUse",
        "lod1MultiSurface",
        multi([polygon(good[:4])]).replace("<gml:posList>", "<gml:posList>1 ", 1),
        "odd",
    )
    short = thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(good[:2])]), "short")
    bent = [*good[:3], (good[3][0], good[3][1], 22.0)]
    members = [
        thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(good[:4])]), "ok"),
        thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(good[:4])]), "ok"),
        thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(good[:4], closed=False)]), "open"),
        thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(bent)]), "bent"),
        thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(good[:4])]), "").replace(" gml:id=''", ""),
        nan, word, odd, short, "<landuse:LandUse gml:id='bare'/>",
    ]  # fmt: skip
    _, layer, _ = only(tmp_path, members)
    kept = rows(layer)
    assert [key for key, *_ in kept][:3] == ["ok", "open", "bent"]
    assert kept[3][0].startswith("houses.")
    codes = [each.code for each in layer.rejects]
    assert sorted(codes) == [*["CG_BAD_COORDINATES"] * 3, *["CG_NO_GEOMETRY"] * 2, "DUPLICATE_ID"]
    bad = next(each for each in layer.rejects if "id n1" in each.where)
    assert re.search(r"line \d+", bad.where)
    assert "NaN" in bad.content["gml"]
    told = {each.code: each.message for each in layer.issues}
    assert {"RING_NOT_CLOSED", "RING_TOO_SHORT", "FACE_BENT", "ID_EMPTY"} <= set(told)
    assert "line" in told["RING_NOT_CLOSED"]


def test_a_file_without_city_objects_or_crs_is_refused(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        opened(tmp_path, [])
    assert caught.value.code == "CG_NOTHING_READ"
    with pytest.raises(InvalidInput) as caught:
        opened(tmp_path, [house()], srs="")
    assert caught.value.code == "CRS_MISSING"
    reading = opened(tmp_path, [house()], Hints(crs="EPSG:4549"), srs="")
    assert (reading.certificate.method, reading.certificate.source_crs) == ("given-crs", "EPSG:4549")


def test_objects_in_two_systems_become_two_layers(tmp_path):
    other = thing("landuse:LandUse", "lod1MultiSurface", multi([polygon(corners()[:4])]), "b")
    other = other.replace("<gml:MultiSurface>", '<gml:MultiSurface srsName="urn:ogc:def:crs:EPSG::4550">')
    mixed = other.replace("'b'", "'m'").replace("<gml:Polygon", '<gml:Polygon srsName="urn:ogc:def:crs:EPSG::4551"')
    reading = opened(tmp_path, [thing("landuse:LandUse", "lod1MultiSurface", SLAB, "a"), other, mixed])
    by_crs = {layer.crs: layer for layer in reading.layers}
    assert {crs: [row[0] for row in rows(layer)] for crs, layer in by_crs.items()} == {
        "EPSG:4549": ["a"], "EPSG:4550": ["b"],
    }  # fmt: skip
    assert len({layer.name for layer in reading.layers}) == 2
    assert [each.code for layer in reading.layers for each in layer.rejects] == ["CRS_MIXED"]


def facts(name):
    row = manifest().get(name)
    if row is None:
        pytest.skip("no realdata")
    return dict(re.findall(r"([^;=]+)=([^;]*)(?:; |$)", row["expected"]))


REAL = [
    "building_lod0_v2", "building_lod1_v2", "building_lod2_v2", "building_lod3_v2", "building_lod3_v3",
    "lod2_buildings_v3", "plateau_53394517_bldg_v2", "plateau_numazu_landuse", "plateau_yokosuka_bldg",
    "plateau_yokosuka_dem_tin",
]  # fmt: skip
LAYER_OF = {"Building": "building", "ReliefFeature": "relief", "LandUse": "land_use"}


@pytest.mark.parametrize("name", REAL)
def test_real_files_have_the_counts_and_extents_of_the_manifest(realdata, name):
    wanted = facts(f"city/{name}.gml")
    path = realdata / "city" / f"{name}.gml"
    reading = reader_for(path).read(path, Hints())
    found = {layer.layer_type: rows(layer) for layer in reading.layers}
    for kind, layer_type in LAYER_OF.items():
        assert len(found.get(layer_type, [])) == int(wanted.get(kind, 0))
    assert not any(layer.rejects for layer in reading.layers)
    low, high = (np.array(part.split(), float) for part in wanted["envelope"].strip("[]").split("|"))
    north_first = reading.certificate.parameters["axis_order_of_file"] == "north, east"
    if north_first:
        low, high = low[[1, 0, 2]], high[[1, 0, 2]]
    shapes = np.array([row[3] for group in found.values() for row in group], object)
    west, south, east, north = shapely.total_bounds(shapes)
    slack = 2.0 if east > 360 else 0.005  # some envelopes are those of a whole tile
    assert low[0] - slack <= west <= east <= high[0] + slack
    assert low[1] - slack <= south <= north <= high[1] + slack
    lods = {row[1]["lod"] for row in found.get("building", [])}
    assert lods <= {*wanted["lods"].split("/"), ""}
    if lods:
        assert max(lods) == max(wanted["lods"].split("/"))
    if "6697" in wanted["srs"]:
        assert reading.certificate.source_vertical_crs == "EPSG:6695"
        assert 138 < west < east < 140
        assert 34 < south < north < 36


def solid_volume(building, north_first):
    """Own arithmetic on the XML: fans of triangles of each convex face, from the texts of all posLists."""
    total = 0.0
    for each in building.iter("{*}posList"):
        ring = np.array(each.text.split(), float).reshape(-1, 3)[:-1]
        ring = ring[:, [1, 0, 2]] if north_first else ring
        for i in range(1, len(ring) - 1):
            total += np.linalg.det(ring[[0, i, i + 1]]) / 6
    return total


def test_the_hundred_solids_have_their_volumes_and_the_swapped_axes_are_named(realdata):
    path = realdata / "city" / "lod2_buildings_v3.gml"
    reading = citygml.read(path, Hints())
    [layer] = reading.layers
    found = {key: mesh for key, _, _, _, mesh in rows(layer)}
    root = etree.parse(path).getroot()
    for building in root.iter("{*}Building"):
        key = building.get("{http://www.opengis.net/gml/3.2}id")
        assert found[key].volume_m3() == pytest.approx(abs(solid_volume(building, True)), rel=1e-9)
        assert is_watertight(found[key])
    assert "AXES_LOOK_SWAPPED" in {each.code for each in layer.issues}  # its sibling in CityJSON has them the other way


def test_gable_roof_by_hand(realdata):
    """10 × 5 m, walls 3 m, ridge 2 m higher: 150 + 50 m³."""
    reading = citygml.read(realdata / "city" / "building_lod2_v2.gml", Hints())
    mesh = next(rows(layer)[0][4] for layer in reading.layers if layer.layer_type == "building")
    assert mesh.volume_m3() == pytest.approx(200, rel=1e-9)
    assert is_watertight(mesh)


def test_buildings_in_degrees_have_outward_faces(realdata):
    """Volumes in metres about each building; the first by the area of its outline times its height."""
    reading = citygml.read(realdata / "city" / "plateau_yokosuka_bldg.gml", Hints())
    for _, _, _, shape, mesh in rows(reading.layers[0]):
        lat = np.radians(mesh.vertices[0, 1])
        scale = np.array([111_319.49 * np.cos(lat), 110_940.0, 1.0])
        metres = (mesh.vertices - mesh.vertices[0]) * scale
        a, b, c = (metres[mesh.triangles[:, i]] for i in range(3))
        volume = np.einsum("ij,ij->", a, np.cross(b, c)) / 6
        most = shape.area * scale[0] * scale[1] * np.ptp(mesh.vertices[:, 2])
        assert 0 < volume < 1.05 * most


def test_the_invalid_building_is_read_once_its_crs_is_given(realdata):
    path = realdata / "bad" / "citygml_invalid_building_v3.gml"
    with pytest.raises(InvalidInput) as caught:
        citygml.read(path, Hints())
    assert caught.value.code == "CRS_MISSING"
    reading = citygml.read(path, Hints(crs="EPSG:3068"))
    [(key, row, extra, shape, mesh)] = rows(reading.layers[0])
    assert key == "1F3E679D-E226-4535-926C-7390977FB25A"
    assert mesh.volume_m3() == pytest.approx(6 * 8 * 5 + 6 * 8 * 6 / 2)
    assert (shape.area, row["height_m"], extra["height.status"]) == (pytest.approx(48), 11, "unknown")
