"""Features of a span of time against the versions in the store, put together by hand; filters over closed versions."""

import contextlib
import itertools
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import pytest
import shapely

from twin.scope import EVERYTHING
from twin.store import cql2_parse
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query


@pytest.fixture(scope="module")
def history(tmp_path_factory, make):
    """Five readings of a source: features come, change, move, go and come back; and every version, by SQL."""
    path = tmp_path_factory.mktemp("history") / "city.gpkg"
    store = GeoPackageStore(path, create=True, city_crs="EPSG:4549")
    layer = make.layer_type("thing", "Point")
    readings = [
        {"a": ("one", 1), "b": ("two", 2), "c": ("three", 3)},
        {"a": ("one", 1), "b": ("two again", 2), "c": ("three", 30)},
        {"a": ("one", 1), "c": ("three", 30), "d": ("four", 4)},
        {"a": ("uno", 1), "b": ("two is back", 2), "d": ("four", 4)},
        {"a": ("uno", 1), "d": ("four", 40)},
    ]
    for reading in readings:
        shapes = [shapely.Point(500_000 + 10 * x, 3_100_000) for _, x in reading.values()]
        make.stored(store, layer, make.rows(list(reading), shapes, name=[name for name, _ in reading.values()]))
        time.sleep(0.005)  # so that no two readings are of the same millisecond
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        parts = [
            db.execute(f"SELECT id, name, valid_from, valid_to FROM {table}").fetchall()
            for table in ("thing", "gpkg_citytwin_thing_history")
        ]
    versions = [
        (id_, name, datetime.fromisoformat(begun), None if ended is None else datetime.fromisoformat(ended))
        for id_, name, begun, ended in itertools.chain(*parts)
    ]
    assert len(versions) == 9
    yield store, versions
    store.close()


def answer(store, **query):
    rows = [
        (id_, name)
        for part in store.query("thing", Query(**query), EVERYTHING)
        for id_, name in zip(part.ids, part.attributes.column("name").to_pylist(), strict=True)
    ]
    assert store.count("thing", Query(**query), EVERYTHING) == len(rows)
    return sorted(rows)


def moments(versions):
    """Every moment at which something happened, the instants around it, and the far ends."""
    own = {each for _, _, begun, ended in versions for each in (begun, ended) if each is not None}
    step = timedelta(milliseconds=1)
    return sorted(
        {t + d for t in own for d in (-step, 0 * step, step)} | {min(own) - 500 * step, max(own) + 500 * step}
    )


def expected(versions, since, at):
    """Versions that hold at a moment after `since` and not after `at`; of each feature the last of them."""
    valid = [
        (id_, begun, name) for id_, name, begun, ended in versions
        if (at is None or begun <= at) and (ended is None or ended > since)
    ]  # fmt: skip
    last = {id_: max(each for each in valid if each[0] == id_) for id_ in {each[0] for each in valid}}
    return sorted((id_, name) for id_, _, name in last.values())


def test_every_span_between_any_two_moments(history):
    store, versions = history
    times = moments(versions)
    for since, at in itertools.combinations_with_replacement(times, 2):
        assert answer(store, since=since, at=at) == expected(versions, since, at), (since, at)
    for since in times:
        assert answer(store, since=since) == expected(versions, since, None)
    ever = datetime(1, 1, 1, tzinfo=UTC)
    assert answer(store, since=ever) == [("a", "uno"), ("b", "two is back"), ("c", "three"), ("d", "four")]


def test_regions_filters_and_ids_of_a_span(history):
    """The region must hold for the last state, not for an earlier one."""
    store, versions = history
    since = min(begun for _, _, begun, _ in versions)
    where_c_was, where_c_went = (shapely.Point(500_000 + 10 * x, 3_100_000).buffer(1) for x in (3, 30))
    assert answer(store, since=since, region=where_c_was) == []
    assert answer(store, since=since, region=where_c_went) == [("c", "three")]
    text = "S_INTERSECTS(geometry, BBOX(500290, 3099000, 500310, 3101000)) OR name LIKE '%back'"
    assert answer(store, since=since, filter=cql2_parse.from_text(text)) == [("b", "two is back"), ("c", "three")]
    assert answer(store, since=since, ids=("c", "d", "nothing")) == [("c", "three"), ("d", "four")]
    assert answer(store, since=since, filter=cql2_parse.from_text("id IN ('c', 'd') AND id <> 'd'")) == [("c", "three")]
    valid_now = cql2_parse.from_text("T_INTERSECTS(INTERVAL(valid_from, valid_to), TIMESTAMP('2999-01-01T00:00:00Z'))")
    assert answer(store, since=since, filter=valid_now) == [("a", "uno"), ("d", "four")]


def test_a_list_of_19000_values(history):
    """More than SQLite takes parameters, twice, for two tables."""
    store, versions = history
    since = min(begun for _, _, begun, _ in versions)
    names = ["four", *(f"name {i}" for i in range(19_000)), "uno"]
    asked = {"op": "in", "args": [{"property": "name"}, names]}
    assert answer(store, since=since, filter=asked) == [("a", "uno"), ("d", "four")]
    assert answer(store, since=since, filter={"op": "not", "args": [asked]}) == [("b", "two is back"), ("c", "three")]


def test_before_the_year_1000_there_was_nothing(history):
    """Years are written with four digits, or 999 would come after 2026."""
    store, _ = history
    assert answer(store, at=datetime(999, 1, 1, tzinfo=UTC)) == []
