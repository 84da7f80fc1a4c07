"""Hostile and random input of the checker: bounded memory and time, never an exception."""

import copy
import gzip
import json
import struct
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from layers.errors import CityTwinError
from tests.tiles import verify_samples as samples
from tests.tiles.verify_samples import glb, split
from tiles.verify import limits, verify
from tiles.verify import source as source_module


def peak_mb(target):
    tracemalloc.start()
    try:
        report = verify(target)
        return report, tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def huge(document):
    """Documents of a kilobyte that promise a gigabyte."""
    for change in (
        {"accessors": [{"componentType": 5126, "type": "VEC3", "count": 10**9}]},
        {"accessors": [{"componentType": 5126, "type": "VEC3", "count": 10**9, "bufferView": 0}]},
        {"bufferViews": [{"buffer": 0, "byteOffset": 0, "byteLength": 10**9}]},
        {
            "bufferViews": [
                {
                    "buffer": 0,
                    "byteLength": 10**9,
                    "extensions": {
                        "EXT_meshopt_compression": {
                            "buffer": 0, "byteLength": 24, "count": 10**9 // 4, "byteStride": 4, "mode": "ATTRIBUTES",
                        }
                    },
                }
            ]
        },
        {
            "accessors": [
                {
                    "componentType": 5126, "type": "SCALAR", "count": 4, "bufferView": 0,
                    "sparse": {
                        "count": 10**9, "values": {"bufferView": 0},
                        "indices": {"bufferView": 0, "componentType": 5125},
                    },
                }
            ]
        },
    ):  # fmt: skip
        made = {
            "asset": {"version": "2.0"},
            "buffers": [{"byteLength": 64}],
            "bufferViews": [{"buffer": 0, "byteLength": 64}],
            "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
            "nodes": [{"mesh": 0}],
            "scenes": [{"nodes": [0]}],
        }
        yield made | document | change


@pytest.mark.parametrize("n", range(5))
def test_a_kilobyte_that_promises_a_gigabyte_is_not_believed(tmp_path, n):
    data = glb(list(huge({}))[n], bytes(64))
    assert len(data) < 1024
    (tmp_path / "a.glb").write_bytes(data)
    report, peak = peak_mb(tmp_path / "a.glb")
    assert not report.is_clean
    assert peak < 40


def test_counts_of_other_formats_are_not_believed(tmp_path):
    parts = samples.terrain_bytes(samples.terrain_parts(1, 2, 0))
    for name, at in (("vertices", 88), ("triangles", 92 + 6 * 25)):
        data = bytearray(parts)
        data[at : at + 4] = b"\xff\xff\xff\x7f"
        (tmp_path / f"{name}.terrain").write_bytes(bytes(data))
    ring = samples.feature([8 * (2**28) + 1, 2, 2], kind=1)
    (tmp_path / "points.mvt").write_bytes(samples.layer([ring]))
    (tmp_path / "field.mvt").write_bytes(b"\x1a\xff\xff\xff\xff\x0f")
    head = struct.pack("<4sIQQ", b"subt", 1, 2**60, 2**60)
    (tmp_path / "a.subtree").write_bytes(head + bytes(40))
    report, peak = peak_mb(tmp_path)
    assert set(report.counts) == {"TERRAIN_TRUNCATED", "MVT_COMMAND", "MVT_PROTOBUF", "SUBTREE_HEADER"}
    assert peak < 40


