"""Coverages over HTTP against rasterio: native cells bit by bit, warped ones as GDAL warps them, refusals by name."""

from urllib.parse import quote

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.warp import reproject, transform, transform_bounds
from rasterio.windows import from_bounds

from tests.server import raster_town as town
from tests.server.raster_town import CELL, EAST, NORTH, SIDE, plane
from twin.scope import Scope

NATIVE = "subset-crs=EPSG:4549&subset="
DEM = "/collections/dem/coverage"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return town.build(tmp_path_factory.mktemp("rasters"))


@pytest.fixture(scope="module")
def client(folder):
    city, client = town.served(folder)
    with city, client:
        yield client


@pytest.fixture(scope="module")
def tiff(get):
    def tiff(path):
        """Values (masked) and profile of a GeoTIFF."""
        response = get(path)
        assert response.headers["content-type"] == "image/tiff; application=geotiff"
        with MemoryFile(response.content) as memory, memory.open() as dataset:
            return dataset.read(masked=True), dataset.profile | {"tags": dataset.tags(), "bounds": dataset.bounds,
                "units": dataset.units, "names": dataset.descriptions, "scales": dataset.scales,
                "offsets": dataset.offsets, "headers": response.headers}  # fmt: skip

    return tiff


def unplaced(body):
    """Bands of a picture that says not where it lies."""
    with MemoryFile(body) as memory, memory.open() as dataset:
        return dataset.read()


def source(folder, name):
    return rasterio.open(folder / f"rasters/{name}.tif")


def test_native_cells_are_those_of_the_file_bit_by_bit(tiff, folder):
    box = (EAST + 101, NORTH - 321, EAST + 350, NORTH - 55.5)
    values, profile = tiff(f"{DEM}?asset=ground&{NATIVE}E({box[0]}:{box[2]}),N({box[1]}:{box[3]})")
    # cells whose interior meets the box: even metres around it
    assert tuple(profile["bounds"]) == (EAST + 100, NORTH - 322, EAST + 350, NORTH - 54)
    with source(folder, "ground") as dataset:
        truth = dataset.read(window=from_bounds(*profile["bounds"], dataset.transform))
    assert values.data.tobytes() == truth.tobytes()
    assert profile["nodata"] == -9999.0
    assert profile["units"] == ("m",)
    assert profile["names"] == ("height",)
    assert profile["tags"]["VERTICAL_CRS"] == "EPSG:5737"
    assert profile["headers"]["content-crs"] == "<http://www.opengis.net/def/crs/EPSG/0/4549>"
    assert profile["headers"]["content-bbox"] == f"{NORTH - 322:.0f},{EAST + 100:.0f},{NORTH - 54:.0f},{EAST + 350:.0f}"
    assert "content-interpolation" not in profile["headers"]


def test_a_box_along_the_lines_of_the_grid_takes_no_neighbours(tiff):
    values, profile = tiff(f"{DEM}?bbox-crs=EPSG:4549&bbox={NORTH - 20},{EAST + 10},{NORTH - 10},{EAST + 30}")
    assert values.shape == (1, 5, 10)
    assert tuple(profile["bounds"]) == (EAST + 10, NORTH - 20, EAST + 30, NORTH - 10)


def test_sheets_are_one_mosaic_with_the_newest_on_top(tiff, folder):
    values, profile = tiff(DEM)
    assert (profile["width"], profile["height"]) == (2 * SIDE - 50, SIDE)
    with source(folder, "ground") as upper, source(folder, "beside") as lower:
        top, below = upper.read(1), lower.read(1)
    expected = np.full((SIDE, 2 * SIDE - 50), -9999.0, np.float32)
    expected[:, SIDE - 50 :] = below
    expected[:, :SIDE] = np.where(top == -9999.0, expected[:, :SIDE], top)
    assert values.data[0].tobytes() == expected.tobytes()
    assert profile["headers"]["content-datetime"] == "2024-01-01T00:00:00Z/2025-05-01T00:00:00Z"


