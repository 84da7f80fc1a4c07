"""The disk cache: whole files or none, bounded, and never a reason to fail."""

import os
import shutil
import threading

import pytest

from tiles.cache import DiskCache, of_twin


def test_what_is_put_is_got_under_its_own_key_only(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    cache.put(b"one", "mvt", 1, "building")
    assert cache.get("mvt", 1, "building") == b"one"
    assert cache.get("mvt", 11, "building") is None
    assert cache.get("mvt1", "building") is None
    assert cache.get("mvt", "1building") is None


def test_keys_that_look_like_paths_stay_in_the_folder(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    cache.put(b"x", "../../outside", "/etc/passwd", "a" * 5000)
    assert cache.get("../../outside", "/etc/passwd", "a" * 5000) == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_make_is_called_once_and_its_error_is_not_kept(tmp_path):
    cache = DiskCache(tmp_path)
    calls = []

    def make():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("first time")
        return b"made"

    with pytest.raises(ValueError, match="first time"):
        cache.get_or_make(make, "k")
    assert [cache.get_or_make(make, "k") for _ in range(3)] == [b"made"] * 3
    assert len(calls) == 2


def test_the_folder_may_vanish_at_any_time(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    cache.put(b"x", "k")
    shutil.rmtree(tmp_path / "cache")
    assert cache.get("k") is None
    cache.put(b"y", "k")
    assert cache.get("k") == b"y"


def test_a_disk_that_takes_nothing_is_no_error(tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    cache = DiskCache(tmp_path / "cache")
    assert cache.get_or_make(lambda: b"made", "k") == b"made"
    assert cache.get("k") is None


def test_the_sweep_keeps_what_was_used_last(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=500)
    for number in range(10):
        path = cache._path((number,))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 100)
        os.utime(path, (1000 + number, 1000 + number))
    assert cache.get(0) is not None  # reading is using
    assert cache.sweep() == 500
    assert [number for number in range(10) if cache.get(number)] == [0, 6, 7, 8, 9]


def test_writing_keeps_the_folder_near_its_bound(tmp_path):
    cache = DiskCache(tmp_path, max_bytes=10_000)
    for number in range(100):
        cache.put(b"x" * 1000, number)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 20_000


def test_readers_never_see_half_a_file(tmp_path):
    cache = DiskCache(tmp_path)
    bodies = {bytes([value]) * 200_000 for value in range(4)}
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(cache.get("k"))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        for body in bodies:
            cache.put(body, "k")
    stop.set()
    reader.join()
    assert seen <= bodies | {None}
    assert not list(tmp_path.rglob(".*"))


def test_a_twin_has_one_cache(tmp_path):
    assert of_twin(tmp_path) is of_twin(tmp_path)
    assert of_twin(tmp_path).folder == tmp_path / "cache" / "tiles"
