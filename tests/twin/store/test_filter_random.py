"""Random filters of every family of CQL2, as text and JSON, against pandas (Kleene logic) and shapely, row by row."""

import json
import re
import unicodedata
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from layers.catalogue import Attribute, LayerType, Title
from twin.scope import EVERYTHING
from twin.store import cql2_parse
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Rows

N = 2000
EAST, NORTH = 500_000.0, 3_108_000.0
COLUMNS = {
    "name": "string", "other": "string", "height_m": "number", "width_m": "number", "floors": "integer",
    "ok": "boolean", "built": "date", "razed": "date", "seen_at": "datetime", "left_at": "datetime",
}  # fmt: skip
WORDS = ["桥", "大桥头", "Bridge", "bridge_*", "a%b", "Ärger", "arger", "ÉCOLE", "école", "straße", "STRASSE", "[x]?",
         "", "O'Neil", "back\\slash", "tab\there", "两 字"]  # fmt: skip


def shapes(random):
    out = []
    for i, (x, y) in enumerate(zip(EAST + random.random(N) * 3000, NORTH + random.random(N) * 3000, strict=True)):
        size, kind = random.uniform(5, 200), i % 9
        square = shapely.box(x, y, x + size, y + size)
        out.append(
            None if i % 29 == 0
            else square if kind == 0
            else shapely.Polygon([(x, y), (x + size, y + size), (x + size, y), (x, y + size)]) if kind == 1  # a bow tie
            else shapely.Polygon([(x, y, 1), (x + size, y, 2), (x, y + size, 3)]) if kind == 2
            else shapely.LineString([(x, y), (x + size, y - size / 2), (x + size, y + size)]) if kind == 3
            else shapely.LineString([(x, y, -3), (x + size, y, 4)]) if kind == 4
            else shapely.MultiPolygon([square, shapely.box(x + 300, y, x + 310, y + 10)]) if kind == 5
            else shapely.MultiLineString([[(x, y), (x + size, y)], [(x, y + 9), (x + size, y + 9)]]) if kind == 6
            else shapely.MultiPoint([(x, y), (x + size, y)]) if kind == 7
            else shapely.Point(x, y)
        )  # fmt: skip
    return np.array(out, object)


def table(random):
    def maybe(make):
        return [None if random.random() < 0.12 else make() for _ in range(N)]

    def day():
        return date(2000, 1, 1) + timedelta(days=int(random.integers(0, 3000)))

    def moment():
        micro = int(random.integers(0, 10)) * 250_000
        return datetime(2004, 3, 1, tzinfo=UTC) + timedelta(hours=int(random.integers(0, 2000)), microseconds=micro)

    def tags():
        return [TAGS[k] for k in random.integers(0, len(TAGS), random.integers(0, 4))]

    return pd.DataFrame({
        "name": pd.Series(maybe(lambda: WORDS[random.integers(len(WORDS))]), dtype=object),
        "other": pd.Series(maybe(lambda: WORDS[random.integers(len(WORDS))]), dtype=object),
        "height_m": pd.Series(maybe(lambda: float(np.round(random.normal() * 20, 1))), dtype=object),
        "width_m": pd.Series(maybe(lambda: float(random.integers(-5, 5))), dtype=object),
        "floors": pd.Series(maybe(lambda: int(random.integers(-3, 9))), dtype=object),
        "ok": pd.Series(maybe(lambda: bool(random.integers(2))), dtype=object),
        "built": pd.Series(maybe(day), dtype=object),
        "razed": pd.Series(maybe(day), dtype=object),
        "seen_at": pd.Series(maybe(moment), dtype=object),
        "left_at": pd.Series(maybe(moment), dtype=object),
        "tags": pd.Series(maybe(tags), dtype=object),
        "note": pd.Series(maybe(lambda: NOTES[random.integers(len(NOTES))]), dtype=object),
    })  # fmt: skip


TAGS = ["a", "桥", 1, 2.5, True, None]
NOTES = ["old", "新", 7, 2.5, True, False, "2001-02-03"]