def test_degrees_find_the_cells_of_the_densified_box(tiff):
    box = (EAST + 100, NORTH - 300, EAST + 220, NORTH - 180)
    west, south, east, north = transform_bounds("EPSG:4549", "OGC:CRS84", *box, densify_pts=64)
    for query in (f"bbox={west},{south},{east},{north}", f"subset=Lat({south}:{north}),Lon({west}:{east})"):
        _, profile = tiff(f"{DEM}?{query}")
        back = transform_bounds("OGC:CRS84", "EPSG:4549", west, south, east, north, densify_pts=64)
        lows, highs = np.floor(np.array(back[:2]) / CELL) * CELL, np.ceil(np.array(back[2:]) / CELL) * CELL
        assert np.allclose(profile["bounds"], (*lows, *highs))


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4490", "OGC:CRS84"])
def test_other_crs_equal_gdals_warper(tiff, folder, crs):
    values, profile = tiff(f"{DEM}?asset=ground&crs={crs}&width=200&height=190")
    truth = np.full(values.shape, -9999.0, np.float32)
    with source(folder, "ground") as dataset:
        # as wide a filter as the answer's cells are coarse
        x, y = transform(crs, "EPSG:4549", [0, 0], [0, 0])
        middle = transform("EPSG:4549", crs, [EAST + SIDE], [NORTH - SIDE])
        steps = [(middle[0][0] + dx, middle[1][0] + dy) for dx, dy in
                 ((0, 0), (profile["transform"].a, 0), (0, -profile["transform"].e))]  # fmt: skip
        x, y = transform(crs, "EPSG:4549", *zip(*steps, strict=True))
        ratios = [CELL / np.hypot(x[i] - x[0], y[i] - y[0]) for i in (1, 2)]
        reproject(
            rasterio.band(dataset, 1), truth, dst_transform=profile["transform"], dst_crs=crs, dst_nodata=-9999.0,
            resampling=Resampling.bilinear, tolerance=0, XSCALE=min(ratios[0], 1), YSCALE=min(ratios[1], 1),
        )  # fmt: skip
    assert ((truth == -9999.0) == values.mask).mean() > 0.9999
    both = (truth != -9999.0) & ~values.mask
    assert both.mean() > 0.9
    assert np.abs(truth - values.data)[both].max() < 1e-4
    assert profile["headers"]["content-interpolation"] == "[ogc-interpolation:linear]"


def test_warped_heights_lie_on_the_plane_and_holes_stay_holes(tiff):
    values, profile = tiff(f"{DEM}?asset=ground&crs=EPSG:4326")
    rows, columns = np.mgrid[: profile["height"], : profile["width"]]
    lon, lat = profile["transform"] @ (columns + 0.5, rows + 0.5)
    x, y = (np.reshape(v, lon.shape) for v in transform("EPSG:4326", "EPSG:4549", lon.ravel(), lat.ravel()))
    known = ~values.mask[0]
    # within half a cell of a rim or hole the nearest cells alone speak: at most a cell's slope away
    assert np.abs(values.data[0] - plane(x, y))[known].max() < CELL * (town.A - town.B)
    inner = (x > EAST + 4) & (x < EAST + 2 * SIDE - 4) & (y < NORTH - 4) & (y > NORTH - 2 * SIDE + 4)
    column, row = (x - EAST) / CELL, (NORTH - y) / CELL
    in_hole = (column > 101) & (column < 129) & (row > 41) & (row < 59)
    far = inner & ~((column > 97) & (column < 133) & (row > 37) & (row < 63))
    assert not known[in_hole].any()
    assert known[far].all()
    assert np.abs(values.data[0] - plane(x, y))[far].max() < 2e-5 * 100


