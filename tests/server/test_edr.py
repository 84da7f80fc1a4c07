"""EDR over HTTP: heights on an analytic plane, cells of areas, profiles; series against pandas; refusals by name."""

import io
from urllib.parse import quote

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import rasterio
import shapely
from pyproj import Geod, Transformer

from layers import catalogue
from layers.report import LayerCount, Report
from tests.server import raster_town as town
from tests.server.raster_town import CELL, EAST, NORTH, plane
from twin.scope import Scope
from twin.store.interface import Rows, SourceRecord

TO_CITY = Transformer.from_crs("OGC:CRS84", "EPSG:4549", always_xy=True)
TO_LONLAT = Transformer.from_crs("EPSG:4549", "OGC:CRS84", always_xy=True)
GEOD = Geod(a=6378137.0, rf=298.257222101)
POSTS = {
    "A1": (EAST + 50, NORTH - 50, 12.0),
    "A2": (EAST + 150, NORTH - 50, 30.0),
    "A 3": (EAST + 900, NORTH - 400, None),
}
START = pd.Timestamp("2026-06-01T00:00:00Z")


def readings():
    """Hourly levels of A1 and A2, rain of A2 in two units, of A9 (which stands nowhere) a little; marks and holes."""
    hours = pd.date_range(START, periods=100, freq="h")
    rows = [("A1", t, "level", 2.0 + 0.01 * i, "m", None) for i, t in enumerate(hours)]
    rows += [("A2", t, "level", None if i % 10 == 3 else 5.0 - 0.02 * i, "m", "stuck" if i > 90 else None)
             for i, t in enumerate(hours)]  # fmt: skip
    rows += [("A2", t, "rain", 0.5 * (i % 4), "mm" if i < 50 else "in", None) for i, t in enumerate(hours)]
    rows += [("A 3", t, "flow", 1.0 * i, None, None) for i, t in enumerate(hours[:5])]
    rows += [("A1", hours[7], "level", 99.0, "m", "conflict"), ("A9", hours[0], "level", 1.0, "m", None)]
    return pd.DataFrame(rows, columns=["device_id", "time", "quantity", "value", "unit", "quality"])


def put(store):
    known = catalogue.load()
    sensor, obs = known["sensor"], known["sensor_obs"]
    frame = readings()
    points = [shapely.Point(*(each if each[2] is not None else each[:2])) for each in POSTS.values()]
    columns = {"device_id": list(POSTS), "name": ["=one", "two", "three"]}
    table = pa.table([pa.array(columns.get(f.name, [None] * 3), f.type) for f in sensor.arrow_schema()],
                     schema=sensor.arrow_schema())  # fmt: skip
    plain = {name: [None if pd.isna(v) else v for v in frame[name]] for name in frame}
    told = pa.table([pa.array(plain.get(f.name, [None] * len(frame)), f.type) for f in obs.arrow_schema()],
                    schema=obs.arrow_schema())  # fmt: skip
    record = SourceRecord("b.csv", "0" * 64, 1, 1, "{}")
    sizes = {"sensor": 3, "sensor_obs": len(frame)}
    counts = [LayerCount(layer, layer, n, n) for layer, n in sizes.items()]
    with store.writing() as batch:
        batch.begin_source(record)
        batch.ensure_layer(sensor)
        batch.ensure_layer(obs)
        batch.put("sensor", "b.csv", Rows(list(POSTS), np.array(points, object), table, [None] * 3))
        ids = [str(i) for i in range(len(frame))]
        batch.put("sensor_obs", "b.csv", Rows(ids, np.array([None] * len(frame)), told, [None] * len(frame)))
        batch.finish_source(record, Report("b.csv", "test", "0" * 64, "stored", counts))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return town.build(tmp_path_factory.mktemp("observed"), put)


@pytest.fixture(scope="module")
def client(folder):
    city, client = town.served(folder)
    with city, client:
        yield client


def wkt(*points, kind="POINT"):
    inside = ",".join(f"{x:.12g} {y:.12g}" for x, y in points)
    return quote(f"{kind}({inside})" if kind != "POLYGON" else f"POLYGON(({inside}))")


def lonlat(*points):
    return list(zip(*TO_LONLAT.transform(*np.array(points).T), strict=True))


def only(document):
    (found,) = document["ranges"].values()
    return found["values"]


# --- rasters


