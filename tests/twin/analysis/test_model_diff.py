"""P11: 20 × 20 × 30 m planned and 33 m built is 1,200 m³ (10 %) and 3 m more; surfaces cell by cell."""

import datetime as dt
import json
import time

import manifold3d
import numpy as np
import pytest
import rasterio
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import EAST, NORTH, TOWN, box, collection, feature, made, town, with_raster
from twin.analysis.model_diff_dsm import Change
from twin.analysis.model_diff_models import models, to_plan
from twin.analysis.model_diff_solids import is_closed, solid


def block(height):
    body = trimesh.creation.box((20, 20, height))
    body.apply_translation([EAST + 10, NORTH + 10, 5 + height / 2])
    return body.vertices, body.faces


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    walls = (block(30)[0], block(30)[1][:-1])
    layers = {
        "hydraulic_structure": [("whole", box(0, 0, 20, 20), {}), ("open", box(0, 0, 20, 20), {})],
        "permit_building": [("P", box(0, 0, 20, 20), {"height_m": 30.0}), ("Q", box(100, 0, 120, 20), {})],
        "building": [
            ("B", box(1, 0, 21, 20), {"height_m": 33.0, "base_elev_m": 5.0}),
            ("C", box(101, 0, 119, 20), {"height_m": 9.0}),
            ("fine", box(1, 0, 21, 20), {"height_m": 30.0, "same_as": "B"}),
        ],
    }
    meshes = {"hydraulic_structure": {"whole": block(30), "open": walls}}
    with made(tmp_path_factory.mktemp("models"), layers, meshes) as opened:
        yield opened


def prism(height, name="A"):
    return collection(feature(box(0, 0, 20, 20), name, height_m=height, base_elev_m=5.0))


def test_hand_case_prisms(city):
    (row,) = city.run("model-diff", before=prism(30), after=prism(33))["differences"]
    assert row["volume_before_m3"] == pytest.approx(12_000, abs=1e-6)
    assert (row["difference_m3"], row["difference_pct"]) == pytest.approx((1200, 10), abs=1e-6)
    assert (row["height_difference_m"], row["top_difference_m"]) == pytest.approx((3, 3), abs=1e-9)
    assert row["change"] == "larger"
    same = city.run("model-diff", before=prism(30), after=prism(30))
    assert (same["differences"][0]["change"], same["difference_m3"]) == ("same", 0)


def test_hand_case_meshes_sent_along_and_stored(city):
    vertices, faces = block(33)
    sent = {"meshes": [{"id": "whole", "vertices": vertices.tolist(), "triangles": faces.tolist()}], "crs": "city"}
    (row,) = city.run("model-diff", before={"collection": "hydraulic_structure", "ids": ["whole"]}, after=sent)[
        "differences"
    ]
    assert (row["method_before"], row["method_after"]) == ("mesh", "mesh")
    assert row["difference_m3"] == pytest.approx(1200, abs=0.02), "the stored one is in single precision"
    assert row["height_difference_m"] == pytest.approx(3, abs=1e-5)


def test_a_mesh_that_is_not_closed_has_no_volume(city):
    before = {"collection": "hydraulic_structure", "ids": ["open"]}
    answer = city.run("model-diff", before=before, after=prism(33, "open"))
    (row,) = answer["differences"]
    assert (row["volume_before_m3"], row["difference_m3"], row["change"]) == (None, None, "unknown")
    assert "not closed" in row["note"]
    assert row["height_difference_m"] == pytest.approx(3, abs=1e-5), "its height is known"
    assert (answer["n_unknown"], answer["difference_m3"]) == (1, None), "no sum of nothing"