def test_scaled_down_a_plane_stays_the_plane(tiff):
    values, profile = tiff(f"{DEM}?asset=ground&scale-factor=6")
    assert values.shape == (1, 50, 50)
    assert profile["transform"].a == 12.0
    x, y = town.centres(width=50, height=50, cell=12.0)
    away = np.ones((50, 50), bool)
    away[4:13, 14:25] = False
    away[[0, -1]] = away[:, [0, -1]] = False
    # the filter's taps lie on the overview's cells: off by no more than a twentieth of a cell
    assert np.abs(values.data[0] - plane(x, y))[away].max() < 12.0 / 20 * np.hypot(town.A, town.B)
    # a hole is 20 x 30 cells: its inside stays one
    assert values.mask[0, 8, 19]


@pytest.mark.parametrize(
    ("query", "shape", "cell"),
    [
        ("scale-factor=2.5", (120, 120), (5, 5)),
        ("scale-axes=E(2),N(3)", (100, 150), (4, 6)),
        ("scale-size=E(60),N(100)", (100, 60), (10, 6)),
        ("width=60", (300, 60), (10, 2)),
        ("width=60&height=30", (30, 60), (10, 20)),
        ("resolution=E(7),N(100)", (6, 86), (7, 100)),
        ("resolution=", (300, 300), (2, 2)),
        ("resolution=E(),N(4)", (150, 300), (2, 4)),
    ],
)
def test_every_way_of_scaling_gives_that_many_cells(tiff, query, shape, cell):
    values, profile = tiff(f"{DEM}?asset=ground&{query}")
    assert values.shape[1:] == shape
    assert (profile["transform"].a, -profile["transform"].e) == cell
    assert (profile["transform"].c, profile["transform"].f) == (EAST, NORTH)


def test_width_is_laid_over_the_box_that_was_asked_for(tiff):
    box = (EAST - 50, NORTH - 150, EAST + 50, NORTH + 50)
    values, profile = tiff(f"{DEM}?{NATIVE}E({box[0]}:{box[2]}),N({box[1]}:{box[3]})&width=10&height=20")
    assert np.allclose(profile["bounds"], box)
    assert values.mask[0, :5].all()
    assert values.mask[0, :, :5].all()
    assert not values.mask[0, 5:, 5:].any()


def test_a_slice_is_one_row_of_cells(tiff, folder):
    values, _ = tiff(f"{DEM}?asset=ground&{NATIVE}N({NORTH - 7})")
    with source(folder, "ground") as dataset:
        assert values.data[0].tobytes() == dataset.read(1)[3:4].tobytes()
    one, _ = tiff(f"{DEM}?asset=ground&{NATIVE}N({NORTH - 7}),E({EAST + 9})")
    assert one.data.tolist() == [[[values.data[0, 0, 4]]]]


def test_stars_and_several_subset_parameters(tiff):
    _, profile = tiff(f"{DEM}?{NATIVE}E(*:{EAST + 20})&subset=N({NORTH - 20}:*)")
    assert tuple(profile["bounds"]) == (EAST, NORTH - 20, EAST + 20, NORTH)


def test_epochs(tiff, folder, get):
    dom = "/collections/dom/coverage"
    everything, _ = tiff(dom)
    with source(folder, "new") as new, source(folder, "old") as old:
        truth = {"new": new.read(), "old": old.read()}
    assert (everything.data[:, :, 100:] == truth["new"]).all()
    assert (everything.data[:, :, :100] == truth["old"][:, :, :100]).all()
    for query in ("datetime=2019", "datetime=2020-05-01T00:00:00Z", "datetime=../2025",
                  "datetime=2018-12-31/2019-01-01",
                  "subset=time(\"2019-06-01\":\"2020\")"):  # fmt: skip
        values, profile = tiff(f"{dom}?{query}")
        assert (values.data == truth["old"]).all(), query
        assert profile["headers"]["content-datetime"] == "2019-01-01T00:00:00Z"
    assert (tiff(f"{dom}?datetime=2026-04-18/..")[0].data == truth["new"]).all()
    assert (tiff(f"{dom}?subset=time(*)")[0].data == everything.data).all()
    assert "2019" in get(f"{dom}?datetime=2018", 404).json()["detail"]
    assert "datetime" in get(f"{dom}?datetime=2020/2021", 404).json()["detail"]
    # a raster that says no time is there at any time
    assert tiff("/collections/dsm/coverage?datetime=1990")[0].shape == (1, SIDE, SIDE)


