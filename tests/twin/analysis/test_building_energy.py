"""P34: the hand case, totals of groups, months and floor areas that are missing, against pandas and brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.supervision.indicator_city import box, collection, line, made, towns
from twin.analysis.building_energy_sums import month_number, ranks, used


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    layers = {
        "admin_unit": towns(),
        "road": [("r1", line((0, -5), (1500, -5)), {"name": "一路"}), ("r3", line((0, -1), (1500, -1)), {"name": None}),
                 ("r2", line((1500, 22), (1600, 22)), {"name": "二路"})],
    }  # fmt: skip
    with made(tmp_path_factory.mktemp("twin"), layers) as opened:
        yield opened


def houses(*rows):
    return collection(*[(name, box(x, 0, x + 20, 20), {"gfa_m2": gfa, "use": use}) for name, x, gfa, use in rows])


def year_of(building, kwh, months=range(1, 13), year=2025, gas=None):
    n = len(list(months))
    return [(f"{building}{year}{m}", None, {"building_id": building, "month": f"{year}-{m:02d}", "kwh": kwh / n,
                                            "gas_m3": None if gas is None else gas / n}) for m in months]  # fmt: skip


def one(month, kwh):
    return month, None, {"building_id": "A", "month": month, "kwh": kwh}


def ask(city, buildings, *readings, **inputs):
    return city.run(
        "building-energy", buildings=buildings, readings=collection(*[row for each in readings for row in each]),
        crs="city", **inputs,
    )  # fmt: skip


def test_hand_case(city):
    found = ask(
        city, houses(("A", 0, 2000.0, "办公")), year_of("A", 120_000.0), co2_kg_per_kwh=0.57, factor_date="2024"
    )
    own = found["buildings"]["features"][0]["properties"]
    assert own["eui_kwh_m2"] == pytest.approx(60.0)
    assert own["co2_kg_m2"] == pytest.approx(34.2)
    assert found["city"]["eui_kwh_m2"] == pytest.approx(60.0)
    assert found["city"]["co2_kg"] == pytest.approx(68_400)
    assert found["factors"]["date"] == "2024"


@pytest.mark.parametrize(("limit", "verdict"), [(60.0, "pass"), (59.999, "fail"), (60 - 1e-7, "pass")])
def test_the_limit_of_its_use_equal_to_it_passes(city, limit, verdict):
    found = ask(
        city, houses(("A", 0, 2000.0, "办公"), ("B", 50, 2000.0, "医疗")), year_of("A", 120_000.0), year_of("B", 1.0),
        limits={"办公": limit}, limit_source="test",
    )  # fmt: skip
    told = {each["id"]: each["properties"]["verdict"] for each in found["buildings"]["features"]}
    assert told == {"A": verdict, "B": "unknown"}


def test_a_month_or_a_floor_area_that_is_missing_makes_the_year_unknown_and_is_named(city):
    found = ask(
        city, houses(("A", 0, 2000.0, "o"), ("B", 50, None, "o"), ("C", 90, 1000.0, "o"), ("D", 130, 0.0, "o")),
        year_of("A", 110_000.0, range(1, 12)), year_of("B", 5000.0), year_of("C", 30_000.0), year_of("D", 5.0),
    )  # fmt: skip
    own = {each["id"]: each["properties"] for each in found["buildings"]["features"]}
    assert [own[name]["eui_kwh_m2"] for name in "ABCD"] == [None, None, 30.0, None]
    assert [own[name]["rank"] for name in "ABCD"] == [None, None, 1, None]
    assert (own["A"]["missing"], own["B"]["missing"], own["D"]["missing"]) == ("months: 11 of 12", "gfa_m2", "gfa_m2")
    assert found["city"]["eui_kwh_m2"] == 30.0, "only what is known on both sides of the quotient"
    assert found["city"]["kwh"] == pytest.approx(110_000 + 5000 + 30_000 + 5)
    assert (found["city"]["n_buildings"], found["city"]["n_rated"]) == (4, 1)


def test_readings_of_no_building_told_twice_without_month_and_the_year(city):
    same = year_of("A", 1200.0)
    readings = [
        *same, *[(f"again{i}", None, row[2]) for i, row in enumerate(same[:3])], *year_of("X", 7.0),
        *year_of("A", 99.0, year=2026, months=[1]), one("spring", 1.0),
    ]  # fmt: skip
    found = ask(city, houses(("A", 0, 100.0, "办公")), readings)
    assert (found["year"], found["city"]["kwh"]) == (2025, pytest.approx(1200))
    assert found["unmatched"] == {
        "n": 12, "kwh": pytest.approx(7), "gas_m3": 0.0, "building_ids": ["X"], "n_without_month": 1, "n_repeated": 3,
    }  # fmt: skip
    assert ask(city, houses(("A", 0, 100.0, "办公")), readings, year=2026)["city"]["n_rated"] == 0


def test_gas_counts_only_with_its_factors(city):
    args = houses(("A", 0, 100.0, "办公")), year_of("A", 1000.0, gas=50.0)
    assert ask(city, *args)["city"]["eui_kwh_m2"] == pytest.approx(10)
    more = {"gas_kwh_per_m3": 10.0, "co2_kg_per_kwh": 0.5, "co2_kg_per_m3": 2.0, "factor_date": "2024-12-31"}
    found = ask(city, *args, **more)["city"]
    assert (found["eui_kwh_m2"], found["co2_kg_m2"]) == (pytest.approx(15), pytest.approx(6))
    assert ask(city, *args)["city"]["co2_kg"] is None


def test_streets_are_the_nearest_named_roads(city):
    found = ask(
        city, houses(("A", 0, 100.0, "a"), ("B", 1505, 100.0, "b"), ("C", 1900, 100.0, "b")),
        year_of("A", 12.0), year_of("B", 24.0), year_of("C", 36.0),
    )  # fmt: skip
    assert {row["street"]: row["kwh"] for row in found["by_street"]} == {
        "一路": pytest.approx(12), "二路": pytest.approx(24), None: pytest.approx(36),
    }  # fmt: skip
    assert [row["use"] for row in found["by_use"]] == ["b", "a"], "highest first"


def test_towns_streets_and_uses_add_up_to_the_city_and_pandas_agrees(city):
    rng = np.random.default_rng(3)
    rows = [(f"H{i}", float(rng.uniform(-100, 2100)), float(rng.uniform(50, 900)), "abc"[i % 3]) for i in range(40)]
    readings = [year_of(name, float(rng.uniform(10, 9e5))) for name, *_ in rows]
    found = ask(city, houses(*rows), *readings, co2_kg_per_kwh=0.57, factor_date="2024")
    frame = pd.DataFrame([{"id": each["id"], **each["properties"]} for each in found["buildings"]["features"]])
    inside = frame[~frame.zone.isin(["outside", "unlocated"])]
    assert 0 < len(inside) < len(frame)
    for name in ("kwh", "co2_kg"):
        total = found["city"][name]
        assert inside[name].sum() == pytest.approx(total, rel=1e-9)
        for table in (found["by_zone"], found["by_street"], found["by_use"]):
            of_city = [row[name] for row in table if row.get("kind") not in {"outside", "unlocated"}]
            assert sum(of_city) == pytest.approx(total, rel=1e-9)
    by_use = inside.groupby("use")[["kwh", "gfa_m2"]].sum()
    for row in found["by_use"]:
        assert row["eui_kwh_m2"] == pytest.approx(by_use.kwh[row["use"]] / by_use.gfa_m2[row["use"]])
    assert frame["rank"].tolist() == frame.eui_kwh_m2.rank(ascending=False, method="min").astype(int).tolist()
    part = ask(city, houses(*rows), *readings, xzqdm="999901001", level="village")
    assert part["city"]["kwh"] == pytest.approx(found["by_zone"][0]["kwh"])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"co2_kg_per_kwh": 0.57}, "factor_date: co2_kg_per_kwh needs the date"),
        ({"co2_kg_per_kwh": -1, "factor_date": "2024"}, "co2_kg_per_kwh"),
        ({"co2_kg_per_kwh": float("nan"), "factor_date": "2024"}, "co2_kg_per_kwh"),
        ({"factor_date": "last year", "co2_kg_per_kwh": 0.5}, "factor_date"),
        ({"limits": {"办公": 50}}, "limit_source"),
        ({"year": 1999}, "year: there are no readings of 1999"),
        ({"readings": collection(one("2025-01", -5.0))}, "readings: kwh of"),
        ({"readings": collection(one("May", 5.0))}, "readings: no reading has a month"),
        ({"readings": collection()}, "readings has no reading"),
        ({"buildings": collection()}, "buildings has no feature"),
    ],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, words):
    given_ = {"buildings": houses(("A", 0, 100.0, "a")), "readings": collection(*year_of("A", 12.0))} | inputs
    with pytest.raises(InvalidInput, match=words):
        city.run("building-energy", **given_)


@pytest.mark.parametrize(
    ("text", "number"),
    [("2025-01", 2025 * 12), ("202512", 2025 * 12 + 11), ("2025年3月", 2025 * 12 + 2), ("2025/4/30", 2025 * 12 + 3),
     ("2025-13", None), ("20250131", 2025 * 12), ("", None), (None, None), ("03-2025", None)],
)  # fmt: skip
def test_months_as_they_are_written(text, number):
    assert month_number(text) == number


reading = st.tuples(
    st.integers(0, 4), st.integers(0, 11), st.none() | st.integers(0, 50), st.none() | st.integers(0, 50)
)


@given(st.lists(reading, max_size=60))
def test_sums_are_those_of_a_dictionary(rows):
    building, month = np.array([r[0] for r in rows], np.int64), np.array([r[1] for r in rows], np.int64)
    kwh, gas = (np.array([np.nan if r[i] is None else r[i] for r in rows], float) for i in (2, 3))
    found = used(5, building, month, kwh, gas)
    expected, months = np.zeros(5), [set() for _ in range(5)]
    for b, m, k, _ in set(rows):
        if k is not None:
            expected[b] += k
            months[b].add(m)
    assert found.kwh.tolist() == expected.tolist()
    assert found.n_months.tolist() == [len(each) for each in months]
    assert found.n_repeated == len(rows) - len(set(rows))


@given(st.lists(st.none() | st.integers(0, 9), max_size=20))
def test_ranks_are_those_of_pandas(values):
    found = ranks(np.array([np.nan if each is None else each for each in values], float))
    expected = pd.Series(values, dtype=float).rank(ascending=False, method="min")
    assert [np.nan if each is None else each for each in found] == pytest.approx(expected.tolist(), nan_ok=True)
