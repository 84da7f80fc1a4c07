"""Adopted 3D Tiles sets from the folder to the client: built, listed, served byte for byte, replaced, removed."""

import json
import shutil

import pytest
from starlette.testclient import TestClient

import twin
from server.app import create_app
from server.build import build
from server.settings import Settings
from tests.ingest import tile_files as files

LON, LAT, HEIGHT = 121.0, 28.1, 40.0
SET = "collections/tileset/3dtiles/town"


def sources_in(folder):
    folder.mkdir()
    (folder / "city.toml").write_text('name = "tiny"\ncrs = "EPSG:4549"\norigin = [121.0, 28.1]\n', "utf8")
    files.write_set(folder / "town", LON, LAT, HEIGHT)
    return folder


def opened(twin_dir):
    city = twin.open(twin_dir)
    return city, TestClient(create_app(city, Settings(access_log=False, warm_up=False)))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adopted")
    result = build(sources_in(folder / "in"), folder / "twin")
    return folder, result


@pytest.fixture(scope="module")
def client(built):
    city, session = opened(built[0] / "twin")
    with city, session:
        yield session


def test_the_build_stores_the_set_with_its_place(built):
    folder, result = built
    (report,) = result.reports
    assert (report.source, report.status, report.issues) == ("town/tileset.json", "stored", [])
    assert report.certificate.method == "geocentric"
    assert "above the ellipsoid" in report.certificate.transformation
    with twin.open(folder / "twin") as city:
        (asset,) = city.store.assets(city.scope)
    assert (asset.id, asset.kind, asset.layer, asset.crs) == ("town", "tileset", "tileset", "EPSG:4979")
    import pyproj

    transformer = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:4549", always_xy=True)
    east, north = transformer.transform(LON, LAT)
    assert asset.city_bounds == pytest.approx((east - 5, north - 10, east + 5, north + 10), abs=0.2)


def test_info_lists_the_set(built):
    from typer.testing import CliRunner

    from server.cli import app

    done = CliRunner().invoke(app, ["info", str(built[0] / "twin"), "--json"])
    (asset,) = json.loads(done.stdout)["assets"]
    assert (asset["kind"], asset["path"].startswith("tilesets/town-")) == ("tileset", True)


def test_every_file_is_served_as_it_is(built, client):
    folder = built[0] / "in" / "town"
    types = {".json": "application/json", ".glb": "model/gltf-binary", ".b3dm": "application/octet-stream"}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        address = f"/{SET}/{path.relative_to(folder).as_posix()}"
        response = client.get(address)
        assert (response.status_code, response.content) == (200, path.read_bytes())
        assert response.headers["content-type"].split(";")[0] == types[path.suffix]
        again = client.get(address, headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304
        part = client.get(address, headers={"Range": "bytes=3-9"})
        assert (part.status_code, part.content) == (206, path.read_bytes()[3:10])


@pytest.mark.parametrize(
    "name", ["../../city.gpkg", "%2e%2e/%2e%2e/city.gpkg", "..%2f..%2fcity.gpkg", "/etc/passwd", "%2fetc%2fpasswd",
             "gone.b3dm", "Data", "a%00b", "x" * 5000],
)  # fmt: skip
def test_nothing_outside_the_set_is_served(client, name):
    assert client.get(f"/{SET}/{name}").status_code in {400, 404}


def test_an_unknown_set_is_not_found(client):
    assert client.get("/collections/tileset/3dtiles/other/tileset.json").status_code == 404
    assert client.get("/collections/tileset/items").status_code == 404


def test_each_tileset_leads_to_the_set_and_the_set_to_its_tiles(client):
    """Walked as a client walks it: relative addresses from document to document."""
    from urllib.parse import urljoin

    for start in ("/3dtiles/tileset.json", "/collections/tileset/3dtiles/tileset.json",
                  "/collections/tileset/3dtiles/explicit/tileset.json"):  # fmt: skip
        found, waiting = set(), [start]
        while waiting:
            address = waiting.pop()
            response = client.get(address)
            assert response.status_code == 200, address
            if response.headers["content-type"] != "application/json":
                found.add(address.rpartition("/")[2])
                continue
            tiles = [response.json()["root"]]
            while tiles:
                tile = tiles.pop()
                tiles += tile.get("children", [])
                if "content" in tile:
                    waiting.append(urljoin(address, tile["content"]["uri"]))
        assert found == {"a.b3dm", "b%20c.glb?v=2"}


def test_the_whole_city_contains_the_set(client):
    document = client.get("/3dtiles/tileset.json").json()
    box = document["root"]["boundingVolume"]["box"]
    centre = files.ecef(LON, LAT, HEIGHT + 15)
    assert box[:3] == pytest.approx(centre, abs=1)
    (child,) = document["root"]["children"]
    assert child["boundingVolume"]["region"][4:] == pytest.approx([40, 70], abs=0.01)
    assert child["extras"] == {"layer": "tileset", "asset": "town"}


def test_it_is_a_collection_a_viewer_layer_and_a_qgis_layer(client):
    collection = client.get("/collections/tileset").json()
    links = {link["href"].partition("/collections/")[2] for link in collection["links"] if "3dtiles" in link["href"]}
    assert links == {"tileset/3dtiles/tileset.json", "tileset/3dtiles/town/tileset.json"}
    west, south, east, north = collection["extent"]["spatial"]["bbox"][0]
    assert west < LON < east
    assert south < LAT < north
    assert client.get("/collections/tileset", headers={"Accept": "text/html"}).status_code == 200
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 200
    (layer,) = client.get("/viewer/config.json").json()["layers3d"]
    assert layer["tileset"] == f"/{SET}/tileset.json"
    project = client.get("/qgis/city.qgs").text
    assert f"{SET}/tileset.json" in project
    assert 'type="tiled-scene"' in project


def test_a_changed_set_replaces_the_old_one_and_a_removed_one_goes(tmp_path):
    source, twin_dir = sources_in(tmp_path / "in"), tmp_path / "twin"
    assert build(source, twin_dir).exit_code == 0
    (first,) = (twin_dir / "tilesets").iterdir()
    assert build(source, twin_dir).reports == []  # nothing changed
    tile = source / "town" / "Data" / "Tile_1" / "a.b3dm"
    tile.write_bytes(files.b3dm(files.glb((3, 3, 3))))
    assert [report.status for report in build(source, twin_dir).reports] == ["stored"]
    (second,) = (twin_dir / "tilesets").iterdir()
    assert second != first
    assert (second / "Data" / "Tile_1" / "a.b3dm").read_bytes() == tile.read_bytes()
    shutil.rmtree(source / "town")
    (source / "note.geojson").write_text(
        json.dumps({"type": "FeatureCollection", "features": [
            {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [LON, LAT]}}]})
    )  # fmt: skip
    result = build(source, twin_dir)
    assert "town/tileset.json" in result.removed
    assert list((twin_dir / "tilesets").iterdir()) == []


