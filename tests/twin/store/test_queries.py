"""Regions and filters against brute force, the required scope, and the OGC's own CQL2 examples."""

import inspect
import json
import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput, LayerNotFound
from twin.scope import EVERYTHING, Scope
from twin.store import cql2_parse
from twin.store.interface import Query, Store

ROOT = Path(__file__).parents[3]
OGC = Path(os.environ.get("CITYTWIN_REALDATA", ROOT.parent / "shared" / "realdata")) / "ogc"


@pytest.fixture(scope="module")
def town(tmp_path_factory, make):
    """300 random features of every kind, some null in every column, and the same as plain Python."""
    from twin.store.geopackage import GeoPackageStore

    rng = np.random.default_rng(3)
    n = 300
    x, y = 500000 + rng.random(n) * 1000, 3108000 + rng.random(n) * 1000
    shapes = [
        None if i % 31 == 0
        else shapely.Point(a, b).buffer(30, quad_segs=2) if i % 3 == 0
        else shapely.LineString([(a, b), (a + 60, b - 25)]) if i % 3 == 1
        else shapely.Point(a, b)
        for i, (a, b) in enumerate(zip(x, y, strict=True))
    ]  # fmt: skip
    maybe = lambda value, i: None if rng.random() < 0.15 else value(i)  # noqa: E731
    columns = {
        "name": [maybe(lambda i: ["桥", "Bridge", "bridge_*", "a%b", "Ä", ""][i % 6], i) for i in range(n)],
        "height_m": [maybe(lambda _: float(np.round(rng.normal() * 20, 1)), i) for i in range(n)],
        "floors": [maybe(lambda i: i % 9 - 2, i) for i in range(n)],
        "ok": [maybe(lambda i: i % 2 == 0, i) for i in range(n)],
        "built": [maybe(lambda i: date(2000, 1, 1) + timedelta(days=i * 20), i) for i in range(n)],
        "seen_at": [
            maybe(lambda i: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=i * 3_600_500_123), i)
            for i in range(n)
        ],
    }
    store = GeoPackageStore(tmp_path_factory.mktemp("town") / "city.gpkg", create=True, city_crs="EPSG:4549")
    ids = [f"f{i}" for i in range(n)]
    make.stored(store, make.layer_type("thing", "Geometry"), make.rows(ids, shapes, **columns))
    records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    yield SimpleNamespace(store=store, ids=ids, shapes=np.array(shapes, dtype=object), records=records)
    store.close()


def answer(town, **query):
    return [id_ for part in town.store.query("thing", Query(**query), EVERYTHING, batch_size=70) for id_ in part.ids]


corner = st.tuples(st.floats(499900, 501100), st.floats(3107900, 3109100))


@settings(max_examples=60, deadline=None)
@given(st.lists(corner, min_size=1, max_size=5))
@example([(499000, 3107000), (502000, 3110000)])
@example([(500500, 3108500)])
def test_a_region_query_equals_brute_force(town, corners):
    hull = shapely.MultiPoint(corners).convex_hull
    for region in (hull, shapely.box(*hull.bounds)):
        expected = [id_ for id_, hit in zip(town.ids, shapely.intersects(town.shapes, region), strict=True) if hit]
        assert answer(town, region=region) == expected
        assert town.store.count("thing", Query(region=region), EVERYTHING) == len(expected)


def test_a_region_that_touches_counts_and_one_a_hair_away_does_not(town):
    point = next(g for g in town.shapes if g is not None and g.geom_type == "Point")
    name = town.ids[list(town.shapes).index(point)]
    assert name in answer(town, region=shapely.box(point.x, point.y, point.x + 5, point.y + 5))
    right = np.nextafter(point.x, np.inf)
    assert name not in answer(town, region=shapely.box(right, point.y - 1, right + 5, point.y + 5))


