"""Any order, page by page, with regions, filters, moments and heights, against the same features sorted by Python."""

from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from twin.scope import EVERYTHING
from twin.store import box_index, select
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query
from twin.store.read_raw import reading

NAMES = ("name", "height_m", "floors", "ok", "built", "seen_at", "id")
N = 260


@pytest.fixture(scope="module")
def town(tmp_path_factory, make):
    """Features with many ties and nulls, a third of them with heights, some without geometry, half of them changed."""
    rng = np.random.default_rng(11)
    store = GeoPackageStore(tmp_path_factory.mktemp("order") / "city.gpkg", create=True, city_crs="EPSG:4549")
    x, y, z = 598000 + rng.random(N) * 1000, 3110000 + rng.random(N) * 1000, rng.uniform(-20, 60, N)
    shapes = [
        None if i % 29 == 0
        else shapely.LineString([(a, b, c), (a + 70, b - 25, c + 4)]) if i % 3 == 0
        else shapely.Point(a, b).buffer(25, quad_segs=2)
        for i, (a, b, c) in enumerate(zip(x, y, z, strict=True))
    ]  # fmt: skip

    def maybe(values):
        return [None if rng.random() < 0.2 else value for value in values]

    columns = {
        "name": maybe([["桥", "Bridge", "bridge", "Ä", "", "a%b"][i % 6] for i in rng.integers(0, 6, N)]),
        "height_m": maybe(np.round(rng.normal(0, 3, N), 1).tolist()),
        "floors": maybe(rng.integers(-2, 4, N).tolist()),
        "ok": maybe((rng.random(N) < 0.5).tolist()),
        "built": maybe([date(2020, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 9, N)]),
        "seen_at": maybe([datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(d) * 500_250)
                          for d in rng.integers(0, 9, N)]),
    }  # fmt: skip
    layer = make.layer_type("thing", "Geometry")
    ids = [f"f{i:03d}" for i in range(N)]
    make.stored(store, layer, make.rows(ids, shapes, **columns))
    before = datetime.now(UTC)
    changed = columns | {"floors": [None if v is None else v + (i % 2) * 10 for i, v in enumerate(columns["floors"])]}
    make.stored(store, layer, make.rows(ids, shapes, **changed))

    def rows(given):
        records = [dict(zip(given, row, strict=True)) for row in zip(*given.values(), strict=True)]
        return [record | {"id": each} for record, each in zip(records, ids, strict=True)]

    yield SimpleNamespace(
        store=store, shapes=np.array(shapes, object), now=rows(changed), then=rows(columns), at=before
    )
    store.close()


def sorted_by(rows, sort, kept, fids):
    """Ids in the order asked for: Python's stable sort, key by key from the last, over rows in fid order."""
    order = sorted(kept, key=lambda i: fids[rows[i]["id"]])
    for name, descending in reversed(sort):
        known = [i for i in order if rows[i][name] is not None]
        known.sort(key=lambda i: rows[i][name], reverse=descending)  # ties keep their order either way
        order = known + [i for i in order if rows[i][name] is None]
    return [rows[i]["id"] for i in order]


def by_pages(store, query, size):
    """All ids page by page, each page begun after the last feature of the one before."""
    found, after, fid = [], None, 0
    while True:
        with reading(store) as reader:
            layer = reader.layer("thing", EVERYTHING)
            asked = Query(**{**vars(query), "after": after, "after_fid": fid})
            plan = reader.plan(layer, asked, EVERYTHING)
            fids = reader.page(plan, size)
            if not len(fids):
                return found
            ids = reader.items(plan, fids).ids.to_pylist()
            found += ids
            position = reader.position(plan, int(fids[-1]))
        after, fid = (position, 0) if query.sort else (None, position[0])


SORTS = st.lists(st.sampled_from(NAMES), max_size=3, unique=True).flatmap(
    lambda names: st.tuples(*(st.tuples(st.just(name), st.booleans()) for name in names))
)


@settings(max_examples=60, deadline=None)
@given(SORTS, st.integers(1, 90), st.booleans(), st.sampled_from([None, "floors", "name"]), st.integers(0, 3))
def test_pages_in_any_order_are_what_python_sorts(town, sort, size, then, filtered, place):
    rows = town.then if then else town.now
    region = (
        None,
        shapely.box(598100, 3110050, 598700, 3110600),
        shapely.Polygon([(598000, 3110000), (599000, 3110300), (598500, 3111000)]),
        shapely.box(597000, 3109000, 600000, 3112000),
    )[place]
    kept = range(N) if region is None else np.flatnonzero(shapely.intersects(region, town.shapes)).tolist()
    condition = None
    if filtered == "floors":
        condition = {"op": ">", "args": [{"property": "floors"}, 0]}
        kept = [i for i in kept if rows[i]["floors"] is not None and rows[i]["floors"] > 0]
    if filtered == "name":
        condition = {"op": "isNull", "args": [{"property": "name"}]}
        kept = [i for i in kept if rows[i]["name"] is None]
    query = Query(region=region, filter=condition, sort=sort, at=town.at if then else None)
    every = Query(at=query.at, with_geometry=False)
    fids = {
        i: int(fid) for b in town.store.query("thing", every, EVERYTHING) for i, fid in zip(b.ids, b.fids, strict=True)
    }
    expected = sorted_by(rows, sort, kept, fids)
    assert by_pages(town.store, query, size) == expected
    streamed = [i for batch in town.store.query("thing", query, EVERYTHING, batch_size=37) for i in batch.ids]
    assert streamed == expected
    assert town.store.count("thing", query, EVERYTHING) == len(expected)
    part = Query(**{**vars(query), "offset": 5, "limit": 7})
    assert [i for batch in town.store.query("thing", part, EVERYTHING) for i in batch.ids] == expected[5:12]


