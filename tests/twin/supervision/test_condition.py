"""Conditions with three values: what is true and what is false are exactly what the store's own filter finds."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import twin
from layers.catalogue import Attribute, LayerType, Title
from layers.errors import InvalidInput
from layers.report import Report
from twin import config
from twin.store.cql2_parse import from_text
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Rows, SourceRecord
from twin.supervision.indicators.condition import FALSE, TRUE, UNKNOWN, parsed, properties, truth

KINDS = {"ok": "boolean", "n": "integer", "x": "number", "word": "string", "day": "date"}
VALUES = {
    "ok": [True, False, None], "n": [0, 1, 2, 3, None], "x": [0.0, 0.5, 1.0, 2.5, None],
    "word": ["正常", "故障", "ok", "OK", "a%b", "", None], "day": [dt.date(2025, 1, 1), dt.date(2026, 6, 30), None],
}  # fmt: skip
N = 200


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twin")
    config.save(config.TwinConfig("here", "EPSG:4549", 121.0, 28.1, height_model={"constant_m": 12.0}), folder)
    store = GeoPackageStore(folder / "city.gpkg", create=True, city_crs="EPSG:4549")
    kind = LayerType(
        "thing", Title("物", "Thing"), "none", "iot", (1,),
        tuple(Attribute(name, each, Title(name, name)) for name, each in KINDS.items()),
    )  # fmt: skip
    columns = {
        name: pa.array(
            [VALUES[name][(i * step) % len(VALUES[name])] for i in range(N)], kind.attribute(name).arrow_type
        )
        for name, step in zip(KINDS, (1, 3, 7, 5, 11), strict=True)
    }
    with store.writing() as batch:
        batch.ensure_layer(kind)
        source = SourceRecord("t", "", 0, 0, "")
        batch.begin_source(source)
        batch.put("thing", "t", Rows([str(i) for i in range(N)], np.full(N, None), pa.table(columns), [None] * N))
        batch.finish_source(source, Report("t", "x", "", "stored"))
    store.close()
    with twin.open(folder) as city:
        yield city, pa.table(columns)


def found(city, text):
    query = Query(filter=from_text(text))
    return {int(each) for part in city.store.query("thing", query, city.scope) for each in part.ids}


simple = st.sampled_from([
    "ok = TRUE", "ok = FALSE", "ok <> TRUE", "n = 1", "n <> 1", "n >= 2", "x < 1.0", "x <= 0.5", "x > n", "n = x",
    "word = '正常'", "word <> '正常'", "word IN ('正常', 'ok')", "word LIKE '%常'", "word LIKE 'a\\%b'",
    "word LIKE '_k'", "n BETWEEN 1 AND 2", "word IS NULL", "ok IS NOT NULL", "n IS NULL",
    "day > DATE('2025-06-01')", "day = DATE('2025-01-01')",
    "CASEI(word) = CASEI('OK')", "n IN (0, 3)", "ok",
])  # fmt: skip
expressions = st.recursive(
    simple,
    lambda inner: st.one_of(
        inner.map(lambda a: f"NOT ({a})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}) AND ({p[1]})"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]}) OR ({p[1]})"),
    ),
    max_leaves=5,
)


@settings(max_examples=120, deadline=None)
@given(expressions)
@example("ok")
def test_true_and_false_are_what_the_store_finds(stored, text):
    city, table = stored
    made = truth(parsed(text), table, N)
    assert set((made == TRUE).nonzero()[0].tolist()) == found(city, text)
    assert set((made == FALSE).nonzero()[0].tolist()) == found(city, f"NOT ({text})")


def test_an_attribute_that_is_not_there_is_not_known():
    table = pa.table({"a": [1, 2]})
    assert truth(parsed("b = 1"), table, 2).tolist() == [UNKNOWN, UNKNOWN]
    assert truth(parsed("b = 1 OR a = 1"), table, 2).tolist() == [TRUE, UNKNOWN]
    assert truth(parsed("b = 1 AND a = 1"), table, 2).tolist() == [UNKNOWN, FALSE]
    assert truth(parsed("b IS NULL"), table, 2).tolist() == [TRUE, TRUE]
    assert properties(parsed("b = 1 AND (a = 1 OR c LIKE 'x')")) == {"a", "b", "c"}


@pytest.mark.parametrize("yes", ["是", "Yes", "true", 1, 1.0, "1"])
def test_a_flag_written_as_a_word_or_number_is_a_flag(yes):
    assert truth(parsed("flag = TRUE"), pa.table({"flag": [yes]}), 1).tolist() == [TRUE]
    assert truth(parsed("flag = FALSE"), pa.table({"flag": [yes]}), 1).tolist() == [FALSE]


def test_a_word_that_is_no_flag_is_not_known():
    assert truth(parsed("flag = TRUE"), pa.table({"flag": ["maybe"]}), 1).tolist() == [UNKNOWN]


@pytest.mark.parametrize("text", ["S_INTERSECTS(geometry, POINT(0 0))", "a + 1 = 2"])
def test_what_is_not_read_is_said(text):
    with pytest.raises(InvalidInput, match="condition"):
        truth(parsed(text), pa.table({"a": [1]}), 1)
