"""P30: pairs, tails and lines, with what is not known."""

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis import site_city
from tests.twin.analysis.site_city import box, collection, feature, moved, point
from twin.analysis.crane_conflict_reach import Cranes, line_gaps, pairs, tails

TOWN = Path(__file__).parents[3] / "sample_data" / "town"
NOTHING = {"type": "FeatureCollection", "crs": "city", "features": []}


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    area = shapely.MultiPolygon([box(-500, -500, 500, 500)])
    with site_city.made(tmp_path_factory.mktemp("cranes"), {"key_area": [("here", area, {})]}) as opened:
        yield opened


def crane(x, y, name, **values):
    usual = {"jib_m": 60.0, "tail_m": 14.0, "low_part_elev_m": 48.0, "top_elev_m": 58.0}
    return feature(point(x, y), name, **(usual | values))


def rows(city, cranes, **inputs):
    found = city.run("crane-conflict", cranes=collection(*cranes), **inputs)
    return [each["properties"] for each in found["conflicts"]["features"]]


def of(found, rule):
    return [each for each in found if each["rule_id"] == rule]


def test_hand_case(city):
    """A (0,0) jib 60, B (100,0) jib 50: overlap 10 m; B's jib ends 50 m from A's mast; A's lowest 48, B's top 47."""
    found = rows(city, [crane(0, 0, "A"), crane(100, 0, "B", jib_m=50.0, low_part_elev_m=37.0, top_elev_m=47.0)])
    mast, gap = of(found, "crane-jib-to-mast")[0], of(found, "crane-vertical-gap")[0]
    assert (mast["circle_overlap_m"], mast["measured"], mast["verdict"]) == (10.0, 50.0, "pass")
    assert (gap["measured"], gap["limit"], gap["verdict"]) == (1.0, 2.0, "fail")


@pytest.mark.parametrize(
    ("top", "verdict"), [(46.0, "pass"), (46.01, "fail"), (45.0, "pass")], ids=["2.0", "1.99", "3"]
)
def test_vertical_gap_at_its_limit(city, top, verdict):
    found = rows(city, [crane(0, 0, "A"), crane(100, 0, "B", jib_m=50.0, low_part_elev_m=36.0, top_elev_m=top)])
    assert of(found, "crane-vertical-gap")[0]["verdict"] == verdict


@pytest.mark.parametrize(("x", "verdict"), [(52.0, "pass"), (51.99, "fail")], ids=["2.0", "1.99"])
def test_end_of_jib_to_the_other_mast_at_its_limit(city, x, verdict):
    found = rows(city, [crane(0, 0, "A"), crane(x, 0, "B", jib_m=50.0, low_part_elev_m=30.0, top_elev_m=40.0)])
    assert of(found, "crane-jib-to-mast")[0]["verdict"] == verdict, "the low one's jib counts, not the high one's"


def test_circles_that_only_touch_have_no_vertical_gap(city):
    found = rows(city, [crane(0, 0, "A"), crane(110, 0, "B", jib_m=50.0, top_elev_m=47.0)])
    assert of(found, "crane-jib-to-mast")[0]["circle_overlap_m"] == 0.0
    assert of(found, "crane-vertical-gap") == []
    assert rows(city, [crane(0, 0, "A"), crane(400, 0, "B")]) == []


@pytest.mark.parametrize(
    ("change", "rule"),
    [({"jib_m": None}, "crane-jib-to-mast"), ({"top_elev_m": None}, "crane-vertical-gap"),
     ({"jib_m": 0.0}, "crane-jib-to-mast"), ({"jib_m": None}, "crane-vertical-gap")],
    ids=["jib", "top", "jib 0", "jib, gap"],
)  # fmt: skip
def test_what_is_not_known_is_unknown(city, change, rule):
    low = {"jib_m": 50.0, "low_part_elev_m": 37.0, "top_elev_m": 47.0} | change
    row = of(rows(city, [crane(0, 0, "A"), crane(100, 0, "B", **low)]), rule)[0]
    assert row["verdict"] == "unknown"
    assert "not known" in row["note"]


