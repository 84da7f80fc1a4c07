"""Shapes are data: valid against their schema, closed, and within one by one; truth is trimesh and hand arithmetic."""

import json

import jsonschema
import numpy as np
import pytest
import trimesh
import yaml

from layers import catalogue, shapes
from layers.shapes import turned
from tests.layers.test_catalogue import FOLDER

DOCUMENT = yaml.safe_load((FOLDER / "shapes.yaml").read_text("utf8"))


def test_the_file_follows_its_schema():
    jsonschema.validate(DOCUMENT, json.loads((FOLDER / "shapes.schema.json").read_text("utf8")))


@pytest.mark.parametrize("name", DOCUMENT["shapes"])
def test_every_part_is_closed_and_the_whole_is_one_high(name):
    shape = shapes.load()[name]
    for part in shape.parts:
        solid = trimesh.Trimesh(part.vertices, part.triangles, process=False)
        assert solid.is_watertight
        assert solid.volume > 0
    mesh = shape.mesh("#123456")
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    assert (low[2], high[2]) == (0, 1)
    assert np.abs([low[:2], high[:2]]).max() == 0.5
    assert len(mesh.triangles) <= 100, "thousands of them are drawn"
    assert (0x12 in mesh.materials[:, 0]) == any(part.color is None for part in shape.parts)


def test_a_cylinder_and_a_cone():
    n = 24
    area = n / 2 * 0.5**2 * np.sin(2 * np.pi / n)
    for profile, volume in (([[0.5, 0], [0.5, 1]], area), ([[0.5, 0], [0, 1]], area / 3)):
        solid = trimesh.Trimesh(*turned(profile, n), process=False)
        assert solid.is_watertight
        assert solid.volume == pytest.approx(volume)


def test_layers_with_instances_and_shapes_are_the_same_and_name_attributes_that_exist():
    known = catalogue.load()
    assert {key for key, kind in known.items() if kind.solid == "instance"} == set(DOCUMENT["layers"])
    for layer_id in DOCUMENT["layers"]:
        told = shapes.of_layer(layer_id)
        for name in (told.height, told.width, told.direction, *told.words_in):
            assert not name or known[layer_id].attribute(name) is not None, (layer_id, name)
        assert [bool(each.words) for each in told.choices].count(False) == 1
        assert not told.choices[-1].words, "what is left comes last"