def test_far_away_broken_and_unplaced_sets_are_parked_with_the_reason(tmp_path):
    source = sources_in(tmp_path / "in")
    files.write_set(source / "far", 13.4, 52.5, 40.0)
    files.write_set(source / "partly")
    (source / "partly" / "Data" / "Tile_1" / "a.b3dm").write_bytes(b"b3dm")
    local = source / "local"
    files.write_set(local)
    document = json.loads((local / "tileset.json").read_text())
    del document["root"]["transform"]
    (local / "tileset.json").write_text(json.dumps(document))
    (source / "lone.b3dm").write_bytes(files.b3dm(files.glb(), RTC_CENTER=files.ecef(LON, LAT, HEIGHT).tolist()))
    reports = {report.source: report for report in build(source, tmp_path / "twin").reports}
    told = {name: (report.status, [issue.code for issue in report.issues]) for name, report in reports.items()}
    assert told == {
        "far/tileset.json": ("parked", ["PLACED_OUTSIDE"]),
        "local/tileset.json": ("parked", ["TILESET_NOT_PLACED"]),
        "lone.b3dm": ("stored", []),
        "partly/tileset.json": ("partly", ["TILE_TRUNCATED"]),
        "town/tileset.json": ("stored", []),
    }
    city, session = opened(tmp_path / "twin")
    with city, session:
        document = session.get("/collections/tileset/3dtiles/tileset.json").json()
        assert {tile["extras"]["asset"] for tile in document["root"]["children"]} == {"lone", "partly", "town"}
        assert session.get("/collections/tileset/3dtiles/lone/lone.b3dm").status_code == 200
        assert session.get("/collections/tileset/3dtiles/partly/Data/Tile_1/a.b3dm").status_code == 404


def test_a_model_file_becomes_features_with_tiles(tmp_path):
    """An OBJ in map coordinates from the folder to the client: its box in the tiles is where the file says."""
    import numpy as np
    import pyproj

    source = tmp_path / "in"
    source.mkdir()
    (source / "city.toml").write_text(
        'name = "tiny"\ncrs = "EPSG:4549"\norigin = [121.0, 28.1]\n[[source]]\npath = "tower.obj"\ncrs = "EPSG:4549"\n'
    )
    east, north = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:4549", always_xy=True).transform(LON, LAT)
    corners = [(east + x, north + y, z) for z in (10, 40) for x, y in ((0, 0), (8, 0), (8, 6), (0, 6))]
    faces = ("1 4 3 2", "5 6 7 8", "1 2 6 5", "2 3 7 6", "3 4 8 7", "4 1 5 8")
    lines = [f"v {x:.4f} {y:.4f} {z}" for x, y, z in corners] + [f"f {each}" for each in faces]
    (source / "tower.obj").write_text("\n".join(lines))
    (report,) = build(source, tmp_path / "twin").reports
    assert (report.status, [issue.code for issue in report.issues]) == ("stored", ["MESH_UNIT"])
    city, session = opened(tmp_path / "twin")
    with city, session:
        (feature,) = session.get("/collections/model/items").json()["features"]
        assert feature["properties"]["volume_m3"] == pytest.approx(8 * 6 * 30, rel=1e-4)
        assert feature["properties"]["area_m2"] == pytest.approx(2 * 48 + 2 * 30 * 14, rel=1e-4)
        assert feature["properties"]["base_elev_m"] == pytest.approx(10)
        assert feature["properties"]["top_elev_m"] == pytest.approx(40)
        root = session.get("/collections/model/3dtiles/explicit/tileset.json").json()["root"]
        half = np.diag(np.array(root["boundingVolume"]["box"]).reshape(4, 3)[1:])
        assert half == pytest.approx([4, 3, 15], abs=0.05)