# CQL2 text and the same in Python; None is SQL's unknown
def number(op):
    return {
        "=": lambda a, b: a == b, "<>": lambda a, b: a != b, "<": lambda a, b: a < b, "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    }[op]  # fmt: skip


def lifted(function, *values):
    return None if any(value is None for value in values) else function(*values)


def negated(value):
    return None if value is None else not value


def both(a, b):
    return False if a is False or b is False else None if a is None or b is None else True


def either(a, b):
    return True if a is True or b is True else None if a is None or b is None else False


BOX = shapely.box(500200, 3108100, 500800, 3108600)
IN_BOX = "S_INTERSECTS(geometry, BBOX(500200, 3108100, 500800, 3108600))"
comparisons = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
leaves = st.one_of(
    st.builds(
        lambda op, v: (f"height_m {op} {v}", lambda r, _: lifted(number(op), r["height_m"], v)),
        comparisons, st.integers(-30, 30),
    ),
    st.builds(
        lambda op, v: (f"{v} {op} floors", lambda r, _: lifted(number(op), v, r["floors"])),
        comparisons, st.integers(-3, 8),
    ),
    st.builds(
        lambda op, d: (f"built {op} DATE('{d}')", lambda r, _: lifted(number(op), r["built"], d)),
        comparisons, st.dates(date(2000, 1, 1), date(2016, 1, 1)),
    ),
    st.builds(
        lambda op, m: (
            f"seen_at {op} TIMESTAMP('{m.isoformat()}Z')",
            lambda r, _: lifted(number(op), r["seen_at"], m.replace(tzinfo=UTC)),
        ),
        comparisons, st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 14)),
    ),
    st.builds(
        lambda vs: (f"floors IN ({', '.join(map(str, vs))})", lambda r, _: lifted(lambda a: a in vs, r["floors"])),
        st.lists(st.integers(-3, 8), min_size=1, max_size=4),
    ),
    st.builds(
        lambda a, b: (f"height_m BETWEEN {a} AND {b}", lambda r, _: lifted(lambda v: a <= v <= b, r["height_m"])),
        st.integers(-20, 20), st.integers(-20, 20),
    ),
    st.sampled_from([
        ("ok", lambda r, _: r["ok"]),
        ("ok = FALSE", lambda r, _: lifted(lambda v: not v, r["ok"])),
        ("name IS NULL", lambda r, _: r["name"] is None),
        ("name LIKE 'b%'", lambda r, _: lifted(lambda v: v.startswith("b"), r["name"])),
        (r"name LIKE '%\%%'", lambda r, _: lifted(lambda v: "%" in v, r["name"])),
        ("name LIKE '%_*'", lambda r, _: lifted(lambda v: len(v) > 1 and v.endswith("*"), r["name"])),
        ("CASEI(name) = CASEI('ä')", lambda r, _: lifted(lambda v: v in "äÄ" and v != "", r["name"])),
        ("ACCENTI(name) = 'A'", lambda r, _: lifted(lambda v: v == "Ä", r["name"])),
        ("name = ''", lambda r, _: lifted(lambda v: v == "", r["name"])),
        ("name <> '桥'", lambda r, _: lifted(lambda v: v != "桥", r["name"])),
        ("height_m > floors * 2 + 1", lambda r, _: lifted(lambda h, f: h > f * 2 + 1, r["height_m"], r["floors"])),
        ("floors / 2 = 1.5", lambda r, _: lifted(lambda f: f == 3, r["floors"])),
        ("floors ^ 2 = 4", lambda r, _: lifted(lambda f: f in (2, -2), r["floors"])),
        (IN_BOX, lambda _, g: lifted(BOX.intersects, g)),
        (IN_BOX.replace("INTERSECTS", "DISJOINT"), lambda _, g: lifted(BOX.disjoint, g)),
        (IN_BOX.replace("INTERSECTS", "WITHIN"), lambda _, g: lifted(BOX.contains, g)),
        (IN_BOX.replace("INTERSECTS", "CROSSES"), lambda _, g: lifted(BOX.crosses, g)),
        (IN_BOX.replace("INTERSECTS", "OVERLAPS"), lambda _, g: lifted(BOX.overlaps, g)),
    ]),
)  # fmt: skip
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a: (f"NOT ({a[0]})", lambda r, g: negated(a[1](r, g))), inner),
        st.builds(lambda a, b: (f"({a[0]}) AND ({b[0]})", lambda r, g: both(a[1](r, g), b[1](r, g))), inner, inner),
        st.builds(lambda a, b: (f"({a[0]}) OR ({b[0]})", lambda r, g: either(a[1](r, g), b[1](r, g))), inner, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=250, deadline=None)
@given(expressions)
def test_a_filter_equals_brute_force_with_three_valued_logic(town, expression):
    text, truth = expression
    expected = [
        id_ for id_, record, shape in zip(town.ids, town.records, town.shapes, strict=True)
        if truth(record, shape) is True
    ]  # fmt: skip
    parsed = cql2_parse.from_text(text)
    assert answer(town, filter=parsed) == expected, text
    assert town.store.count("thing", Query(filter=parsed), EVERYTHING) == len(expected)
    assert answer(town, filter=parsed, region=BOX) == [
        id_ for id_ in expected if (g := town.shapes[town.ids.index(id_)]) is not None and g.intersects(BOX)
    ]


