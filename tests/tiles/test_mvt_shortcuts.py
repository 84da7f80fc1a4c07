"""The shortcuts of the vector tiles against the long way: cuts and GEOS, joined columns and SQLite's own rows."""

import sqlite3
from contextlib import closing

import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.tiles.mvt_city import EAST, NORTH, city_of
from tiles.mvt import grid, halfplane
from twin.scope import EVERYTHING
from twin.store import packed, read_raw
from twin.store.interface import Query
from twin.store.read_raw import RawReader
from twin.store.wkb_paths import RING, Paths

LOW, HIGH = 0.0, 100.0
SQUARE = shapely.box(LOW, LOW, HIGH, HIGH)


def paths_of(rings):
    """Open rings, each the only one of its row."""
    starts = np.r_[0, np.cumsum([len(ring) for ring in rings])].astype(np.int64)
    n = len(rings)
    return Paths(np.concatenate(rings), starts, np.arange(n) * 3, np.full(n, RING, np.int8), np.ones(n, bool))


def random_ring(rng, *, crossing=False):
    """A star about some place, with bent arms; or a ring that crosses itself."""
    n = int(rng.integers(3, 12))
    if crossing:
        return rng.uniform(-40, 140, (n, 2))
    angles = np.sort(rng.uniform(0, 2 * np.pi, n))
    radii = rng.uniform(5, 90, n)
    return rng.uniform(-20, 120, 2) + radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])


def even_odd(ring):
    return shapely.make_valid(shapely.Polygon(ring))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_rings_cut_by_a_square_are_what_geos_leaves_of_them(seed, crossing):
    rng = np.random.default_rng(seed)
    rings = [random_ring(rng, crossing=crossing) for _ in range(30)]
    left, undecided = halfplane.cut(paths_of(rings), LOW, HIGH)
    found = {row // 3: left.xy[a:b] for row, a, b in zip(left.rows, left.starts[:-1], left.starts[1:], strict=True)}
    assert len(found) == len(left.rows)
    for at, ring in enumerate(rings):
        true = even_odd(ring).intersection(SQUARE)
        if undecided[at]:
            assert at not in found
        elif at in found:
            got = even_odd(found[at])
            assert got.symmetric_difference(true).area < 1e-6
            assert got.area > 0
        else:
            assert true.area == 0
    if not crossing:
        assert undecided.sum() < 25  # most are settled: else this tests nothing


def test_a_ring_that_touches_or_crosses_twice_is_left_undecided_and_a_square_round_everything_is_not():
    comb = np.array([[10, 10], [90, 10], [90, 130], [70, 130], [70, 50], [30, 50], [30, 130], [10, 130]], float)
    touching = np.array([[10, 10], [50, 100], [90, 10]], float)
    around = np.array([[-9, -9], [109, -9], [109, 109], [-9, 109]], float)
    beside = np.array([[101, 0], [130, 0], [130, 50]], float)
    left, undecided = halfplane.cut(paths_of([comb, touching, around, beside]), LOW, HIGH)
    assert undecided.tolist() == [True, True, False, False]
    assert left.rows.tolist() == [6]
    assert shapely.Polygon(left.xy).equals(SQUARE)


@given(st.integers(0, 2**32))
def test_neighbours_are_cut_at_the_same_place_to_the_bit(seed):
    rng = np.random.default_rng(seed)
    inside, outside = rng.uniform(1, 99, 2), np.array([rng.uniform(101, 300), rng.uniform(1, 99)])
    one = np.array([inside, outside, [rng.uniform(1, 99), 1e3]])
    other = np.array([outside, inside, [rng.uniform(1, 99), -1e3]])
    left, undecided = halfplane.cut(paths_of([one, other]), LOW, HIGH)
    assert not undecided.any()
    a, b = ({tuple(p) for p in left.xy[s:e]} for s, e in zip(left.starts[:-1], left.starts[1:], strict=True))
    assert {p for p in a if p[0] == HIGH} & {p for p in b if p[0] == HIGH}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_rounded_rings_are_valid_and_turned_whatever_they_were(seed, size):
    """Small rings on the grid cross themselves, fold and collapse; what is left is what GEOS calls valid."""
    rng = np.random.default_rng(seed)
    rings = [rng.uniform(0, size, (int(rng.integers(3, 9)), 2)) for _ in range(40)]
    out = grid.rounded(paths_of(rings))
    shapes, rows = grid.polygons(out)
    assert shapely.is_valid(shapes).all()
    for at, ring in enumerate(rings):
        got = shapely.union_all(shapes[rows == 3 * at])
        assert got.area == pytest.approx(even_odd(np.rint(ring)).area, abs=2 + 0.7 * shapely.LinearRing(ring).length)
    turns = [shapely.is_ccw(shapely.LinearRing(out.xy[a:b])) for a, b in zip(out.starts, out.starts[1:], strict=False)]
    assert turns == out.is_outer.tolist()  # y down: what goes clockwise on the screen is counter-clockwise here


texts = st.lists(st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=9)), min_size=1)