@pytest.mark.parametrize(
    "crs", [None, "EPSG:4549", "EPSG:4490", "http://www.opengis.net/def/crs/EPSG/0/4326", "EPSG:3857"]
)
def test_a_height_between_cells_lies_on_the_plane(get, crs):
    points = [(EAST + 33.3, NORTH - 44.4), (EAST + 401.7, NORTH - 577.1)]
    if crs is None:
        asked = lonlat(*points)
    else:
        # no always_xy: the axis order that the CRS declares
        name = crs.rpartition("/")[2] if crs.startswith("http") else crs.rpartition(":")[2]
        asked = list(
            zip(*Transformer.from_crs("OGC:CRS84", f"EPSG:{name}").transform(*np.array(lonlat(*points)).T), strict=True)
        )
    said = f"&crs={crs}" if crs else ""
    for point, place in zip(points, asked, strict=True):
        document = get(f"/collections/dem/position?coords={wkt(place)}{said}").json()
        assert document["domain"]["domainType"] == "Point"
        assert only(document)[0] == pytest.approx(plane(*point), abs=2e-5)
    many = get(f"/collections/dem/position?coords={wkt(*asked, kind='MULTIPOINT')}{said}").json()
    assert many["domain"]["domainType"] == "MultiPoint"
    assert only(many) == pytest.approx([plane(*point) for point in points], abs=2e-5)


def test_a_surface_of_another_datum_and_the_values_of_cells(get, folder):
    point = (EAST + 33.3, NORTH - 44.4)
    document = get(f"/collections/dsm/position?coords={wkt(*lonlat(point))}").json()
    assert only(document)[0] == pytest.approx(plane(*point) + 20 + 1.5, abs=1e-4)
    found = get(
        f"/collections/dom/position?coords={wkt(*lonlat(point))}&parameter-name=blue,red&datetime=2026-05-01"
    ).json()
    with rasterio.open(folder / "rasters/new.tif") as dataset:
        ((red, _, blue),) = dataset.sample([point])
    assert {name: each["values"] for name, each in found["ranges"].items()} == {"blue": [blue], "red": [red]}
    assert list(found["parameters"]) == ["blue", "red"]
    packed = get(f"/collections/noise_map/position?coords={wkt(*lonlat(point))}").json()
    with rasterio.open(folder / "rasters/tenths.tif") as dataset:
        ((raw,),) = dataset.sample([point])
    assert only(packed)[0] == pytest.approx(raw * 0.1 + 30)


def test_no_value_is_null_and_nothing_at_all_is_204(get):
    hole, far, fine = (EAST + 230, NORTH - 100), (EAST - 5000, NORTH), (EAST + 10, NORTH - 10)
    found = get(f"/collections/dem/position?coords={wkt(*lonlat(hole, far, fine), kind='MULTIPOINT')}").json()
    assert only(found)[:2] == [None, None]
    assert only(found)[2] == pytest.approx(plane(*fine), abs=2e-5)
    for nothing in (f"position?coords={wkt(*lonlat(far))}", "cube?bbox=10,10,11,11",
                    f"area?coords={wkt((1, 1), (1, 2), (2, 2), (1, 1), kind='POLYGON')}",
                    f"radius?coords={wkt((1, 1))}&within=1&within-units=km"):  # fmt: skip
        assert get(f"/collections/dem/{nothing}", 204).content == b""


def test_a_profile_has_heights_and_distances(get):
    line = [(EAST + 10, NORTH - 10), (EAST + 110, NORTH - 10), (EAST + 110, NORTH - 210)]
    table = pd.read_csv(io.StringIO(get(f"/collections/dem/trajectory?f=CSV&crs=EPSG:4549&coords="
                                        f"{wkt(*[(n, e) for e, n in line], kind='LINESTRING')}").text))  # fmt: skip
    assert list(table.columns) == ["easting_m", "northing_m", "height (m)", "distance (m)"]
    assert len(table) == 151
    assert np.allclose(table["height (m)"], plane(table["easting_m"], table["northing_m"]), atol=2e-5)
    lon, lat = TO_LONLAT.transform(table["easting_m"], table["northing_m"])
    assert table["distance (m)"].iloc[-1] == pytest.approx(GEOD.line_length(lon, lat), abs=1e-6)
    assert np.diff(table["distance (m)"]).max() <= CELL * 1.01
    shape = get(
        f"/collections/dem/trajectory?datetime=2025-06-01&coords={wkt(*lonlat(*line), kind='LINESTRING')}"
    ).json()
    assert set(shape["ranges"]) == {"height", "distance"}
    single = get(
        f"/collections/dem/trajectory?datetime=2025-05/2025-05&coords={wkt(*lonlat(*line), kind='LINESTRING')}"
    ).json()
    assert single["domain"]["domainType"] == "Trajectory"
    assert single["domain"]["axes"]["composite"]["coordinates"] == ["t", "x", "y"]
    features = get(f"/collections/dem/trajectory?f=GeoJSON&coords={wkt(*lonlat(*line), kind='LINESTRING')}").json()
    lon, lat = np.array([each["geometry"]["coordinates"] for each in features["features"]]).T
    heights = [each["properties"]["height"] for each in features["features"]]
    assert np.allclose(heights, plane(*TO_CITY.transform(lon, lat)), atol=2e-5)


