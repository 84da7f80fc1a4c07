"""The catalogue is data: it is checked against its schema and for contradictions a schema cannot see."""

import json
from collections import defaultdict
from pathlib import Path

import jsonschema
import pyarrow as pa
import pytest
import yaml

from layers import catalogue
from layers.errors import LayerNotFound

FOLDER = Path(catalogue.__file__).parent
SCHEMA = json.loads((FOLDER / "catalogue.schema.json").read_text("utf8"))
WANTED = [
    "admin_unit",
    "address",
    "map_sheet",
    "dem",
    "dsm",
    "dom",
    "point_cloud",
    "building",
    "building_storey",
    "building_unit",
    "bim_element",
    "road",
    "bridge",
    "parking",
    "greenway",
    "green_space",
    "vegetation",
    "geology_point",
    "geohazard",
    "land_survey",
    "land_plan",
    "pbf",
    "eco_redline",
    "urban_boundary",
    "heritage_line",
    "water_line",
    "hazard_line",
    "coast_line",
    "sea_use",
    "parcel",
    "homestead",
    "project_land",
    "permit_building",
    "construction_site",
    "excavation",
    "tower_crane",
    "power_line",
    "pipe_water",
    "pipe_sewage",
    "pipe_rain",
    "pipe_gas",
    "pipe_heat",
    "pipe_power",
    "pipe_telecom",
    "pipe_industry",
    "pipe_node",
    "valve",
    "pump",
    "hydrant",
    "corridor",
    "river",
    "water_body",
    "basin",
    "reservoir",
    "seawall",
    "dyke",
    "hydraulic_structure",
    "water_source_zone",
    "outfall",
    "sensor",
    "sensor_obs",
    "weather_station",
    "camera",
    "base_station",
    "pole",
    "key_area",
    "urban_area",
    "planning_area",
    "poi",
    "facility",
    "event",
    "energy_meter_obs",
    "suspect",
]


@pytest.mark.parametrize("category", catalogue.CATEGORIES)
def test_each_file_follows_the_schema(category):
    document = yaml.safe_load((FOLDER / f"{category}.yaml").read_text("utf8"))
    jsonschema.validate(document, SCHEMA)
    assert document["category"] == category


def test_every_layer_of_the_requirements_is_there():
    assert set(WANTED) <= set(catalogue.load())


def test_every_category_has_a_layer():
    assert {each.category for each in catalogue.load().values()} == set(catalogue.CATEGORIES)


def test_no_word_speaks_for_two_layers_of_one_kind_of_geometry():
    owners = defaultdict(set)
    for each in catalogue.load().values():
        family = each.geometry.removeprefix("Multi").removesuffix("Z")
        for token in (each.id, *each.tokens):
            owners[token.casefold(), family].add(each.id)
    assert {token: ids for token, ids in owners.items() if len(ids) > 1} == {}


@pytest.mark.parametrize("layer", catalogue.load().values(), ids=lambda each: each.id)
def test_names_in_a_layer_contradict_nothing(layer):
    names = [each.name for each in layer.attributes]
    assert len(names) == len(set(names))
    assert not {"id", "fid", "geom", "version", "valid_from", "valid_to", "extra"} & set(names)
    assert set(layer.id_from) <= set(names)
    assert set(layer.values) <= set(names)
    assert layer.style.get("by", "name") in names
    owners = defaultdict(set)
    for each in layer.attributes:
        for alias in (each.name, *each.aliases):
            owners[alias.casefold()].add(each.name)
    assert {alias: who for alias, who in owners.items() if len(who) > 1} == {}
    if layer.solid == "extrude":
        assert {"base_elev_m", "height_m"} <= set(names)
    if layer.solid == "tube":
        assert {"od_mm", "z_ref", "start_elev_m", "end_elev_m"} <= set(names)


def test_pipes_share_their_attributes_and_keep_their_own_type_code():
    kinds = [catalogue.layer_type(f"pipe_{kind}") for kind in ("water", "sewage", "gas")]
    assert all(each.attributes == kinds[0].attributes for each in kinds)
    assert [each.values["type_code"] for each in kinds] == ["JS", "WS", "RQ"]


def test_an_unknown_layer_is_answered_with_the_nearest():
    with pytest.raises(LayerNotFound, match="Did you mean 'building'"):
        catalogue.layer_type("buildng")


def test_a_table_of_its_own_keeps_its_columns():
    made = catalogue.from_fields(
        "playground", "Playground", "Point", {"n": pa.int32(), "when": pa.date32(), "t": pa.string()}
    )
    types = {each.name: each.type for each in made.attributes}
    assert types["n"] == "integer"
    assert types["when"] == "date"
    assert types["t"] == "string"
    assert made.attribute("cim_category") is not None