def test_fields_are_chosen_and_ordered(tiff, folder, get):
    values, profile = tiff("/collections/dom/coverage?asset=new&properties=blue,red")
    with source(folder, "new") as dataset:
        assert (values.data == dataset.read([3, 1])).all()
    assert profile["names"] == ("blue", "red")
    rest, profile = tiff("/collections/dom/coverage?asset=new&exclude-properties=green")
    assert profile["names"] == ("red", "blue")
    assert (rest.data == values.data[::-1]).all()
    schema = get("/collections/dom/schema").json()["properties"]
    assert [each["x-ogc-propertySeq"] for each in schema.values()] == [1, 2, 3]
    assert list(schema) == ["red", "green", "blue"]


def test_where_bytes_leave_no_number_free_a_mask_says_what_is_known(tiff):
    values, profile = tiff(f"/collections/dom/coverage?bbox-crs=EPSG:4549&bbox={NORTH - 10},{EAST + 590},{NORTH},"
                           f"{EAST + 610}&width=10&height=5")  # fmt: skip
    assert profile["nodata"] is None
    assert not values.mask[:, :, :5].any()
    assert values.mask[:, :, 5:].all()


def test_codes_are_never_mixed(tiff):
    values, _ = tiff("/collections/risk_zone/coverage?crs=EPSG:3857&scale-factor=3.7")
    assert set(np.unique(values.compressed())) == set(range(6))


def test_heights_of_another_datum_come_in_the_citys(tiff, folder, get):
    values, _ = tiff("/collections/dsm/coverage")
    with source(folder, "roofs") as dataset:
        raw = dataset.read(1, masked=True)
    assert np.allclose(values[0], raw + 1.5, atol=1e-5)
    assert (values.mask[0] == raw.mask).all()
    said = get("/collections/dsm/schema?lang=en").json()["properties"]["height"]
    assert "EPSG:5737" in said["description"]
    assert said["x-ogc-unit"] == "m"


def test_packed_numbers_keep_scale_and_offset(tiff, folder, get):
    values, profile = tiff("/collections/noise_map/coverage")
    with source(folder, "tenths") as dataset:
        raw = dataset.read()
    assert values.data.tobytes() == raw.tobytes()
    assert (profile["scales"], profile["offsets"]) == ((0.1,), (30.0,))
    document = get(
        "/collections/noise_map/coverage?f=covjson&" + NATIVE + f"E({EAST}:{EAST + 4}),N({NORTH - 2}:*)"
    ).json()
    (only,) = document["ranges"].values()
    assert np.allclose(only["values"], raw[0, 0, :2] * 0.1 + 30)


def test_coverage_json(get, folder):
    query = f"{DEM}?asset=ground&{NATIVE}E({EAST + 198}:{EAST + 204}),N({NORTH - 86}:{NORTH - 78})"
    response = get(query, headers={"Accept": "application/vnd.cov+json"})
    assert response.headers["content-type"] == "application/vnd.cov+json"
    document = response.json()
    axes = document["domain"]["axes"]
    assert axes["x"] == {"start": EAST + 199, "stop": EAST + 203, "num": 3}
    assert axes["y"] == {"start": NORTH - 79, "stop": NORTH - 85, "num": 4}
    assert axes["t"] == {"values": ["2025-05-01T00:00:00Z"]}
    assert document["domain"]["referencing"][0] == {
        "coordinates": ["y", "x"],
        "system": {"type": "ProjectedCRS", "id": "http://www.opengis.net/def/crs/EPSG/0/4549"},
    }
    found = document["ranges"]["height"]
    assert (found["axisNames"], found["shape"], found["dataType"]) == (["y", "x"], [4, 3], "float")
    with source(folder, "ground") as dataset:
        truth = dataset.read(1, masked=True)[39:43, 99:102]
    assert found["values"] == [None if hole else float(repr(value)[11:-1]) if "(" in repr(value) else float(str(value))
                               for value, hole in zip(truth.data.ravel(), truth.mask.ravel(), strict=True)]  # fmt: skip
    assert truth.mask.sum() == 6
    assert document["parameters"]["height"]["unit"]["symbol"]["value"] == "m"