def test_cells_of_an_area_are_those_whose_centre_is_inside(get, folder):
    corners = [(EAST + 150, NORTH - 60), (EAST + 260, NORTH - 90), (EAST + 200, NORTH - 160), (EAST + 150, NORTH - 60)]
    document = get(f"/collections/dem/area?datetime=2025-06-01&coords={wkt(*lonlat(*corners), kind='POLYGON')}").json()
    axes = document["domain"]["axes"]
    x = np.linspace(axes["x"]["start"], axes["x"]["stop"], axes["x"]["num"])
    y = np.linspace(axes["y"]["start"], axes["y"]["stop"], axes["y"]["num"])
    found = np.array(only(document), float).reshape(len(y), len(x))
    with rasterio.open(folder / "rasters/ground.tif") as dataset:
        raw = dataset.read(1, masked=True).filled(np.nan)
    columns, rows = ((x - EAST) / CELL).astype(int), ((NORTH - y) / CELL).astype(int)
    inside = shapely.contains_xy(shapely.Polygon(corners), *np.meshgrid(x, y))
    expected = np.where(inside, raw[np.ix_(rows, columns)], np.nan)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.nanmax(np.abs(found - expected)) < 1e-6
    rows = get(f"/collections/dem/area?datetime=2025-06-01&f=CSV&coords={wkt(*lonlat(*corners), kind='POLYGON')}").text
    assert len(rows.splitlines()) - 1 == np.isfinite(expected).sum()


def test_a_radius_is_measured_on_the_ellipsoid(get):
    centre, radius = (EAST + 300, NORTH - 300), 75.0
    table = pd.read_csv(io.StringIO(get(f"/collections/dem/radius?f=CSV&coords={wkt(*lonlat(centre))}"
                                        "&datetime=2025-06-01&within=0.075&within-units=km").text))  # fmt: skip
    x, y = town.centres()
    lon, lat = TO_LONLAT.transform(x, y)
    middle = lonlat(centre)[0]
    far = GEOD.inv(np.full(x.shape, middle[0]), np.full(x.shape, middle[1]), lon, lat)[2]
    assert len(table) == (far <= radius).sum()
    assert np.allclose(table["height (m)"], plane(*TO_CITY.transform(table["lon"], table["lat"])), atol=1e-4)


def test_a_cube_is_the_coverage_of_its_box(get):
    box = f"{NORTH - 30},{EAST + 20},{NORTH - 20},{EAST + 40}"
    cube = get(f"/collections/dem/cube?bbox={box}&crs=EPSG:4549").json()
    same = get(f"/collections/dem/coverage?f=covjson&bbox-crs=EPSG:4549&bbox={box}").json()
    assert only(cube) == only(same)
    assert cube["domain"]["axes"]["x"] == same["domain"]["axes"]["x"]


# --- observations


def series_of(document):
    """Coverages of a document by id."""
    found = document.get("coverages", [document])
    return {each["id"]: each for each in found}


def test_the_collection_says_what_can_be_asked(get):
    for layer in ("sensor", "sensor_obs"):
        document = get(f"/collections/{layer}").json()
        assert set(document["data_queries"]) == {"position", "radius", "area", "cube", "locations", "items"}
        names = set(document["parameter_names"])
        assert names == {"level", "rain [mm]", "rain [in]", "flow"}
        assert document["parameter_names"]["level"]["unit"]["symbol"]["value"] == "m"
        assert document["parameter_names"]["rain [in]"]["unit"]["symbol"]["value"] == "[in_i]"
        assert document["output_formats"] == ["CoverageJSON", "GeoJSON", "CSV"]
        assert document["extent"]["temporal"]["interval"] == [["2026-06-01T00:00:00Z", "2026-06-05T03:00:00Z"]]
    assert set(get("/collections/dem").json()["data_queries"]) == {"position", "radius", "area", "cube", "trajectory"}
    assert get("/collections/dem").json()["parameter_names"]["height"]["unit"]["label"] == {"en": "m"}


