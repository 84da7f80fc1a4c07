"""What an edit may do and may not: bad input, locking, history, all or nothing, given models, links, scopes."""

from datetime import UTC, datetime

import geopandas
import numpy as np
import pytest
import shapely

from layers import crs as crs_module
from layers.errors import Conflict, InvalidInput, LayerNotFound, NotFound
from layers.mesh import Mesh, decode
from twin.edit import values
from twin.scope import EVERYTHING, Scope
from twin.store.interface import Query

PYRAMID = np.array([[0, 1, 4], [1, 2, 4], [2, 3, 4], [3, 0, 4], [0, 2, 1], [0, 3, 2]])


def model(files, i, top=9.0):
    base = np.array(files.square(i).exterior.coords)[:4, :2]
    base = base if shapely.LinearRing(base).is_ccw else base[::-1]
    corners = [[x, y, 5.0] for x, y in base] + [[*base.mean(axis=0), 5.0 + top]]
    return Mesh(np.array(corners), PYRAMID)


def mesh_of(city, layer_id, name):
    [part] = city.store.query(layer_id, Query(ids=(name,)), EVERYTHING)
    return decode(city.store.meshes(layer_id, part.fids, EVERYTHING)[0].blob)


BAD = [
    ({"height_m": -1.0}, r"height_m = -1.0 is outside its domain.*from 0 to 1000 m"),
    ({"height_m": "tall"}, r"height_m = 'tall' is no number.*unit is m"),
    ({"height_m": float("nan")}, r"height_m = nan is no number"),
    ({"height_m": True}, r"height_m = True is no number"),
    ({"floors": 2.5}, r"floors = 2.5 is no integer"),
    ({"floors": 10**30}, r"is no integer"),
    ({"key_energy": "yes"}, r"key_energy = 'yes' is no boolean"),
    ({"phase": "existign"}, r"phase = 'existign' is not among its codes.*Did you mean 'existing'"),
    ({"name": 7}, r"name = 7 is no string"),
    ({"name": "x" * 200_000}, r"is no string.*at most 100,000"),
    ({"name": "\ud800"}, r"is no string"),
    ({"id": "B-7"}, r"'id' is kept by the store itself"),
    ({"valid_to": "2026-01-01"}, r"kept by the store itself"),
    ({"extra": "{"}, r"`extra` is no JSON object"),
    ({"extra": [1]}, r"`extra` is no JSON object"),
    ({"note": object()}, r"a value of note cannot be kept as JSON"),
    ({"note": "x" * 200_000}, r"`extra` would have 200,0\d\d bytes"),
]


@pytest.mark.parametrize(("change", "said"), BAD)
def test_values_that_the_schema_does_not_allow(city, change, said):
    version = city.store.version()
    with pytest.raises(InvalidInput, match=said):
        city["building"].update("B-0", attributes=change)
    assert city.store.version() == version
    assert city["building"].get("B-0")["height_m"] == 12


SHAPES = [
    (shapely.Point(598000, 3110000), None, "Point does not fit layer 'building'"),
    (shapely.Polygon(), None, "geometry is empty"),
    (shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)]), None, "not valid: Self-intersection"),
    (shapely.box(0, 0, 1, 1), None, r"outside the area where EPSG:4549 holds"),
    (shapely.Polygon([(0, 0), (np.inf, 0), (1, 1)]), None, "not finite"),
    ({"type": "Polygon", "coordinates": "here"}, None, "no GeoJSON geometry"),
    ("POLYGON((0 0,1 0,1 1,0 0))", None, "geometry is given as str"),
    (shapely.box(120, 28, 121, 29), "EPSG:99", "not a coordinate reference system"),
    (shapely.box(2, 48, 2.1, 48.1), "EPSG:4326", "outside the area"),
]


@pytest.mark.parametrize(("shape", "crs", "said"), SHAPES)
def test_geometries_that_cannot_be(city, shape, crs, said):
    with pytest.raises(InvalidInput, match=said):
        city["building"].update("B-0", geometry=shape, crs=crs)
    feature = {"type": "Feature", "id": "N", "geometry": shape, "properties": {}}
    with pytest.raises(InvalidInput, match=said):
        city["building"].put(feature, crs=crs)
    assert city["building"].count() == 6


def test_ids_and_layers_that_are_not_there(city):
    with pytest.raises(NotFound, match=r"'building' has no feature 'P-0'. Layer 'pipe_water' has one"):
        city["building"].update("P-0", height_m=3.0)
    with pytest.raises(NotFound, match=r"no feature 'B-77'"):
        city["building"].delete(["B-0", "B-77"])
    with pytest.raises(LayerNotFound), city.editing() as edit:
        edit["buildings"].update("B-0", height_m=3.0)
    with pytest.raises(InvalidInput, match="written by the build"), city.editing() as edit:
        edit["source"].delete("building.gpkg")
    with pytest.raises(InvalidInput, match="given twice"):
        city["building"].delete(["B-0", "B-0"])
    for ids in ([], [""], [7]):
        with pytest.raises(InvalidInput):
            city["building"].update(ids, height_m=3.0)
    for features in ([], {}, 7, {"type": "FeatureCollection"}, [{"type": "Feature", "properties": 3}]):
        with pytest.raises(InvalidInput):
            city["building"].put(features)
    with pytest.raises(NotFound, match="has not been edited"):
        city["building"].revert("B-0")
    stranger = city.with_scope(Scope("stranger", frozenset({"pipe_water"})))
    with pytest.raises(LayerNotFound), stranger.editing() as edit:
        edit["building"].delete("B-0")
    assert city["building"].count() == 6