def test_netcdf_is_read_by_gdal_and_scipy(get, tmp_path, folder):
    from scipy.io import netcdf_file

    path = tmp_path / "dem.nc"
    path.write_bytes(get(f"{DEM}?asset=ground&f=netcdf").content)
    with source(folder, "ground") as truth, rasterio.open(path) as dataset:
        assert (dataset.read(1) == truth.read(1)).all()
        assert dataset.transform == truth.transform
        assert dataset.crs.to_epsg() == 4549
        assert dataset.nodata == -9999.0
    with netcdf_file(path, mmap=False) as dataset:
        assert dataset.variables["height"].units == b"m"
        assert dataset.variables["height"].grid_mapping == b"crs"
        assert np.allclose(np.diff(dataset.variables["x"][:]), CELL)
    path.write_bytes(get("/collections/dom/coverage?f=netcdf&crs=OGC:CRS84&scale-factor=10").content)
    with netcdf_file(path, mmap=False) as dataset:
        assert set(dataset.variables) == {"lon", "lat", "crs", "red", "green", "blue"}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_png_tells_how_its_numbers_were_made(get, folder):
    import io

    from PIL import Image

    response = get(f"{DEM}?asset=ground&f=png")
    scale, offset = (float(response.headers[name]) for name in ("values-scale", "values-offset"))
    encoded, alpha = unplaced(response.content)
    with source(folder, "ground") as dataset:
        truth = dataset.read(1, masked=True)
    assert ((alpha == 0) == truth.mask).all()
    decoded = (encoded.astype(float) - offset) / scale
    assert np.abs(decoded - truth).max() <= 0.5 / scale + 1e-6
    assert 0.5 / scale < 5e-4
    asked = get(f"{DEM}?asset=ground&f=png&values-scale=100&values-offset=5000")
    off = unplaced(asked.content)[0][~truth.mask] - np.rint(truth.data[~truth.mask] * 100.0 + 5000)
    assert np.abs(off).max() <= 1
    picture = Image.open(io.BytesIO(get("/collections/dom/coverage?asset=new&f=png").content))
    with source(folder, "new") as dataset:
        assert (np.asarray(picture) == np.moveaxis(dataset.read(), 0, 2)).all()


def test_ranges_validators_and_head(client, get):
    whole = get(DEM)
    tag = whole.headers["etag"]
    assert tag.startswith('"')
    part = client.get(DEM, headers={"Range": "bytes=100-199", "If-Range": tag})
    assert part.status_code == 206
    assert part.content == whole.content[100:200]
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    assert client.get(DEM, headers={"If-None-Match": tag}).status_code == 304
    head = client.head(DEM)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(whole.content)
    assert get(f"{DEM}?scale-factor=2").headers["etag"] != tag
    text = get(f"{DEM}?f=covjson&scale-factor=10")
    assert (
        client.get(f"{DEM}?f=covjson&scale-factor=10", headers={"If-None-Match": text.headers["etag"]}).status_code
        == 304
    )


