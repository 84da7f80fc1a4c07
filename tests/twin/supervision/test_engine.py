"""Runs and what becomes of their findings: opened, found again, confirmed, closed, back again; one transaction."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import shapely
import shapely.geometry

import twin
from layers.catalogue import Title, layer_type
from layers.errors import InvalidInput, LayerNotFound, NotFound
from layers.report import Report
from twin import config
from twin.analysis.place import numbers
from twin.scope import Scope
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Query, Rows, SourceRecord
from twin.supervision import engine, finding
from twin.supervision.check import Check, Context, Passed
from twin.supervision.check import finding as found_of
from twin.supervision.rules import Rule

EAST, NORTH = 598_000.0, 3_110_000.0
HEIGHT = Rule("test-height", Title("高度", "Height"), "3.1", "Test", "<=", "m", 20.0)
LOOK = Rule("test-look", Title("外观", "Look"), "3.2", "Test", None)
HEIGHTS = [10.0, 20.0, 20.1, 35.0, np.nan]


def rows_of(kind, ids, shapes, **columns):
    schema = layer_type(kind).arrow_schema()
    n = len(ids)
    table = pa.table([pa.array(columns.get(field.name, [None] * n), field.type) for field in schema], schema=schema)
    return Rows(ids, np.array(shapes, dtype=object), table, [None] * n)


def boxes(n, size=10.0):
    return [shapely.multipolygons([shapely.box(EAST + 100 * i, NORTH, EAST + 100 * i + size, NORTH + size)])
            for i in range(n)]  # fmt: skip


@pytest.fixture
def city(tmp_path):
    config.save(config.TwinConfig("here", "EPSG:4549", 121.0, 28.1, height_model={"constant_m": 12.0}), tmp_path)
    store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    source = SourceRecord("b", "", 0, 0, "")
    site = shapely.multipolygons([shapely.box(EAST + 150, NORTH - 50, EAST + 350, NORTH + 50)])
    with store.writing() as batch:
        for kind in ("building", "construction_site"):
            batch.ensure_layer(layer_type(kind))
        batch.begin_source(source)
        batch.put("building", "b", rows_of("building", [f"b{i}" for i in range(5)], boxes(5), height_m=HEIGHTS))
        batch.put("construction_site", "b", rows_of("construction_site", ["GD1"], [site]))
        batch.finish_source(source, Report("b", "x", "", "stored"))
    store.close()
    with twin.open(tmp_path) as opened:
        yield opened


def look(context):
    buildings = context.read("building", properties=("height_m", "no_such"))
    heights = numbers(buildings, "height_m")
    assert np.isnan(numbers(buildings, "no_such")).all()
    for name, height, shape in zip(buildings.ids, heights, buildings.geometry, strict=True):
        if height <= 10:
            yield Passed("test-height", 1)
        else:
            yield found_of(HEIGHT, (f"building/{name}",), height, shape)


def broken(_):
    yield Passed("test-height", 1)
    raise ZeroDivisionError


CHECKS = {
    "heights": Check("heights", "construction", Title("高", "Heights"), ("test-height",), ("building",), look),
    "cranes": Check("cranes", "construction", Title("塔", "Cranes"), ("test-height",), ("tower_crane",), look),
    "broken": Check("broken", "water", Title("坏", "Broken"), ("test-height",), (), broken),
}


@pytest.fixture(autouse=True)
def own_checks(monkeypatch):
    monkeypatch.setattr(engine, "registry", lambda: CHECKS)
    monkeypatch.setattr(Context, "rules", {"test-height": HEIGHT})


def run(city, **more):
    return engine.run(city, "construction", **more)


def kept(city):
    table = city["finding"].query()
    return {
        json_objects: (row.verdict, row.status)
        for json_objects, row in zip(table.objects, table.itertuples(), strict=True)
    }


def test_every_rule_has_a_verdict_and_missing_data_is_unknown(city):
    done = run(city)
    heights, cranes = done.results
    assert heights.counts() == {"fail": 2, "review": 0, "unknown": 1, "pass": 2}
    assert heights.verdict("test-height") == "fail"
    assert cranes.verdict("test-height") == "unknown"
    assert cranes.findings[0].note.en == "The city has no layer tower_crane."
    assert done.counts() == {"fail": 2, "review": 0, "unknown": 2, "pass": 2}


def test_a_site_sees_what_its_area_meets(city):
    done = run(city, site="GD1", checks=["heights"])
    assert done.site == "construction_site/GD1"
    assert {each.objects for each in done.findings} == {("building/b2",), ("building/b3",)}
    other = run(city, site="building/b0", checks=["heights"])
    assert other.counts()["pass"] == 1


def test_a_box_sees_what_brute_force_finds(city):
    for west, east in ((0, 120), (95, 205), (210, 290), (-500, 900)):
        region = shapely.box(EAST + west, NORTH - 5, EAST + east, NORTH + 5)
        done = run(city, region=region, checks=["heights"])
        expected = {
            f"building/b{i}" for i, shape in enumerate(boxes(5)) if shape.intersects(region) and not HEIGHTS[i] <= 10
        }
        assert {each.objects[0] for each in done.findings} == expected


def test_a_check_that_breaks_ends_in_unknown_not_in_pass(city, caplog):
    (result,) = engine.run(city, "water").results
    assert result.verdict("test-height") == "unknown"
    assert "check broken failed" in caplog.text


@pytest.mark.parametrize(
    ("asked", "error", "says"),
    [({"site": "nowhere"}, NotFound, "no construction_site 'nowhere'"),
     ({"site": "moon/1"}, NotFound, "no layer 'moon'"), ({"checks": ["nothing"]}, NotFound, "no check 'nothing'")],
    ids=["site", "layer", "check"],
)  # fmt: skip
def test_what_is_not_there_is_named(city, asked, error, says):
    with pytest.raises(error, match=says):
        run(city, **asked)


def test_the_life_of_findings(city):
    first = finding.store(city, run(city, checks=["heights"]))
    assert (first.opened, first.again, first.reopened, first.closed) == (3, 0, 0, 0)
    assert kept(city) == {'["building/b2"]': ("fail", "opened"), '["building/b3"]': ("fail", "opened"),
                          '["building/b4"]': ("unknown", "opened")}  # fmt: skip
    version = city.store.version()
    again = finding.store(city, run(city, checks=["heights"]))
    assert (again.opened, again.again, again.closed) == (0, 3, 0)
    assert city["finding"].query().version.tolist() == [1, 1, 1], "what stays equal is not written"
    assert city.store.version() == version

    ids = {row.objects: row.Index for row in city["finding"].query().itertuples()}
    assert finding.set_status(city, [ids['["building/b2"]']], "confirmed", "张工", "现场核实") == 1
    assert finding.set_status(city, [ids['["building/b3"]']], "closed", "张工") == 1
    finding.store(city, run(city, checks=["heights"]))
    assert kept(city)['["building/b2"]'] == ("fail", "confirmed")
    assert kept(city)['["building/b3"]'] == ("fail", "closed"), "what a person closed stays closed"

    with city.editing() as edit:
        edit["building"].update("b3", height_m=36.0)  # another number: it is opened again
        edit["building"].update("b2", height_m=19.0)  # it is gone
    moved = finding.store(city, run(city, checks=["heights"]))
    assert (moved.opened, moved.again, moved.reopened, moved.closed) == (0, 1, 1, 1)
    assert kept(city)['["building/b3"]'] == ("fail", "opened")
    assert kept(city)['["building/b2"]'] == ("fail", "closed")
    with city.editing() as edit:
        edit["building"].update("b2", height_m=22.0)
    assert finding.store(city, run(city, checks=["heights"])).reopened == 1


def test_a_status_set_in_qgis_holds_and_is_signed(city):
    """Whoever edits the layer sets the status alone."""
    finding.store(city, run(city, checks=["heights"]))
    name = city["finding"].query(filter="measured > 30").index[0]
    with city.editing("http 127.0.0.1 QGIS") as edit:
        edit["finding"].update(name, status="closed")
    assert finding.store(city, run(city, checks=["heights"])).reopened == 0
    row = city["finding"].query().loc[name]
    assert (row.status, row.status_by) == ("closed", "http 127.0.0.1 QGIS")
    assert finding.store(city, run(city, checks=["heights"])).again == 3
    assert city["finding"].query().loc[name].status_by == "http 127.0.0.1 QGIS"


def test_two_supervisions_have_findings_of_their_own(city, monkeypatch):
    """The plot ratio of a parcel is looked at by both; neither takes the other's finding or its status."""
    other = replace(CHECKS["heights"], id="heights-too", supervision="one-map")
    monkeypatch.setattr(engine, "registry", lambda: CHECKS | {"heights-too": other})
    finding.store(city, run(city, checks=["heights"]))
    assert finding.store(city, engine.run(city, "one-map")).opened == 3
    assert finding.store(city, run(city, checks=["heights"])).again == 3
    assert city["finding"].query().version.tolist() == [1] * 6


