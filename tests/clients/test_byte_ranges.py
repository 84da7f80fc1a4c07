"""The COPC point cloud and the COGs over HTTP: curl, laspy and GDAL read parts of them."""

import hashlib
import shutil
import subprocess

import httpx
import numpy as np
import pytest

pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def cloud(town, town_url):
    """Address and file of the newest point cloud."""
    asset = town.store.assets(town.scope, "point_cloud")[0]
    return f"{town_url}collections/point_cloud/points.copc.laz", town.folder / asset.path


def curl(*arguments):
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    return subprocess.run([program, "-sS", *arguments], capture_output=True, check=True).stdout


def test_the_whole_file_comes_unchanged(cloud):
    url, path = cloud
    assert hashlib.sha256(curl(url)).digest() == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.parametrize("span", ["0-0", "0-588", "1000-70000", "-77", "5-"])
def test_curl_gets_the_bytes_it_asks_for(cloud, span):
    url, path = cloud
    body = path.read_bytes()
    first, last = span.split("-")
    expected = body[-int(last) :] if not first else body[int(first) : int(last) + 1 if last else None]
    assert curl("-r", span, "--compressed", url) == expected


def test_head_ranges_and_validators(cloud):
    url, path = cloud
    size = path.stat().st_size
    head = httpx.head(url)
    assert (head.status_code, head.headers["content-length"], head.headers["accept-ranges"]) == (
        200,
        str(size),
        "bytes",
    )
    tag = head.headers["etag"]
    part = httpx.get(url, headers={"Range": "bytes=10-19", "If-Range": tag})
    assert (part.status_code, part.headers["content-range"]) == (206, f"bytes 10-19/{size}")
    whole = httpx.get(url, headers={"Range": "bytes=10-19", "If-Range": '"another"'})
    assert (whole.status_code, len(whole.content)) == (200, size)
    beyond = httpx.get(url, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert httpx.get(url, headers={"If-None-Match": tag}).status_code == 304
    assert httpx.get(url, headers={"Range": "lines=1-2"}).status_code == 200


def test_laspy_reads_a_part_of_the_point_cloud_over_http(cloud):
    """laspy's COPC reader fetches header, hierarchy and only the nodes of the box it is asked for."""
    import laspy
    from laspy.copc import Bounds, CopcReader

    url, path = cloud
    points = laspy.read(path)
    centre = (points.header.mins[:2] + points.header.maxs[:2]) / 2
    box = Bounds(mins=centre - 30, maxs=centre + 30)
    with CopcReader(HttpFile(url)) as reader:
        found = reader.query(box)
        fetched = reader.source.fetched
    x, y = np.asarray(points.x), np.asarray(points.y)
    inside = (np.abs(x - centre[0]) <= 30) & (np.abs(y - centre[1]) <= 30)
    assert len(found) == inside.sum() > 0
    assert fetched < path.stat().st_size


class HttpFile:
    """A file-like object that turns each read into one range request."""

    def __init__(self, url):
        self.client, self.url, self.at, self.fetched = httpx.Client(), url, 0, 0
        self.size = int(self.client.head(url).headers["content-length"])

    def seek(self, offset, whence=0):
        self.at = offset + (0, self.at, self.size)[whence]
        return self.at

    def tell(self):
        return self.at

    def read(self, count=-1):
        stop = self.size if count < 0 else min(self.at + count, self.size)
        if stop <= self.at:
            return b""
        response = self.client.get(self.url, headers={"Range": f"bytes={self.at}-{stop - 1}"})
        assert response.status_code == 206
        self.fetched += len(response.content)
        self.at = stop
        return response.content

    def close(self):
        self.client.close()


def test_gdal_reads_a_window_of_the_elevation_model_over_http(town, town_url):
    import rasterio
    from rasterio.windows import Window

    asset = town.store.assets(town.scope, "dem")[0]
    window = Window(100, 120, 64, 64)
    with rasterio.open(f"/vsicurl/{town_url}collections/dem/raster.tif?asset={asset.id}") as served:
        values, crs = served.read(1, window=window), served.crs
    with rasterio.open(town.folder / asset.path) as stored:
        np.testing.assert_array_equal(values, stored.read(1, window=window))
        assert crs == stored.crs