def test_the_collection_describes_grid_crs_and_epochs(get):
    document = get("/collections/dem").json()
    assert document["storageCrs"] == "http://www.opengis.net/def/crs/EPSG/0/4549"
    assert document["crs"][0] == document["storageCrs"]
    spatial = document["extent"]["spatial"]
    width = 2 * SIDE - 50
    assert spatial["storageCrsBbox"] == [[NORTH - 2 * SIDE, EAST, NORTH, EAST + 2 * width]]
    assert [axis["cellsCount"] for axis in spatial["grid"]] == [SIDE, width]
    assert [axis["firstCoordinate"] for axis in spatial["grid"]] == [NORTH - 2 * SIDE + 1, EAST + 1]
    assert document["extent"]["temporal"]["grid"]["coordinates"] == ["2024-01-01T00:00:00Z", "2025-05-01T00:00:00Z"]
    assert len(spatial["bbox"][0]) == 4
    rels = [link["rel"].rpartition("/")[2] for link in document["links"]]
    assert rels.count("coverage") == 4
    assert "schema" in rels
    listed = {each["id"]: each for each in get("/collections").json()["collections"]}
    assert listed["dem"]["extent"] == document["extent"]


def test_a_damaged_file_takes_nothing_with_it(tmp_path):
    from server import coverage_schema

    folder = town.build(tmp_path)
    (folder / "rasters/zones.tif").write_bytes(b"II*\0nothing more")
    city, client = town.served(folder)
    with city, client:
        taken = client.app.app.state.serving.snapshot()
        assert coverage_schema.members(taken, "risk_zone") == {"layerDataType": "Coverage"}
        refused = client.get("/collections/risk_zone/coverage")
        assert refused.status_code == 400
        assert "zones" in refused.json()["detail"]
        assert client.get(DEM).status_code == 200


REFUSED = {
    "bbox=1,2,3": "bbox", "bbox=a,2,3,4": "bbox", "bbox=nan,2,3,4": "bbox", "bbox=1,2,0,1,2,5": "bbox",
    "bbox=121,28.2,121.1,28.1": "bbox", "bbox=121,28.1,181,28.2": "bbox",
    "bbox-crs=EPSG:4549&bbox=598000,3111000,599000,3112000": None,
    "bbox-crs=EPSG:32651&bbox=1,2,3,4": "bbox-crs", "crs=EPSG:32651": "crs", "crs=nonsense": "nonsense",
    "subset=Foo(1:2)": "subset", "subset=E(1:2)": "subset", "subset=Lat(1:2": "subset", "subset=Lat()": "subset",
    "subset=Lat(a:b)": "subset", "subset=Lat(28:28.1),lat(28:28.1)": "subset", "subset=Lon(*)": "subset",
    "subset-crs=EPSG:4549&subset=X(1:2)": "north", "subset=Lat(28:28.1)&bbox=121,28,122,29": "bbox",
    "subset=time(1:2:3)": "subset", "subset=time(\"2026\"),time(\"2025\")": "time", "datetime=yesterday": "datetime",
    "datetime=2026/2025": "datetime", "datetime=2025&subset=time(\"2025\")": "datetime",
    "properties=height,foo": "properties", "properties=": "properties",
    "exclude-properties=height": "exclude-properties",
    "properties=height&exclude-properties=height": "exclude-properties",
    "scale-factor=0": "scale-factor", "scale-factor=-1": "scale-factor", "scale-factor=nan": "scale-factor",
    "scale-factor=1e-9": "scale-factor", "scale-axes=Q(2)": "scale-axes", "scale-axes=E2": "scale-axes",
    "scale-size=E(2.5)": "scale-size", "scale-size=Lat(3)": "scale-size", "width=0": "width", "width=-3": "width",
    "width=100000": "scale-factor", "resolution=E(1e-9)": "resolution", "resolution=E(-1)": "resolution",
    "width=5&scale-factor=2": "exclude", "subset-crs=EPSG:4549&subset=E(598001)&scale-factor=2": "subset",
    "f=exe": "f=", "colour=red": "colour", "width=3&width=4": "width", "asset=none": None,
    "subset=" + "Lat(1:2)," * 500: "subset", "f=png&values-scale=many": "values-scale",
    "values-scale=2": "values-scale", "f=covjson&width=2000&height=1000": "covjson",
}  # fmt: skip


