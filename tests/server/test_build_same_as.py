"""LoD2 models and IFC buildings linked to footprints through a build; overlaps by hand arithmetic."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

import twin
from server import build

CRS = "EPSG:4549"
TOWN = Path(__file__).resolve().parents[2] / "sample_data" / "town"
EAST, NORTH = 597_000.0, 3_109_000.0


def house(x, y, w, h, top=8.0):
    """A closed box of LoD 2 with marked surfaces, as a CityJSON object on vertices of its own."""
    corners = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    vertices = [[EAST + a, NORTH + b, z] for z in (0.0, top) for a, b in corners]
    faces = [[[3, 2, 1, 0]], [[4, 5, 6, 7]], *([[i, (i + 1) % 4, (i + 1) % 4 + 4, i + 4]] for i in range(4))]
    kinds = [{"type": kind} for kind in ("GroundSurface", "RoofSurface", "WallSurface")]
    return vertices, faces, {"surfaces": kinds, "values": [[0, 1, 2, 2, 2, 2]]}


def write_models(path, houses):
    vertices, objects = [], {}
    for name, box in houses.items():
        own, faces, semantics = house(*box)
        shifted = [[[index + len(vertices) for index in ring] for ring in face] for face in faces]
        geometry = {"type": "Solid", "lod": "2.2", "boundaries": [shifted], "semantics": semantics}
        objects[name] = {"type": "Building", "geometry": [geometry]}
        vertices += own
    document = {
        "type": "CityJSON", "version": "2.0", "transform": {"scale": [0.001] * 3, "translate": [EAST, NORTH, 0]},
        "metadata": {"referenceSystem": "https://www.opengis.net/def/crs/EPSG/0/4549"}, "CityObjects": objects,
        "vertices": [[round((x - EAST) * 1000), round((y - NORTH) * 1000), round(z * 1000)] for x, y, z in vertices],
    }  # fmt: skip
    path.write_text(json.dumps(document))


def write_footprints(path, boxes):
    shapes = [shapely.box(EAST + x, NORTH + y, EAST + x + w, NORTH + y + h) for x, y, w, h in boxes.values()]
    gpd.GeoDataFrame({"building_id": list(boxes), "height_m": 6.0}, geometry=shapes, crs=CRS).to_file(path)


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "city.toml").write_text(f'name = "here"\ncrs = "{CRS}"\norigin = [121.0, 28.1]\n')
    write_footprints(
        source / "footprints.gpkg", {"same": (0, 0, 10, 10), "wide": (30, 0, 20, 10), "lone": (90, 0, 9, 9)}
    )
    write_models(source / "models.city.json", {"m1": (0, 0, 10, 10), "m2": (32, 0, 10, 10), "m3": (60, 0, 10, 10)})
    return source


def links(target):
    with twin.open(target) as city:
        rows = city["building"].query()
        rows = rows.fillna({"same_as": "", "same_as_overlap": 0.0})
        return {
            key: (row["same_as"], row["same_as_overlap"], int(row["version"]))
            for key, row in rows[rows["lod"].notna()].iterrows()
        }


def test_models_name_their_footprints_and_follow_them(folder, tmp_path):
    target = tmp_path / "twin"
    assert build.build(folder, target).exit_code == 0
    found = links(target)
    assert found["m1"][:2] == ("same", 1.0)
    assert found["m2"][:2] == ("wide", 0.5)  # 100 m² of 200 m²
    assert found["m3"] == ("", 0.0, 1)

    assert build.build(folder, target).reports == []
    assert links(target) == found

    write_footprints(
        folder / "footprints.gpkg", {"same": (0, 0, 10, 10), "wide": (60, 0, 10, 20), "lone": (90, 0, 9, 9)}
    )
    build.build(folder, target)
    moved = links(target)
    assert moved["m1"] == ("same", 1.0, 1)
    assert moved["m2"] == ("", 0.0, 2)
    assert moved["m3"][:2] == ("wide", 0.5)
    assert moved["m3"][2] == 2
    with twin.open(target) as city:  # the new version has the model's mesh
        info = city.store.layer("building", city.scope)
        assert info.mesh_count == info.count == 6


def test_an_ifc_building_is_linked_by_the_hull_of_its_elements(folder, tmp_path):
    """A footprint drawn round the town's own office: the overlap is 1."""
    shutil.copy(TOWN / "bim" / "office_ifc4_mm.ifc", folder)
    build.build(folder, tmp_path / "first")
    with twin.open(tmp_path / "first") as city:
        hull = city["bim_element"].query().union_all().convex_hull
    gpd.GeoDataFrame({"building_id": ["B"]}, geometry=[hull], crs=CRS).to_file(folder / "more_buildings.gpkg")
    build.build(folder, tmp_path / "second")
    with twin.open(tmp_path / "second") as city:
        rows = city["bim_assembly"].query()
        row = rows[rows["ifc_class"] == "IfcBuilding"].iloc[0]
    assert row["same_as"] == "B"
    assert row["same_as_overlap"] == pytest.approx(1.0, abs=0.002)