def test_only_what_a_run_looks_at_is_closed(city):
    finding.store(city, run(city, checks=["heights"]))
    with city.editing() as edit:
        edit["building"].update(["b2", "b3"], height_m=5.0)
    west = shapely.box(EAST - 50, NORTH - 50, EAST + 250, NORTH + 50)
    assert finding.store(city, run(city, region=west, checks=["heights"])).closed == 1
    assert kept(city)['["building/b3"]'] == ("fail", "opened")
    assert finding.store(city, run(city, checks=["cranes"])).closed == 0
    nothing = shapely.box(EAST + 290, NORTH - 50, EAST + 350, NORTH + 50)  # around b3, which no longer is a finding
    with city.editing() as edit:
        edit["building"].delete("b3")
    assert finding.store(city, run(city, region=nothing, checks=["heights"])).closed == 1


def test_a_finding_lies_where_it_is_and_says_why(city):
    finding.store(city, run(city, checks=["heights"]))
    row = city["finding"].query(filter="measured > 30").iloc[0]
    assert boxes(5)[3].contains(row.geometry)
    assert (row.measured, row.limit_value, row.unit, row.clause, row.rule_source) == (35.0, 20.0, "m", "3.1", "Test")
    assert row.evidence == "/collections/building/items/b3"
    assert row.first_seen.microsecond % 1000 == 0, "no finer than a GeoPackage may hold"
    assert shapely.area(shapely.from_geojson(row["shape"])) > 0