def test_a_gzip_bomb_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "layer.json").write_bytes(b"{}")
    (tmp_path / "a.glb").write_bytes(gzip.compress(bytes(20 * 2**20)))
    root = {
        "boundingVolume": {"sphere": [0, 0, 0, 1]},
        "geometricError": 0,
        "refine": "ADD",
        "content": {"uri": "a.glb"},
    }
    samples.write_json(tmp_path / "tileset.json", samples.tileset(root))
    report, peak = peak_mb(tmp_path / "tileset.json")
    assert set(report.counts) == {"TOO_LARGE"}
    assert peak < 8


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip", "deflate"])
def test_encodings_are_undone_within_the_limit(monkeypatch, encoding):
    import zlib

    import brotli
    import zstandard

    pack = {"br": brotli.compress, "zstd": zstandard.compress, "gzip": gzip.compress, "deflate": zlib.compress}[
        encoding
    ]
    assert source_module.decompressed(pack(b"tiles" * 9), encoding) == b"tiles" * 9
    monkeypatch.setattr(source_module, "MAX_FILE_BYTES", 2**16)
    with pytest.raises(source_module.Unread) as error:
        source_module.decompressed(pack(bytes(2**22)), encoding)
    assert error.value.code == "TOO_LARGE"
    with pytest.raises(source_module.Unread) as error:
        source_module.decompressed(b"\x81 no such stream", encoding)
    assert error.value.code == "ENCODING"


@pytest.mark.parametrize("depth", [300, 100_000])
def test_deep_json_is_refused(tmp_path, depth):
    (tmp_path / "tileset.json").write_text('{"root":' + "[" * depth + "]" * depth + "}")
    assert set(verify(tmp_path).counts) == {"JSON_INVALID"}


def test_a_tree_that_doubles_in_each_set_ends_at_the_limit(tmp_path):
    """30 sets that each refer to the next twice are a thousand million tiles."""
    for i in range(30):
        tile = {"boundingVolume": {"sphere": [0, 0, 0, 9]}, "geometricError": 1, "refine": "ADD"}
        content = {"content": {"uri": f"{i + 1}.json"}}
        root = tile | {"children": [tile | content, tile | content]}
        samples.write_json(tmp_path / f"{i}.json", samples.tileset(root, 1))
    samples.write_json(tmp_path / "30.json", samples.tileset(tile, 1))
    report = verify(tmp_path / "0.json", limit=500)
    assert set(report.counts) == {"LIMIT_REACHED"}
    assert not report.is_complete


def test_a_full_implicit_tree_ends_at_the_limit(tmp_path):
    """Constant availability in every subtree: 4^31 tiles in one file of 200 bytes."""
    root = {
        "boundingVolume": {"box": [0, 0, 0, 9, 0, 0, 0, 9, 0, 0, 0, 9]}, "geometricError": 9, "refine": "ADD",
        "implicitTiling": {
            "subdivisionScheme": "QUADTREE", "subtreeLevels": 2, "availableLevels": 32,
            "subtrees": {"uri": "all.subtree?{level}{x}{y}"},
        },
    }  # fmt: skip
    samples.write_json(tmp_path / "tileset.json", samples.tileset(root))
    said = {key: {"constant": 1} for key in ("tileAvailability", "childSubtreeAvailability")}
    (tmp_path / "all.subtree").write_bytes(samples.subtree(said | {"contentAvailability": []}, []))
    report = verify(tmp_path, limit=50)
    assert set(report.counts) == {"LIMIT_REACHED"}


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    (tmp_path / "secret.glb").write_bytes(samples.points_glb())
    inside = tmp_path / "inside"
    samples.write_explicit(inside)
    (inside / "a.glb").unlink()
    (inside / "a.glb").symlink_to(tmp_path / "secret.glb")
    assert verify(inside).counts.get("OUTSIDE") == 1


def test_instances_are_compared_in_pieces_up_to_a_limit(tmp_path, monkeypatch):
    from tiles.verify import gltf_scene

    monkeypatch.setattr(gltf_scene, "MAX_POINTS", 100)
    n = 50
    (tmp_path / "c.glb").write_bytes(samples.instanced_glb([f"I{i}" for i in range(n)], [(i, 0, 0) for i in range(n)]))
    assert set(verify(tmp_path / "c.glb").counts) == {"LIMIT_REACHED"}


