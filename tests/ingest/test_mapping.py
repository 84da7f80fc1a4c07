"""Columns, units and domains: hand-computed cases, and a speed that is measured but not asserted."""

import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import columns, units, values
from ingest.mapping import Mapper
from layers import catalogue
from layers.catalogue import Attribute, Title
from layers.source import Hints


def attribute(kind="number", unit=None, **more):
    return Attribute("a", kind, Title("甲", "A"), unit=unit, **more)


@pytest.mark.parametrize(
    ("text", "unit", "default", "expected"),
    [
        ("DN300", "mm", None, 300.0),
        ("dn 300", "m", None, 0.3),
        ("300mm", "mm", None, 300.0),
        ("1.5米", "m", None, 1.5),
        ("1.5米", "mm", None, 1500.0),
        ("１２．５", "m", None, 12.5),
        ("1,234.5", "m", None, 1234.5),
        ("3,5", "m", None, None),
        ("1500", "m", "mm", 1.5),
        ("2公顷", "m2", None, 20000.0),
        ("3 亩", "m2", None, 2000.0),
        ("10千伏", "kV", None, 10.0),
        ("0.4MPa", "MPa", None, 0.4),
        ("-3.2", "m", None, -3.2),
        ("1e3", "m", None, 1000.0),
        ("12斤", "m", None, None),
        ("300kg", "mm", None, None),
        ("abc", "m", None, None),
        ("10-20", "m", None, None),
    ],
)
def test_numbers_as_people_write_them(text, unit, default, expected):
    found = units.number(text, unit, default)
    assert found == pytest.approx(expected) if expected is not None else found is None


@given(st.floats(-1e9, 1e9, allow_nan=False), st.sampled_from(["mm", "cm", "m", "km"]))
def test_a_length_keeps_its_size_in_any_unit(metres, unit):
    assert units.number(f"{metres!r}m", unit, None) * units.factor(unit, "m") == pytest.approx(metres, rel=1e-12)


def test_text_that_means_nothing_is_null_and_no_finding():
    found = values.convert(pa.array(["—", "/", "无", " ", None, "3"]), attribute(unit="m"), None)
    assert found.values.to_pylist() == [None, None, None, None, None, 3.0]
    assert found.bad == {}


def test_values_outside_their_domain_become_null_and_are_counted():
    found = values.convert(pa.array([5.0, -1.0, 2000.0, float("nan")]), attribute(minimum=0, maximum=1000), None)
    assert found.values.to_pylist() == [5.0, None, None, None]
    assert {code: rows.tolist() for code, rows in found.bad.items()} == {"VALUE_OUT_OF_DOMAIN": [1, 2]}


def test_codes_are_found_by_code_or_title_in_any_width_and_case():
    kind = attribute("string", codes={"crown": Title("管外顶", "outer top"), "invert": Title("管内底", "inner bottom")})
    found = values.convert(pa.array(["CROWN", "管内底", "Outer Top", "roof", None]), kind, None)
    assert found.values.to_pylist() == ["crown", "invert", "crown", None, None]
    assert found.bad["CODE_UNKNOWN"].tolist() == [3]


@pytest.mark.parametrize(
    ("kind", "given_values", "expected"),
    [
        ("boolean", ["是", "否", "Y", "0", "maybe"], [True, False, True, False, None]),
        (
            "date",
            ["2021-3-5", "20210305", "2021年3月5日", "2021/03/05 10:00", "2021-02-30"],
            [date(2021, 3, 5)] * 4 + [None],
        ),
        ("integer", ["3", "4.0", "4.5", "六", "１２"], [3, 4, None, None, 12]),
        ("string", ["a ", "—", None, "", "乙"], ["a", None, None, None, "乙"]),
    ],
)
def test_other_types(kind, given_values, expected):
    assert values.convert(pa.array(given_values), attribute(kind), None).values.to_pylist() == expected