def sqlite_joined(values):
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE t (fid INTEGER PRIMARY KEY, v)")
        db.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in values])
        return db.execute(
            "SELECT " + packed.TEXT.format("t.v") + ", " + packed.IS_MISSING.format("t.v") + " FROM t"
        ).fetchone()


@given(texts)
@example(["", "", None, ""])
@example([None, None])
@example(["", "", None, ""])
@example([None, ""])
@example(["\0", None, "宗地\0一"])
@example(["a\x1fb", "c"])
def test_joined_texts_are_parted_again_or_refused(values):
    n_present, data, is_missing = sqlite_joined(values)
    parted = packed.texts(n_present, data)
    if parted is None:
        assert any("\x1f" in (value or "") for value in values)
    else:
        whole = packed.with_gaps(parted, len(values), is_missing)
        whole.validate(full=True)
        assert whole.to_pylist() == values


@pytest.mark.parametrize("wrong", [b"\xfe", b"\xff\xff", b"a\xff", b"\xc3", b"\xe5\xae"])
def test_what_is_no_utf8_is_refused_by_the_joined_way(wrong):
    assert packed.texts(*sqlite_joined(["a", wrong, None])[:2]) is None


doubles = st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-(2**53), 2**53).map(float))


@given(st.lists(doubles, min_size=1))
@example([0.1, -0.1, 1 / 3, 233.41, -1e15 / 3, 2.0**-9 + 2.0**-61])
@example([4e18, -4e18, 0.002, -0.002, 0.0])
@example([5e-324])
@example([float("inf")])
def test_joined_numbers_are_the_same_to_the_bit_or_refused(values):
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE t (fid INTEGER PRIMARY KEY, v DOUBLE)")
        db.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in values])
        whole, fraction, doubtful = db.execute(f"SELECT {packed.REAL.format('t.v')} FROM t").fetchone()
    if doubtful:
        assert any(value is not None and value != 0 and not 0.002 <= abs(value) <= 4e18 for value in values)
    else:
        assert packed.reals(whole, fraction).to_pylist() == values


@pytest.mark.parametrize("wrong", ["abc", "7 m", b"\x01"])
def test_what_is_no_number_is_refused_by_the_joined_way(wrong):
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE t (fid INTEGER PRIMARY KEY, v DOUBLE)")
        db.executemany("INSERT INTO t (v) VALUES (?)", [(1.5,), (wrong,)])
        assert db.execute(f"SELECT {packed.REAL.format('t.v')} FROM t").fetchone()[2] == 1


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(texts.map(lambda some: some[0]), doubles, st.booleans()), min_size=1, max_size=30))
def test_rows_joined_by_sqlite_are_the_rows_read_one_by_one(tmp_path_factory, rows):
    shapes = [shapely.box(EAST, NORTH + at, EAST + 1, NORTH + at + 1) for at in range(len(rows))]
    with city_of(shapes, tmp_path_factory.mktemp("city")) as city:
        with closing(sqlite3.connect(city.folder / "city.gpkg", isolation_level=None)) as db:
            for name in ("ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY", "ST_IsEmpty"):
                db.create_function(name, 1, lambda _: 0.0)
            for fid, (text, number, has_shape) in enumerate(rows, 1):
                db.execute("UPDATE building SET name = ?, height_m = ? WHERE fid = ?", (text, number, fid))
                if not has_shape:
                    db.execute("UPDATE building SET geom = NULL WHERE fid = ?", (fid,))
        with read_raw.reading(city.store) as reader:
            plan = reader.plan(reader.layer("building", EVERYTHING), Query(), EVERYTHING)
            fids = np.arange(1, len(rows) + 3)  # two of them are not there
            plain, got = RawReader._in_rows(reader, plan, fids), reader.rows(plan, fids)
        assert got.fids.tolist() == plain.fids.tolist() == list(range(1, len(rows) + 1))
        assert got.ids.equals(plain.ids)
        assert got.blobs.each() == plain.blobs.each()
        assert got.attributes.equals(plain.attributes)
        assert pa.types.is_string(got.ids.type)
        assert got.attributes.column("height_m").to_pylist() == [number for _, number, _ in rows]
