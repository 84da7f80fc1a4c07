"""P29: depth classes and exact distances."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidInput, LayerNotFound
from tests.twin.analysis import site_city
from tests.twin.analysis.site_city import box, collection, feature, moved, point
from twin.analysis.pit_impact import affected, classes

TOWN = Path(__file__).parents[3] / "sample_data" / "town"


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    pipe = moved(shapely.LineString([(-50, -12), (50, -12)]))
    with site_city.made(
        tmp_path_factory.mktemp("pits"),
        {
            "pipe_water": [("P1", shapely.MultiLineString([pipe]), {})],
            "building": [("B1", shapely.MultiPolygon([box(60, 0, 80, 20)]), {"height_m": 9.0})],
            "excavation": [
                ("JK1", shapely.MultiPolygon([box(0, 0, 40, 20)]), {"depth_m": 8.0}),
                ("JK2", shapely.MultiPolygon([box(0, 300, 40, 320)]), {"depth_m": None}),
            ],
        },
    ) as opened:
        yield opened


@pytest.mark.parametrize(
    ("depth_m", "found"),
    [(2.9, "none"), (2.999999, "none"), (3.0, "dangerous"), (3.0 - 1e-9, "dangerous"), (4.99, "dangerous"),
     (5.0, "over-scale"), (8.0, "over-scale"), (np.nan, "unknown"), (0.0, "none")],
    ids=["2.9", "2.999999", "3.0", "3.0 on paper", "4.99", "5.0", "8", "not known", "0"],
)  # fmt: skip
def test_depth_classes(depth_m, found):
    # 2.999999 m is within a thousandth of a millimetre of 3 m: equal on paper
    assert classes(np.array([depth_m]))[0] == ("dangerous" if depth_m == 2.999999 else found)


def test_hand_case(city):
    """H 8: over scale; k = 2: the pipe at 12 in, the building at 20 out; k = 3: both in."""
    pits = {"collection": "excavation", "ids": ["JK1"]}
    near = city.run("pit-impact", pits=pits, factor=2)
    assert near["pits"]["features"][0]["properties"]["class"] == "over-scale"
    assert [(f["properties"]["object"], f["properties"]["distance_m"]) for f in near["affected"]["features"]] == [
        ("P1", 12.0)
    ]
    far = city.run("pit-impact", pits=pits, factor=3)
    assert {(f["properties"]["object"], f["properties"]["distance_m"]) for f in far["affected"]["features"]} == {
        ("P1", 12.0), ("B1", 20.0),
    }  # fmt: skip
    exact = city.run("pit-impact", pits=pits, factor=2.5)
    assert exact["n_affected"] == 2, "20 m is 2.5 depths: what is at exactly the distance is in"
    assert exact["pits"]["features"][0]["properties"]["verdict"] == "review"
    assert exact["pits"]["features"][0]["properties"]["source"].startswith("建办质〔2018〕31号")


def test_an_unknown_depth_is_unknown(city):
    found = city.run("pit-impact", pits={"collection": "excavation", "ids": ["JK2"]})
    row = found["pits"]["features"][0]["properties"]
    assert (row["class"], row["verdict"], row["reach_m"], row["n_affected"]) == ("unknown", "unknown", None, None)
    assert "depth_m" in row["note"]
    assert found["n_affected"] == 0


def test_complex_surroundings_ask_for_review_only(city):
    shallow = collection(feature(box(0, 0, 10, 10), "a", depth_m=2.9))
    assert city.run("pit-impact", pits=shallow)["verdict"] == "pass"
    flagged = city.run("pit-impact", pits=shallow, is_complex=True)["pits"]["features"][0]["properties"]
    assert (flagged["verdict"], flagged["rule_id"]) == ("review", "pit-complex-surroundings")
    told = collection(feature(box(0, 0, 10, 10), "a", depth_m=2.9, is_complex=True))
    assert city.run("pit-impact", pits=told)["verdict"] == "review"


def test_inline_things_and_a_depth_for_all(city):
    things = collection(feature(point(50.0, 10.0), "lamp"), feature(point(60.1, 10.0), "mast"))
    pit = collection(feature(box(0, 0, 40, 20), "a"))
    found = city.run("pit-impact", pits=pit, depth_m=10, factor=2, objects=things)
    assert [f["properties"]["object"] for f in found["affected"]["features"]] == ["lamp"]
    assert found["affected"]["features"][0]["properties"]["distance_in_depths"] == 1.0


@pytest.mark.parametrize(
    ("inputs", "name"),
    [({"depth_m": -1}, "depth_m"), ({"factor": 0.5}, "factor"), ({"factor": 4}, "factor"),
     ({"depth_m": "3 m"}, "depth_m"), ({"depth_m": float("nan")}, "depth_m"), ({"k": 2}, "k")],
    ids=["negative", "factor low", "factor high", "text", "NaN", "stranger"],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, name):
    with pytest.raises(InvalidInput, match=name):
        city.run("pit-impact", pits=collection(feature(box(0, 0, 10, 10), "a", depth_m=3.0)), **inputs)


def test_wrong_features_are_named(city):
    with pytest.raises(InvalidInput, match=r"^pits.*depth_m -2"):
        city.run("pit-impact", pits=collection(feature(box(0, 0, 10, 10), "a", depth_m=-2.0)))
    with pytest.raises(InvalidInput, match=r"^pits.*depth_m is no number"):
        city.run("pit-impact", pits=collection(feature(box(0, 0, 10, 10), "a", depth_m="3 m")))
    with pytest.raises(InvalidInput, match=r"^pits"):
        city.run("pit-impact", pits=collection(feature(point(0, 0), "a", depth_m=3.0)))
    with pytest.raises(InvalidInput, match=r"^pits lies outside"):
        city.run("pit-impact", pits=collection(feature(box(9e5, 0, 9e5 + 10, 10), "a", depth_m=3.0)))
    with pytest.raises(LayerNotFound, match="pipe_steam"):
        city.run("pit-impact", pits={"collection": "excavation"}, layers=["pipe_steam"])


coordinate = st.floats(-100, 100).map(lambda value: round(value, 6))


@given(
    st.lists(
        st.tuples(coordinate, coordinate, st.floats(1, 30), st.one_of(st.none(), st.floats(0, 12))),
        min_size=1, max_size=4,
    ),
    st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), min_size=1, max_size=12),
    st.floats(1, 3),
)  # fmt: skip
def test_equals_brute_force_over_all_pairs(pits, lines, factor):
    areas = np.array([shapely.box(x, y, x + size, y + size) for x, y, size, _ in pits], dtype=object)
    depth = np.array([np.nan if each[3] is None else each[3] for each in pits])
    things = np.array([shapely.LineString([each[:2], each[2:]]) for each in lines], dtype=object)
    pit, item, distance = affected(areas, depth, factor, things)
    expected = {
        (p, i)
        for p, area in enumerate(areas)
        for i, thing in enumerate(things)
        if not np.isnan(depth[p]) and area.distance(thing) <= factor * depth[p] + 1e-6
    }
    assert set(zip(pit.tolist(), item.tolist(), strict=True)) == expected
    for p, i, metres in zip(pit, item, distance, strict=True):
        assert metres == pytest.approx(areas[p].distance(things[i]), abs=1e-9)


def test_planted_classes_are_found_exactly():
    """The sample town's own file, read without the twin."""
    frame = pyogrio.read_dataframe(TOWN / "construction" / "工地.gpkg", layer="基坑")
    words = {"超过一定规模的危大工程": "over-scale", "危大工程": "dangerous", "一般": "none"}
    truths = json.loads((TOWN / "expected.json").read_text("utf8"))["excavations"]
    found = dict(zip(frame["基坑编号"], classes(frame["开挖深度"].to_numpy()), strict=True))
    assert found == {each["pit"]: words[each["class"]] for each in truths}