def test_nothing_of_a_transaction_that_fails_is_stored(city):
    version = city.store.version()

    def fail():
        with city.editing() as edit:
            edit["building"].update("B-0", height_m=50.0)
            edit["pipe_water"].delete("P-0")
            edit["building"].delete("B-77")

    with pytest.raises(NotFound):
        fail()
    assert city.store.version() == version
    assert city["building"].get("B-0")["height_m"] == 12
    assert city["pipe_water"].count() == 4
    assert city["building"].edits() == []


def test_history_version_and_stamps(city):
    before, version = datetime.now(UTC), city["building"].info.version
    done = city["building"].update(["B-0", "B-2"], name="改")
    assert (done.outcome, done.versions) == (["updated", "updated"], [2, 2])
    assert city["building"].info.version > version
    assert city["building"].get("B-0", at=before)["name"] == "甲"
    assert city["building"].get("B-0")["name"] == "改"
    again = city["building"].update("B-0", name="改")
    assert (again.outcome, again.versions) == (["unchanged"], [2])
    city["building"].delete("B-0")
    with pytest.raises(NotFound):
        city["building"].get("B-0")
    assert city["building"].get("B-0", at=before)["height_m"] == 12
    changes = city.store.mesh_changes("building", version, EVERYTHING)
    assert len(changes.gone) == 2
    assert len(changes.came.fids) == 1


def test_someone_was_faster(city):
    seen = city["building"].get("B-0")["version"]
    city["building"].update("B-0", name="first", version=seen)
    with pytest.raises(Conflict, match=r"'B-0' is version 2 by now, not version 1"):
        city["building"].update("B-0", name="second", version=seen)
    with pytest.raises(Conflict):
        city["building"].delete(["B-1", "B-0"], version={"B-0": 1})
    with pytest.raises(Conflict, match="version 2 by now, not version 0"):
        city["building"].put(
            {"type": "Feature", "id": "B-0", "properties": {}, "geometry": city["building"].get("B-0")["geometry"]},
            version=0,
        )
    assert city["building"].get("B-0")["name"] == "first"
    assert city["building"].update(["B-0", "B-1"], name="x", version={"B-0": 2, "B-1": 1}).versions == [3, 2]


def test_what_the_schema_does_not_know_is_kept_and_said(city):
    done = city["building"].update("B-4", heigth_m=3.0, note="new")
    assert [(issue.code, issue.hint) for issue in done.issues] == [
        ("EDIT_ATTRIBUTE_UNKNOWN", "Did you mean 'height_m'?")
    ]
    assert city["building"].get("B-4")["extra"] == '{"note":"new","heigth_m":3.0}'
    city["building"].update("B-4", heigth_m=None)
    assert city["building"].get("B-4")["extra"] == '{"note":"new"}'
    assert city["building"].get("B-4")["use"] == "school"


def test_geometries_in_degrees_and_from_a_frame(city, files):
    outline = shapely.transform(
        files.square(40), lambda p: np.column_stack(crs_module.transform(files.crs, "EPSG:4490", *p.T))
    )
    city["building"].put({"type": "Feature", "id": "N-1", "geometry": shapely.geometry.mapping(outline),
                          "properties": {"height_m": 8}}, crs="EPSG:4490")  # fmt: skip
    frame = geopandas.GeoDataFrame(
        {"id": ["N-2"], "height_m": [8.0], "floors": [np.nan]}, geometry=[outline], crs="EPSG:4490"
    )
    done = city["building"].put(frame)
    assert done.outcome == ["inserted"]
    for name in ("N-1", "N-2"):
        found = city["building"].get(name)
        assert shapely.hausdorff_distance(found["geometry"], files.square(40)) < 1e-6
        assert found["source"] == "edit"
        assert mesh_of(city, "building", name).volume_m3() == pytest.approx(800, rel=1e-3)
    made = city["building"].put(
        {"type": "Feature", "geometry": shapely.geometry.mapping(files.square(42)), "properties": {}}
    )
    assert city["building"].count(ids=made.ids) == 1, "a feature without id gets one"


