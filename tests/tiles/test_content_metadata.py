"""The metadata class of a layer, and the property tables of tiles, read back value by value."""

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.catalogue import Attribute, LayerType, Title, from_fields, load
from tests.tiles.gltf_reader import Glb
from tests.tiles.test_content import content, meshes_of
from tests.tiles.towns import boxes
from tiles.content import FORMS, encode, schema

TITLE = Title("标题", "Title")
CODES = {"plan": Title("规划", "planned"), "existing": Title("现状", "existing"), "noData": Title("无", "none")}
LEVELS = {"1": Title("省", "province"), "2": Title("市", "prefecture"), "40": Title("组", "group")}
LAYER = LayerType(
    "site-1",
    Title("场地", "Sites"),
    "Polygon",
    "base",
    (1,),
    (
        Attribute("name", "string", TITLE),
        Attribute("高度", "number", Title("高度", "Height"), unit="m"),
        Attribute("wide", "integer", TITLE),
        Attribute("floors", "integer", TITLE, minimum=0, maximum=250),
        Attribute("legal", "boolean", TITLE),
        Attribute("phase", "string", TITLE, codes=CODES),
        Attribute("level", "integer", TITLE, codes=LEVELS),
        Attribute("day", "date", TITLE),
        Attribute("at", "datetime", TITLE),
    ),
)
KINDS = {each.name: each.arrow_type for each in LAYER.attributes}


def read(records, form="compat", layer=LAYER):
    table = pa.table({name: pa.array([row.get(name) for row in records], kind) for name, kind in KINDS.items()})
    return Glb(encode(content(meshes_of(boxes(len(records), 50.0)), layer, table), form))


texts = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8))
rows = st.fixed_dictionaries(
    {
        "name": texts,
        "高度": st.one_of(st.none(), st.floats(-1e300, 1e300)),
        "wide": st.one_of(st.none(), st.integers(-(2**53), 2**53)),
        "floors": st.one_of(st.none(), st.integers(-(2**31) + 1, 2**31 - 1)),
        "legal": st.one_of(st.none(), st.booleans()),
        "phase": st.one_of(st.none(), st.sampled_from(list(CODES))),
        "level": st.one_of(st.none(), st.sampled_from([1, 2, 40])),
        "day": st.one_of(st.none(), st.dates()),
        "at": st.one_of(st.none(), st.datetimes(dt.datetime(1700, 1, 1), timezones=st.just(dt.UTC))),
    }
)
READ = {
    "day": dt.date.fromisoformat,
    "at": dt.datetime.fromisoformat,
    "level": int,
    "wide": int,
    "legal": bool,
}


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=1, max_size=20))
def test_typed_columns_come_back_value_by_value(form, records):
    table = read(records, form).rows()
    assert table["id"] == [f"B-{i}" for i in range(len(records))]
    assert table["layer"] == ["site-1"] * len(records)
    assert table["other"] == [None] * len(records)
    for name in KINDS:
        found = [None if value is None else READ.get(name, lambda v: v)(value) for value in table[name]]
        assert found == [row[name] for row in records], name


def test_what_a_type_cannot_hold_stands_in_other():
    table = read(
        [
            {"phase": "demolished", "floors": 2**40, "高度": float("inf"), "wide": 2**60, "level": 7},
            {"phase": "plan", "floors": 3, "高度": float("nan"), "wide": -(2**60), "level": 2},
            {"phase": ""},
        ]
    ).rows()
    assert table["phase"] == [None, "plan", None]
    assert table["floors"] == [None, 3, None]
    assert table["高度"] == [None, None, None]
    assert [None if each is None else json.loads(each) for each in table["other"]] == [
        {"phase": "demolished", "floors": 2**40, "高度": "inf", "wide": 2**60, "level": 7},
        {"wide": -(2**60)},
        None,
    ]


def test_the_class_is_the_same_whatever_a_tile_holds():
    full = {"name": "a", "高度": 1.0, "wide": 2, "floors": 3, "legal": True, "phase": "plan", "level": 1}
    schemas = [read(records, form).schema() for form in FORMS for records in ([full], [{}], [{"phase": "new"}])]
    assert schemas == [schema(LAYER)] * 6


def test_types_titles_units_and_semantics_follow_the_layer_type():
    said = schema(LAYER)
    (of_layer,) = said["classes"].values()
    properties = of_layer["properties"]
    assert {key: each.get("componentType", each["type"]) for key, each in properties.items()} == {
        "id": "STRING", "layer": "ENUM", "name": "STRING", "p1": "FLOAT64", "wide": "FLOAT64", "floors": "INT32",
        "legal": "UINT8", "phase": "ENUM", "level": "ENUM", "day": "STRING", "at": "STRING", "other": "STRING",
    }  # fmt: skip
    assert properties["p1"]["name"] == "高度"
    assert properties["p1"]["description"] == "Height 高度, m"
    assert [key for key, each in properties.items() if "semantic" in each] == ["id", "name"]
    assert properties["id"]["required"]
    level = said["enums"]["level"]
    assert [(each["name"], each["value"]) for each in level["values"]][:3] == [("1", 1), ("2", 2), ("40", 40)]
    assert properties["level"]["noData"] == level["values"][3]["name"]
    assert properties["phase"]["noData"] not in CODES
    assert said["enums"]["phase"]["values"][0]["description"] == "planned 规划"


