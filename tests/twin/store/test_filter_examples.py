"""The published CQL2 examples (OGC 21-065r2): all are read, pairs alike, and run over a layer with their properties."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from layers.catalogue import Attribute, LayerType, Title
from layers.errors import InvalidInput
from twin.scope import EVERYTHING
from twin.store import cql2_parse
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Rows

OGC = Path(os.environ.get("CITYTWIN_REALDATA", Path(__file__).parents[4] / "shared" / "realdata")) / "ogc"
TEXTS = {path.stem: path for path in sorted(OGC.glob("cql2_text/*.txt"))}
JSONS = {path.stem: path for path in sorted(OGC.glob("cql2_json/*.json"))}
pytestmark = pytest.mark.skipif(not TEXTS, reason="the OGC's CQL2 examples are not here: set CITYTWIN_REALDATA")

GEOMETRIES = {"road", "footprint", "location", "geometry"}
ARRAYS = {"layer:ids", "values"}
MOMENTS = {"updated", "touchdown", "liftOff", "starts_at", "ends_at", "updated_at"}
DAYS = {"built"}
NUMBERS = {"depth", "taxes", "foo", "vehicle_height", "bridge_clearance", "windSpeed"}
WHOLE = {"category", "floors"}
BOOLEANS = {"swimming_pool"}
NOT_OFFERED = {"clause6_01": "'avg'", "clause6_02b": "'avg'"}
"""Examples that call a function which there is none of."""
NOT_VALID = {"example46", "example46-alt01", "example49"}
"""Examples whose polygon crosses itself."""


def read(name):
    text = TEXTS[name].read_text("utf8")
    return cql2_parse.from_text(text), cql2_parse.from_json(JSONS[name].read_text("utf8")) if name in JSONS else None


@pytest.mark.parametrize("name", TEXTS)
def test_every_example_is_read_and_pairs_are_the_same_expression(name):
    parsed, pair = read(name)
    if pair is not None:
        assert lowered(parsed) == lowered(pair)


def lowered(node):
    """Operators are written in any case (`isNull`, `isnull`)."""
    if isinstance(node, list):
        return [lowered(each) for each in node]
    if isinstance(node, dict):
        return {key: value.lower() if key == "op" else lowered(value) for key, value in node.items()}
    return node


def names_in(node):
    if isinstance(node, list):
        return set().union(*map(names_in, node), set())
    if isinstance(node, dict):
        own = {node["property"]} if "property" in node else set()
        return own.union(*map(names_in, node.values()))
    return set()


def fitted(node):
    """The expression with its geometries and arrays under the names that they have in a layer."""
    if isinstance(node, list):
        return [fitted(each) for each in node]
    if not isinstance(node, dict):
        return node
    if "property" in node:
        name = node["property"]
        return {"property": "geometry" if name in GEOMETRIES else f"extra.{name}" if name in ARRAYS else name}
    return {key: fitted(value) for key, value in node.items()}


def kind_of(name, as_number):
    return (
        "datetime" if name in MOMENTS else "date" if name in DAYS else "integer" if name in WHOLE
        else "boolean" if name in BOOLEANS else "number" if name in NUMBERS or (as_number and name == "value")
        else "string"
    )  # fmt: skip


def layer_of(store, make, layer_id, *, as_number):
    every = set().union(*(names_in(read(name)[0]) for name in TEXTS))
    attributes = tuple(
        Attribute(name, kind_of(name, as_number), Title(name, name)) for name in sorted(every - GEOMETRIES - ARRAYS)
    )
    layer = LayerType(layer_id, Title(layer_id, layer_id), "Geometry", "base", (1,), attributes)
    random, n = np.random.default_rng(5), 60
    schema = layer.arrow_schema()
    words = ["Toronto", "Smith", "OLI", "a", "Mike Jones", "Beyoncé", "somebody else", "brick", "calcutta", None]
    make_value = {
        "string": lambda: words[random.integers(len(words))],
        "number": lambda: float(random.integers(0, 200)),
        "integer": lambda: int(random.integers(0, 9)),
        "boolean": lambda: bool(random.integers(2)),
        "date": lambda: f"20{random.integers(5, 20):02d}-06-05",
        "datetime": lambda: f"{random.integers(1960, 2024)}-02-10T05:29:20.073225Z",
    }
    columns = [
        pa.array(
            [make_value[each.type]() for _ in range(n)], pa.string() if each.type in {"date", "datetime"} else None
        )
        for each in attributes
    ]
    columns = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
    shapes = shapely.points(random.uniform(-180, 180, n), random.uniform(-90, 90, n))
    shapes[::3] = shapely.buffer(shapes[::3], 40)
    extra = [
        json.dumps({"layer:ids": ["layers-ca", "layers-us"][: i % 3], "values": ["a", True, 1.0, 8]}) for i in range(n)
    ]
    ids = [f"{layer_id}{i}" for i in range(n)]
    make.stored(store, layer, Rows(ids, np.asarray(shapes, object), pa.table(columns, schema=schema), extra), layer_id)


@pytest.fixture(scope="module")
def store(tmp_path_factory, make):
    made = GeoPackageStore(tmp_path_factory.mktemp("examples") / "city.gpkg", create=True, city_crs="EPSG:4549")
    layer_of(made, make, "numbers", as_number=True)
    layer_of(made, make, "words", as_number=False)
    yield made
    made.close()


def answer(store, layer, expression):
    return {id_ for part in store.query(layer, Query(filter=expression), EVERYTHING) for id_ in part.ids}


@pytest.mark.parametrize("name", TEXTS)
def test_every_example_runs_over_a_layer_with_its_properties(store, name):
    expressions = [fitted(each) for each in read(name) if each is not None]
    layer = "words" if re.search(r"'a', 'b'", TEXTS[name].read_text("utf8")) else "numbers"
    for expression in expressions:
        if name in NOT_OFFERED or name in NOT_VALID:
            with pytest.raises(InvalidInput, match=NOT_OFFERED.get(name, "not valid")):
                answer(store, layer, expression)
            continue
        found = answer(store, layer, expression)
        assert found == answer(store, layer, expressions[0])
        assert not found & answer(store, layer, {"op": "not", "args": [expression]})
        assert store.count(layer, Query(filter=expression), EVERYTHING) == len(found)


def test_most_examples_find_something(store):
    """Random rows; what looks for one value among thousands, or for geometries as odd as theirs, finds none."""
    hits = 0
    for name in set(TEXTS) - set(NOT_OFFERED) - NOT_VALID:
        layer = "words" if re.search(r"'a', 'b'", TEXTS[name].read_text("utf8")) else "numbers"
        hits += bool(answer(store, layer, fitted(read(name)[0])))
    assert hits >= 25