def test_a_time_needs_a_zone_in_the_text_or_by_hint():
    texts = pa.array(["2026-06-01 08:00:00", "2026-06-01T00:00:00Z", "2026-06-01T08:00:00+08:00"])
    bare = values.convert(texts, attribute("datetime"), None)
    assert bare.values.to_pylist() == [None, *[datetime(2026, 6, 1, tzinfo=UTC)] * 2]
    assert bare.bad["TIME_WITHOUT_ZONE"].tolist() == [0]
    told = values.convert(texts, attribute("datetime"), "+08:00")
    assert told.values.to_pylist() == [datetime(2026, 6, 1, tzinfo=UTC)] * 3


def test_whole_floats_become_text_without_a_point():
    assert values.as_text(pa.array([1.0, 2.5, None, float("inf")])).to_pylist() == ["1", "2.5", None, None]


PIPE = catalogue.layer_type("pipe_gas")


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("管径", "dn_mm"),
        ("管径(mm)", "dn_mm"),
        ("gxbh", "pipe_code"),
        ("起点高程", "start_elev_m"),
        ("Outer diameter", "od_mm"),
        ("ＤＮ", "dn_mm"),
    ],
)
def test_columns_are_found_under_any_of_their_names(column, name):
    assert columns.match(PIPE, [column], {}, cut=False) == {name: column}


def test_a_hint_goes_before_every_name_and_each_column_serves_once():
    matched = columns.match(PIPE, ["管径", "DN", "口径"], {"dn_mm": "口径"}, cut=False)
    assert matched == {"dn_mm": "口径"}


def test_names_cut_at_ten_bytes_are_completed_only_for_dbf():
    assert columns.match(PIPE, ["outer_diam"], {}, cut=True) == {"od_mm": "outer_diam"}
    assert columns.match(PIPE, ["outer_diam"], {}, cut=False) == {}


def test_what_the_schema_does_not_know_is_kept_and_bad_originals_too():
    table = pa.table({"GXBH": ["a", "b"], "管径": ["DN300", "大"], "备注": ["x", None], "颜色": [None, 3]})
    mapper = Mapper(PIPE, table.column_names, Hints(), "pipes/gas.csv")
    attributes, extra = mapper.apply(table, ["a", "b"])
    assert attributes.schema == PIPE.arrow_schema()
    assert attributes.column("dn_mm").to_pylist() == [300.0, None]
    assert [json.loads(each) for each in extra] == [{"备注": "x"}, {"管径": "大", "颜色": 3}]
    row = attributes.to_pylist()[0]
    assert (row["type_code"], row["cim_category"], row["source"]) == ("RQ", "base", "pipes/gas.csv")
    [issue] = mapper.closing_issues()
    assert (issue.code, issue.where) == ("VALUE_NOT_UNDERSTOOD", "column 管径")
    assert "'大' at b" in issue.message


def test_hints_that_name_nothing_are_told():
    mapper = Mapper(PIPE, ["a"], Hints(columns={"dn": "a", "od_mm": "b"}, values={"colour": 1}), "x")
    assert sorted(issue.code for issue in mapper.opening_issues()) == ["HINT_UNKNOWN_ATTRIBUTE"] * 2 + [
        "HINT_UNKNOWN_COLUMN"
    ]


def test_hinted_units_and_values_are_used_where_the_file_is_silent():
    hints = Hints(units={"od_mm": "m"}, values={"material": "PE", "z_ref": "crown"})
    table = pa.table({"外径": [0.315, 0.16], "材质": ["钢", None]})
    attributes, _ = Mapper(PIPE, table.column_names, hints, "x").apply(table, ["a", "b"])
    assert attributes.column("od_mm").to_pylist() == [315.0, 160.0]
    assert attributes.column("material").to_pylist() == ["钢", "PE"]
    assert attributes.column("z_ref").to_pylist() == ["crown", "crown"]


def test_what_was_written_otherwise_and_read_is_listed():
    array = pa.array(["１２．５", "1,234", "—", "/", "12.5", None, "", "5米"])
    read = values.convert(array, attribute("number", unit="m"), None)
    assert read.values.to_pylist() == [12.5, 1234.0, None, None, 12.5, None, None, 5.0]
    assert read.normalised.tolist() == [0, 1, 2, 3]
    assert values.convert(pa.array(["甲", "—"]), attribute("string"), None).normalised.tolist() == [1]