def test_every_station_is_listed_with_what_it_measures(get):
    listed = {each["id"]: each for each in get("/collections/sensor_obs/locations").json()["features"]}
    assert set(listed) == {"A1", "A2", "A 3", "A9"}
    assert listed["A9"]["geometry"] is None
    assert set(listed["A2"]["properties"]["parameter-name"]) == {"level", "rain [mm]", "rain [in]"}
    lon, lat, z = listed["A2"]["geometry"]["coordinates"]
    assert TO_CITY.transform(lon, lat) == pytest.approx(POSTS["A2"][:2], abs=1e-6)
    assert z == 30.0
    assert listed["A 3"]["properties"]["edrqueryendpoint"].endswith("/locations/A%203")
    assert (
        get(listed["A 3"]["properties"]["edrqueryendpoint"].replace("http://city.test", "")).json()["id"] == "A 3/flow"
    )
    # of the devices alone, those that stand somewhere
    assert {each["id"] for each in get("/collections/sensor/locations").json()["features"]} == {"A1", "A2", "A 3"}
    late = get("/collections/sensor/locations?datetime=2026-06-03/..").json()
    assert {each["id"] for each in late["features"]} == {"A1", "A2"}
    paged = get("/collections/sensor/locations?limit=1").json()
    assert (paged["numberMatched"], paged["numberReturned"]) == (3, 1)
    north_first = get("/collections/sensor/locations?crs=EPSG:4549").json()["features"]
    assert next(each for each in north_first if each["id"] == "A1")["geometry"]["coordinates"][0] == POSTS["A1"][1]


def test_a_series_equals_pandas(get):
    frame = readings()
    truth = frame[(frame.device_id == "A2") & (frame.quantity == "level")]
    found = series_of(get("/collections/sensor_obs/locations/A2?parameter-name=level").json())["A2/level"]
    times = pd.to_datetime(found["domain"]["axes"]["t"]["values"])
    assert (times == truth.time.to_numpy()).all()
    values = pd.Series(found["ranges"]["level"]["values"], dtype=float)
    assert np.array_equal(values.isna(), truth.value.isna())
    assert np.allclose(values.dropna(), truth.value.dropna().astype(float))
    part = get(
        "/collections/sensor_obs/locations/A2?parameter-name=level&datetime=2026-06-02T05:00:00Z/2026-06-02T09:00:00Z"
    ).json()
    expected = truth[truth.time.between("2026-06-02T05:00:00Z", "2026-06-02T09:00:00Z")]
    assert len(only(part)) == len(expected) == 5
    day = get("/collections/sensor_obs/locations/A2?parameter-name=level&datetime=2026-06-03").json()
    assert len(only(day)) == (truth.time.dt.date == pd.Timestamp("2026-06-03").date()).sum() == 24
    everything = pd.read_csv(io.StringIO(get("/collections/sensor_obs/area?f=CSV&coords=" + wkt(
        *lonlat((EAST, NORTH), (EAST + 200, NORTH), (EAST + 200, NORTH - 100), (EAST, NORTH - 100), (EAST, NORTH)),
        kind="POLYGON")).text))  # fmt: skip
    expected = frame[frame.device_id.isin(["A1", "A2"])]
    assert len(everything) == len(expected)
    sums = everything.groupby(["device_id", "quantity", "unit"]).value.sum()
    assert np.allclose(
        sums, expected.assign(value=expected.value.astype(float)).groupby(["device_id", "quantity", "unit"]).value.sum()
    )
    assert (everything.quality == "stuck").sum() == 9


def test_series_in_short_are_those_of_pandas_by_sql_and_by_arrow(folder, monkeypatch):
    import twin
    from twin import series
    from twin.scope import EVERYTHING

    frame = readings().assign(unit=lambda each: each.unit.fillna(""))
    truth = frame.groupby(["device_id", "quantity", "unit"]).time.agg(["count", "min", "max"])
    expected = [(*key, *row) for key, row in zip(truth.index, truth.itertuples(index=False), strict=True)]
    with twin.open(folder) as city:
        by_sql = series.lines(city.store, "sensor_obs", EVERYTHING)
        monkeypatch.setattr(series, "_grouped", lambda *_: [].index(1))
        by_arrow = series.lines(city.store, "sensor_obs", EVERYTHING)
    assert [(e.device, e.quantity, e.unit, e.n, e.first, e.last) for e in by_sql] == expected
    assert by_arrow == by_sql