def test_intervals_of_time(town):
    """Allen's relations of one instant and one interval, by hand."""
    text = "T_DURING(built, INTERVAL('2001-01-01', '2002-01-01')) OR T_AFTER(built, DATE('2016-01-01'))"
    expected = [
        id_ for id_, r in zip(town.ids, town.records, strict=True)
        if r["built"] and (date(2001, 1, 1) < r["built"] < date(2002, 1, 1) or r["built"] > date(2016, 1, 1))
    ]  # fmt: skip
    assert answer(town, filter=cql2_parse.from_text(text)) == expected
    open_end = cql2_parse.from_text("T_INTERSECTS(INTERVAL(built, '..'), INTERVAL('..', '2001-01-01'))")
    assert answer(town, filter=open_end) == [
        id_ for id_, r in zip(town.ids, town.records, strict=True) if r["built"] and r["built"] <= date(2001, 1, 1)
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("hight_m > 3", "Did you mean 'height_m'"),
        ("floors = 'three'", "compares a integer with a string"),
        ("name = 3", "single quotes"),
        ("name", "string stands in the filter"),
        ("seen_at > 'yesterday'", "is no date"),
        ("built > DATE('2026-13-01')", "is no date"),
        ("avg(height_m) > 3", "'avg', which is not read"),
        ("A_CONTAINS(name, ('a'))", "where an array is needed"),
        ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 1 0, 0 1, 0 0)))", "Self-intersection"),
        ("S_INTERSECTS(name, POINT(1 1))", "takes geometries"),
        ("height_m >", "no CQL2 text"),
        ("", "no CQL2 text"),
        ("floors IN ()", "no CQL2 text"),
        ("a" * 20_000, "20000 characters"),
        ("(" * 3000 + "ok" + ")" * 3000, "nested"),
        ("NOT " * 2000 + "ok", "nested"),
        ("=".join(["ok"] * 3000), "nested"),
        ("-" * 9000 + "floors = 1", "nested"),
        ("=".join(["','"] * 2400), "nested"),
        ("name = 'it\\'" + "(" * 3000 + "' = 'a'", "compares a string with a boolean"),
        ("CASEI(" * 1300 + "name" + ")" * 1300 + " = 'a'", "nested"),
    ],
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(town, text, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        answer(town, filter=cql2_parse.from_text(text))


def test_long_chains_of_conditions_are_no_problem(town):
    assert answer(town, filter=cql2_parse.from_text(" AND ".join(["floors>5"] * 750))) == answer(
        town, filter=cql2_parse.from_text("floors > 5")
    )
    deep = {"op": "=", "args": [{"property": "floors"}, 1]}
    for _ in range(5000):
        deep = {"op": "not", "args": [deep]}
    with pytest.raises(InvalidInput, match="nested"):
        answer(town, filter=deep)


def outcome(town, parse, path):
    try:
        return answer(town, filter=parse(path.read_text("utf8")))
    except InvalidInput as error:
        return str(error)


def test_the_ogc_examples_are_answered_or_refused_with_a_reason_alike_in_both_encodings(town):
    """Most are about other layers; each pair must come to the same."""
    texts = {path.stem: path for path in OGC.glob("cql2_text/*.txt")}
    if not texts:
        pytest.skip("the OGC's CQL2 examples are not here: set CITYTWIN_REALDATA")
    jsons = {path.stem: path for path in OGC.glob("cql2_json/*.json")}
    reasons = "has no property|not read here|is needed|single quotes|not valid|takes geometries"
    answered = 0
    for name, path in texts.items():
        found = outcome(town, cql2_parse.from_text, path)
        answered += isinstance(found, list)
        assert isinstance(found, list) or re.search(reasons, found), (name, found)
        if name in jsons:
            other = outcome(town, cql2_parse.from_json, jsons[name])
            assert found == other or (isinstance(found, str) and found.casefold() == other.casefold()), name
    assert answered >= 8, "those that use geometry, built, floors, name as this layer does"


def test_geometries_of_a_filter_come_into_the_citys_crs(town):
    point = next(g for g in town.shapes if g is not None and g.geom_type == "Point")
    from layers import crs

    lon, lat = crs.transform("EPSG:4549", crs.CRS84, np.array([point.x]), np.array([point.y]))
    d = 1e-7
    text = f"S_INTERSECTS(geometry, BBOX({lon[0] - d}, {lat[0] - d}, {lon[0] + d}, {lat[0] + d}))"
    placed = cql2_parse.reproject(cql2_parse.from_text(text), crs.CRS84, "EPSG:4549")
    assert town.ids[list(town.shapes).index(point)] in answer(town, filter=placed)
    assert json.dumps(placed)


def test_every_read_of_features_needs_a_scope():
    """So that an endpoint cannot forget to ask who is reading."""
    free = {"writing", "sources", "reports", "version", "close"}  # the build's own, no features in them
    reads = {name: f for name, f in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    assert set(reads) - free >= {"layers", "layer", "count", "query", "mesh_table", "meshes", "assets"}
    for name in set(reads) - free:
        scope = inspect.signature(reads[name]).parameters["scope"]
        assert scope.default is inspect.Parameter.empty, name


def test_a_scope_is_kept_everywhere(town):
    nobody = Scope("nobody", frozenset({"other"}))
    assert town.store.layers(nobody) == []
    assert town.store.assets(nobody) == []
    fids = np.array([1])
    for read in (
        lambda s: town.store.layer("thing", s),
        lambda s: town.store.count("thing", Query(), s),
        lambda s: list(town.store.query("thing", Query(), s)),
        lambda s: town.store.mesh_table("thing", s),
        lambda s: town.store.meshes("thing", fids, s),
        lambda s: town.store.features_by_fid("thing", fids, s),
    ):
        with pytest.raises(LayerNotFound) as told:
            read(nobody)
        assert "thing" not in str(told.value).replace("'thing'", "")
