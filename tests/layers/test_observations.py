"""Quantities, units and flags of observations: the data follow their schema and contradict nothing."""

import json
from importlib.resources import files

import jsonschema
import pytest
import yaml

from layers import observations

FOLDER = files("layers") / "codes"
DOCUMENT = yaml.safe_load((FOLDER / "observations.yaml").read_text("utf8"))


def test_the_data_follow_the_schema():
    jsonschema.validate(DOCUMENT, json.loads((FOLDER / "observations.schema.json").read_text("utf8")))


def test_no_name_stands_for_two_quantities_and_no_spelling_for_two_units():
    names = [observations.fold(name) for row in DOCUMENT["quantities"] for name in {row["id"], *row["aliases"]}]
    folded = [
        name for row in DOCUMENT["quantities"] for name in {*map(observations.fold, (row["id"], *row["aliases"]))}
    ]
    assert len(folded) == len(set(folded)), names
    units = [observations.fold(each) for others in DOCUMENT["units"].values() for each in {*others}]
    assert {observations.unit_key(each) for each in units} <= set(DOCUMENT["units"])


def test_flags_are_few_enough_for_a_mask_and_titled_in_both_languages():
    assert len({flag.id for flag in observations.flags()}) == len(observations.flags()) <= 16
    assert all(flag.title.zh and flag.title.en for flag in observations.flags())


@pytest.mark.parametrize(
    ("spelling", "key"),
    [
        ("μg/m³", "ug/m3"),
        ("µg/m3", "ug/m3"),
        ("℃", "degc"),
        ("°C", "degc"),
        ("dB(A)", "db(a)"),
        ("％", "pct"),
        ("bananas", "bananas"),
    ],
)
def test_one_spelling_for_each_unit(spelling, key):
    assert observations.unit_key(spelling) == key


def test_ranges_are_those_of_the_unit_and_the_widest_without_one():
    temperature = observations.quantity("气温")
    assert temperature is not None
    assert temperature.limits("°C") == (-90, 100)
    assert temperature.limits(None) == (-130, 373)
    assert observations.quantity("Air Temperature") is temperature
    assert observations.quantity("bananas") is None