def test_of_two_values_at_one_time_the_unmarked_one_is_taken(get):
    found = series_of(get("/collections/sensor/locations/A1").json())["A1/level"]
    assert len(found["domain"]["axes"]["t"]["values"]) == 100
    assert found["ranges"]["level"]["values"][7] == pytest.approx(2.07)
    told = pd.read_csv(io.StringIO(get("/collections/sensor/locations/A1?f=CSV").text))
    assert (len(told), told.value.max()) == (101, 99.0)


def ids(response):
    return {each["id"] for each in response.json()["features"]}


def test_shapes_find_the_devices_that_they_touch(get):
    near = (POSTS["A1"][0] + 3, POSTS["A1"][1])
    assert ids(get(f"/collections/sensor/position?f=GeoJSON&coords={wkt(*lonlat(near))}")) == {"A1"}
    get(f"/collections/sensor/position?coords={wkt(*lonlat((EAST - 9000, NORTH)))}", 204)
    for within, unit, expected in (
        (0.098, "km", {"A1"}),
        (0.102, "km", {"A1", "A2"}),
        (1000, "m", {"A1", "A2", "A 3"}),
    ):
        path = f"/collections/sensor/radius?f=GeoJSON&coords={wkt(*lonlat(POSTS['A1'][:2]))}"
        assert ids(get(f"{path}&within={within}&within-units={unit}")) == expected
    box = f"{NORTH - 60},{EAST},{NORTH},{EAST + 100}"
    assert ids(get(f"/collections/sensor/cube?f=GeoJSON&crs=EPSG:4549&bbox={box}")) == {"A1"}
    west, south = lonlat((EAST - 1, NORTH - 600))[0]
    east, north = lonlat((EAST + 1000, NORTH + 1))[0]
    for z, expected in (
        ("12", {"A1"}),
        ("10/20", {"A1"}),
        ("20/..", {"A2"}),
        ("12,30", {"A1", "A2"}),
        ("R3/10/10", {"A2"}),
    ):
        assert ids(get(f"/collections/sensor/cube?f=GeoJSON&bbox={west},{south},{east},{north}&z={z}")) == expected


def test_many_series_are_a_collection(get):
    document = get(
        f"/collections/sensor/radius?within=102&within-units=m&coords={wkt(*lonlat(POSTS['A1'][:2]))}"
    ).json()
    assert (document["type"], document["domainType"]) == ("CoverageCollection", "PointSeries")
    assert set(series_of(document)) == {"A1/level", "A2/level", "A2/rain [mm]", "A2/rain [in]"}
    assert [each["coordinates"] for each in document["referencing"]] == [["x", "y"], ["z"], ["t"]]
    assert document["referencing"][1]["system"]["id"].endswith("/5737")
    features = get(
        f"/collections/sensor/radius?f=GeoJSON&within=102&within-units=m&coords={wkt(*lonlat(POSTS['A1'][:2]))}"
    ).json()
    told = {each["id"]: each["properties"]["series"] for each in features["features"]}
    assert told["A2"]["rain [in]"]["unit"] == "in"
    assert len(told["A2"]["rain [in]"]["values"]) == 50


def test_a_text_that_a_spreadsheet_would_run_is_harmless():
    from server.edr_formats import table

    assert table(("a", "b"), [("=1+1", 2.5), (-3, None)]) == b"a,b\r\n'=1+1,2.5\r\n-3,\r\n"


