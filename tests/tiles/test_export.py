"""The parts of an export: addresses, targets, books, workers; nothing of the server."""

import gzip
import http.server
import os
import signal
import threading
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from layers import crs
from layers.errors import InvalidInput
from tests.tiles.towns import city as boxes_city
from tests.tiles.towns import plane_city
from tiles import matrix_set, quadtree
from tiles.export import book, models, occupied, run
from tiles.export.address import STATE, checked
from tiles.export.folder import Folder
from tiles.export.objects import Objects, opened
from tiles.export.stage import Document, Item, Made, Stage, Task
from tiles.export.target import Packed, Place, TargetError
from tiles.tileset import Tileset
from twin.scope import EVERYTHING

PACKED = Packed("gzip", lambda data, _: gzip.compress(data, mtime=0))
LONG = b"a long text that is worth packing " * 100


# -- addresses


@given(st.text(max_size=60) | st.lists(st.sampled_from(["..", ".", "a", "", "\\", "/", "\0"])).map("/".join))
@example("../x")
@example("a/../../x")
@example("/etc/passwd")
@example("a\\..\\..\\x")
@example(f"{STATE}/books/x")
@example("a/\ud800")
def test_an_address_stays_in_the_folder_or_is_refused(text):
    root = Path("/some/where/out")
    try:
        address = checked(text)
    except InvalidInput:
        return
    path = root / address
    assert os.path.normpath(path) == str(path)
    assert path.is_relative_to(root)
    assert path != root
    assert path.relative_to(root).parts[0] != STATE


# -- targets


class Endless:
    """A maker of small files: `n` of a task's items are made before it dies over the address `at`."""

    def make(self, task):
        for item in task.items:
            if item.about == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if item.about == "fail":
                raise InvalidInput("A damaged mesh.")
            if item.about == "bug":
                raise ZeroDivisionError("a bug")
            yield Made(item.address, item.tag or "", f"bytes of {item.about}".encode(), "text/plain")


def stage(contents, documents=(), name="set"):
    """Contents: address -> (tag, about), each a task of its own."""
    tasks = [Task("endless", (Item(name, address, *said),)) for address, said in contents.items()]
    made = [
        Document(name, address, lambda _known, a=address, d=data: Made(a, d, d.encode(), "application/json"), data)
        for address, data in documents
    ]
    return Stage(name, (name,), tasks, made)


def export(target, *stages, n_workers=0, place=None):
    return run.export(
        place or Place("memory://"), lambda _there: iter(stages), {"endless": Endless},
        n_workers=n_workers, target=target, stale=lambda _name, _seen: True,
    )  # fmt: skip


def keys(store):
    import obstore

    return {each["path"]: each for page in obstore.list(store) for each in page if not each["path"].startswith(STATE)}


def test_objects_say_what_they_are():
    import obstore

    target = Objects(opened("memory://"), "memory://", PACKED)
    target.put("a/tile.glb", LONG, "model/gltf-binary", immutable=True)
    target.put("a/short.json", b"{}", "application/json")
    target.put("a/x.png", LONG, "image/png")
    target.flush()
    said = {}
    for key in keys(target.store):
        got = obstore.get(target.store, key)
        said[key] = (dict(got.attributes), bytes(got.bytes()))
    attributes, data = said["a/tile.glb"]
    assert attributes == {
        "Content-Type": "model/gltf-binary",
        "Content-Encoding": "gzip",
        "Cache-Control": "public, max-age=31536000, immutable",
    }
    assert gzip.decompress(data) == LONG
    assert said["a/short.json"] == ({"Content-Type": "application/json", "Cache-Control": "no-cache"}, b"{}")
    assert said["a/x.png"] == ({"Content-Type": "image/png", "Cache-Control": "no-cache"}, LONG)


