"""Assets as files: every possible byte range against slicing, validators, and collections that are no features."""

from datetime import UTC, datetime

import pytest
from starlette.testclient import TestClient

import twin
from layers.report import Report
from server.app import create_app
from server.settings import Settings
from twin import config
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, SourceRecord

BODY = bytes(range(7, 19))
URL = "/collections/point_cloud/points.copc.laz"
BOX = (598_000.0, 3_109_000.0, 598_100.0, 3_109_100.0)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    config.save(config.TwinConfig("files", "EPSG:4549", 121.0, 28.1), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    record = SourceRecord("a.laz", "0" * 64, 1, 1, "{}")
    with store.writing() as batch:
        batch.begin_source(record)
        for name, epoch, body in (("old", "2024-01-01", b"old"), ("new", "2026-01-01", BODY)):
            path = f"points/{name}.copc.laz"
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(body)
            batch.put_asset(Asset(name, "point_cloud", "points", path, "EPSG:4549", BOX, BOX, "a.laz", name, epoch))
        batch.finish_source(record, Report("a.laz", "test", "0" * 64, "stored"))
    store.close()
    with twin.open(folder) as city, TestClient(create_app(city, Settings(access_log=False, warm_up=False))) as session:
        yield session


def test_every_range_is_a_slice(client):
    size = len(BODY)
    for first in range(size + 2):
        for last in range(first, size + 3):
            response = client.get(URL, headers={"Range": f"bytes={first}-{last}"})
            if first >= size:
                assert (response.status_code, response.headers["content-range"]) == (416, f"bytes */{size}")
                continue
            part = BODY[first : last + 1]
            assert (response.status_code, response.content) == (206, part)
            assert response.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{size}"
            assert response.headers["content-length"] == str(len(part))
        if first < size:
            assert client.get(URL, headers={"Range": f"bytes={first}-"}).content == BODY[first:]
        if first:
            assert client.get(URL, headers={"Range": f"bytes=-{first}"}).content == BODY[-first:]


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=0-1,4-5", "bytes=-", "pages=1-2", "bytes=a-b", "bytes"])
def test_what_is_no_single_range_gets_the_whole(client, header):
    response = client.get(URL, headers={"Range": header})
    assert (response.status_code, response.content) == (200, BODY)


def test_a_range_of_nothing_cannot_be_satisfied(client):
    assert client.get(URL, headers={"Range": "bytes=-0"}).status_code == 416


def test_if_range_with_the_wrong_validator_gets_the_whole(client):
    tag = client.head(URL).headers["etag"]
    assert not tag.startswith("W/")
    for validator, status in ((tag, 206), ('"other"', 200), (f"W/{tag}", 200)):
        assert client.get(URL, headers={"Range": "bytes=0-1", "If-Range": validator}).status_code == status
    assert client.get(URL, headers={"If-None-Match": tag}).status_code == 304


def test_the_newest_file_unless_another_is_asked_for(client):
    assert client.get(URL).content == BODY
    assert client.get(f"{URL}?asset=old").content == b"old"
    assert client.get(f"{URL}?epoch=2024-01-01").content == b"old"
    assert client.get(f"{URL}?epoch=1999-01-01").status_code == 404
    assert client.get(f"{URL}?asset=../../twin.toml").status_code == 404
    assert client.get("/collections/point_cloud/raster.tif").status_code == 404


def test_a_point_cloud_is_a_collection_with_its_files_and_no_features(client):
    collection = client.get("/collections/point_cloud").json()
    files = {link["title"]: link for link in collection["links"] if link["rel"] == "enclosure"}
    assert files["new"]["length"] == len(BODY)
    assert files["new"]["type"] == "application/vnd.laszip+copc"
    assert client.get(files["old"]["href"]).content == b"old"
    assert "itemType" not in collection
    for below in ("items", "items/x", "schema", "queryables", "tilejson.json", "tiles/WebMercatorQuad/0/0/0"):
        response = client.get(f"/collections/point_cloud/{below}")
        assert response.status_code == 404, below
        assert "point cloud" in response.json()["detail"]


def test_http_dates_are_dates(client):
    stamp = datetime.strptime(client.head(URL).headers["last-modified"], "%a, %d %b %Y %H:%M:%S %Z").replace(tzinfo=UTC)
    assert stamp.year >= 2024
