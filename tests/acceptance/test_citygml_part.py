"""A building of CityGML whose main body is in LoD 2, with a part that is only in LoD 1."""

import twin

E0, N0, Z0 = 691_100.0, 5_335_050.0, 512.0
KINDS = ("GroundSurface", "RoofSurface", "WallSurface", "WallSurface", "WallSurface", "WallSurface")
HEAD = (
    '<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" '
    'xmlns:b="http://www.opengis.net/citygml/building/2.0" xmlns:gml="http://www.opengis.net/gml">'
    '<gml:boundedBy><gml:Envelope srsName="EPSG:25832" srsDimension="3"><gml:lowerCorner>{0} {1} {2}</gml:lowerCorner>'
    "<gml:upperCorner>{3} {4} {5}</gml:upperCorner></gml:Envelope></gml:boundedBy>"
)


def cuboid(east, width, height_m):
    low = [(east, N0), (east + width, N0), (east + width, N0 + 6), (east, N0 + 6)]
    down, up = [(*xy, Z0) for xy in low], [(*xy, Z0 + height_m) for xy in low]
    sides = [[down[i], down[(i + 1) % 4], up[(i + 1) % 4], up[i]] for i in range(4)]
    return [down[::-1], up, *sides]


def member(ring):
    places = "".join(f"<gml:pos>{x} {y} {z}</gml:pos>" for x, y, z in [*ring, ring[0]])
    ring = f"<gml:LinearRing>{places}</gml:LinearRing>"
    polygon = f"<gml:Polygon><gml:exterior>{ring}</gml:exterior></gml:Polygon>"
    return f"<gml:surfaceMember>{polygon}</gml:surfaceMember>"


def test_the_footprint_has_the_part_in_it(folder):
    body = "".join(
        f"<b:boundedBy><b:{kind}><b:lod2MultiSurface><gml:MultiSurface>{member(ring)}</gml:MultiSurface>"
        f"</b:lod2MultiSurface></b:{kind}></b:boundedBy>"
        for kind, ring in zip(KINDS, cuboid(E0, 10, 7), strict=True)
    )
    shell = "".join(map(member, cuboid(E0 + 10, 5, 4)))
    solid = f"<gml:Solid><gml:exterior><gml:CompositeSurface>{shell}</gml:CompositeSurface></gml:exterior></gml:Solid>"
    part = f'<b:BuildingPart gml:id="p"><b:lod1Solid>{solid}</b:lod1Solid></b:BuildingPart>'
    building = f'<b:Building gml:id="B1">{body}<b:consistsOfBuildingPart>{part}</b:consistsOfBuildingPart></b:Building>'
    head = HEAD.format(E0, N0, Z0, E0 + 15, N0 + 6, Z0 + 7)
    text = f"{head}<core:cityObjectMember>{building}</core:cityObjectMember></core:CityModel>"
    (folder.files / "town.gml").write_text(text, "utf8")
    assert folder.build().exit_code == 0
    with twin.open(folder.twin) as city:
        (found,) = city["building"].query().geometry
    assert found.bounds == (E0, N0, E0 + 15, N0 + 6)
    assert abs(found.area - 90.0) < 1e-6


def test_buildings_without_gml_id_keep_theirs_in_another_order(folder):
    def building(east, height_m):
        shell = "".join(map(member, cuboid(east, 10, height_m)))
        shell = f"<gml:exterior><gml:CompositeSurface>{shell}</gml:CompositeSurface></gml:exterior>"
        solid = f"<b:lod1Solid><gml:Solid>{shell}</gml:Solid></b:lod1Solid>"
        return f"<core:cityObjectMember><b:Building>{solid}</b:Building></core:cityObjectMember>"

    def write(*members):
        text = HEAD.format(E0, N0, Z0, E0 + 90, N0 + 6, Z0 + 7) + "".join(members) + "</core:CityModel>"
        (folder.files / "town.gml").write_text(text, "utf8")

    def state():
        with twin.open(folder.twin) as city:
            found = city["building"].query()
        return {row.Index: (row.geometry.bounds, row.version) for row in found.itertuples()}

    first, second, third = (building(E0 + 30 * k, 5) for k in range(3))
    write(first, second, third)
    folder.build()
    before = state()
    write(third, first, second)
    (report,) = folder.build().reports
    assert (report.layers[0].n_unchanged, report.layers[0].n_updated) == (3, 0)
    assert state() == before
