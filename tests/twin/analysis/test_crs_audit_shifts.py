"""Shifts between layers: published ones of EPSG, the web maps' with noise, real outlines; and large layers."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
import pyproj
import pytest
import shapely
from pyproj.transformer import TransformerGroup

import twin
from layers import crs, gcj02
from layers.catalogue import Attribute, LayerType, Title
from layers.issue import Issue
from layers.report import LayerCount, Report
from twin import config
from twin.analysis import crs_audit_sample
from twin.analysis.crs_audit_reference import Outlines, suspicion
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Rows, SourceRecord

CENTRE = np.array([598273.711, 3109927.739])
TRUE = CENTRE + np.random.default_rng(7).uniform(-4000, 4000, (60, 2))


def through(xy, shift):
    lon, lat = crs.transform("EPSG:4549", "EPSG:4326", xy[:, 0], xy[:, 1])
    return np.column_stack(crs.transform("EPSG:4326", "EPSG:4549", *shift(lon, lat)))


def paired(true):
    """Offsets to the true places, as with a matching attribute."""
    return lambda xy: true - xy


def code_of(seen, true):
    _, doubt = suspicion(seen, paired(true), "EPSG:4549")
    return None if doubt is None else doubt.code


@pytest.mark.parametrize("noise_m", [0.0, 5.0, 10.0, 20.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_shift_is_named_through_the_noise_and_none_is_named_without_one(noise_m, seed):
    noise = np.random.default_rng(seed).normal(0, noise_m, TRUE.shape)
    assert code_of(through(TRUE, gcj02.to_gcj02) + noise, TRUE) == "suspect-gcj02"
    assert code_of(through(TRUE, gcj02.to_bd09) + noise, TRUE) == "suspect-bd09"
    assert code_of(TRUE + np.array([-61.0, 43.0]) + noise, TRUE) == "suspect-old-datum"
    assert code_of(TRUE + noise, TRUE) in {None, "reference-residual"}  # told by its size, never called a shift


def blocks(n=900, seed=3):
    """City blocks of all directions on 8 × 8 km."""
    draw = np.random.default_rng(seed)
    at = CENTRE + draw.uniform(-4000, 4000, (n, 2))
    turn, width, depth = draw.uniform(0, np.pi, n), draw.uniform(30, 90, n), draw.uniform(30, 90, n)
    corners = np.stack([[-width, -depth], [width, -depth], [width, depth], [-width, depth]]).transpose(2, 0, 1) / 2
    rotation = np.stack([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).transpose(2, 0, 1)
    return shapely.polygons(at[:, None] + np.einsum("nij,nkj->nki", rotation, corners))


def test_one_shift_is_measured_from_outlines_alone():
    """What the nearest outline shows is only the part across it; moving on until nothing is gained finds the whole."""
    outline = shapely.get_coordinates(shapely.segmentize(blocks(60), 10))
    sparse = Outlines(blocks(60))
    _, doubt = suspicion(outline + np.array([14.0, -9.0]), sparse.nearest, "EPSG:4549")
    assert doubt is not None
    assert doubt.code == "suspect-old-datum"
    (pair, *_) = doubt.cure["control_points"]
    np.testing.assert_allclose(np.subtract(pair["to"], pair["from"]), (-14, 9), atol=0.05)


def ordos():
    """EPSG's own shift for the Ordos basin: true places, and the numbers that Beijing 1954 had for them in zone 37."""
    found = TransformerGroup("EPSG:4214", "EPSG:4326", always_xy=True).transformers
    to_wgs84 = next(each for each in found if each.description.startswith("Beijing 1954 to WGS 84 (1)"))
    true_deg = np.array([108.9, 38.6]) + np.random.default_rng(4).uniform(-0.05, 0.05, (80, 2))
    old = to_wgs84.transform(*true_deg.T, direction="INVERSE")
    project = "+proj=tmerc +lat_0=0 +lon_0=108 +k=1 +x_0=500000 +y_0=0 +ellps={} +no_defs"
    plain = pyproj.Proj(project.format("krass"))(*old)
    true = pyproj.Proj(project.format("GRS80"))(*true_deg.T)
    return np.column_stack(plain), np.column_stack(true)