@pytest.mark.parametrize("kind", ["folder", "objects"])
def test_only_what_changed_is_written_and_what_is_gone_is_removed(tmp_path, kind):
    def again():
        return Folder(tmp_path / "out") if kind == "folder" else Objects(store, "memory://")

    store = opened("memory://")
    first = export(again(), stage({"a/1": ("t1", 1), "a/2": ("t2", 2)}, [("root.json", "one")]))
    assert (first.n_files, first.n_written, first.exit_code) == (3, 3, 0)
    same = export(again(), stage({"a/1": ("t1", 1), "a/2": ("t2", 2)}, [("root.json", "one")]))
    assert (same.n_files, same.n_written, same.n_removed) == (3, 0, 0)
    # another tag, the same bytes: nothing is written; another tag, other bytes: one file
    third = export(again(), stage({"a/1": ("t1b", 1), "b/3": ("t3", 3)}, [("root.json", "two")]))
    assert (third.n_files, third.n_written, third.n_removed) == (3, 2, 1)
    target = again()
    assert sorted(target.sizes(["a/1", "a/2", "b/3", "root.json"])) == ["a/1", "b/3", "root.json"]
    # a file that somebody took away or cut is made again
    target.remove(["a/1"])
    target.put("b/3", b"cut", "text/plain")
    target.flush()
    assert export(again(), stage({"a/1": ("t1b", 1), "b/3": ("t3", 3)}, [("root.json", "two")])).n_written == 2
    # a set that is no more goes with all its files
    last = export(again(), stage({"c": ("t", 4)}, name="other"))
    assert (last.n_removed, again().sizes(["a/1", "b/3", "root.json", "c"]).keys()) == (3, {"c"})


def test_a_place_without_a_tile_is_remembered_and_loses_its_file(tmp_path):
    class Sparse:
        asked: ClassVar = []

        def make(self, task):
            for item in task.items:
                self.asked.append((item.address, item.known))
                if item.known == "empty":
                    yield Made(item.address, item.known)
                else:
                    yield Made(
                        item.address, item.about, b"x" if item.about == "full" else None, has_none=item.about == "empty"
                    )

    def once(about):
        of = Stage(
            "set", ("set",), [Task("sparse", (Item("set", "t/1", None, about), Item("set", "t/2", None, "full")))]
        )
        return run.export(
            Place(str(tmp_path)), lambda _: iter([of]), {"sparse": Sparse}, n_workers=0, target=Folder(tmp_path)
        )

    assert (once("full").n_files, (tmp_path / "t/1").exists()) == (2, True)
    assert (once("empty").n_files, (tmp_path / "t/1").exists()) == (1, False)
    assert (once("empty").n_files, Sparse.asked[-2]) == (1, ("t/1", "empty"))
    assert (once("full").n_files, (tmp_path / "t/1").exists()) == (1, False)  # its tag is current: the maker said so


def test_what_cannot_be_made_is_named_and_made_the_next_time(tmp_path):
    bad = {"a": ("t", 1), "b": ("t", "fail"), "c": ("t", "bug"), "../d": ("t", 2)}
    done = export(Folder(tmp_path), stage(bad))
    assert {each.address: each.reason.split(".")[0] for each in done.failures} == {
        "b": "A damaged mesh", "c": "ZeroDivisionError: a bug", "../d": "The address '",
    }  # fmt: skip
    assert [bool(each.trace) for each in sorted(done.failures, key=lambda each: each.address)] == [False, False, True]
    assert (done.exit_code, done.n_files) == (1, 1)
    assert export(Folder(tmp_path), stage({"a": ("t", 1), "b": ("t", 2), "c": ("t", 3)})).n_written == 2
    assert export(Folder(tmp_path / "none"), stage({"b": ("t", "fail")})).exit_code == 2


DYING = """
import os, signal
from tiles.export.stage import Made

class Dying:
    def make(self, task):
        for item in task.items:
            if item.about == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            yield Made(item.address, item.tag, b"x", "text/plain")
"""