@pytest.mark.parametrize(("query", "named"), REFUSED.items(), ids=lambda v: str(v)[:40])
def test_bad_parameters_are_refused_by_name(client, query, named):
    response = client.get(f"{DEM}?{quote(query, safe='=&,:()*')}")
    assert response.status_code in ({404} if named is None else {400}), response.text[:300]
    assert named is None or named in response.json()["detail"]


def test_outside_is_not_found(get):
    assert "extent" in get(f"{DEM}?bbox=10,10,11,11", 404).json()["detail"]
    assert get(f"{DEM}?{NATIVE}E(1:2)", 404)
    assert get("/collections/nothing/coverage", 404)


def test_what_a_scope_does_not_allow_does_not_exist(folder):
    city, client = town.served(folder, Scope("some", frozenset({"dom"})))
    with city, client:
        assert client.get(DEM).status_code == 404
        assert client.get("/collections/dem/schema").status_code == 404
        assert client.get("/collections/dom/coverage").status_code == 200


def test_a_box_over_the_antimeridian_takes_both_sides(tmp_path):
    from layers.report import Report
    from twin import config
    from twin.store.geopackage import GeoPackageStore
    from twin.store.interface import Asset, SourceRecord

    # UTM zone 1 begins at 180: the sheet lies across it
    utm, west, north = "EPSG:32760", 800_000.0, 8_000_000.0
    data = np.arange(100 * 100, dtype=np.float32).reshape(1, 100, 100)
    box = town.write(tmp_path / "rasters/fiji.tif", data, west, north, 1000.0, utm)
    config.save(config.TwinConfig("fiji", utm, 180.0, -18.0), tmp_path)
    store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs=utm)
    record = SourceRecord("a.tif", "0" * 64, 1, 1, "{}")
    with store.writing() as batch:
        batch.begin_source(record)
        batch.put_asset(Asset("fiji", "dem", "raster", "rasters/fiji.tif", utm, box, box, "a.tif"))
        batch.finish_source(record, Report("a.tif", "test", "0" * 64, "stored"))
    store.close()
    city, client = town.served(tmp_path)
    with city, client:
        lon, lat = transform(utm, "EPSG:4326", [850_000.0, 870_000.0], [7_950_000.0, 7_960_000.0])
        assert lon[0] < 180
        response = client.get(f"{DEM}?bbox=179.95,{lat[0]},-179.95,{lat[1]}")
        assert response.status_code == 200, response.text
        with MemoryFile(response.content) as memory, memory.open() as dataset:
            # 0.1 degrees at 18 south are 10.6 km, turned by a degree
            assert 10 <= dataset.width <= 13
            x, _ = transform("EPSG:4326", utm, [180.0], [lat[0]])
            assert dataset.bounds.left < x[0] < dataset.bounds.right
        # in degrees its edges lie at both ends of the world: said, instead of cells of no height
        for name in ("EPSG:4326", "EPSG:3857"):
            refused = client.get(f"{DEM}?crs={name}&f=covjson&scale-factor=20")
            assert refused.status_code == 400
            assert refused.json()["detail"].startswith(f"crs={name}")


def test_the_api_document_names_every_parameter(get):
    operation = get("/api").json()["paths"]["/collections/{rasterId}/coverage"]["get"]
    named = {each.get("name") or each["$ref"].rpartition("/")[2] for each in operation["parameters"]}
    assert {"bbox", "subset", "subset-crs", "scale-factor", "properties", "datetime", "crs", "width"} <= named
    classes = get("/conformance").json()["conformsTo"]
    assert "http://www.opengis.net/spec/ogcapi-coverages-1/1.0/conf/core" in classes


def test_rasters_say_that_they_are_no_features(get):
    """GDAL's driver of features asks a collection for its items unless it says so."""
    kinds = {each["id"]: each.get("layerDataType") for each in get("/collections").json()["collections"]}
    assert {kinds["dem"], kinds["dom"]} == {"Coverage"}
    assert all(kind is None for name, kind in kinds.items() if get(f"/collections/{name}").json().get("itemType"))
