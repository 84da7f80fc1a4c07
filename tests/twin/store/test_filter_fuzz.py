# ruff: noqa: SIM905 -- words between blanks are easier to read
"""Whatever is sent as a filter: an answer or a refusal with a reason, never another error."""

import random

import pytest
import shapely

from layers.errors import InvalidInput
from twin.scope import EVERYTHING
from twin.store import cql2_parse
from twin.store.interface import Query

TOKENS = (
    r"name height_m floors ok built seen_at geometry id version valid_to extra.tags extra.x 'a' '%a%' '' 1 -1 .5 1e400 "
    r"99999999999999999999 TRUE FALSE NULL ( ) ( ) , , = <> < > + - * / ^ % div AND OR NOT LIKE IN BETWEEN IS NULL "
    r"T_DURING( CASEI( ACCENTI( S_INTERSECTS( S_EQUALS( T_AFTER( INTERVAL( DATE('2020-01-01') '..' A_CONTAINS( "
    r"A_EQUALS( BBOX(1,2,3,4) POINT(1 2) POLYGON((0 0,1 0,1 1,0 0)) POINT( area_m2( buffer( abs( year( \ ' "
    '" [ ] { } 桥 \x00'
).split(" ")
OPERATORS = (
    "and or not = <> < like in between isNull casei accenti + - * / ^ % div s_intersects s_equals s_disjoint t_after "
    "t_during t_meets a_contains a_equals area_m2 buffer abs year centroid distance_m contains_text nope"
).split()
NAMES = ["name", "height_m", "floors", "ok", "built", "geometry", "extra.tags", "id", "nope"]
VALUES = [
    1, -1.5, True, None, "a", "..", {"date": "2020-01-01"}, {"timestamp": "2020-01-01T00:00:00Z"},
    {"bbox": [1, 2, 3, 4]}, {"interval": ["..", "2020-01-01"]}, {"interval": [{"property": "built"}, ".."]},
    {"type": "Point", "coordinates": [1, 2]}, {"type": "Point"}, {"date": None}, [1, "a"], [], {}, {"interval": 5},
    2**70, 1e308,
    *({"property": name} for name in NAMES * 2),
]  # fmt: skip


def node(draw, depth=0):
    if depth > 4 or draw.random() < 0.35:
        return draw.choice(VALUES)
    return {
        "op": draw.choice(OPERATORS),
        "args": [node(draw, depth + 1) for _ in range(draw.choice([1, 2, 2, 2, 3]))],
    }


@pytest.fixture
def asked(store, make):
    rows = make.rows(
        ["a", "b"], [shapely.Point(5e5, 3.1e6), None], name=["a" * 300, None], height_m=[1.0, None], floors=[1, 2],
        ok=[True, None], extra=['{"tags":[1]}', "{not JSON"],
    )  # fmt: skip
    make.stored(store, make.layer_type("thing", "Geometry"), rows)

    def asked(expression):
        placed = cql2_parse.reproject(expression, "OGC:CRS84", "EPSG:4549")
        found = sum(len(part) for part in store.query("thing", Query(filter=placed), EVERYTHING))
        assert store.count("thing", Query(filter=placed), EVERYTHING) == found
        return found

    return asked


def tried(make_expression, asked, n):
    outcomes = {"answered": 0, "refused": 0}
    for _ in range(n):
        try:
            asked(make_expression())
            outcomes["answered"] += 1
        except InvalidInput:
            outcomes["refused"] += 1
    return outcomes


def test_texts_of_random_tokens(asked):
    draw = random.Random(5)

    def text():
        return cql2_parse.from_text(" ".join(draw.choice(TOKENS) for _ in range(draw.randint(1, 14))))

    outcomes = tried(text, asked, 6000)
    assert min(outcomes.values()) > 10


def test_documents_of_random_nodes(asked):
    draw = random.Random(6)
    outcomes = tried(lambda: cql2_parse.from_json(node(draw)), asked, 6000)
    assert min(outcomes.values()) > 10