@pytest.fixture(scope="module")
def town(tmp_path_factory, make):
    random = np.random.default_rng(11)
    frame, geometry = table(random), shapes(random)
    store = GeoPackageStore(tmp_path_factory.mktemp("random") / "city.gpkg", create=True, city_crs="EPSG:4549")
    attributes = tuple(Attribute(name, kind, Title(name, name)) for name, kind in COLUMNS.items())
    layer = LayerType("thing", Title("物", "Thing"), "Geometry", "base", (1,), attributes)
    schema = layer.arrow_schema()
    arrays = pa.table([pa.array(frame[name].tolist(), schema.field(name).type) for name in COLUMNS], schema=schema)
    extra = [
        json.dumps({k: v for k, v in (("tags", tags), ("note", note)) if v is not None}, ensure_ascii=False)
        if tags is not None or note is not None else None
        for tags, note in zip(frame["tags"], frame["note"], strict=True)
    ]  # fmt: skip
    ids = [f"f{i}" for i in range(N)]
    make.stored(store, layer, Rows(ids, geometry, arrays, extra))
    yield SimpleNamespace(store=store, frame=frame, geometry=geometry)
    store.close()


# A condition: its text, its JSON, and what it is of a town: a pandas boolean array, NA for unknown


def rowwise(function, *columns):
    """A function of values on whole columns; NA where a value is null or the function says None."""
    rows = [
        None if any(v is None for v in values) else function(*values)
        for values in zip(*(c.tolist() for c in columns), strict=True)
    ]
    return pd.array(rows, "boolean")