def test_only_some_issues_of_a_rule_are_kept(tmp_path):
    children = [{"boundingVolume": {"sphere": [0, 0, 0, 9]}, "geometricError": -1} for _ in range(80)]
    root = {"boundingVolume": {"sphere": [0, 0, 0, 9]}, "geometricError": 1, "refine": "ADD", "children": children}
    samples.write_json(tmp_path / "tileset.json", samples.tileset(root))
    report = verify(tmp_path)
    assert report.counts == {"TILE_ERROR": 80}
    assert len(report.issues) == 50


WRONG = [None, [], {}, -1, 10**400, 1e300, "x", True, [[]], [None], {"a": []}]


def places(value, path=()):
    """Paths of everything in a document."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield from places(each, (*path, key))


def replaced(document, path, value):
    made = copy.deepcopy(document)
    parent = made
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return made


def survives(target):
    with suppress(CityTwinError):
        verify(target, limit=100)


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_any_value_of_a_gltf_may_be_anything(tmp_path, name):
    samples.write_explicit(tmp_path / "set")
    document, binary = split((tmp_path / f"set/{name}.glb").read_bytes())
    rng = np.random.default_rng(4)
    for i, path in enumerate(places(document)):
        value = WRONG[(i + int(rng.integers(len(WRONG)))) % len(WRONG)]
        (tmp_path / "a.glb").write_bytes(glb(replaced(document, path, value), binary))
        survives(tmp_path / "a.glb")


@pytest.mark.parametrize("part", ["explicit", "implicit", "octree", "terrain", "vector"])
def test_any_value_of_a_document_may_be_anything(tmp_path, part):
    folder = tmp_path / part
    samples.WRITERS[part](folder)
    file = next(path for path in sorted(folder.glob("*.json")))
    document = json.loads(file.read_text())
    for i, path in enumerate(places(document)):
        for value in WRONG[i % 4 :: 4]:
            file.write_text(json.dumps(replaced(document, path, value)))
            survives(folder)


def test_any_value_of_a_subtree_may_be_anything(tmp_path):
    folder = tmp_path / "implicit"
    samples.write_implicit(folder)
    file = folder / "subtrees/0_0_0.subtree"
    document, binary = samples.split_subtree(file.read_bytes())
    for i, path in enumerate(places(document)):
        for value in WRONG[i % 4 :: 4]:
            head = samples.subtree(replaced(document, path, value), [])
            file.write_bytes(head[:16] + struct.pack("<Q", len(binary)) + head[24:] + binary)
            survives(folder)


@pytest.mark.parametrize("name", ["a.glb", "b.glb", "1/2/0.terrain", "tile.mvt", "0.subtree"])
def test_any_byte_may_be_anything(tmp_path, name):
    samples.write_all(tmp_path / "all")
    good = {
        "a.glb": "explicit/a.glb", "b.glb": "explicit/b.glb", "1/2/0.terrain": "terrain/1/2/0.terrain",
        "tile.mvt": f"vector/{samples.VECTOR_TILE}", "0.subtree": "implicit/subtrees/0_0_0.subtree",
    }[name]  # fmt: skip
    data = np.frombuffer((tmp_path / "all" / good).read_bytes(), np.uint8)
    rng = np.random.default_rng(7)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    for i in range(200):
        made = data.copy()
        made[rng.integers(0, len(data), 1 + i % 4)] = rng.integers(0, 256, 1 + i % 4)
        made = made[: rng.integers(1, len(data) + 1)] if i % 5 == 0 else made
        (tmp_path / name).write_bytes(made.tobytes())
        survives(tmp_path / name)


def test_the_limits_are_those_of_the_page():
    page = (Path(__file__).parents[2] / "docs/tiles/verify.md").read_text("utf8")
    for words in (
        f"{limits.MAX_FILE_BYTES // 2**20} MiB after decompression",
        f"nested {limits.MAX_JSON_DEPTH} deep, tilesets {limits.MAX_EXTERNAL_DEPTH} and tiles",
        f"tiles {limits.MAX_TILE_DEPTH} deep",
        f"default {limits.MAX_TILES:,}",
        f"2^{limits.MAX_PIXELS.bit_length() - 1} pixels",
    ):
        assert words in page