def test_matching_by_overlap_by_key_and_what_is_left(city):
    answer = city.run(
        "model-diff", before={"collection": "permit_building"}, after={"collection": "building"}, match="overlap"
    )
    assert [(each["before"], each["after"]) for each in answer["differences"]] == [("P", "B"), ("Q", "C")]
    assert answer["differences"][0]["difference_m3"] == pytest.approx(1200, abs=1e-5)
    assert answer["differences"][1]["note"] == "Q: no mesh, or no area with height"
    named = collection(feature(box(0, 0, 20, 20), "x", height_m=30.0, code="K"))
    other = collection(
        feature(box(50, 0, 70, 20), "y", height_m=31.0, code="K"), feature(box(80, 0, 90, 9), "z", height_m=1)
    )
    answer = city.run("model-diff", before=named, after=other, match="key", key="code")
    assert (answer["differences"][0]["after"], answer["only_after"]) == ("y", ["z"])
    twice = collection(*named["features"], *named["features"])
    with pytest.raises(InvalidInput, match="before"):
        city.run("model-diff", before=twice, after=other, match="key", key="code")


def test_the_same_layer_at_two_moments(tmp_path):
    """A version that gave way stays readable: with the geometry, the height and the mesh it had."""
    with made(tmp_path, {"building": [("B", box(0, 0, 20, 20), {"base_elev_m": 5.0, "height_m": 30.0})]}) as city:
        city["building"].update("B", height_m=30.0, name="as planned")  # gets a mesh of the city's own
        then = dt.datetime.now(dt.UTC).isoformat()
        time.sleep(0.01)
        city["building"].update("B", height_m=33.0)
        was = {"collection": "building", "datetime": then}
        (row,) = city.run("model-diff", before=was, after={"collection": "building"})["differences"]
        assert (row["method_before"], row["method_after"]) == ("mesh", "mesh")
        assert row["difference_m3"] == pytest.approx(1200, abs=0.05)
        assert row["height_difference_m"] == pytest.approx(3, abs=1e-5)
        changed = collection(feature(box(0, 0, 20, 20), "B", height_m=33.0))
        answer = city.run("illegal-building-screen", buildings=changed, buildings_before=was, permits=collection())
        assert [each["properties"]["reason"] for each in answer["suspects"]["features"]] == ["no_permit"]
        now = city.run("illegal-building-screen", buildings=changed, buildings_before={"collection": "building"},
                       permits=collection())  # fmt: skip
        assert now["n_suspects"] == 0, "nothing has changed since"


def test_surfaces_cell_by_cell(tmp_path):
    with made(tmp_path, {"building": [("B", box(0, 0, 1, 1), {})]}) as city:
        before, after = np.full((700, 40), 5.0), np.full((700, 40), 5.0)
        after[10:20, 10:20] += 3.0  # 100 cells of 4 m²
        after[600:610, 0:5] -= 2.0
        after[30, 30] += 0.5  # no more than the limit
        before[690:, :] = np.nan
        first = with_raster(city, "d1", before, cell_m=2.0)
        second = with_raster(city, "d2", after, cell_m=2.0)
        answer = city.run("model-diff", dsm_before=first, dsm_after=second, keep_as="risen")
        found = answer["surface"]
        assert (found["raised_m2"], found["raised_m3"]) == pytest.approx((400, 1200))
        assert (found["lowered_m2"], found["lowered_m3"]) == pytest.approx((200, 400))
        assert (found["unknown_m2"], found["compared_m2"]) == pytest.approx((10 * 40 * 4, 690 * 40 * 4))
        assert (found["highest_m"], found["lowest_m"]) == (3, -2)
        with rasterio.open(answer["difference"].path) as raster:
            got = raster.read(1, masked=True).filled(np.nan)
        np.testing.assert_allclose(got, after - before)
        assert any(each.id == "risen" for each in city.store.assets(city.scope))
        part = collection(feature(box(20, -40, 30, -20)))
        answer = city.run("model-diff", dsm_before=first, dsm_after=second, region=part)
        assert answer["surface"]["raised_m3"] == pytest.approx(5 * 10 * 4 * 3)
        shifted = with_raster(city, "d3", before + 1.0, cell_m=2.0, west=EAST + 1.0)
        found = city.run("model-diff", dsm_before=shifted, dsm_after=second)["surface"]
        assert found["lowest_m"] == pytest.approx(-3), "other cells are sampled"
        gone = with_raster(city, "d4", np.full((700, 40), np.nan), cell_m=2.0)
        found = city.run("model-diff", dsm_before=gone, dsm_after=second)["surface"]
        assert (found["verdict"], found["compared_m2"], found["highest_m"]) == ("unknown", 0, None)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"after": None}, "before and after"),
        ({"match": "key"}, "key"),
        ({"change_min_m": -1}, "change_min_m"),
        ({"dsm_before": {"collection": "dsm"}}, "dsm_before"),
        ({"before": collection()}, "before"),
        ({"before": {"meshes": []}}, "before"),
    ],
)
def test_wrong_inputs_are_named(city, inputs, named):
    given_ = {"before": prism(1), "after": prism(1)} | inputs
    with pytest.raises(InvalidInput, match=named):
        city.run("model-diff", **{key: value for key, value in given_.items() if value is not None})