REFUSED = {
    "position": "coords", "position?coords=nonsense": "coords", "position?coords=POINT(NaN 1)": "coords",
    "position?coords=POINT EMPTY": "coords", "position?coords=LINESTRING(1 2,3 4)": "coords",
    "position?coords=POINT(598000 3111000)": "coords", "area?coords=POLYGON((0 0,1 1,1 0,0 1,0 0))": "coords",
    "position?coords=POINT(121 28)&crs=EPSG:32651": "crs", "position?coords=POINT(121 28)&f=exe": "f=",
    "position?coords=POINT(121 28)&parameter-name=depth": "parameter-name", "position?coords=POINT(121 28)&z=a": "z",
    "position?coords=POINT(121 28)&parameter-name=": "parameter-name", "position?coords=POINT(121 28)&z=9/1": "z",
    "position?coords=POINT(121 28)&datetime=soon": "datetime", "position?coords=POINT(121 28)&colour=1": "colour",
    "radius?coords=POINT(121 28)": "within", "radius?coords=POINT(121 28)&within=1": "within-units",
    "radius?coords=POINT(121 28)&within=1&within-units=ells": "within-units",
    "radius?coords=POINT(121 28)&within=-1&within-units=m": "within",
    "radius?coords=POINT(121 28)&within=1e9&within-units=m": "within", "cube": "bbox", "cube?bbox=1,2,3": "bbox",
    "cube?bbox=1,2,3,inf": "bbox", "cube?bbox=121,29,122,28": "bbox", "cube?bbox=1,2,9,3,4,5": "bbox",
    "trajectory?coords=POINT(121 28)": "coords",
}  # fmt: skip


@pytest.mark.parametrize("layer", ["dem", "sensor"])
@pytest.mark.parametrize(("query", "named"), REFUSED.items(), ids=lambda v: str(v)[:40])
def test_bad_queries_are_refused_by_name(client, layer, query, named):
    if layer == "sensor" and query.startswith("trajectory"):
        named = "trajectory"
    response = client.get(f"/collections/{layer}/{quote(query, safe='?=&,:()/')}")
    assert response.status_code == 400, response.text[:300]
    assert response.headers["content-type"] == "application/problem+json"
    assert named in response.json()["detail"]


def test_limits(get, monkeypatch, client):
    from server import edr_raster, edr_series

    monkeypatch.setattr(edr_raster, "MAX_CELLS", 100)
    west, south = lonlat((EAST, NORTH - 200))[0]
    east, north = lonlat((EAST + 200, NORTH))[0]
    assert "cells" in get(f"/collections/dem/cube?bbox={west},{south},{east},{north}", 400).json()["detail"]
    monkeypatch.setattr(edr_series, "MAX_OBSERVATIONS", 50)
    assert "datetime" in get("/collections/sensor/locations/A1", 400).json()["detail"]
    many = ",".join(f"{121 + i * 1e-5:.5f} 28" for i in range(1100))
    assert client.get(f"/collections/dem/position?coords=MULTIPOINT({many})").status_code in {400, 414}


def test_what_is_neither_raster_nor_observed_is_not_found(get):
    assert "dem" in get("/collections/dem/locations", 404).json()["detail"]
    get("/collections/sensor/locations/nobody", 404)
    get("/collections/nothing/position?coords=POINT(1 2)", 404)
    get("/collections/sensor_obs/trajectory?coords=LINESTRING(1 2,3 4)", 400)


def test_scope_hides_devices_and_observations(folder):
    city, client = town.served(folder, Scope("no devices", frozenset({"sensor_obs"})))
    with city, client:
        assert all(
            each["geometry"] is None for each in client.get("/collections/sensor_obs/locations").json()["features"]
        )
        assert client.get("/collections/sensor/locations").status_code == 404
        assert client.get("/collections/dem/position?coords=POINT(121 28)").status_code == 404
    city, client = town.served(folder, Scope("no observations", frozenset({"sensor"})))
    with city, client:
        assert client.get("/collections/sensor/locations").status_code == 404
        assert "data_queries" not in client.get("/collections/sensor").json()


def test_validators_and_head(client, get):
    path = "/collections/sensor/locations/A1"
    tag = get(path).headers["etag"]
    assert client.get(path, headers={"If-None-Match": tag}).status_code == 304
    assert client.head(path).status_code == 200
    assert get(path, headers={"Accept": "text/csv"}).headers["content-type"] == "text/csv; charset=utf-8"
    assert get(path, headers={"Accept": "*/*"}).headers["content-type"] == "application/vnd.cov+json"
    page = get("/collections/sensor/locations?f=html", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")
    assert "A2" in page.text


def test_declared(get):
    classes = get("/conformance").json()["conformsTo"]
    assert "http://www.opengis.net/spec/ogcapi-edr-1/1.2/conf/queries" in classes
    paths = get("/api").json()["paths"]
    for kind in ("position", "radius", "area", "cube", "trajectory", "locations"):
        assert f"/collections/{{collectionId}}/{kind}" in paths