def test_a_worker_that_dies_costs_its_task_and_no_more(tmp_path, monkeypatch):
    (tmp_path / "dying_maker.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)  # processes of their own import it by its name
    import dying_maker

    out = tmp_path / "out"
    contents = {f"{i}": ("t", "die" if i == 2 else i) for i in range(8)}
    done = run.export(
        Place(str(out)), lambda _: iter([stage(contents)]), {"endless": dying_maker.Dying}, n_workers=2
    )  # fmt: skip
    assert [(each.address, "exit code -9" in each.reason) for each in done.failures] == [("2", True)]
    assert sorted(path.name for path in out.iterdir() if path.name != STATE) == list("0134567")


def test_a_damaged_record_is_named(tmp_path):
    export(Folder(tmp_path), stage({"a": ("t", 1)}))
    (record,) = (tmp_path / STATE / "books").iterdir()
    record.write_text('["set", 1, "", tru')
    with pytest.raises(InvalidInput, match="is damaged"):
        export(Folder(tmp_path), stage({"a": ("t", 1)}))


def test_a_record_cannot_make_us_remove_what_is_outside(tmp_path):
    out = tmp_path / "out"
    export(Folder(out), stage({"a": ("t", 1)}))
    (tmp_path / "precious").write_text("x")
    (record,) = (out / STATE / "books").iterdir()
    record.write_text(record.read_text() + '["../precious","t",1,""]\n')
    with pytest.raises(InvalidInput, match="cannot be a file's"):
        export(Folder(out), stage({"a": ("t", 1)}))
    assert (tmp_path / "precious").exists()


def test_addenda_of_a_killed_export_are_read(tmp_path):
    target = Folder(tmp_path)
    target.begin()
    kept = book.Book("set", "", {"a": book.Entry(""), "b": book.Entry("")})
    kept.save(target, is_whole=False)
    kept.add(target, {"a": book.Entry("t", 1, "d")})
    kept.add(target, {"b": book.Entry("t", 2, "e")})
    again = book.load(target, "set")
    assert again.entries == {"a": book.Entry("t", 1, "d"), "b": book.Entry("t", 2, "e")}
    again.add(target, {"b": book.Entry("t", 3, "f")})  # does not fall upon the earlier ones
    assert book.load(target, "set").entries["b"].size == 3
    target.end()


# -- an object store over HTTP


class FakeS3(http.server.BaseHTTPRequestHandler):
    """As much of S3's REST interface as a put, a list, a get and a delete need (AWS API reference, path style)."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar = {}
    refuse = False

    def _answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def _key(self):
        return unquote(urlsplit(self.path).path).removeprefix("/bucket/")

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.refuse:
            return self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        self.objects[self._key] = (body, dict(self.headers))
        return self._answer(200, headers=[("ETag", '"x"')])

    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query)
        if "list-type" in asked:
            prefix = asked.get("prefix", [""])[0]
            found = "".join(
                f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>x</ETag>"
                f"<Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass></Contents>"
                for key, (data, _) in sorted(self.objects.items())
                if key.startswith(prefix)
            )
            body = f"<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
            return self._answer(200, body.encode(), [("Content-Type", "application/xml")])
        if self._key not in self.objects:
            return self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        dated = [("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT"), ("ETag", '"x"')]
        return self._answer(200, self.objects[self._key][0], dated)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = [part.partition("</Key>")[0] for part in body.split("<Key>")[1:]]
        for key in keys:
            self.objects.pop(key, None)
        told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._answer(200, f"<DeleteResult>{told}</DeleteResult>".encode(), [("Content-Type", "application/xml")])

    def do_DELETE(self):
        self.objects.pop(self._key, None)
        self._answer(204)

    def log_message(self, *_):
        pass


@pytest.fixture
def s3(monkeypatch):
    FakeS3.objects, FakeS3.refuse = {}, False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeS3)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "x",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "very-secret",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    yield FakeS3
    server.shutdown()
    server.server_close()


def test_an_s3_bucket_gets_headers_and_the_second_export_nothing(s3):
    place = Place("s3://bucket/town", PACKED)
    contents = {f"tiles/{i}": ("t", f"{LONG.decode()}{i}") for i in range(40)}
    done = run.export(place, lambda _: iter([stage(contents)]), {"endless": Endless}, n_workers=0)
    assert (done.n_written, done.exit_code) == (40, 0)
    data, headers = s3.objects["town/tiles/7"]
    assert gzip.decompress(data) == b"bytes of " + LONG + b"7"
    headers = {name.lower(): value for name, value in headers.items()}
    assert (headers["content-encoding"], headers["content-type"]) == ("gzip", "text/plain")
    assert headers["cache-control"] == "no-cache"
    del contents["tiles/3"]
    done = run.export(place, lambda _: iter([stage(contents)]), {"endless": Endless}, n_workers=0)
    assert (done.n_written, done.n_removed) == (0, 1)
    assert sorted(key for key in s3.objects if STATE not in key) == sorted(f"town/{name}" for name in contents)


def test_a_bucket_that_refuses_is_told_without_the_secret(s3):
    s3.refuse = True
    with pytest.raises(TargetError, match="cannot be written") as told:
        run.export(Place("s3://bucket/town"), lambda _: iter([]), {}, n_workers=0)
    assert "very-secret" not in str(told.value)
    assert "Check the bucket" in str(told.value)


# -- 3D Tiles


class Here:
    """Makes contents of a city of this process."""

    city = None

    def make(self, task):
        return models.Models(Here.city).make(task)


@pytest.mark.parametrize("at_once", [1, 700, 100_000])
def test_contents_made_in_bulk_are_those_made_one_by_one(tmp_path, at_once):
    Here.city = boxes_city(3000, 4000.0)
    tileset = Tileset(Here.city, "building", EVERYTHING)
    made = models.stage(tileset, ("compact", "compat", "explicit"), at_once)
    run.export(Place(str(tmp_path)), lambda _: iter([made]), {models.MAKER: Here}, n_workers=0, target=Folder(tmp_path))
    for form in ("compact", "compat", "explicit"):
        root = tmp_path / models.folder("building", form)
        n = 0
        for path in root.rglob("*"):
            name = path.relative_to(root).as_posix()
            if path.is_file() and not (form == "compact" and name.startswith(("compat/", "explicit/"))):
                assert path.read_bytes() == tileset.resource(form, name).make(), name
                n += 1
        assert n > len(tileset.tree.tiles.keys)


def test_tiles_of_a_task_are_neighbours(tmp_path):
    tileset = Tileset(boxes_city(20_000, 10_000.0), "building", EVERYTHING)
    tasks = list(models.stage(tileset, ("compat",), 2000).tasks)
    fids = np.concatenate([task.load.fids for task in tasks])
    assert sorted(fids.tolist()) == sorted(tileset.tree.members.fids.tolist())  # each row is read once
    assert max(task.n_features for task in tasks) < 2000 + tileset.tree.budget.features
    bounds = tileset.tree.members
    place = {int(fid): i for i, fid in enumerate(bounds.fids)}
    spans = [np.ptp(bounds.bounds[0, [place[int(f)] for f in task.load.fids[-200:]]]) for task in tasks]
    assert np.median(spans) < 5000  # of 10 km


# -- which tiles have something


@given(st.integers(0, 2**32 - 1), st.sampled_from(["WebMercatorQuad", "WorldCRS84Quad"]), st.integers(0, 18))
def test_no_tile_that_a_feature_touches_is_missing(seed, grid_id, z):
    rng = np.random.default_rng(seed)
    lengths = 10 ** rng.uniform(0, 4.5, (30, 2))
    corner = np.array([500_000.0, 3_100_000.0]) + rng.uniform(-30_000, 30_000, (30, 2))
    geometry = shapely.box(*corner.T, *(corner + lengths).T)
    grid = matrix_set.get(grid_id, "EPSG:4549")
    boxes = occupied._boxes(geometry, "EPSG:4549", grid.crs)
    found = set()
    for part in occupied._covered(boxes, grid, z):
        found |= set(part.tolist())
    points = corner[:, None] + rng.uniform(0, 1, (30, 40, 2)) * lengths[:, None]
    x, y = crs.transform("EPSG:4549", grid.crs, points[..., 0].ravel(), points[..., 1].ravel())
    west, south, east, north = grid.bounds(z, 0, 0)
    columns = np.floor((x - west) / (east - west)).astype(np.int64)
    rows = np.floor((north - y) / (north - south)).astype(np.int64)
    assert set(quadtree.interleave(columns, rows).tolist()) <= found


def test_features_without_a_place_take_no_tile(tmp_path):
    geometry = [shapely.Point(), shapely.Point(600_000, 3_110_000), shapely.Point(1e300, 1e300)]
    city = plane_city(geometry, tmp_path)
    city.store.query = lambda *_: iter([city.store.features(np.arange(3))])
    found = occupied.codes(city, "building", EVERYTHING, matrix_set.get("WebMercatorQuad", "EPSG:4549"), [0, 5, 12])
    assert [len(found[z]) for z in (0, 5, 12)] == [1, 1, 1]