def test_the_past_is_not_kept_and_a_status_needs_a_name(city):
    with pytest.raises(InvalidInput, match="earlier state"):
        finding.store(city, run(city, moment=dt.datetime.now(dt.UTC)))
    with pytest.raises(LayerNotFound):
        finding.set_status(city, ["F1"], "closed", "x")
    finding.store(city, run(city))
    with pytest.raises(NotFound, match="no finding 'F1'"):
        finding.set_status(city, ["F1"], "closed", "x")
    with pytest.raises(InvalidInput, match="by:"):
        finding.set_status(city, ["F1"], "closed", " ")


def test_the_process_answers_rows_and_keeps_when_asked(city):
    answer = city.run("supervise-construction", site="GD1", checks=["heights"], crs="city")
    assert answer["counts"]["fail"] == 2
    assert "finding" not in city
    rows = answer["findings"]["features"]
    assert {tuple(row["properties"]["objects"]) for row in rows} == {("building/b2",), ("building/b3",)}
    for row in rows:
        assert {"rule_id", "measured", "limit", "unit", "verdict", "source", "confidence"} <= set(row["properties"])
        number = int(row["properties"]["objects"][0][-1])
        assert shapely.geometry.shape(row["geometry"]).equals(boxes(5)[number])
    assert city.run("supervise-construction", keep=True)["stored"]["opened"] == 4
    assert city["finding"].count() == 4


@pytest.mark.parametrize(
    ("inputs", "says"),
    [({"bbox": [121, 28, 120, 29]}, "bbox is no box"), ({"bbox": [0, 0, 1, 1]}, "bbox lies outside the city"),
     ({"bbox": [121, 28, 122]}, "bbox"), ({"site": "GD1", "bbox": [121, 28, 122, 29]}, "both given"),
     ({"sight": "GD1"}, "sight"), ({"datetime": "yesterday"}, "yesterday")],
    ids=["reversed", "outside", "three numbers", "both", "name", "moment"],
)  # fmt: skip
def test_wrong_inputs_are_named(city, inputs, says):
    with pytest.raises(InvalidInput, match=says):
        city.run("supervise-construction", **inputs)


def test_a_scope_sees_nothing_of_other_layers(city):
    blind = city.with_scope(Scope("blind", frozenset({"construction_site"})))
    (result,) = run(blind, checks=["heights"]).results
    assert result.verdict("test-height") == "unknown"


def test_history_of_a_finding_is_kept(city):
    finding.store(city, run(city, checks=["heights"]))
    before = dt.datetime.now(dt.UTC)
    finding.set_status(city, city["finding"].query().index.tolist(), "confirmed", "x")
    then = [
        name
        for part in city.store.query("finding", Query(at=before), city.scope)
        for name in part.attributes["status"].to_pylist()
    ]
    assert then == ["opened"] * 3