def test_an_unknown_jib_does_no_harm_far_above(city):
    high = crane(0, 0, "A", low_part_elev_m=100.0, top_elev_m=110.0)
    found = rows(city, [high, crane(100, 0, "B", jib_m=None, low_part_elev_m=37.0, top_elev_m=47.0)])
    assert of(found, "crane-vertical-gap")[0]["verdict"] == "pass"


def house(x0, x1, **values):
    return collection(feature(box(x0, -10, x1, 10), "H", **values))


@pytest.mark.parametrize(
    ("x0", "top", "verdict"),
    [(14.6, 60.0, "pass"), (14.59, 60.0, "fail"), (10.0, 47.4, "pass"), (10.0, 47.41, "fail"), (14.3, 47.45, "pass"),
     (14.5, None, "unknown"), (14.6, None, None)],
    ids=["0.6 beside", "0.59 beside", "0.6 under", "0.59 under", "aslant", "no height", "no height, beside"],
)  # fmt: skip
def test_tail_to_a_building(city, x0, top, verdict):
    found = of(rows(city, [crane(0, 0, "A")], buildings=house(x0, 100, top_elev_m=top)), "crane-tail-to-building")
    if verdict is None:
        assert [each["verdict"] for each in found] == ["pass"]
    else:
        assert found[0]["verdict"] == verdict


def test_a_building_over_the_city_s_own_height_and_an_unknown_tail(city):
    tall = house(10, 30, base_elev_m=5.0, height_m=60.0)
    assert of(rows(city, [crane(0, 0, "A")], buildings=tall), "crane-tail-to-building")[0]["verdict"] == "fail"
    unknown = of(rows(city, [crane(0, 0, "A", tail_m=None)], buildings=tall), "crane-tail-to-building")[0]
    assert (unknown["verdict"], unknown["note"]) == ("unknown", "tail_m is not known")
    low = house(10, 30, base_elev_m=5.0, height_m=6.0)
    found = of(rows(city, [crane(0, 0, "A", tail_m=None)], buildings=low), "crane-tail-to-building")[0]
    assert found["verdict"] == "pass", "it is far below"


def wire(x, kv, z=50.0):
    line = shapely.LineString([(x, -100), (x, 100)] if z is None else [(x, -100, z), (x, 100, z)])
    return collection(feature(moved(line), "L", voltage_kv=kv))


@pytest.mark.parametrize(
    ("kv", "horizontal", "vertical"),
    [(0.4, 1.0, 1.5), (1, 1.5, 3.0), (10, 1.5, 3.0), (15, 1.5, 3.0), (20, 2.0, 4.0), (35, 2.0, 4.0), (40, 2.0, 4.0),
     (60, 4.0, 5.0), (110, 4.0, 5.0), (220, 6.0, 6.0)],
    ids=["0.4", "1", "10", "15", "20", "35", "40", "60", "110", "220"],
)  # fmt: skip
def test_power_line_table_at_its_limits(city, kv, horizontal, vertical):
    """Between the crane's lowest part (48) and top (58) only the horizontal distance can be kept."""
    for step, verdict in ((0.0, "pass"), (-0.01, "review")):
        row = rows(city, [crane(0, 0, "A")], lines=wire(60 + horizontal + step, kv))[0]
        assert (row["verdict"], row["limit"]) == (verdict, horizontal), "a table of low confidence fails nothing"
        for z in (58 + vertical + step, 48 - vertical - step):
            row = rows(city, [crane(0, 0, "A")], lines=wire(20.0, kv, z))[0]
            assert (row["verdict"], row["horizontal_gap_m"]) == (verdict, 0.0), "the vertical distance is enough too"


@pytest.mark.parametrize("kv", [17, 50, 150, 330, 500, None], ids=str)
def test_voltages_between_the_classes_are_unknown(city, kv):
    assert rows(city, [crane(0, 0, "A")], lines=wire(75.0, kv))[0]["verdict"] == "unknown"