@pytest.mark.parametrize("noise_m", [0.0, 10.0])
def test_beijing_1954_under_the_name_of_cgcs2000_is_told_with_its_published_shift(noise_m):
    seen, true = ordos()
    seen = seen + np.random.default_rng(1).normal(0, noise_m, seen.shape)
    _, doubt = suspicion(seen, paired(true), "EPSG:4545")
    assert doubt is not None
    assert doubt.code == "suspect-old-datum"
    published = np.hypot(*(true - ordos()[0]).mean(axis=0))
    assert 40 < published < 140
    assert doubt.measured == pytest.approx(published, abs=0.1 + noise_m / 3)


def test_xian_1980_under_the_name_of_cgcs2000_is_told_by_a_constant_shift():
    """EPSG publishes no shift for it, so one of a usual size is made."""
    assert code_of(TRUE + np.array([112.0, -2.0]), TRUE) == "suspect-old-datum"


@pytest.fixture
def realdata():
    named = os.environ.get("CITYTWIN_REALDATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[4] / "shared" / "realdata"
    if not (folder / "MANIFEST.csv").exists():
        pytest.skip("no realdata folder: set CITYTWIN_REALDATA to one with a MANIFEST.csv")
    return folder


ALBERS = "+proj=aea +lat_1=25 +lat_2=47 +lon_0=105 +datum=WGS84 +units=m"


def placed(shapes, change=None):
    def move(xy):
        lon, lat = xy.T if change is None else change(*xy.T)
        return np.column_stack(crs.transform("EPSG:4326", ALBERS, lon, lat))

    return shapely.transform(shapes, move)


def city_of(folder, layers, issues=()):
    """A twin with some layers of areas in a CRS for all of China."""
    config.save(config.TwinConfig("china", ALBERS, 105.0, 35.0, height_model={"constant_m": 0.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs=ALBERS)
    with store.writing() as batch:
        for name, shapes in layers.items():
            batch.ensure_layer(LayerType(name, Title(name, name), "Geometry", "base", (1,), ()))
            record = SourceRecord(f"{name}.shp", "", 0, 0, "")
            batch.begin_source(record)
            ids = [f"{name}{i}" for i in range(len(shapes))]
            empty = pa.table({"k": pa.nulls(len(shapes))}).select([])
            batch.put(name, record.path, Rows(ids, np.asarray(shapes, object), empty, [None] * len(shapes)))
            report = Report(record.path, "x", "", "stored", layers=[LayerCount(name, name)], issues=list(issues))
            batch.finish_source(record, report)
    store.close()
    return twin.open(folder)


def test_solids_that_a_reader_found_inside_out_are_evidence(tmp_path):
    told = Issue("AXES_LOOK_SWAPPED", "block", "100 closed solids are inside out.", "", "warning")
    with city_of(tmp_path, {"block": placed(shapely.points([(105.0, 35.0)]))}, issues=[told]) as city:
        rows = {row["finding"]: row for row in city.run("crs-audit")["rows"]}
    row = rows["axes-look-swapped"]
    assert (row["verdict"], row["source"]) == ("warn", "block.shp")
    assert row["proposal"] == '[[source]]\npath = "block.shp"\ncorrect = ["swap-axes"]'


def test_a_real_outline_of_a_web_map_is_named_against_a_fine_reference_and_left_open_against_a_coarse_one(
    realdata, tmp_path
):
    """`country.shp` is GCJ-02 under the name of WGS 84. The provinces have a vertex each 20 km and cannot show it."""
    seen = pyogrio.read_dataframe(realdata / "vector" / "china_country_gcj02" / "country.shp").geometry.to_numpy()
    provinces = pyogrio.read_dataframe(realdata / "vector" / "china_provinces.json").geometry.to_numpy()
    layers = {
        "country": placed(seen), "provinces": placed(provinces), "fine": placed(seen, gcj02.from_gcj02),
    }  # fmt: skip
    with city_of(tmp_path, layers) as city:
        coarse = city.run("crs-audit", layer="country", reference="provinces", reach_km=5000)
        fine = city.run("crs-audit", layer="country", reference="fine", reach_km=5000)
        right = city.run("crs-audit", layer="fine", reference="fine", reach_km=5000)
    told = {row["finding"]: row for row in coarse["rows"]}
    assert told["reference-too-coarse"]["verdict"] == "unknown"
    assert told["reference-too-coarse"]["measured"] > 10_000
    assert "suspect-gcj02" in {row["finding"] for row in fine["rows"]}
    assert {row["finding"]: row["verdict"] for row in right["rows"]}["reference"] == "pass"


N = 23_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A layer whose last tenth lies elsewhere, with row numbers that have gaps, and a reference beside it."""
    folder = tmp_path_factory.mktemp("large")
    config.save(config.TwinConfig("here", "EPSG:4549", 121.0, 28.1, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    xy = CENTRE + np.random.default_rng(1).uniform(-3000, 3000, (N, 2))
    xy[-N // 10 :, 0] += 400_000
    kind = LayerType("lamp", Title("灯", "Lamps"), "Point", "iot", (3,), (Attribute("k", "integer", Title("k", "k")),))
    for first in (0, 1):  # the second reading replaces a third of the rows: gaps
        with store.writing() as batch:
            batch.ensure_layer(kind)
            record = SourceRecord("lamp.shp", "", 0, 0, str(first))
            batch.begin_source(record)
            moved = xy + np.where(np.arange(N) % 3 == 0, 0.5 * first, 0.0)[:, None]
            ids = [f"l{i}" for i in range(N)]
            batch.put("lamp", "lamp.shp", Rows(ids, shapely.points(moved), pa.table({"k": range(N)}), [None] * N))
            batch.finish_source(record, Report("lamp.shp", "x", "", "stored", layers=[LayerCount("lamp", "lamp")]))
    store.close()
    with twin.open(folder) as opened:
        yield opened


def test_a_sample_is_spread_over_the_whole_layer(large):
    sample = crs_audit_sample.spread(large, "lamp", "k", 5000)
    assert 4000 <= len(sample.geometry) <= 5000
    assert len(set(sample.keys)) == len(sample.keys)
    shares = np.bincount(np.array(sample.keys) * 10 // N, minlength=10) / len(sample.keys)
    assert shares.min() > 0.05
    assert shares.max() < 0.2
    assert len(crs_audit_sample.spread(large, "lamp", None, N).geometry) == N


def test_a_part_that_lies_elsewhere_is_found_wherever_it_was_stored(large):
    rows = {row["finding"]: row for row in large.run("crs-audit", layer="lamp")["rows"]}
    assert rows["wider-than-zone"]["measured"] > 3


def test_the_partners_of_a_sample_are_looked_up_by_their_values(large):
    found = crs_audit_sample.matching(large, "lamp", "k", [*range(0, N, 17), None])
    assert sorted(found.keys) == list(range(0, N, 17))


def test_about_a_place_all_outlines_are_read_or_a_smaller_box_is_taken(large):
    places = CENTRE + np.random.default_rng(2).uniform(-3000, 3000, (200, 2))
    all_of_it, inside = crs_audit_sample.around(large, "lamp", places, N)
    assert (len(all_of_it.geometry), inside.all()) == (N, True)
    some, inside = crs_audit_sample.around(large, "lamp", places, N - 1)
    assert 0 < len(some.geometry) < N
    assert inside.any()