def test_volumes_of_the_sample_towns_solids(tmp_path):
    truths = {
        each["object_id"]: each["volume_m3"] for each in json.loads((TOWN / "expected.json").read_text("utf8"))["lod2"]
    }
    with town(tmp_path, "vector") as city:
        found = models(city, "before", {"collection": "building", "ids": list(truths)})
    assert {each.id for each in found} == set(truths)
    for each in found:
        # the file has corners to the millimetre: half of one over the whole surface
        slack = 0.0005 * each.solid.body.surface_area() + 0.005
        assert each.volume_m3 == pytest.approx(truths[each.id], abs=slack)
        assert each.volume_m3 == pytest.approx(trimesh.Trimesh(each.solid.vertices, each.solid.triangles).volume)


def test_the_way_back_from_the_citys_frame(city):
    plan = np.array([[EAST + 5000, NORTH - 4000, -3.0], [EAST, NORTH, 900.0]])
    assert to_plan(city.frame, city.frame.to_enu(plan)) == pytest.approx(plan, abs=1e-7)


numbers = st.floats(-5, 5, width=16)


@settings(max_examples=60)
@given(arrays(float, (9, 3), elements=numbers), st.integers(0, 5))
def test_volumes_equal_trimeshs_and_a_missing_triangle_opens_the_mesh(points, turn):
    if manifold3d.Manifold.hull_points(points).volume() < 1e-2:
        return
    body = trimesh.convex.convex_hull(points)
    order = np.random.default_rng(turn).permutation(len(body.faces))
    soup, faces = body.triangles[order].reshape(-1, 3), np.arange(3 * len(order)).reshape(-1, 3)
    assert solid(soup, faces).volume_m3 == pytest.approx(body.volume, rel=1e-9)
    assert solid(soup, faces[:, ::-1]).volume_m3 == pytest.approx(body.volume, rel=1e-9), "turned inside out"
    opened = solid(soup, faces[1:])
    assert not opened.is_closed
    assert np.isnan(opened.volume_m3)
    assert not is_closed(opened.triangles)


def test_parts_that_overlap_count_once_and_corners_nearly_equal_are_one():
    a, b = trimesh.creation.box((1, 1, 1)), trimesh.creation.box((1, 1, 1))
    b.apply_translation([0.5, 0, 0])
    both = trimesh.util.concatenate([a, b])
    assert solid(both.vertices, both.faces).volume_m3 == pytest.approx(1.5)
    soup = a.triangles.reshape(-1, 3) + np.random.default_rng(0).uniform(-1e-6, 1e-6, (36, 3))
    assert solid(soup, np.arange(36).reshape(-1, 3)).volume_m3 == pytest.approx(1, abs=1e-5)


@settings(max_examples=40)
@given(arrays(float, (7, 9), elements=st.floats(-9, 9) | st.just(float("nan"))), st.floats(0, 3))
def test_sums_over_blocks_equal_sums_over_all(values, limit):
    change = Change()
    wanted = np.ones((7, 9), bool)
    for top in range(0, 7, 3):
        change.add(values[top : top + 3], wanted[top : top + 3], limit, 4.0)
    up, down = values[values > limit + 1e-6], values[values < -limit - 1e-6]
    assert change.raised_m3 == pytest.approx(4 * up.sum())
    assert change.lowered_m3 == pytest.approx(-4 * down.sum())
    assert change.raised_m2 == 4 * len(up)
    assert change.unknown_m2 + change.compared_m2 == 4 * 63
