"""The command as a user runs it: a process of its own, its two outputs and its exit code."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from server.cli_build import json_or_text

ROOT = Path(__file__).resolve().parents[2]
CITY = "EPSG:4549"
E0, N0 = 598_000.0, 3_110_000.0
COMMAND = [sys.executable, "-m", "server.cli"]


def citytwin(*arguments, text=None):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, input=text, check=False
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    (folder / "city.toml").write_text(f'name = "tiny"\ncrs = "{CITY}"\norigin = [121.0, 28.1]\n')
    shapes = shapely.box(E0 + 30 * np.arange(8), N0, E0 + 30 * np.arange(8) + 12, N0 + 9)
    columns = {"building_code": [f"N{k}" for k in range(8)], "height_m": np.arange(8) + 3.0}
    geopandas.GeoDataFrame(columns, geometry=shapes, crs=CITY).to_file(folder / "buildings.gpkg", engine="pyogrio")
    profile = {"driver": "GTiff", "height": 100, "width": 100, "count": 1, "dtype": "float32", "crs": CITY}
    profile |= {"transform": from_origin(E0 - 50, N0 + 300, 4, 4)}
    with rasterio.open(folder / "dem.tif", "w", **profile) as file:
        file.write(np.full((100, 100), 12.5, np.float32), 1)
    return folder


@pytest.fixture(scope="module")
def city(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins") / "tiny"
    assert citytwin("build", source, folder).returncode == 0
    return folder


def test_build_sums_up_on_stdout_and_keeps_stderr_clean(source, tmp_path):
    first = citytwin("build", source, tmp_path / "twin")
    assert (first.returncode, first.stderr) == (0, "")
    assert re.search(r"^stored +8 +8 +0 +[\d.]+  buildings.gpkg -> building$", first.stdout, re.MULTILINE)
    assert "9 features in 2 layers from 2 sources" in first.stdout
    again = citytwin("build", source, tmp_path / "twin")
    assert again.returncode == 0
    assert "unchanged: 2 sources" in again.stdout
    loud = citytwin("build", source, tmp_path / "loud", "--verbose")
    assert "[1/2] dem.tif" in loud.stderr
    assert "[1/2]" not in loud.stdout


def test_what_is_parked_is_named_with_place_and_next_step_and_exits_1(source, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    whole = (source / "dem.tif").read_bytes()
    (folder / "cut_dsm.tif").write_bytes(whole[: len(whole) // 2])
    (folder / "house.ifc").write_text("ISO-10303-21;\nHEADER;\nnonsense")
    (folder / "drawing.dwg").write_bytes(b"AC1032")
    done = citytwin("build", folder, tmp_path / "twin")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    for name in ("cut_dsm.tif", "house.ifc", "drawing.dwg"):
        [at] = [k for k, line in enumerate(lines) if line.startswith("parked") and name in line]
        assert name in lines[at + 1]
        assert lines[at + 1].count(". ") >= 1  # what is wrong, then what to do
    again = citytwin("build", folder, tmp_path / "twin")
    assert again.returncode == 1
    assert all(name in again.stdout for name in ("cut_dsm.tif", "house.ifc", "drawing.dwg"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["build", "/nowhere/at/all", "{tmp}/t"], "is not a folder"),
        (["build", "{tmp}", "/dev/null"], "is a file"),
        (["info", "{tmp}"], "is not a twin"),
        (["serve", "{tmp}"], "is not a twin"),
        (["serve", "{city}", "--edit", "--read-only"], "--edit and --read-only exclude each other"),
        (["serve", "{city}", "--edit-origin", "editor.example/x"], "is no origin"),
        (["add", "{tmp}", "x.tif"], "is not a twin"),
        (["check", "/nowhere.tif"], "There is no file"),
        (["add", "{city}", "/nowhere.tif"], "There is no file"),
        (["check", "{city}/twin.toml", "--columns", "height"], "--columns 'height' is not understood"),
        (["run", "{city}", "no-such-process"], "no-such-process"),
        (["run", "{city}", "buffer-query", "distance"], "is not NAME=VALUE"),
        (["run", "{city}", "buffer-query", "--input", "/nowhere.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_on_stderr_and_exits_2(arguments, sentence, city, tmp_path):
    done = citytwin(*(text.format(tmp=tmp_path, city=city) for text in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.startswith("citytwin: ")
    assert done.stderr.count("\n") == 1


def test_unknown_options_and_commands_exit_2():
    assert citytwin("build", "--fast").returncode == 2
    assert citytwin("bulid").returncode == 2
    assert citytwin("--help").returncode == 0


def test_info_as_text_and_as_json(city):
    facts = json.loads(citytwin("info", city, "--json").stdout)
    assert facts["crs"] == CITY
    building, sources = facts["layers"]
    assert (sources["id"], sources["count"]) == ("source", 2)
    assert (building["id"], building["count"], building["mesh_count"]) == ("building", 8, 8)
    assert building["bounds"] == pytest.approx([E0, N0, E0 + 222, N0 + 9])
    assert {source["source"]: source["certificate"]["method"] for source in facts["sources"]} == {
        "buildings.gpkg": "file-crs",
        "dem.tif": "file-crs",
    }
    assert [asset["layer"] for asset in facts["assets"]] == ["dem"]
    text = citytwin("info", city).stdout
    assert re.search(r"^building +8 +8 ", text, re.MULTILINE)


def test_check_reports_and_stores_nothing(source, tmp_path):
    done = citytwin("check", source / "buildings.gpkg", source / "dem.tif")
    assert done.returncode == 0
    assert done.stdout.count("\nstored ") == 2
    broken = tmp_path / "house.ifc"
    broken.write_text("nonsense")
    assert citytwin("check", broken).returncode == 1


def test_run_answers_with_json(city):
    """Buildings stand 30 m apart: from 40 m west of the first one, 100 m reach three of them."""
    point = {"type": "Point", "coordinates": [E0 - 40, N0 + 4]}
    inputs = {"geometry": point, "distance_m": 100.0, "layer": "building", "crs": CITY}
    named = [f"{key}={json.dumps(value) if key == 'geometry' else value}" for key, value in inputs.items()]
    answers = [
        citytwin("run", city, "buffer-query", *named),
        citytwin("run", city, "buffer-query", "--input", "-", text=json.dumps(inputs)),
        citytwin("run", city, "buffer-query", "distance_m=100", "--input", "-", text=json.dumps({"inputs": inputs})),
    ]
    for done in answers:
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert [feature["id"] for feature in answer["features"]["features"]] == ["N0", "N1", "N2"]
    wrong = citytwin("run", city, "buffer-query", "--input", "-", text='{"nonsense": 1}')
    assert wrong.returncode == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [("12.5", 12.5), ("true", True), ("[1,2]", [1, 2]), ("住宅", "住宅"), ('"12"', "12"), ("2026-01-01", "2026-01-01")],
)
def test_values_are_json_where_they_are_json(text, value):
    assert json_or_text(text) == value


@pytest.mark.parametrize("workers", [1, 2])
def test_serve_prints_its_address_and_shows_what_is_added_while_it_runs(source, tmp_path, workers):
    folder = tmp_path / "twin"
    assert citytwin("build", source, folder).returncode == 0
    command = [*COMMAND, "serve", str(folder), "--port", "0", "--workers", str(workers)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            address = re.fullmatch(r"Listening on (http://127\.0\.0\.1:\d+/)\n", line)[1]
            assert collections(address) == {"building"}
            columns = {"pipe_code": ["G1"], "od_mm": [200.0]}
            pipe = geopandas.GeoDataFrame(columns, geometry=[shapely.LineString([(E0, N0), (E0 + 50, N0)])], crs=CITY)
            pipe.to_file(tmp_path / "pipe_gas.gpkg", engine="pyogrio")
            assert citytwin("add", folder, tmp_path / "pipe_gas.gpkg", "--values", "z_ref=crown").returncode == 0
            deadline = time.monotonic() + 30
            while collections(address) != {"building", "pipe_gas"}:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def collections(address):
    with urllib.request.urlopen(f"{address}collections?f=json") as answer:
        rows = json.load(answer)["collections"]
    return {row["id"] for row in rows} & {"building", "pipe_gas"}


def test_a_port_in_use_is_said(city):
    command = [*COMMAND, "serve", str(city), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = re.search(r":(\d+)/", server.stdout.readline())[1]
            done = citytwin("serve", city, "--port", port)
            assert done.returncode == 2
            assert f"port {port} cannot be used" in done.stderr
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
