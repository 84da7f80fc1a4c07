"""`citytwin export`: what lies in the folder is what the server answers; kills, edits, odd names, full disks."""

import contextlib
import functools
import hashlib
import http.server
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx
import numpy as np
import pyarrow as pa
import pytest
import shapely
from starlette.testclient import TestClient
from typer.testing import CliRunner

import twin
from layers.catalogue import LayerType, Title
from server.app import create_app
from server.build import build
from server.cli import app
from server.settings import Settings
from tests.ingest import tile_files
from tests.server.test_tilesets import table_ids
from tests.stores import copy_twin
from twin.scope import EVERYTHING

ROOT = Path(__file__).resolve().parents[2]
TOWN = ROOT / "sample_data" / "town"
FILES = (
    "vector/buildings.gpkg", "vector/buildings_lod2.city.json", "pipes/给水管线.gpkg", "terrain/dem.tif",
    "imagery/dom_2026.tif", "points/point_cloud.laz",
)  # fmt: skip
CITY = """name = "small"
crs = "EPSG:4549"
vertical_crs = "EPSG:5737"
origin = [121.0, 28.1]
height_model = "egm96"
"""
RECORDS = ".citytwin-export"


@pytest.fixture(scope="module")
def twin_dir(tmp_path_factory):
    """A twin with something of every kind."""
    source = tmp_path_factory.mktemp("source")
    (source / "city.toml").write_text(CITY, "utf8")
    for name in FILES:
        (source / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(TOWN / name, source / name)
    tile_files.write_set(source / "oblique", 121.0, 28.1, 40.0)
    folder = tmp_path_factory.mktemp("twin") / "twin"
    build(source, folder)
    return folder


def run(twin_dir, out, *options, code=0):
    done = CliRunner().invoke(app, ["export", str(twin_dir), str(out), *options])
    assert done.exit_code == code, f"{done.output}\n{done.exception!r}"
    return done.output


def command(twin_dir, out, *options):
    return [sys.executable, "-m", "server.cli", "export", str(twin_dir), str(out), *options]


def hashes(folder, *, records=True):
    """File -> digest of everything below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and (records or RECORDS not in path.parts)
    }


def tiles_of(document):
    """Every tile of a tileset's JSON."""
    left = [document["root"]]
    while left:
        tile = left.pop()
        yield tile
        left += tile.get("children", [])


@contextlib.contextmanager
def plain_server(folder):
    """Python's own file server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def exported(twin_dir, tmp_path_factory):
    """Everything, with links to where a server of the test will stand."""
    out = tmp_path_factory.mktemp("export") / "out"
    with plain_server(out) as url:
        run(twin_dir, out, "--base-url", url, "--workers", "2", "--max-zoom", "15")
        yield out, url


@pytest.fixture(scope="module")
def living(twin_dir, exported):
    """The server's application, with the same base of links."""
    settings = Settings(access_log=False, warm_up=False, public_url=exported[1])
    with twin.open(twin_dir) as city, TestClient(create_app(city, settings)) as client:
        yield client


def test_every_file_is_what_the_server_answers_at_its_address(exported, living):
    out, url = exported
    extensions = living.get("/terrain/layer.json").json().get("extensions", [])
    asked = {"Accept": f"application/vnd.quantized-mesh;extensions={'-'.join(extensions)}"}
    kinds = set()
    with httpx.Client() as client:
        for path in sorted(path for path in out.rglob("*") if path.is_file() and RECORDS not in path.parts):
            address = f"/{quote(path.relative_to(out).as_posix())}"
            static = client.get(url + address)
            live = living.get(address, headers=asked if address.endswith(".terrain") else {})
            assert (live.status_code, static.status_code) == (200, 200), address
            if address == "/terrain/layer.json" or address.endswith("tilejson.json") or "/styles/" in address:
                assert uncut(live.json()) == uncut(static.json())
            else:
                assert live.content == static.content, address
            kinds.add(path.suffix or address.split("/")[1])
    assert {".json", ".glb", ".subtree", ".terrain", ".laz", ".b3dm", ".png", "tiles", "styles"} <= kinds


def uncut(document):
    """A document without what --max-zoom cuts."""
    for each in [document, *document.get("sources", {}).values()]:
        for name in ("maxzoom", "available"):
            each.pop(name, None)
    return document


def below(client, start):
    """Every address that explicit tilesets lead to from one, as a viewer follows them; implicit roots by themselves."""
    left, seen, implicit = [start], {}, []
    while left:
        address = left.pop()
        if address in seen:
            continue
        answer = client.get(address)
        assert answer.status_code == 200, address
        seen[address] = answer
        if urlsplit(address).path.endswith(".json"):
            for tile in tiles_of(answer.json()):
                if "implicitTiling" in tile:
                    implicit.append((address, tile))
                elif "content" in tile:
                    left.append(urljoin(address, tile["content"]["uri"]))
    return seen, implicit


def test_the_walk_from_the_city_finds_every_feature_once(exported, twin_dir):
    _, url = exported
    found = {}
    with httpx.Client() as client:
        seen, implicit = below(client, f"{url}/3dtiles/explicit/tileset.json")
    assert not implicit
    for address, answer in seen.items():
        layer = unquote(urlsplit(address).path.split("/")[2])
        if address.endswith(".glb") and layer != "point_cloud":
            found.setdefault(layer, []).extend(table_ids(answer.content))
    with twin.open(twin_dir) as city:
        for info in city.store.layers(EVERYTHING):
            if info.mesh_count:
                table = city.store.mesh_table(info.id, EVERYTHING)
                stored = city.store.features_by_fid(info.id, table.fids, EVERYTHING).ids
                assert sorted(found[info.id]) == sorted(stored)
    assert len(found) >= 2
    assert any("point_cloud" in address for address in seen)
    assert any(address.endswith(".b3dm") for address in seen)


@pytest.mark.parametrize("form", ["", "compat/"])
def test_implicit_forms_have_every_tile_that_their_subtrees_say(exported, form):
    from tiles.verify import subtree_file  # noqa: F401 its reader is not the writer's

    out, _ = exported
    folder = out / "collections" / "building" / "3dtiles" / form
    root = json.loads((folder / "tileset.json").read_text())["root"]
    contents = {path.relative_to(folder / "content").as_posix() for path in (folder / "content").rglob("*.glb")}
    assert available_contents(folder, root["implicitTiling"]["subtreeLevels"]) == contents


def available_contents(folder, levels):
    """Contents that the subtrees below the root name, read by the words of OGC 22-025r4, 7.3."""
    found, left = set(), [(0, 0, 0)]
    while left:
        level, x, y = left.pop()
        data = (folder / f"subtrees/{level}/{x}/{y}.subtree").read_bytes()
        length = int.from_bytes(data[8:16], "little")
        document, body = json.loads(data[24 : 24 + length]), data[24 + length :]
        views = document.get("bufferViews", [])

        def bits(entry, n, body=body, views=views):
            if "constant" in entry:
                return [bool(entry["constant"])] * n
            start = views[entry["bitstream"]]["byteOffset"]
            return [bool(body[start + i // 8] >> i % 8 & 1) for i in range(n)]

        number = 0
        content = bits(document["contentAvailability"][0], (4**levels - 1) // 3)
        for down in range(levels):
            for cell in range(4**down):
                if content[number]:
                    cx, cy = column_row(cell, down)
                    found.add(f"{level + down}/{(x << down) + cx}/{(y << down) + cy}.glb")
                number += 1
        for cell, there in enumerate(bits(document["childSubtreeAvailability"], 4**levels)):
            if there:
                cx, cy = column_row(cell, levels)
                left.append((level + levels, (x << levels) + cx, (y << levels) + cy))
    return found


def column_row(cell, levels):
    x = sum((cell >> 2 * i & 1) << i for i in range(levels))
    return x, sum((cell >> 2 * i + 1 & 1) << i for i in range(levels))


def test_vector_tiles_lack_none_that_the_server_has_something_in(exported, living):
    out, _ = exported
    for document in ("tiles/tilejson.json", "collections/building/tilejson.json"):
        told = json.loads((out / document).read_text())
        template = urlsplit(told["tiles"][0]).path
        west, south, east, north = told["bounds"]
        for z in range(told["minzoom"], min(told["maxzoom"], 14) + 1):
            x0, y1 = tile_at(west, south, z)
            x1, y0 = tile_at(east, north, z)
            for x in range(x0 - 1, x1 + 2):
                for y in range(y0 - 1, y1 + 2):
                    address = unquote(template).format(z=z, x=x, y=y)
                    live = living.get(address)
                    has = live.status_code == 200 and bool(live.content)
                    assert (out / address.lstrip("/")).is_file() == has, address


def tile_at(lon, lat, z):
    n = 2**z
    y = (1 - np.arcsinh(np.tan(np.radians(lat))) / np.pi) / 2
    return int((lon + 180) / 360 * n), int(y * n)


def test_without_a_base_the_links_are_relative(twin_dir, tmp_path):
    run(twin_dir, tmp_path / "out", "--only", "mvt", "--max-zoom", "12", "--layers", "building", "--workers", "1")
    document = json.loads((tmp_path / "out/collections/building/tilejson.json").read_text())
    address = urljoin("http://cdn.test/a/collections/building/tilejson.json", document["tiles"][0])
    assert address.startswith("http://cdn.test/a/collections/building/tiles/WebMercatorQuad/{z}/")
    assert document["maxzoom"] == 12
    assert b"citytwin.invalid" not in b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*.json"))
    # fewer zooms the next time: those beyond are removed
    run(twin_dir, tmp_path / "out", "--only", "mvt", "--max-zoom", "11", "--layers", "building", "--workers", "1")
    zooms = {path.name for path in (tmp_path / "out/collections/building/tiles/WebMercatorQuad").iterdir()}
    assert "12" not in zooms
    assert zooms


def test_a_second_export_writes_nothing(exported, twin_dir):
    out, url = exported
    before = hashes(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    said = run(twin_dir, out, "--base-url", url, "--workers", "2", "--max-zoom", "15")
    assert " 0 written" in said
    assert hashes(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == times


def raise_building(twin_dir, feature_id, by_m):
    """An edit by the Python API; returns the tile of the building in the explicit form, by its old name."""
    with twin.open(twin_dir) as city:
        height = city["building"].get(feature_id)["height_m"]
        with city.editing() as edit:
            edit["building"].update(feature_id, height_m=float(height) + by_m)


def some_building(twin_dir):
    with twin.open(twin_dir) as city:
        table = city["building"].query(filter="height_m > 5", limit=1)
    return table.index[0]


@pytest.fixture
def own_twin(twin_dir, tmp_path):
    """A copy that a test may change."""
    return copy_twin(twin_dir, tmp_path / "twin")


def test_an_edit_changes_only_the_files_it_touches(own_twin, tmp_path):
    options = ("--only", "3dtiles,terrain", "--max-zoom", "10", "--workers", "1")
    out = tmp_path / "out"
    run(own_twin, out, *options)
    before = hashes(out, records=False)
    feature = some_building(own_twin)
    plain = {name for name in before if name.endswith(".glb") and "3dtiles/content" not in name}
    holding = {name for name in plain if holds(out / name, feature)}
    holding |= {name.replace("compat/", "") for name in holding if "compat/" in name}  # packed: not to be read here
    assert len(holding) == 3  # one in each form
    raise_building(own_twin, feature, 1.5)
    run(own_twin, out, *options)
    after = hashes(out, records=False)
    changed = {name for name in before if after.get(name) not in {None, before[name]}}
    gone, new = set(before) - set(after), set(after) - set(before)
    folder = "collections/building/3dtiles"
    assert {name for name in changed if name.endswith(".glb")} == {n for n in holding if "explicit" not in n}
    assert gone == {name for name in holding if "explicit" in name}  # its name follows its content
    assert len(new) == 1
    assert next(iter(new)).startswith(f"{folder}/explicit/")
    documents = {name for name in changed if not name.endswith(".glb")}
    allowed = (f"{folder}/tileset.json", f"{folder}/compat/", f"{folder}/explicit/", f"{folder}/subtrees/", "3dtiles/")
    assert all(name.startswith(allowed) for name in documents)
    # and it is what a fresh export of the edited city has
    run(own_twin, tmp_path / "fresh", *options)
    assert hashes(tmp_path / "fresh") == hashes(out)


def holds(path, feature_id):
    data = path.read_bytes()
    return b"EXT_structural_metadata" in data and feature_id in table_ids(data)


def test_tiles_of_a_layer_that_is_written_to_meanwhile_show_one_version(twin_dir, own_twin, tmp_path):
    from server.export_stages import Choice, Plan
    from tiles.export import run as runner
    from tiles.export.target import Place

    feature = some_building(own_twin)
    with twin.open(own_twin) as city, contextlib.closing(Plan(city, Choice(("3dtiles",), ("building",)))) as plan:

        def disturbed(there):
            for stage in plan.stages(there):
                if "building" in stage.title:
                    raise_building(own_twin, feature, 3.0)
                    with twin.open(own_twin) as other, other.editing() as edit:
                        edit["building"].delete(next(i for i in other["building"].query(limit=2).index if i != feature))
                yield stage

        done = runner.export(Place(str(tmp_path / "out")), disturbed, plan.factories(), n_workers=1)
    assert done.exit_code == 1
    assert "Layer 'building' went from version" in done.moved[0]
    run(twin_dir, tmp_path / "before", "--only", "3dtiles", "--layers", "building", "--workers", "1")
    folder = "collections/building"
    assert hashes(tmp_path / "out" / folder) == hashes(tmp_path / "before" / folder)


def test_a_layer_that_is_gone_takes_its_files_along(own_twin, tmp_path):
    out = tmp_path / "out"
    options = ("--only", "3dtiles", "--forms", "compat", "--workers", "1")
    run(own_twin, out, *options)
    (out / "mine.txt").write_text("not of the export")
    assert (out / "collections/pipe_water/3dtiles/compat/tileset.json").is_file()
    with twin.open(own_twin) as city, city.store.writing() as batch:
        batch.remove_source("pipes/给水管线.gpkg")
    run(own_twin, out, *options)
    assert not (out / "collections/pipe_water").exists()
    assert (out / "mine.txt").read_text() == "not of the export"
    assert (out / "collections/building/3dtiles/compat/tileset.json").is_file()


def test_a_cloud_that_cannot_be_read_is_named_and_keeps_its_files(own_twin, tmp_path):
    out = tmp_path / "out"
    options = ("--only", "points,3dtiles", "--forms", "compat", "--workers", "1")
    run(own_twin, out, *options)
    before = hashes(out / "collections/point_cloud/3dtiles")
    assert before
    (cloud,) = (own_twin / "points").glob("*.laz")
    cloud.write_bytes(b"not a cloud")
    said = run(own_twin, out, *options, code=1)
    assert "failed    points of point_cloud: " in said
    assert hashes(out / "collections/point_cloud/3dtiles") == before
    assert (out / "collections/building/3dtiles/compat/tileset.json").is_file()


def test_what_is_not_asked_for_stays(own_twin, tmp_path):
    out = tmp_path / "out"
    run(own_twin, out, "--only", "3dtiles", "--workers", "1")
    before = hashes(out)
    run(own_twin, out, "--only", "3dtiles", "--layers", "building", "--forms", "compat", "--workers", "1")
    assert hashes(out) == before  # the tileset of the city, too: it still names all that is there


@pytest.mark.slow
def test_a_killed_export_goes_on_where_it_was(twin_dir, tmp_path):
    options = ("--only", "3dtiles,points,terrain,mvt", "--max-zoom", "13", "--workers", "2")
    began = time.monotonic()
    run(twin_dir, tmp_path / "whole", *options)
    lasts = time.monotonic() - began
    out, chance = tmp_path / "out", random.Random(4)
    cut = 0
    for _ in range(6):
        process = subprocess.Popen(
            command(twin_dir, out, *options), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(1.0 + chance.uniform(0, lasts / 2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)  # not the group: the workers have to see it for themselves
            process.wait()
            cut += 1
        for path in out.rglob("*.glb"):
            if RECORDS not in path.parts:
                assert int.from_bytes(path.read_bytes()[8:12], "little") == path.stat().st_size
    assert cut >= 2
    run(twin_dir, out, *options)
    assert hashes(out) == hashes(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_export_after_an_edit_leaves_nothing_behind(own_twin, tmp_path):
    options = ("--only", "3dtiles", "--layers", "building", "--workers", "1")
    out = tmp_path / "out"
    with subprocess.Popen(command(own_twin, out, *options), cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 60
        while not any(out.glob("collections/**/*.glb")) and time.monotonic() < until:
            time.sleep(0.005)
        process.kill()
    raise_building(own_twin, some_building(own_twin), 2.0)
    run(own_twin, out, *options)
    run(own_twin, tmp_path / "fresh", *options)
    assert hashes(out) == hashes(tmp_path / "fresh")


def limited(n_bytes):
    """A process whose files may have so many bytes, as on a full disk: the system refuses to write more."""

    def before_exec():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return before_exec


def test_a_full_disk_is_told_and_the_next_export_goes_on(twin_dir, tmp_path):
    options = ("--only", "3dtiles", "--layers", "building", "--forms", "compat", "--workers", "1")
    out = tmp_path / "out"
    done = subprocess.run(
        command(twin_dir, out, *options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=limited(40_000),
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be written: File too large. Make room and run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    run(twin_dir, out, *options)
    run(twin_dir, tmp_path / "fresh", *options)
    assert hashes(out) == hashes(tmp_path / "fresh")


def test_a_target_that_cannot_be_written_is_told(twin_dir, tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        command(twin_dir, tmp_path / "file" / "out"), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(twin_dir, tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    done = subprocess.run(command(twin_dir, tmp_path / "out"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "Check the permissions" in done.stderr) == (2, True)


def test_two_exports_into_one_folder_do_not_mix(twin_dir, tmp_path):
    from tiles.export.folder import Folder

    holder = Folder(tmp_path / "out")
    holder.begin()
    done = subprocess.run(command(twin_dir, tmp_path / "out"), cwd=ROOT, capture_output=True, text=True, check=False)
    holder.end()
    assert (done.returncode, "Another export is writing" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--only", "3dtile"), "--only has '3dtile'. Known: 3dtiles, points"),
        (("--forms", "packed"), "--forms has 'packed'. Known: compact, compat, explicit."),
        (("--layers", "bulding"), "The twin has no layer 'bulding'. It has:"),
        (("--pack", "lzma"), "--pack 'lzma' is not offered. Use gzip, br, zstd, none."),
        (("--min-zoom", "9", "--max-zoom", "3"), "--min-zoom 9 is above --max-zoom 3."),
        (("--base-url", "cdn.example"), "--base-url 'cdn.example' is no address."),
        (("--filter", "building"), "Write LAYER=CQL2"),
        (("--filter", "building=no such"), "The filter is no CQL2 text"),
        (("--datetime", "yesterday"), "yesterday"),
    ],
)
def test_options_that_are_wrong_are_named(twin_dir, tmp_path, options, said):
    done = CliRunner().invoke(app, ["export", str(twin_dir), str(tmp_path / "out"), *options])
    assert isinstance(done.exception, Exception)
    assert done.exit_code == 1
    assert said in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_an_unknown_scheme_is_named(twin_dir):
    done = CliRunner().invoke(app, ["export", str(twin_dir), "ftp://host/x"])
    assert "'ftp://host/x' is no target. Give a folder" in str(done.exception)


def test_a_filter_leaves_the_others_out(twin_dir, tmp_path):
    out = tmp_path / "out"
    run(twin_dir, out, "--only", "3dtiles", "--layers", "building", "--forms", "compat", "--workers", "1",
        "--filter", "building=height_m > 20")  # fmt: skip
    ids = [each for path in out.rglob("*.glb") for each in table_ids(path.read_bytes())]
    with twin.open(twin_dir) as city:
        table = city.store.mesh_table("building", EVERYTHING)
        meshed = set(city.store.features_by_fid("building", table.fids, EVERYTHING).ids)
        assert sorted(ids) == sorted(set(city["building"].query(filter="height_m > 20").index) & meshed)
    assert 0 < len(ids) < len(meshed)


def test_packed_copies_stand_beside_the_files_and_go_with_them(twin_dir, tmp_path):
    import gzip

    out = tmp_path / "out"
    options = ("--only", "3dtiles", "--layers", "building", "--forms", "compat", "--workers", "1")
    run(twin_dir, out, *options, "--pack", "gzip")
    copies = list(out.rglob("*.glb.gz"))
    assert copies
    for copy in copies:
        assert gzip.decompress(copy.read_bytes()) == copy.with_suffix("").read_bytes()
    run(twin_dir, out, *options)
    assert not list(out.rglob("*.gz"))
    run(twin_dir, tmp_path / "plain", *options)
    assert hashes(out) == hashes(tmp_path / "plain")


@pytest.mark.parametrize("name", ["../../evil", "..", "a/../../../evil", "/etc/evil", "nul\x01", "x" * 300, "."])
def test_a_layer_of_any_name_stays_in_the_folder(tmp_path, name):
    from tests.server.conftest import cube, put, rows
    from twin import config
    from twin.store.geopackage import GeoPackageStore

    folder, out = tmp_path / "deep" / "twin", tmp_path / "deep" / "a" / "b" / "out"
    folder.mkdir(parents=True)
    config.save(config.TwinConfig("odd", "EPSG:4549", 121.0, 28.1, 0.0), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    for layer_id in (name, "good"):
        kind = LayerType(layer_id, Title(layer_id, layer_id), "Point", "base", (1,), ())
        content = rows(["a"], [shapely.Point(598_000, 3_110_000)], {}, pa.schema([]), meshes=[cube(np.zeros(3), 5.0)])
        put(store, f"{layer_id[:9]}.gpkg", kind, content)
    store.close()
    outside = hashes(tmp_path / "deep")
    done = CliRunner().invoke(app, ["export", str(folder), str(out), "--only", "3dtiles", "--workers", "1"])
    assert done.exit_code == 1, done.output
    assert "cannot be a file's" in done.output or "has more than" in done.output or "is longer than" in done.output
    assert (out / "collections/good/3dtiles/compat/tileset.json").is_file()
    inside = {str(path.relative_to(tmp_path / "deep")) for path in out.rglob("*") if path.is_file()}
    assert set(hashes(tmp_path / "deep")) - inside - {f"twin/city.gpkg{end}" for end in ("-wal", "-shm")} <= set(
        outside
    )