def test_a_given_model_stays_until_it_is_replaced_or_the_geometry_changes(city, files):
    done = city["building"].update("B-0", mesh=model(files, 0))
    assert done.outcome == ["updated"]
    assert mesh_of(city, "building", "B-0").volume_m3() == pytest.approx(300, rel=1e-3)
    done = city["building"].update("B-0", name="with a pyramid")
    assert done.issues == []
    assert len(mesh_of(city, "building", "B-0").vertices) == 5
    done = city["building"].update("B-0", height_m=42.0)
    assert [issue.code for issue in done.issues if issue.severity == "warning"] == ["EDIT_MODEL_KEPT"]
    assert len(mesh_of(city, "building", "B-0").vertices) == 5
    done = city["building"].update("B-0", geometry=files.square(30))
    assert [issue.code for issue in done.issues if issue.severity == "warning"] == ["EDIT_MODEL_DROPPED"]
    assert mesh_of(city, "building", "B-0").volume_m3() == pytest.approx(4200, rel=1e-3)


def test_devices_follow_the_pipes(city, files):
    assert city["valve"].get("V-1")["link_id"] == "P-1"
    city["pipe_water"].update(
        "P-1", geometry=shapely.LineString([(files.E0, files.N0 + 225), (files.E0 + 80, files.N0 + 225)])
    )
    assert city["valve"].get("V-1")["link_by"] == "unknown"
    city["valve"].update("V-1", geometry=shapely.Point(files.E0 + 10, files.N0 + 225.3, 3.0))
    found = city["valve"].get("V-1")
    assert (found["link_id"], found["link_distance_m"]) == ("P-1", 0.3)
    city["valve"].update("V-1", link_id="P-3")
    assert city["valve"].get("V-1")["link_by"] == "given"


def test_dates_and_moments_are_read():
    from layers.catalogue import Attribute, Title

    day, moment = (Attribute("d", kind, Title("d", "d")) for kind in ("date", "datetime"))
    assert values.value_of(day, "2026-02-28", "x").isoformat() == "2026-02-28"
    assert values.value_of(moment, "2026-02-28T08:00:00+08:00", "x") == datetime(2026, 2, 28, tzinfo=UTC)
    for attribute, text in ((day, "2026-02-30"), (day, datetime(2026, 1, 1, tzinfo=UTC)), (moment, "soon")):
        with pytest.raises(InvalidInput, match=r"Write 2026"):
            values.value_of(attribute, text, "x")


def test_a_model_stays_when_its_feature_is_read_and_put_back(city, files):
    """Also that of a pipe, whose line is stored on the axis and stated on the crown."""
    ball = model(files, 0)
    line = city["pipe_water"].get("P-1")["geometry"]
    city["pipe_water"].update("P-1", mesh=ball)
    assert shapely.equals_identical(city["pipe_water"].get("P-1")["geometry"], line)
    city["building"].update("B-0", mesh=ball)
    for layer_id, name in (("pipe_water", "P-1"), ("building", "B-0")):
        done = city[layer_id].put(city[layer_id].query(ids=[name]))
        assert not [issue for issue in done.issues if issue.code == "EDIT_MODEL_DROPPED"]
        assert len(mesh_of(city, layer_id, name).vertices) == 5


@pytest.mark.parametrize("name", ["P-0", "P-1", "P-2", "P-3"])
def test_a_vertex_of_a_pipe_as_it_is_read_moves_alone_whatever_its_z_refers_to(city, name):
    """z is read on the axis and stated of crown, invert or axis: what was read must not be taken for what is stated."""
    pipes = city["pipe_water"]
    was = shapely.get_coordinates(pipes.query(ids=[name]).geometry, include_z=True)
    line = was.copy()
    line[0, :2] += (0.0, 0.5)  # along the contours of the ground
    shape = shapely.LineString(line)
    feature = {"type": "Feature", "id": name, "geometry": shape, "properties": pipes.query(ids=[name]).iloc[0].dropna()}
    own = {key: value for key, value in feature["properties"].items() if key not in {"geometry", *values.OWN}}
    for ways in ("update", "put"):
        with city.editing() as edit:
            if ways == "update":
                done = edit["pipe_water"].update(name, geometry=shape, as_read=True)
            else:
                done = edit["pipe_water"].put(feature | {"properties": own}, as_read=True)
        assert "EDIT_Z_NOT_TAKEN" not in {issue.code for issue in done.issues}
        now = shapely.get_coordinates(pipes.query(ids=[name]).geometry, include_z=True)
        np.testing.assert_allclose(now, line, rtol=0, atol=1e-6)
        pipes.revert(name)


def test_z_that_is_given_against_stated_elevations_is_told(city):
    pipes = city["pipe_water"]
    line = shapely.get_coordinates(pipes.query(ids=["P-0", "P-2"]).geometry, include_z=True).reshape(2, 2, 3)
    line[:, 1, 2] += 0.25
    with city.editing() as edit:
        stated = edit["pipe_water"].update("P-0", geometry=shapely.LineString(line[0]), as_read=True)
        free = edit["pipe_water"].update("P-2", geometry=shapely.LineString(line[1]), as_read=True)
    assert [issue.where for issue in stated.issues if issue.code == "EDIT_Z_NOT_TAKEN"] == ["P-0"]
    assert "EDIT_Z_NOT_TAKEN" not in {issue.code for issue in free.issues}
    found = shapely.get_coordinates(pipes.query(ids=["P-2"]).geometry, include_z=True)
    np.testing.assert_allclose(found, line[1], rtol=0, atol=1e-6)
