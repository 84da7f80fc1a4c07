"""`citytwin verify`: exit codes, what goes where, and a running server read as a stranger reads it."""

import contextlib
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import uvicorn
from typer.testing import CliRunner

from layers.errors import NotFound
from server.app import create_app
from server.cli import app
from server.settings import Settings
from tests.tiles import verify_samples as samples
from tiles.verify import verify
from tiles.verify.source import encodings


def run(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def test_sound_tiles_are_zero_and_named_on_stdout(tmp_path):
    samples.write_all(tmp_path)
    done = run(tmp_path)
    assert done.exit_code == 0
    assert done.stdout.startswith(
        "Read 8 glTF, 1 layer.json, 1 mvt, 1 raster, 3 subtree, 6 terrain, 2 tilejson, 4 tileset: "
    )
    assert "0 errors" in done.stdout
    assert done.stderr == ""


def test_broken_tiles_are_one(tmp_path):
    samples.write_explicit(tmp_path / "set")
    (tmp_path / "set/a.glb").unlink()
    done = run(tmp_path / "set")
    assert done.exit_code == 1
    first = done.stdout.splitlines()[0].split()
    assert first[:2] == ["error", "MISSING"]
    assert first[2].startswith("tileset.json#/root")
    assert "1 error." in done.stdout


def test_json_has_everything(tmp_path):
    samples.write_explicit(tmp_path / "set")
    (tmp_path / "set/a.glb").unlink()
    done = run(tmp_path / "set", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert report["counts"] == {"MISSING": 1}
    assert not report["clean"]
    assert report["complete"]
    assert report["issues"][0]["severity"] == "error"


def test_a_limit_is_said_and_no_fault(tmp_path):
    samples.write_explicit(tmp_path / "set")
    done = run(tmp_path / "set", "--limit", 2)
    assert done.exit_code == 0
    assert "LIMIT_REACHED" in done.stdout
    assert "(not everything)" in done.stdout


def test_what_cannot_be_read_is_two(tmp_path, capsys, monkeypatch):
    import sys

    from server.cli import main

    for target in (tmp_path / "nowhere", tmp_path, "http://127.0.0.1:9/tileset.json"):
        monkeypatch.setattr(sys, "argv", ["citytwin", "verify", str(target)])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("citytwin: ")


# ---------------------------------------------------------------------------------------------------------- HTTP
@pytest.fixture(scope="module")
def tiny(city):
    """Address of the tiny city's server."""
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(city, Settings(access_log=False, warm_up=False)), port=0, log_level="warning", lifespan="off"
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.02)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()


def test_a_running_server_is_sound(tiny):
    report = verify(tiny, limit=3000)
    faults = [issue for issue in report.issues if issue.severity != "info"]
    assert faults == []
    assert {"tileset", "glTF", "subtree", "terrain", "layer.json", "tilejson", "mvt"} <= set(report.checked)


def test_one_document_of_a_server_is_enough(tiny):
    report = verify(f"{tiny}collections/building/3dtiles/tileset.json")
    assert report.is_clean
    assert report.checked["glTF"] >= 1


def test_what_a_server_does_not_have_is_not_found(tiny):
    with pytest.raises(NotFound, match="answers 404"):
        verify(f"{tiny}collections/nothing/3dtiles/tileset.json")


@contextlib.contextmanager
def serving(answers):
    """A server of a dict: path -> (status, headers, body), or a body alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = answers.get(self.path.partition("?")[0], (404, {}, b"no"))
            status, headers, body = found if isinstance(found, tuple) else (200, {}, found)
            asked.append((self.path, self.headers))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def files(folder):
    return {
        f"/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_tiles_on_a_host_are_read_like_those_in_a_folder(tmp_path):
    samples.write_all(tmp_path)
    with serving(files(tmp_path)) as (address, asked):
        reports = [verify(f"{address}/{part}/tileset.json?token=7") for part in ("explicit", "implicit", "octree")]
        reports += [verify(f"{address}/terrain/layer.json"), verify(f"{address}/vector/tilejson.json")]
    assert [report.counts for report in reports] == [{}] * 5
    assert all("token=7" in path for path, _ in asked if path.startswith("/explicit"))
    assert any("quantized-mesh" in headers["Accept"] for path, headers in asked if ".terrain" in path)


def test_encodings_are_undone_and_checked(tmp_path):
    samples.write_explicit(tmp_path)
    answers = files(tmp_path)
    packed = gzip.compress(answers["/a.glb"])
    with serving(answers | {"/a.glb": (200, {"Content-Encoding": "gzip"}, packed)}) as (address, asked):
        assert verify(f"{address}/tileset.json").counts == {}
        assert asked[0][1]["Accept-Encoding"] == ", ".join(encodings()) == "gzip, deflate, br, zstd"
    with serving(answers | {"/a.glb": (200, {"Content-Encoding": "br"}, packed)}) as (address, _):
        assert verify(f"{address}/tileset.json").counts == {"ENCODING": 1}


def test_other_hosts_and_loops_of_redirects_are_not_followed(tmp_path):
    samples.write_explicit(tmp_path)
    answers = files(tmp_path)
    with serving({"/a.glb": answers["/a.glb"]}) as (other, asked_of_other):
        moved = {
            "/a.glb": (302, {"Location": f"{other}/a.glb"}, b""),
            "/c.glb": (302, {"Location": "/c.glb"}, b""),
            "/d.glb": (302, {"Location": "file:///etc/passwd"}, b""),
        }
        with serving(answers | moved) as (address, _):
            report = verify(f"{address}/tileset.json")
    assert report.counts == {"OUTSIDE": 1, "MISSING": 2}
    assert asked_of_other == []


def test_a_landing_page_without_tiles_says_so():
    with serving({"/": b'{"links": []}'}) as (address, _):
        assert verify(f"{address}/").counts == {"NOTHING_FOUND": 1}


def test_links_to_what_does_not_answer_are_named():
    landing = {"links": [{"href": "3dtiles/tileset.json"}, {"href": "terrain/layer.json"}]}
    with serving({"/": json.dumps(landing).encode()}) as (address, _):
        assert verify(f"{address}/").counts == {"MISSING": 2}
