"""From a folder of files to a twin: counts that add up, one transaction, only what changed is read again."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import geopandas
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

import ingest
import twin
from layers.errors import CityTwinError, InvalidInput
from server import build_features
from server.build import add_sources, build, check

ROOT = Path(__file__).resolve().parents[2]
CITY = "EPSG:4549"
E0, N0 = 598_000.0, 3_110_000.0


def write_dem(path, *, base=20.0, crs=CITY):
    """Ground that rises 1 in 50 to the north-east, 2 m cells."""
    y, x = np.mgrid[0:300, 0:300]
    values = (base + 0.04 * x - 0.04 * (y - 299)).astype(np.float32)
    profile = {"driver": "GTiff", "height": 300, "width": 300, "count": 1, "dtype": "float32", "crs": crs}
    profile |= {"transform": from_origin(E0 - 50, N0 + 550, 2, 2), "tiled": True, "blockxsize": 128, "blockysize": 128}
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **profile) as file:
        file.write(values, 1)


def buildings(n, *, seed=0, raised=0.0):
    draw = np.random.default_rng(seed)
    at = np.arange(n)
    west, south = E0 + 22.0 * (at % 20), N0 + 22.0 * (at // 20 % 20)
    width, depth, height = draw.uniform((6, 6, 3), (18, 18, 60), (1000, 3))[:n].T
    shapes = shapely.box(west, south, west + width, south + depth)
    heights = np.round(height, 1) + raised
    return geopandas.GeoDataFrame(
        {"building_code": [f"N{k:05d}" for k in at], "height_m": heights, "owner_note": [f"note {k}" for k in at]},
        geometry=shapes,
        crs=CITY,
    )


def pipes(n):
    at = np.arange(n)
    lines = shapely.linestrings([[(E0 + 5 * k, N0), (E0 + 5 * k, N0 + 200)] for k in at])
    columns = {
        "pipe_code": [f"W{k:03d}" for k in at], "od_mm": 300.0, "z_ref": "centre", "start_elev_m": 15.0,
        "end_elev_m": 14.0,
    }  # fmt: skip
    return geopandas.GeoDataFrame(columns, geometry=lines, crs=CITY)


def save(frame, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if path.suffix == ".shp":  # DBF names have ten characters
        frame = frame.rename(columns={"building_code": "bldg_id", "owner_note": "note"})
    frame.to_file(path, engine="pyogrio", **options)


def settings(folder, more=""):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "city.toml").write_text(f'name = "tiny"\ncrs = "{CITY}"\norigin = [121.0, 28.1]\n{more}', "utf8")


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    settings(folder)
    write_dem(folder / "terrain" / "dem.tif")
    save(buildings(60), folder / "buildings.gpkg")
    save(pipes(12), folder / "pipe_water.gpkg")
    return folder


def report_of(result, name):
    [report] = [each for each in result.reports if each.source == name]
    return report


def on_disk(twin_dir):
    return {json.loads(path.read_text("utf8"))["source"] for path in (twin_dir / "reports").glob("*.json")}


def assert_conserved(result):
    for report in result.reports:
        for count in report.layers:
            assert count.n_read == count.n_stored + count.n_rejected, report.source
        assert sum(count.n_rejected for count in report.layers) == len(report.rejects), report.source


def test_everything_in_the_files_is_in_the_store(source, tmp_path):
    result = build(source, tmp_path / "twin")
    assert result.exit_code == 0
    assert_conserved(result)
    with twin.open(tmp_path / "twin") as city:
        assert {layer.id: (layer.count, layer.mesh_count) for layer in city.layers} == {
            "building": (60, 60),
            "pipe_water": (12, 12),
            "source": (3, 0),
        }
        stored = city["building"].query()
        given = geopandas.read_file(source / "buildings.gpkg", engine="pyogrio").set_index("building_code")
        assert stored.loc[given.index].area.to_numpy() == pytest.approx(given.area.to_numpy(), rel=1e-12)
        assert stored.loc[given.index, "height_m"].tolist() == given["height_m"].tolist()
        assert json.loads(stored.loc["N00007", "extra"])["owner_note"] == "note 7"
        assert set(stored["source"]) == {"buildings.gpkg"}
    assert on_disk(tmp_path / "twin") == {"buildings.gpkg", "pipe_water.gpkg", "terrain/dem.tif"}


def test_bases_are_the_ground_that_rasterio_reads(source, tmp_path):
    build(source, tmp_path / "twin")
    with twin.open(tmp_path / "twin") as city, rasterio.open(source / "terrain" / "dem.tif") as dem:
        stored = city["building"].query()
        values = dem.read(1).astype(float)
        for shape, base in zip(stored.geometry, stored["base_elev_m"], strict=True):
            around = []
            for x, y in shapely.get_coordinates(shape):
                column, row = ~dem.transform @ (x, y)
                i, j = int(np.floor(row - 0.5)), int(np.floor(column - 0.5))
                fy, fx = row - 0.5 - i, column - 0.5 - j
                around.append(
                    (values[i, j] * (1 - fx) + values[i, j + 1] * fx) * (1 - fy)
                    + (values[i + 1, j] * (1 - fx) + values[i + 1, j + 1] * fx) * fy
                )
            assert base == pytest.approx(min(around), abs=0.05)


def test_a_change_of_one_file_reads_only_that_file(source, tmp_path):
    twin_dir = tmp_path / "twin"
    build(source, twin_dir)
    changed = buildings(61)
    changed.loc[3, "height_m"] += 10
    save(changed.drop(index=5), source / "buildings.gpkg")
    result = build(source, twin_dir)
    [count] = report_of(result, "buildings.gpkg").layers
    assert [report.source for report in result.reports] == ["buildings.gpkg"]
    assert (count.n_inserted, count.n_updated, count.n_unchanged, count.n_closed) == (1, 1, 58, 1)
    assert result.unchanged == ["pipe_water.gpkg", "terrain/dem.tif"]
    with twin.open(twin_dir) as city:
        assert city["building"].count() == 60
        assert city["building"].count(ids=["N00005"]) == 0
        assert city["building"].get("N00003")["version"] == 2


def test_an_unchanged_folder_is_not_read_at_all(source, tmp_path, monkeypatch):
    build(source, tmp_path / "twin")
    version = twin.open(tmp_path / "twin").store.version()

    def no_reader(path, hints):
        raise AssertionError(f"{path} was read again")

    monkeypatch.setattr(ingest, "read", no_reader)
    result = build(source, tmp_path / "twin")
    (source / "buildings.gpkg").touch()  # a new date on old bytes
    again = build(source, tmp_path / "twin")
    for each in (result, again):
        assert (each.reports, len(each.unchanged), each.exit_code) == ([], 3, 0)
    assert twin.open(tmp_path / "twin").store.version() == version


def test_new_ground_lifts_the_buildings_on_it_and_nothing_else(source, tmp_path):
    twin_dir = tmp_path / "twin"
    build(source, twin_dir)
    with twin.open(twin_dir) as city:
        before = city["building"].query()["base_elev_m"]
    write_dem(source / "terrain" / "dem.tif", base=27.0)
    result = build(source, twin_dir)
    assert sorted(report.source for report in result.reports) == ["buildings.gpkg", "terrain/dem.tif"]
    with twin.open(twin_dir) as city:
        after = city["building"].query()["base_elev_m"]
        assert city.height(E0 + 100, N0 + 100) == pytest.approx(27 + 0.02 * 149 + 0.02 * 149, abs=0.05)
    assert (after - before).to_numpy() == pytest.approx(7.0, abs=1e-4)
    assert len(list((twin_dir / "rasters").iterdir())) == 1


def test_a_removed_file_closes_its_features(source, tmp_path):
    twin_dir = tmp_path / "twin"
    build(source, twin_dir)
    (source / "pipe_water.gpkg").unlink()
    (source / "terrain" / "dem.tif").unlink()
    result = build(source, twin_dir)
    assert result.removed == {"pipe_water.gpkg": {"pipe_water": 12}, "terrain/dem.tif": {}}
    with twin.open(twin_dir) as city:
        assert city["pipe_water"].count() == 0
        assert set(city["building"].query()["base_elev_m"]) == {0.0}
    assert on_disk(twin_dir) == {"buildings.gpkg"}
    assert list((twin_dir / "rasters").iterdir()) == []


def test_changed_hints_are_a_change(source, tmp_path):
    twin_dir = tmp_path / "twin"
    build(source, twin_dir)
    settings(source, '[[source]]\npath = "buildings.gpkg"\nvalues = {use = "住宅"}\n')
    result = build(source, twin_dir)
    assert [report.source for report in result.reports] == ["buildings.gpkg"]
    with twin.open(twin_dir) as city:
        assert set(city["building"].query()["use"]) == {"住宅"}


def make_bad(source):
    """One of each kind of trouble, beside good files."""
    whole = source / "whole.tif"
    write_dem(whole)
    (source / "surface_dsm.tif").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()
    save(buildings(3), source / "sheds_building.shp")
    (source / "sheds_building.prj").unlink()
    (source / "house.ifc").write_text(
        "ISO-10303-21;\nHEADER;FILE_SCHEMA(('IFC4'));ENDSEC;\nDATA;\n#1=IFCWALL('x',$;;\nEND"
    )
    (source / "readings.csv").write_bytes(b"\x00\x01\x02,\xff\xfe,;\n\x00,\x00\n")
    (source / "drawing.dwg").write_bytes(b"AC1032")


BAD = {"surface_dsm.tif", "sheds_building.shp", "house.ifc", "readings.csv", "drawing.dwg"}


def test_bad_files_are_named_and_the_rest_is_built(source, tmp_path):
    make_bad(source)
    result = build(source, tmp_path / "twin")
    assert result.exit_code == 1
    assert {report.source for report in result.reports if report.status == "parked"} == BAD
    for report in result.reports:
        if report.source in BAD:
            [issue] = [each for each in report.issues if each.severity == "error"]
            assert issue.where
            assert len(issue.message) > 10
            assert len(issue.hint) > 10
    with twin.open(tmp_path / "twin") as city:
        assert city["building"].count() == 60
    stored = {
        json.loads(path.read_text("utf8"))["source"]: json.loads(path.read_text("utf8"))["status"]
        for path in (tmp_path / "twin" / "reports").glob("*.json")
    }
    assert {name for name, status in stored.items() if status == "parked"} == BAD
    assert build(source, tmp_path / "twin").exit_code == 1


def test_a_file_that_breaks_keeps_its_good_features_until_it_is_mended(source, tmp_path):
    twin_dir = tmp_path / "twin"
    build(source, twin_dir)
    good = (source / "buildings.gpkg").read_bytes()
    (source / "buildings.gpkg").write_bytes(good[: len(good) // 2])
    result = build(source, twin_dir)
    assert result.exit_code == 1
    assert {issue.code for issue in report_of(result, "buildings.gpkg").issues} >= {"OLD_FEATURES_KEPT"}
    with twin.open(twin_dir) as city:
        assert city["building"].count() == 60
    save(buildings(58), source / "buildings.gpkg")
    assert build(source, twin_dir).exit_code == 0
    with twin.open(twin_dir) as city:
        assert city["building"].count() == 58


def test_a_reader_that_falls_over_parks_its_source_only(source, tmp_path, monkeypatch):
    real = ingest.read

    def broken(path, hints):
        if path.name == "pipe_water.gpkg":
            raise ZeroDivisionError("by nothing")
        return real(path, hints)

    monkeypatch.setattr(ingest, "read", broken)
    result = build(source, tmp_path / "twin")
    [issue] = report_of(result, "pipe_water.gpkg").issues
    assert issue.code == "READER_FAILED"
    assert "ZeroDivisionError: by nothing" in issue.message
    monkeypatch.undo()
    assert build(source, tmp_path / "twin").exit_code == 0  # our fault, not the file's: tried again


def test_a_reader_that_falls_over_half_way_leaves_nothing_half_stored(source, tmp_path, monkeypatch):
    real = build_features.batches

    def half(path, layer):
        for n, batch in enumerate(real(path, layer)):
            yield batch
            if path.name == "buildings.gpkg":
                raise InvalidInput(f"cut off after batch {n}", "mend it")

    monkeypatch.setattr(build_features, "batches", half)
    result = build(source, tmp_path / "twin")
    assert report_of(result, "buildings.gpkg").status == "parked"
    with twin.open(tmp_path / "twin") as city:
        assert "building" not in city or city["building"].count() == 0
        assert city["pipe_water"].count() == 12


def test_the_same_id_in_two_files_is_stored_once_and_rejected_once(source, tmp_path):
    save(buildings(2, seed=5), source / "more_buildings.gpkg")
    result = build(source, tmp_path / "twin")
    assert result.exit_code == 1
    assert_conserved(result)
    report = report_of(result, "more_buildings.gpkg")
    assert [(reject.code, reject.where) for reject in report.rejects] == [
        ("DUPLICATE_ID", "N00000"),
        ("DUPLICATE_ID", "N00001"),
    ]
    assert report.rejects[0].content["height_m"] == buildings(2, seed=5).loc[0, "height_m"]


def test_a_city_without_settings_takes_the_commonest_projected_crs(tmp_path):
    source = tmp_path / "plain"
    write_dem(source / "dem.tif")
    save(buildings(5), source / "buildings.gpkg")
    save(buildings(4).to_crs("EPSG:4490"), source / "other_buildings.geojson")
    result = build(source, tmp_path / "twin")
    assert {issue.code for issue in result.issues} >= {"CITY_CRS_CHOSEN", "CITY_ORIGIN_CHOSEN", "CITY_HEIGHTS_CHOSEN"}
    with twin.open(tmp_path / "twin") as city:
        assert city.crs == CITY
        e, n = pyproj.Transformer.from_crs("EPSG:4490", CITY, always_xy=True).transform(
            city.config.origin_lon_deg, city.config.origin_lat_deg
        )
        assert abs(e - E0) < 500
        assert abs(n - N0) < 500


@pytest.mark.parametrize(("degrees", "code"), [("EPSG:4490", "EPSG:4549"), ("EPSG:4326", "EPSG:32651")])
def test_data_in_degrees_alone_get_the_zone_they_lie_in(tmp_path, degrees, code):
    """121.0 E: zone 120 E of CGCS2000 reaches from 118.5 to 121.5, UTM zone 51 from 120 to 126."""
    source = tmp_path / "source"
    save(buildings(5).to_crs(degrees), source / "building.gpkg")
    result = build(source, tmp_path / "twin")
    [issue] = [issue for issue in result.issues if issue.code == "CITY_CRS_CHOSEN"]
    assert code in issue.message
    with twin.open(tmp_path / "twin") as city:
        assert city.crs == code
        there = city["building"].query().to_crs(CITY)
        assert there.geometry.centroid.x.iloc[0] == pytest.approx(buildings(5).geometry.centroid.x.iloc[0], abs=1e-3)


def test_where_nobody_names_a_crs_nothing_is_built(tmp_path):
    source = tmp_path / "plain"
    save(buildings(3), source / "building.shp")
    (source / "building.prj").unlink()
    with pytest.raises(InvalidInput, match="names a CRS"):
        build(source, tmp_path / "twin")
    assert not (tmp_path / "twin" / "twin.toml").exists()


@pytest.mark.parametrize("change", ['crs = "EPSG:4550"', "origin = [121.1, 28.1]", "height_model = {constant_m = 9.0}"])
def test_a_twin_is_not_moved(source, tmp_path, change):
    build(source, tmp_path / "twin")
    key = change.split(" ")[0]
    lines = [line for line in (source / "city.toml").read_text().splitlines() if not line.startswith(key)]
    (source / "city.toml").write_text("\n".join([*lines, change]))
    with pytest.raises(InvalidInput, match=key):
        build(source, tmp_path / "twin")


def test_a_folder_with_other_things_and_a_twin_among_its_sources_are_refused(source, tmp_path):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.odt").write_text("x")
    with pytest.raises(InvalidInput, match="holds other things"):
        build(source, other)
    with pytest.raises(InvalidInput, match="lies inside"):
        build(source, source / "twin")
    with pytest.raises(InvalidInput, match="not a folder"):
        build(tmp_path / "nowhere", tmp_path / "twin")


def test_two_builds_do_not_run_into_each_other(source, tmp_path):
    from server.build_folder import locked

    with locked(tmp_path / "twin"), pytest.raises(CityTwinError, match="Another build"):
        build(source, tmp_path / "twin")


def test_added_files_stay_when_the_folder_is_built_again(source, tmp_path):
    twin_dir = tmp_path / "twin"
    build(source, twin_dir)
    extra = tmp_path / "elsewhere" / "pipe_gas.gpkg"
    save(pipes(4).drop(columns="z_ref"), extra)
    with twin.open(twin_dir) as city:
        version = city.store.version()
        result = add_sources(city, [extra], {"values": {"z_ref": "crown"}})
        assert result.exit_code == 0
        assert city.store.version() > version
        assert city["pipe_gas"].count() == 4
        assert city["pipe_gas"].info.mesh_count == 4
        assert add_sources(city, [extra], {"values": {"z_ref": "crown"}}).unchanged == ["added:pipe_gas.gpkg"]
        with pytest.raises(InvalidInput, match="colour"):
            add_sources(city, [extra], {"colour": "red"})
    (source / "pipe_water.gpkg").unlink()
    build(source, twin_dir)
    with twin.open(twin_dir) as city:
        assert city["pipe_gas"].count() == 4
        assert city["pipe_water"].count() == 0


def test_check_reads_everything_and_stores_nothing(source):
    make_bad(source)
    before = sorted(path.name for path in source.rglob("*"))
    reports = check([source / "buildings.gpkg", source / "terrain" / "dem.tif", source / "surface_dsm.tif"])
    assert [report.status for report in reports] == ["stored", "stored", "parked"]
    assert reports[0].layers[0].n_read == 60
    assert sorted(path.name for path in source.rglob("*")) == before


def state(twin_dir):
    """Counts by layer, versions of all features and the raster, as a reader finds them."""
    with twin.open(twin_dir) as city:
        counts = {layer.id: city[layer.id].count() for layer in city.layers}
        heights = city["building"].query()["height_m"].sum() if counts.get("building") else 0
        ground = city.height(E0 + 100, N0 + 100)
    with closing(sqlite3.connect(twin_dir / "city.gpkg")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return counts, round(float(heights), 3), round(float(ground), 3)


@pytest.mark.slow
def test_a_killed_build_leaves_the_old_state_or_the_new_one(source, tmp_path):
    save(buildings(400), source / "buildings.gpkg")
    build(source, tmp_path / "old")
    old = state(tmp_path / "old")
    save(buildings(400, raised=5).iloc[:390], source / "buildings.gpkg")
    write_dem(source / "terrain" / "dem.tif", base=33.0)
    save(pipes(7), source / "pipe_water.gpkg")
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    start = time.perf_counter()
    command = [sys.executable, "-m", "server.cli", "build", str(source)]
    subprocess.run([*command, str(tmp_path / "new")], cwd=ROOT, check=True, capture_output=True)
    whole = time.perf_counter() - start
    new = state(tmp_path / "new")
    assert new != old
    seen = []
    for share in (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95):
        victim = tmp_path / f"killed{share}"
        shutil.copytree(tmp_path / "old", victim)
        with subprocess.Popen([*command, str(victim)], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            time.sleep(share * whole)
            process.send_signal(signal.SIGKILL)
        seen.append(state(victim))
        assert seen[-1] in (old, new)
        subprocess.run([*command, str(victim)], cwd=ROOT, check=True, capture_output=True)
        assert state(victim) == new
        assert len(list((victim / "rasters").iterdir())) == 1
    assert old in seen  # at least one died in time


def test_added_terrain_says_which_features_still_stand_on_the_old_ground(source, tmp_path):
    twin_dir = tmp_path / "twin"
    build(source, twin_dir)
    extra = tmp_path / "elsewhere" / "east_dem.tif"
    write_dem(extra, base=40.0)
    with twin.open(twin_dir) as city:
        result = add_sources(city, [extra])
    assert [(issue.code, issue.where) for issue in result.issues] == [("GROUND_CHANGED", "buildings.gpkg")]
    assert [report.source for report in build(source, twin_dir).reports] == ["buildings.gpkg"]


def test_a_height_grid_moves_into_the_twin(source, tmp_path):
    """A constant grid of 7.25 m, so that ellipsoidal height is normal height + 7.25."""
    profile = {"driver": "GTiff", "height": 40, "width": 40, "count": 1, "dtype": "float32", "crs": "EPSG:4490"}
    with rasterio.open(source / "geoid.gtx.tif", "w", transform=from_origin(120, 29, 0.05, 0.05), **profile) as file:
        file.write(np.full((40, 40), 7.25, np.float32), 1)
    settings(source, 'height_model = {grid = "geoid.gtx.tif"}\n[[source]]\npath = "geoid.gtx.tif"\nskip = true\n')
    twin_dir = tmp_path / "twin"
    assert build(source, twin_dir).exit_code == 0
    assert build(source, twin_dir).reports == []
    moved = tmp_path / "moved"
    twin_dir.rename(moved)
    (source / "geoid.gtx.tif").unlink()
    with twin.open(moved) as city:
        lon, lat, h = city.frame.ellipsoidal(np.array([[E0, N0, 3.0]]))[0]
        assert h == pytest.approx(10.25, abs=1e-6)
        assert (lon, lat) == pytest.approx((120.997, 28.1), abs=0.01)


def test_the_twin_takes_the_name_that_the_folder_has_now(source, tmp_path):
    build(source, tmp_path / "twin")
    text = (source / "city.toml").read_text("utf8").replace('"tiny"', '"small"')
    (source / "city.toml").write_text(text + 'title = {zh = "小城"}\n', "utf8")
    assert build(source, tmp_path / "twin").reports == []
    with twin.open(tmp_path / "twin") as city:
        assert (city.config.name, city.config.title_in("zh")) == ("small", "小城")