def test_a_line_without_heights_is_unknown_unless_it_is_far_enough(city):
    assert rows(city, [crane(0, 0, "A")], lines=wire(61.0, 10, None))[0]["verdict"] == "unknown"
    assert rows(city, [crane(0, 0, "A")], lines=wire(61.5, 10, None))[0]["verdict"] == "pass"
    assert rows(city, [crane(0, 0, "A")], lines=wire(61.0, 10, 0.0))[0]["verdict"] == "unknown", "0 is no height"
    assert rows(city, [crane(0, 0, "A")], lines=wire(61.0, 10, -9999.0))[0]["verdict"] == "unknown"
    assert rows(city, [crane(0, 0, "A", jib_m=None)], lines=wire(100.0, 10))[0]["verdict"] == "unknown"
    assert rows(city, [crane(0, 0, "A")], lines=wire(90.0, 10)) == []


@pytest.mark.parametrize(
    ("values", "name"), [({"jib_m": -5.0}, "jib_m"), ({"jib_m": 60_000.0}, "jib_m"), ({"tail_m": "14 m"}, "tail_m")],
    ids=["negative", "millimetres", "text"],
)  # fmt: skip
def test_wrong_numbers_are_named(city, values, name):
    with pytest.raises(InvalidInput, match=rf"^cranes.*{name}"):
        rows(city, [crane(0, 0, "A", **values)])
    with pytest.raises(InvalidInput, match=r"^lines.*voltage_kv"):
        rows(city, [crane(0, 0, "A")], lines=wire(61.0, -10.0))
    with pytest.raises(InvalidInput, match=r"^cranes"):
        city.run("crane-conflict", cranes=NOTHING)


number = st.floats(1, 80)
place = st.floats(-120, 120).map(lambda value: round(value, 6))


@given(st.lists(st.tuples(place, place, number, number, number, number), min_size=2, max_size=7))
def test_pairs_equal_all_against_all_and_do_not_mind_the_order(given_cranes):
    values = np.array(given_cranes)
    made = Cranes(values[:, 0], values[:, 1], values[:, 2], values[:, 3], values[:, 4], values[:, 4] + values[:, 5])
    found = pairs(made, 0.0)
    listed = {}
    for i in range(len(values)):
        for j in range(i + 1, len(values)):
            apart = np.hypot(*(values[i, :2] - values[j, :2]))
            if apart > values[i, 2] + values[j, 2] + 1e-6:
                continue
            high, low = (i, j) if values[i, 4] > values[j, 4] else (j, i)
            gap = values[high, 4] - values[low, 4] - values[low, 5]
            overlap, rise = values[i, 2] + values[j, 2] - apart, abs(values[i, 4] - values[j, 4])
            listed[i, j] = (overlap, apart - values[low, 2], gap, rise)
    assert set(zip(found.a.tolist(), found.b.tolist(), strict=True)) == set(listed)
    for k, pair in enumerate(zip(found.a.tolist(), found.b.tolist(), strict=True)):
        overlap, to_mast, gap, rise = listed[pair]
        assert found.overlap_m[k] == pytest.approx(max(overlap, 0), abs=1e-9)
        if rise > 1e-6:
            assert found.jib_to_mast_m[k] == pytest.approx(to_mast, abs=1e-9)
            if overlap > 1e-6:
                assert found.vertical_gap_m[k] == pytest.approx(gap, abs=1e-9)
    back = Cranes(*(getattr(made, each)[::-1] for each in made.__dataclass_fields__))
    assert sorted(pairs(back, 0.0).vertical_gap_m.tolist(), key=str) == pytest.approx(
        sorted(found.vertical_gap_m.tolist(), key=str), nan_ok=True
    )


@given(place, place, place, place, st.floats(1, 60), st.floats(1, 60), st.floats(5, 60))
def test_line_gaps_equal_dense_sampling(x0, y0, x1, y1, z0, z1, reach):
    line = shapely.LineString([(x0, y0, z0), (x1, y1, z1)])
    flat, rise = line_gaps((0.0, 0.0), reach, (20.0, 30.0), line, 4.0)
    t = np.linspace(0, 1, 20_001)
    away = np.hypot(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) - reach
    z = z0 + t * (z1 - z0)
    assert flat == pytest.approx(max(away.min(), 0.0), abs=0.02)
    near = away < 4.0
    if away.min() > 3.97:
        return
    expected = np.maximum(z - 30.0, 20.0 - z)[near].min()
    assert rise == pytest.approx(expected, abs=0.05)