def test_a_string_property_without_values_is_left_out_and_equal_columns_share_their_bytes():
    layer = LayerType("a", TITLE, "Point", "base", (1,), tuple(Attribute(n, "string", TITLE) for n in ("x", "y", "z")))
    table = pa.table(
        {"x": ["one", "two"], "y": [None, ""], "z": ["one", "two"]}, pa.schema(dict.fromkeys("xyz", pa.string()))
    )
    found = Glb(encode(content(meshes_of(boxes(2, 20.0)), layer, table), "compat"))
    (made,) = found.json["extensions"]["EXT_structural_metadata"]["propertyTables"]
    assert set(made["properties"]) == {"id", "layer", "x", "z"}
    assert made["properties"]["x"] == made["properties"]["z"]


def test_names_that_are_no_identifiers_or_collide_get_their_own():
    names = ["a b", "a_b", "1st", "other", "id", "楼", "__", "a-b"]
    layer = LayerType("9楼", TITLE, "Point", "base", (1,), tuple(Attribute(n, "string", TITLE) for n in names))
    table = pa.table({n: [f"value of {n}"] for n in names})
    found = Glb(encode(content(meshes_of(boxes(1, 20.0)), layer, table), "compact"))
    for name in set(names) - {"id"}:
        assert found.rows()[name] == [f"value of {name}"]
    assert found.rows()["id"] == ["B-0"]
    (of_layer,) = found.schema()["classes"].values()
    assert all(key.isascii() and key.isidentifier() for key in of_layer["properties"])
    assert len(of_layer["properties"]) == len(names) + 2


@pytest.mark.parametrize("form", FORMS)
def test_cesiums_validator_reads_every_type(tiles_validator, tmp_path, form):
    records = [
        {},
        {"phase": "demolished", "floors": 2**40},
        {"name": "a", "高度": 1.5, "wide": 2**40, "floors": -3, "legal": True, "phase": "noData", "level": 40},
    ]
    for n in (1, 3):
        table = pa.table({name: pa.array([row.get(name) for row in records[:n]], kind) for name, kind in KINDS.items()})
        path = tmp_path / "tile.glb"
        path.write_bytes(encode(content(meshes_of(boxes(n, 50.0)), LAYER, table), form))
        assert tiles_validator(path) == []


def test_a_schema_beside_the_tiles_serves_them_all(tiles_validator, tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(schema(LAYER)))
    made = content(meshes_of(boxes(2, 50.0)), LAYER, pa.table({"name": ["a", "b"]}))
    data = encode(made, "compact", schema_uri="schema.json")
    extension = Glb(data).json["extensions"]["EXT_structural_metadata"]
    assert extension["schemaUri"] == "schema.json"
    assert "schema" not in extension
    assert len(data) < len(encode(made, "compact")) - 1000
    (tmp_path / "tile.glb").write_bytes(data)
    assert tiles_validator(tmp_path / "tile.glb") == []


def test_every_layer_of_the_catalogue_has_a_class():
    for layer in load().values():
        (of_layer,) = schema(layer)["classes"].values()
        names = [each["name"] for each in of_layer["properties"].values()]
        assert len(names) == len(set(names))
        assert {each.name for each in layer.attributes} <= set(names)
        for enum in schema(layer)["enums"].values():
            assert len({each["value"] for each in enum["values"]}) == len(enum["values"])


def test_columns_of_a_table_that_the_catalogue_does_not_know():
    fields = {"n": pa.int32(), "x": pa.float32(), "ok": pa.bool_(), "when": pa.date32(), "text": pa.string()}
    layer = from_fields("mine", "Mine", "Point", fields)
    table = pa.table(
        {
            "n": pa.array([7], pa.int32()),
            "x": pa.array([2.5], pa.float32()),
            "ok": [True],
            "when": [dt.date(2024, 2, 29)],
            "text": ["a"],
        }
    )
    found = Glb(encode(content(meshes_of(boxes(1, 20.0)), layer, table), "compat")).rows()
    assert {key: found[key] for key in fields} == {
        "n": [7],
        "x": [2.5],
        "ok": [1],
        "when": ["2024-02-29"],
        "text": ["a"],
    }


def test_chunked_and_sliced_tables_are_read_whole():
    table = pa.concat_tables([pa.table({"name": [f"{i}" for i in range(5)], "floors": range(5)})] * 2).slice(2, 6)
    found = Glb(encode(content(meshes_of(boxes(6, 20.0)), LAYER, table), "compact")).rows()
    assert found["name"] == ["2", "3", "4", "0", "1", "2"]
    assert found["floors"] == [2, 3, 4, 0, 1, 2]
    np.testing.assert_equal(found["phase"], [None] * 6)