def compare(op, a, b):
    return {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def quoted(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\t", "\\t") + "'"


def written(value):
    """A literal as text and as JSON."""
    if isinstance(value, bool):
        return str(value).upper(), value
    if isinstance(value, str):
        return quoted(value), value
    if isinstance(value, datetime):
        text = value.isoformat().replace("+00:00", "Z")
        return f"TIMESTAMP('{text}')", {"timestamp": text}
    if isinstance(value, date):
        return f"DATE('{value}')", {"date": str(value)}
    return repr(value), value


OPERATORS = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
VALUES = {
    "name": st.sampled_from([*WORDS, "nowhere"]),
    "height_m": st.integers(-30, 30) | st.floats(-30, 30).map(lambda v: round(v, 1)),
    "floors": st.integers(-4, 9),
    "ok": st.booleans(),
    "built": st.dates(date(1999, 12, 1), date(2008, 6, 1)),
    "seen_at": st.datetimes(datetime(2004, 2, 28), datetime(2004, 6, 1)).map(lambda v: v.replace(tzinfo=UTC)),
}


@st.composite
def comparisons(draw):
    name = draw(st.sampled_from(sorted(VALUES)))
    value, op = draw(VALUES[name]), draw(OPERATORS)
    if name == "ok" and op not in {"=", "<>"}:
        op = "="
    text, doc = written(value)
    prop = {"property": name}
    if draw(st.booleans()):
        return f"{name} {op} {text}", {"op": op, "args": [prop, doc]}, lambda t: rowwise(
            lambda v: compare(op, v, value), t.frame[name])  # fmt: skip
    return f"{text} {op} {name}", {"op": op, "args": [doc, prop]}, lambda t: rowwise(
        lambda v: compare(op, value, v), t.frame[name])  # fmt: skip


@st.composite
def of_two_properties(draw):
    pairs = [("name", "other"), ("height_m", "floors"), ("built", "razed"), ("seen_at", "left_at")]
    a, b = draw(st.sampled_from(pairs))
    op = draw(OPERATORS)
    return f"{a} {op} {b}", {"op": op, "args": [{"property": a}, {"property": b}]}, lambda t: rowwise(
        lambda v, w: compare(op, v, w), t.frame[a], t.frame[b])  # fmt: skip


@st.composite
def listed(draw):
    name = draw(st.sampled_from(["name", "floors", "built", "seen_at"]))
    values = draw(st.lists(VALUES[name], min_size=1, max_size=4))
    texts, docs = zip(*map(written, values), strict=True)
    return f"{name} IN ({', '.join(texts)})", {"op": "in", "args": [{"property": name}, list(docs)]}, lambda t: rowwise(
        lambda v: v in values, t.frame[name])  # fmt: skip


@st.composite
def between(draw):
    low, high = draw(VALUES["height_m"]), draw(st.sampled_from([5, 40]) | VALUES["height_m"])
    negated = draw(st.booleans())
    text = f"height_m {'NOT ' * negated}BETWEEN {low!r} AND {high!r}"
    doc = {"op": "between", "args": [{"property": "height_m"}, low, high]}
    return text, {"op": "not", "args": [doc]} if negated else doc, lambda t: rowwise(
        lambda v: (low <= v <= high) != negated, t.frame["height_m"])  # fmt: skip


@st.composite
def nulls(draw):
    name, negated = draw(st.sampled_from([*COLUMNS, "geometry"])), draw(st.booleans())
    doc = {"op": "isNull", "args": [{"property": name}]}
    return (
        f"{name} IS {'NOT ' * negated}NULL", {"op": "not", "args": [doc]} if negated else doc,
        lambda t: pd.array([(v is None) != negated for v in
                            (t.geometry if name == "geometry" else t.frame[name])], "boolean"),
    )  # fmt: skip


def pattern_matches(pattern, value):
    out, at = "", 0
    while at < len(pattern):
        if pattern[at] == "\\" and at + 1 < len(pattern):
            at += 1
            out += re.escape(pattern[at])
        else:
            out += {"%": ".*", "_": "."}.get(pattern[at], re.escape(pattern[at]))
        at += 1
    return re.fullmatch(out, value, re.DOTALL) is not None


LETTERS = {"Ä": "A", "É": "E", "é": "e", "ä": "a"}
"""All letters of WORDS that carry an accent."""


def folded(fold, text):
    if fold == "ACCENTI":
        return "".join(LETTERS.get(c, c) for c in text)
    return text.lower().replace("ß", "ss") if fold == "CASEI" else text


@st.composite
def likes(draw):
    pieces = ["%", "_", "\\%", "\\_", "b", "B", "桥", "r", "Ä", "é", "s", "[", "*", "?", "]"]
    parts = draw(st.lists(st.sampled_from(pieces), max_size=5))
    pattern, fold, negated = "".join(parts), draw(st.sampled_from(["", "CASEI", "ACCENTI"])), draw(st.booleans())
    text = f"{fold}(name)" if fold else "name"
    prop = {"op": fold.lower(), "args": [{"property": "name"}]} if fold else {"property": "name"}
    quoted_pattern = "'" + pattern + "'"
    doc = {"op": "like", "args": [prop, {"op": fold.lower(), "args": [pattern]} if fold else pattern]}
    asked = f"{text} {'NOT ' * negated}LIKE {f'{fold}({quoted_pattern})' if fold else quoted_pattern}"
    return asked, {"op": "not", "args": [doc]} if negated else doc, lambda t: rowwise(
        lambda v: pattern_matches(folded(fold, pattern), folded(fold, v)) != negated, t.frame["name"])  # fmt: skip


@st.composite
def folds(draw):
    value, inner, outer = draw(VALUES["name"]), *draw(st.permutations(["CASEI", "ACCENTI"]))
    op = draw(st.sampled_from(["=", "<>"]))
    prop = {"op": outer.lower(), "args": [{"op": inner.lower(), "args": [{"property": "name"}]}]}
    doc = {"op": outer.lower(), "args": [{"op": inner.lower(), "args": [value]}]}
    text = f"{outer}({inner}(name)) {op} {outer}({inner}({quoted(value)}))"

    def both(word):
        return folded(outer, folded(inner, word))

    return text, {"op": op, "args": [prop, doc]}, lambda t: rowwise(
        lambda v: compare(op, both(v), both(value)), t.frame["name"])  # fmt: skip


@st.composite
def calculations(draw):
    k, op = draw(st.integers(1, 4)), draw(OPERATORS)
    h, f = {"property": "height_m"}, {"property": "floors"}
    text, doc, value = draw(st.sampled_from([
        (f"height_m + {k} * floors", {"op": "+", "args": [h, {"op": "*", "args": [k, f]}]}, lambda a, b: a + k * b),
        (f"(height_m - floors) / {k}", {"op": "/", "args": [{"op": "-", "args": [h, f]}, k]}, lambda a, b: (a - b) / k),
        (f"floors div {k}", {"op": "div", "args": [f, k]}, lambda _, b: int(b / k)),
        (f"floors % {k}", {"op": "%", "args": [f, k]}, lambda _, b: np.fmod(b, k)),
        (f"floors ^ {k}", {"op": "^", "args": [f, k]}, lambda _, b: float(b) ** k),
        ("height_m / floors", {"op": "/", "args": [h, f]}, lambda a, b: None if b == 0 else a / b),
        ("abs(height_m)", {"op": "abs", "args": [h]}, lambda a, _: abs(a)),
        ("floor(height_m)", {"op": "floor", "args": [h]}, lambda a, _: np.floor(a)),
        ("ceil(height_m)", {"op": "ceil", "args": [h]}, lambda a, _: np.ceil(a)),
    ]))  # fmt: skip
    bound = draw(st.integers(-20, 20))
    only_floors, only_height = "height_m" not in text, "floors" not in text

    def truth(t):
        a, b = t.frame["height_m"], t.frame["floors"]
        zero = pd.Series([0] * N, dtype=object)
        a, b = (zero if only_floors else a), (zero if only_height else b)
        return rowwise(lambda v, w: None if (r := value(v, w)) is None else bool(compare(op, r, bound)), a, b)

    return f"{text} {op} {bound}", {"op": op, "args": [doc, bound]}, truth


@st.composite
def calls(draw):
    k, op = draw(st.integers(0, 12)), draw(OPERATORS)
    text, doc, name, value = draw(st.sampled_from([
        ("char_length(name)", {"op": "char_length", "args": [{"property": "name"}]}, "name", len),
        ("month(built)", {"op": "month", "args": [{"property": "built"}]}, "built", lambda v: v.month),
        ("YEAR(seen_at) - 2000", {"op": "-", "args": [{"op": "year", "args": [{"property": "seen_at"}]}, 2000]},
         "seen_at", lambda v: v.year - 2000),
    ]))  # fmt: skip
    return f"{text} {op} {k}", {"op": op, "args": [doc, k]}, lambda t: rowwise(
        lambda v: compare(op, value(v), k), t.frame[name])  # fmt: skip


LATEST, EARLIEST = datetime(9999, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)


def lt(a, b):
    return rowwise(lambda v, w: v < w, a, b)


def le(a, b):
    return rowwise(lambda v, w: v <= w, a, b)


def eq(a, b):
    return rowwise(lambda v, w: v == w, a, b)


# ruff: noqa: N803 -- s, e, S, E as in the standard's table
ALLEN = {  # of whole columns, so that what does not hang on an end that is null is known
    "t_after": lambda s, _e, _S, E: lt(E, s), "t_before": lambda _s, e, S, _E: lt(e, S),
    "t_contains": lambda s, e, S, E: lt(s, S) & lt(E, e), "t_disjoint": lambda s, e, S, E: lt(e, S) | lt(E, s),
    "t_during": lambda s, e, S, E: lt(S, s) & lt(e, E), "t_equals": lambda s, e, S, E: eq(s, S) & eq(e, E),
    "t_finishedby": lambda s, e, S, E: lt(s, S) & eq(e, E), "t_finishes": lambda s, e, S, E: lt(S, s) & eq(e, E),
    "t_intersects": lambda s, e, S, E: le(s, E) & le(S, e), "t_meets": lambda _s, e, S, _E: eq(e, S),
    "t_metby": lambda s, _e, _S, E: eq(s, E), "t_overlappedby": lambda s, e, S, E: lt(S, s) & lt(s, E) & lt(E, e),
    "t_overlaps": lambda s, e, S, E: lt(s, S) & lt(S, e) & lt(e, E),
    "t_startedby": lambda s, e, S, E: eq(s, S) & lt(E, e),
    "t_starts": lambda s, e, S, E: eq(s, S) & lt(e, E),
}  # fmt: skip


def day_long(value, *, at_end):
    """A date among moments: its whole day."""
    if isinstance(value, datetime):
        return value
    start = datetime.combine(value, datetime.min.time(), UTC)
    return start + timedelta(days=1) - timedelta(microseconds=1) if at_end else start


@st.composite
def times(draw):
    op, of_days = draw(st.sampled_from(sorted(ALLEN))), draw(st.booleans())
    first, last = ("built", "razed") if of_days else ("seen_at", "left_at")
    a_text, a_doc, a = draw(st.sampled_from([
        (first, {"property": first}, (first, first)),
        (f"INTERVAL({first}, {last})", {"interval": [{"property": first}, {"property": last}]}, (first, last)),
        (f"INTERVAL({first}, '..')", {"interval": [{"property": first}, ".."]}, (first, None)),
    ]))  # fmt: skip
    values = VALUES["built"] if of_days else VALUES["seen_at"] | VALUES["built"]
    low, high = sorted(draw(st.tuples(values, values)), key=lambda v: day_long(v, at_end=False))
    plain = [v.isoformat().replace("+00:00", "Z") for v in (low, high)]
    open_at = draw(st.sampled_from([None, 0, 1]))
    ends = [".." if open_at == i else v for i, v in enumerate(plain)]
    b_text, b_doc = f"INTERVAL('{ends[0]}', '{ends[1]}')", {"interval": ends}
    if draw(st.booleans()):
        (b_text, b_doc), high, open_at = written(low), low, None
    turned = draw(st.booleans())
    # days are compared as days only where both sides have nothing else
    moments = not of_days or any(isinstance(v, datetime) for i, v in enumerate((low, high)) if i != open_at)

    def ready(value, *, at_end):
        return None if value is None else day_long(value, at_end=at_end and moments) if moments else value

    def column(value):
        return pd.Series([value] * N, dtype=object)

    def truth(t):
        early, late = (EARLIEST, LATEST) if moments else (date.min, date.max)
        big = (column(early if open_at == 0 else ready(low, at_end=False)),
               column(late if open_at == 1 else ready(high, at_end=True)))  # fmt: skip
        mine = (pd.Series([ready(v, at_end=False) for v in t.frame[a[0]]], dtype=object),
                column(late) if a[1] is None else
                pd.Series([ready(v, at_end=True) for v in t.frame[a[1]]], dtype=object))  # fmt: skip
        return ALLEN[op](*big, *mine) if turned else ALLEN[op](*mine, *big)

    args = [(b_text, b_doc), (a_text, a_doc)] if turned else [(a_text, a_doc), (b_text, b_doc)]
    return f"{op.upper()}({args[0][0]}, {args[1][0]})", {"op": op, "args": [args[0][1], args[1][1]]}, truth


PREDICATES = {
    f"s_{name}": getattr(shapely, name)
    for name in ("intersects", "disjoint", "equals", "touches", "within", "overlaps", "crosses", "contains")
}


def by_shapely(op, geometry, other, *, turned):
    def one(g):
        try:
            return bool(PREDICATES[op](other, g) if turned else PREDICATES[op](g, other))
        except shapely.errors.GEOSException:
            return None

    return pd.array([None if g is None else one(g) for g in geometry], "boolean")


def figures(draw):
    x, y = EAST + draw(st.integers(-50, 3050)), NORTH + draw(st.integers(-50, 3050))
    w, h = draw(st.integers(1, 1500)), draw(st.integers(1, 1500))
    box = shapely.box(x, y, x + w, y + h)
    return draw(st.sampled_from([
        box, shapely.Point(x, y), shapely.LineString([(x, y), (x + w, y + h)]),
        shapely.Point(x, y).buffer(w, quad_segs=3),
        shapely.MultiPolygon([box, shapely.box(x + w + 5, y, x + 2 * w + 9, y + h)]),
        shapely.MultiPoint([(x, y), (x + w, y)]),
        shapely.MultiLineString([[(x, y), (x + w, y)], [(x, y + h), (x, y + 9e3)]]),
        shapely.GeometryCollection([shapely.Point(x - 30, y), box]),
        shapely.Polygon([(x, y, 5), (x + w, y, 6), (x, y + h, 7)]),
    ]))  # fmt: skip


@st.composite
def spaces(draw):
    op, turned = draw(st.sampled_from(sorted(PREDICATES))), draw(st.booleans())
    own = draw(st.integers(-1, N - 1))  # often the figure of a feature, so that equals and touches come about
    figure = None if own >= 0 else figures(draw)
    is_box = draw(st.booleans())

    def resolve(t):
        return t.geometry[own] if figure is None else figure

    def both(t):
        other = resolve(t)
        if other is None or not other.is_valid:
            other = shapely.Point(EAST, NORTH)
        if is_box and other.geom_type == "Polygon":
            other = shapely.box(*other.bounds)
            numbers = [float(v) for v in other.bounds]
            text, doc = f"BBOX({', '.join(map(repr, numbers))})", {"bbox": numbers}
        else:
            text = shapely.to_wkt(other, rounding_precision=-1)
            other = shapely.from_wkt(text)  # 16 digits are not always all of them
            doc = json.loads(shapely.to_geojson(other))
        texts, docs = ["geometry", text], ["geometry", doc]
        docs = [{"property": each} if each == "geometry" else each for each in docs]
        order = slice(None, None, -1) if turned else slice(None)
        return (f"{op.upper()}({', '.join(texts[order])})", {"op": op, "args": docs[order]},
                by_shapely(op, t.geometry, other, turned=turned))  # fmt: skip

    return both


@st.composite
def arrays(draw):
    op = draw(st.sampled_from(["a_equals", "a_contains", "a_containedby", "a_overlaps"]))
    values = draw(st.lists(st.sampled_from(["a", "桥", 1, 2.5, True, "z"]), max_size=4))
    turned = draw(st.booleans())
    text = f"({', '.join(written(v)[0] for v in values)})"
    args = [("extra.tags", {"property": "extra.tags"}), (text, values)]
    args = args[::-1] if turned else args

    def key(v):
        return (type(v) is bool, v)

    def truth(tags):
        a, b = {key(v) for v in tags}, {key(v) for v in values}
        a, b = (b, a) if turned else (a, b)
        return {"a_equals": a == b, "a_contains": a >= b, "a_containedby": a <= b, "a_overlaps": bool(a & b)}[op]

    return f"{op.upper()}({args[0][0]}, {args[1][0]})", {"op": op, "args": [args[0][1], args[1][1]]}, lambda t: rowwise(
        truth, t.frame["tags"])  # fmt: skip


@st.composite
def members(draw):
    value, op = draw(st.sampled_from([*NOTES, date(2001, 2, 3), "z"])), draw(OPERATORS)
    if isinstance(value, bool) and op not in {"=", "<>"}:
        op = "="
    text, doc = written(value)

    def same_type(v):
        if type(value) is date:
            v = date.fromisoformat(v) if isinstance(v, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", v) else None
            return None if v is None else compare(op, v, value)
        kinds = (bool,) if isinstance(value, bool) else (int, float) if isinstance(value, int | float) else (str,)
        if not isinstance(v, kinds) or (isinstance(v, bool) and kinds != (bool,)):
            return None
        return compare(op, v, value)

    return f"extra.note {op} {text}", {"op": op, "args": [{"property": "extra.note"}, doc]}, lambda t: rowwise(
        same_type, t.frame["note"])  # fmt: skip


plain = st.sampled_from([
    ("ok", {"op": "=", "args": [{"property": "ok"}, True]}, lambda t: pd.array(t.frame["ok"].tolist(), "boolean")),
    ("TRUE", {"op": "=", "args": [True, True]}, lambda _: pd.array([True] * N, "boolean")),
    ("1 > 2", {"op": ">", "args": [1, 2]}, lambda _: pd.array([False] * N, "boolean")),
])  # fmt: skip
leaves = st.one_of(
    comparisons(), of_two_properties(), listed(), between(), nulls(), likes(), folds(), calculations(), calls(),
    times(), spaces(), arrays(), members(), plain,
)  # fmt: skip
trees = st.recursive(
    leaves.map(lambda leaf: ("leaf", leaf)),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=5,
)


def grown(tree, town):
    """Text, JSON and truth of a whole tree."""
    kind, rest = tree
    if kind == "leaf":
        if callable(rest):
            return rest(town)
        text, doc, truth = rest
        return text, doc, truth(town)
    if kind == "not":
        text, doc, truth = grown(rest, town)
        return f"NOT ({text})", {"op": "not", "args": [doc]}, ~truth
    parts = [grown(each, town) for each in rest]
    whole = parts[0][2]
    for _, _, truth in parts[1:]:
        whole = (whole & truth) if kind == "and" else (whole | truth)
    text = f" {kind.upper()} ".join(f"({text})" for text, _, _ in parts)
    return text, {"op": kind, "args": [doc for _, doc, _ in parts]}, whole


def answer(town, parsed):
    return [int(id_[1:]) for part in town.store.query("thing", Query(filter=parsed), EVERYTHING) for id_ in part.ids]


@settings(max_examples=150, deadline=None)
@given(trees)
def test_a_filter_equals_brute_force_in_both_encodings(town, tree):
    text, doc, truth = grown(tree, town)
    expected = np.flatnonzero(truth.fillna(False).to_numpy(bool)).tolist()
    assert answer(town, cql2_parse.from_text(text)) == expected, text
    assert answer(town, cql2_parse.from_json(json.dumps(doc))) == expected, doc
    assert town.store.count("thing", Query(filter=doc), EVERYTHING) == len(expected)


def test_areas_lengths_and_distances_are_those_of_the_ellipsoid_and_the_plane(town):
    """By PROJ's own geodesics, over edges cut to a metre."""
    geod, back = Geod(ellps="GRS80"), Transformer.from_crs("EPSG:4549", "EPSG:4490", always_xy=True)

    def in_degrees(g):
        dense = shapely.segmentize(shapely.force_2d(g), 1.0)
        return shapely.transform(dense, lambda xy: np.stack(back.transform(xy[:, 0], xy[:, 1]), axis=1))

    where = shapely.Point(EAST + 900, NORTH + 900)
    rows = [i for i, g in enumerate(town.geometry) if g is not None and g.is_valid][:250]
    polygons = [i for i in rows if town.geometry[i].geom_type == "Polygon"]
    lines = [i for i in rows if town.geometry[i].geom_type == "LineString"]
    assert min(len(polygons), len(lines)) > 30

    def selected(text, among):
        return set(answer(town, cql2_parse.from_text(text))) & set(among)

    for i in polygons[:5]:
        area = abs(geod.geometry_area_perimeter(in_degrees(town.geometry[i]))[0])
        assert i in selected(f"area_m2(geometry) BETWEEN {area - 0.001} AND {area + 0.001}", polygons)
    for i in lines[:5]:
        length = geod.geometry_length(in_degrees(town.geometry[i]))
        assert i in selected(f"length_m(geometry) BETWEEN {length - 0.001} AND {length + 0.001}", lines)
    near = {i for i in rows if town.geometry[i].distance(where) <= 700}
    assert selected(f"distance_m(geometry, POINT({where.x} {where.y})) <= 700", rows) == near
    inside = selected(f"S_INTERSECTS(geometry, buffer(POINT({where.x} {where.y}), 700))", rows)
    assert inside <= near
    assert {i for i in near if town.geometry[i].distance(where) < 699} <= inside, "round to 0.1 % of the distance"
    centres = {i for i in rows if town.geometry[i].centroid.distance(where) <= 700}
    assert selected(f"distance_m(centroid(geometry), POINT({where.x} {where.y})) <= 700", rows) == centres


def test_text_is_compared_code_point_by_code_point_and_folded_by_unicodes_own_tables(town):
    assert unicodedata.normalize("NFC", "E\u0301") == "É"
    decomposed = cql2_parse.from_text("ACCENTI(CASEI(name)) = ACCENTI(CASEI('e\u0301cole'))")
    assert answer(town, decomposed) == [i for i, v in enumerate(town.frame["name"]) if v in {"école", "ÉCOLE"}]