@given(st.lists(st.tuples(place, place, st.floats(2, 40), st.floats(0, 60)), min_size=1, max_size=8))
def test_tails_equal_brute_force(houses):
    made = Cranes(*(np.array([each]) for each in (0.0, 0.0, 50.0, 14.0, 30.0, 40.0)))
    shapes = np.array([shapely.box(x, y, x + size, y + size) for x, y, size, _ in houses], dtype=object)
    tops = np.array([each[3] for each in houses])
    _, building, free, _ = tails(made, shapes, tops, 0.6)
    near = {i for i, shape in enumerate(shapes) if shape.distance(shapely.Point(0, 0)) <= 14.6 + 1e-6}
    assert set(building.tolist()) == near
    for i, found in zip(building, free, strict=True):
        flat = max(shapes[i].distance(shapely.Point(0, 0)) - 14.0, 0.0)
        assert found == pytest.approx(np.hypot(flat, max(30.0 - tops[i], 0.0)))


def planted(name):
    return json.loads((TOWN / "expected.json").read_text("utf8"))[name]


def geojson(layer, names, name):
    """Rows of the sample town's own file as GeoJSON, read without the twin; `name` is the column of ids."""
    frame = pyogrio.read_dataframe(TOWN / "construction" / "工地.gpkg", layer=layer)
    return [
        feature(row.geometry, row[name], **{to: float(row[source]) for source, to in names.items()})
        for _, row in frame.iterrows()
    ]


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    """The sample town's cranes and lines, in a city that reaches round them."""
    with site_city.made(
        tmp_path_factory.mktemp("works"),
        {"key_area": [("town", shapely.MultiPolygon([shapely.box(597300, 3108900, 599300, 3110900)]), {})]},
    ) as opened:
        columns = {
            "起重臂长": "jib_m", "平衡臂长": "tail_m", "最低部件高程": "low_part_elev_m", "顶部高程": "top_elev_m",
        }  # fmt: skip
        cranes = geojson("塔机", columns, "塔机编号")
        lines = geojson("power_line", {"电压": "voltage_kv"}, "名称")
        found = opened.run("crane-conflict", cranes=collection(*cranes), lines=collection(*lines))
        yield [each["properties"] for each in found["conflicts"]["features"]]


def test_planted_pairs_are_found_exactly(works):
    expected = {(each["a"], each["b"]): each for each in planted("crane_pairs")}
    masts = {(each["crane"], each["other"]): each for each in of(works, "crane-jib-to-mast")}
    gaps = {(each["crane"], each["other"]): each for each in of(works, "crane-vertical-gap")}
    assert masts.keys() == expected.keys()
    for pair, truth in expected.items():
        assert masts[pair]["circle_overlap_m"] == pytest.approx(truth["circle_overlap_m"], abs=0.002)
        assert masts[pair]["low_jib_to_other_mast_m"] == pytest.approx(truth["low_jib_to_other_mast_m"], abs=0.002)
        assert masts[pair]["vertical_gap_m"] == pytest.approx(truth["vertical_gap_m"], abs=1e-6, nan_ok=True)
        verdicts = {masts[pair]["verdict"]} | ({gaps[pair]["verdict"]} if pair in gaps else set())
        assert ("fail" in verdicts) == truth["fails"]
        assert "unknown" not in verdicts


def test_planted_lines_are_found_exactly(works):
    expected = {(each["line"], each["crane"]): each for each in planted("crane_power_line")}
    found = {(each["other"], each["crane"]): each for each in of(works, "crane-power-line")}
    assert found.keys() == expected.keys()
    for key, truth in expected.items():
        assert found[key]["horizontal_gap_m"] == pytest.approx(truth["horizontal_gap_m"], abs=0.002)
        assert found[key]["horizontal_limit_m"] == truth["limit_m"]
        assert found[key]["too_close_horizontally"] == truth["too_close_horizontally"]
        assert found[key]["verdict"] == ("review" if truth["too_close_horizontally"] else "pass")