@pytest.mark.parametrize("low", [-30.0, -5.0, 20.0, 70.0])
def test_heights_of_geometries(town, low):
    high = low + 15
    z = [None if s is None or not s.has_z else shapely.get_coordinates(s, include_z=True)[:, 2] for s in town.shapes]
    expected = {f"f{i:03d}" for i, each in enumerate(z) if each is None or (each.max() >= low and each.min() <= high)}
    for region in (None, shapely.box(598100, 3110050, 598700, 3110600)):
        inside = (
            set(range(N)) if region is None else set(np.flatnonzero(shapely.intersects(region, town.shapes)).tolist())
        )
        wanted = {each for each in expected if int(each[1:]) in inside}
        for sort in ((), (("name", True),)):
            query = Query(z=(low, high), region=region, sort=sort)
            found = [i for batch in town.store.query("thing", query, EVERYTHING) for i in batch.ids]
            assert set(found) == wanted
            assert len(found) == len(wanted) == town.store.count("thing", query, EVERYTHING)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (Query(sort=(("nothing", False),)), "cannot be sorted by 'nothing'"),
        (Query(sort=(("name", False),), after=("a",)), "no position"),
        (Query(sort=(("name", False),), after=(b"a", 1)), "no position"),
        (Query(sort=(("name", False),), after=("a", "b")), "no position"),
        (Query(sort=(("floors", False),), after=(2**70, 1)), "no position"),
        (Query(sort=tuple((name, False) for name in NAMES * 2)), "at most 8"),
        (Query(z=(3.0, 1.0)), "no range of heights"),
        (Query(z=(float("nan"), 1.0)), "no range of heights"),
    ],
)
def test_what_is_no_order_is_refused(town, query, said):
    with pytest.raises(InvalidInput, match=said):
        list(town.store.query("thing", query, EVERYTHING))


@pytest.fixture(scope="module")
def many(tmp_path_factory, make):
    """6,000 small boxes stored in a random order, so that an index has several levels and rows stand anywhere."""
    rng = np.random.default_rng(5)
    store = GeoPackageStore(tmp_path_factory.mktemp("many") / "city.gpkg", create=True, city_crs="EPSG:4549")
    x, y = 598000 + rng.random(6000) * 3000, 3110000 + rng.random(6000) * 3000
    shapes = shapely.box(x, y, x + rng.random(6000) * 40, y + rng.random(6000) * 40)
    make.stored(store, make.layer_type("thing", "Polygon"), make.rows([f"f{i:04d}" for i in range(6000)], shapes))
    yield store, shapes
    store.close()


@pytest.mark.parametrize("few", [0, 200])
@pytest.mark.parametrize("seed", range(12))
def test_lowest_rows_and_counts_of_regions(many, monkeypatch, seed, few):
    """Large and small, slanted and hollow regions: as shapely finds them, in fid order, whatever way they are read."""
    monkeypatch.setattr(box_index, "FEW_LEAVES", few)
    monkeypatch.setattr(box_index, "FEW_BOXES", few)
    store, shapes = many
    rng = np.random.default_rng(seed)
    size = rng.choice([30, 500, 2800])
    west, south = 598000 + rng.uniform(-100, 2000), 3110000 + rng.uniform(-100, 2000)
    region = shapely.affinity.rotate(shapely.box(west, south, west + size, south + size * 0.7), rng.uniform(-40, 40))
    if seed % 3 == 1:
        region = region.difference(region.centroid.buffer(size / 4))
    if seed % 3 == 2:
        region = shapely.union(region, shapely.box(598010, 3112500, 598200, 3112900))
    expected = [f"f{i:04d}" for i in np.flatnonzero(shapely.intersects(region, shapes))]
    assert [i for b in store.query("thing", Query(region=region), EVERYTHING) for i in b.ids] == expected
    assert store.count("thing", Query(region=region), EVERYTHING) == len(expected)
    with reading(store) as reader:
        plan = reader.plan(reader.layer("thing", EVERYTHING), Query(region=region), EVERYTHING)
        for offset, limit in ((0, 1), (3, 40), (len(expected), 5)):
            ids = reader.items(plan, reader.page(plan, limit, offset)).ids.to_pylist()
            assert ids == expected[offset : offset + limit]


def test_counts_follow_a_change(tmp_path, make, monkeypatch):
    """What is kept of an index is of one version of the layer."""
    monkeypatch.setattr(box_index, "FEW_LEAVES", 0)
    with_store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    layer, region = make.layer_type("thing", "Point"), shapely.box(598000, 3110000, 598500, 3110500)
    for n in (400, 900, 100):
        at = np.linspace(598001, 598999, n)
        points = shapely.points(at, at - 598000 + 3110000)
        make.stored(with_store, layer, make.rows([f"p{i}" for i in range(n)], points))
        expected = int(shapely.intersects(region, points).sum())
        assert with_store.count("thing", Query(region=region), EVERYTHING) == expected
    with_store.close()


def test_a_region_round_everything_still_leaves_out_what_is_nowhere(tmp_path, make):
    with_store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    shapes = [None, shapely.Point(598000, 3110000), shapely.Point(598010, 3110000)]
    make.stored(with_store, make.layer_type("thing", "Point"), make.rows(["a", "b", "c"], shapes))
    query = Query(region=shapely.box(590000, 3100000, 600000, 3120000))
    assert [i for b in with_store.query("thing", query, EVERYTHING) for i in b.ids] == ["b", "c"]
    assert with_store.count("thing", query, EVERYTHING) == 2
    with reading(with_store) as reader:
        plan = reader.plan(reader.layer("thing", EVERYTHING), query, EVERYTHING)
        assert not select.is_everywhere(reader._db, plan)
    with_store.close()
