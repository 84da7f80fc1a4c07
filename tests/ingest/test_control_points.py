"""Control points against hand arithmetic, SciPy's rotations and made-up surveys with known errors."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely
from scipy.spatial.transform import Rotation

import ingest
from ingest import control_points
from ingest.correct import moved
from layers.certificate import Certificate
from layers.errors import CrsMissing, InvalidInput
from layers.mesh import Mesh, SharedShape
from layers.mesh_copy import fitted, pattern
from layers.source import AssetLayer, ControlPoint, FeatureBatch, Hints, Reading, VectorLayer


def pairs(source, true):
    return tuple(ControlPoint(tuple(p), tuple(q)) for p, q in zip(np.asarray(source), np.asarray(true), strict=True))


def in_space(xyz, scale=1.00012, turn=(3.0, -2.0, 40.0), shift=(598273.7, 3109927.7, 5.2)):
    return scale * Rotation.from_euler("xyz", turn, degrees=True).apply(xyz) + shift


def test_two_points_turned_by_a_right_angle():
    fit = control_points.fit(pairs([(0, 0, 1), (100, 0, 1)], [(500000, 3100000, 6), (500000, 3100100, 6)]))
    np.testing.assert_allclose(fit.apply(np.array([[0.0, 50.0, 2.0]])), [[499950, 3100000, 7]], atol=1e-9)
    told = fit.parameters()
    assert (told["model"], told["redundancy"]) == ("similarity", 1)
    assert told["rotation_deg"] == pytest.approx(90)
    assert told["scale_ppm"] == pytest.approx(0, abs=1e-6)
    assert fit.affine() == pytest.approx((0, -1, 500000, 1, 0, 3100000), abs=1e-6)


def test_seven_parameters_are_found_again():
    local = np.random.default_rng(2).uniform(-60, 60, (6, 3))
    fit = control_points.fit(pairs(local, in_space(local)))
    assert fit.model == "helmert"
    assert fit.scale == pytest.approx(1.00012, abs=1e-10)
    assert fit.redundancy == 11
    assert fit.rms_m < 1e-8
    other = np.array([[200.0, -50.0, 12.0]])
    np.testing.assert_allclose(fit.apply(other), in_space(other), atol=1e-6)


def test_residuals_are_those_of_least_squares():
    random = np.random.default_rng(3)
    local = random.uniform(0, 300, (8, 2))
    true = local @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + (5e5, 3e6) + random.normal(0, 0.02, (8, 2))
    fit = control_points.fit(pairs(local, true))
    x, y = (local - local.mean(axis=0)).T
    ones, zeros = np.ones(8), np.zeros(8)
    design = np.block([[x[:, None], -y[:, None], ones[:, None], zeros[:, None]],
                       [y[:, None], x[:, None], zeros[:, None], ones[:, None]]])  # fmt: skip
    seen = (true - true.mean(axis=0)).T.ravel()
    expected = seen - design @ np.linalg.lstsq(design, seen, rcond=None)[0]
    np.testing.assert_allclose(fit.residuals_m[:, :2].T.ravel(), expected, atol=1e-8)
    assert fit.rms_m == pytest.approx(np.sqrt((expected**2).sum() / 8))
    assert fit.suspects == ()


def test_an_outlier_is_named_and_the_only_one():
    local = np.random.default_rng(4).uniform(0, 300, (7, 2))
    true = local + np.array([5e5, 3e6])
    true[4] += (0, 5)
    fit = control_points.fit(pairs(local, true))
    assert fit.suspects[0].startswith("Control point 5 lies 5.0")
    assert len(fit.suspects) == 1


def test_a_drawing_in_millimetres_has_its_heights_scaled_and_a_projection_has_not():
    mm = control_points.fit(pairs([(0, 0, 0), (1000, 0, 0)], [(500000, 3100000, 5), (500001, 3100000, 5)]))
    assert mm.apply(np.array([[0.0, 0.0, 3000.0]]))[0, 2] == pytest.approx(8)
    grid = control_points.fit(pairs([(0, 0, 0), (1000, 0, 0)], [(500000, 3100000, 5), (501000.12, 3100000, 5)]))
    assert grid.apply(np.array([[0.0, 0.0, 3000.0]]))[0, 2] == 3005
    assert grid.parameters()["scale_ppm"] == pytest.approx(120)


def test_a_mirrored_survey_is_suspected():
    local = np.array([(0, 0), (100, 0), (100, 50), (0, 80)], float)
    fit = control_points.fit(pairs(local, local[:, ::-1] + np.array([5e5, 3e6])))
    assert any("mirrored" in words for words in fit.suspects)


@pytest.mark.parametrize(
    ("source", "true"),
    [
        ([(1, 1), (1, 1)], [(0, 0), (5, 5)]),
        ([(0, 0), (5, 5)], [(1, 1), (1, 1)]),
        ([(0, 0)], [(1, 1)]),
        ([(0, 0), (np.nan, 1)], [(0, 0), (1, 1)]),
        ([(1, 1, 0), (1, 1, 9), (1, 1, 20)], [(0, 0, 0), (5, 5, 9), (5, 5, 20)]),
    ],
)
def test_points_that_fix_nothing_are_refused(source, true):
    with pytest.raises(InvalidInput) as caught:
        control_points.fit(pairs(source, true))
    assert caught.value.code == "CONTROL_POINTS_DEGENERATE"


def test_points_on_a_line_are_fitted_in_plan_only():
    local = np.array([(0, 0, 0), (10, 0, 5), (20, 0, 10)], float)
    assert control_points.fit(pairs(local, local + np.array([5e5, 3e6, 2]))).model == "similarity"


@pytest.fixture
def local_geojson(tmp_path):
    path = tmp_path / "lamps.geojson"
    features = [
        {"type": "Feature", "properties": {"n": i}, "geometry": {"type": "Point", "coordinates": [10.0 * i, 5.0]}}
        for i in range(4)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_any_reader_is_moved(local_geojson):
    points = pairs([(0, 0), (10, 0), (0, 10)], [(500000, 3100000), (500010, 3100000), (500000, 3100010)])
    reading = ingest.read(local_geojson, Hints(root=local_geojson.parent, control_points=points, city_crs="EPSG:4549"))
    (layer,) = reading.layers
    assert layer.crs == "EPSG:4549"
    (batch,) = layer.batches()
    np.testing.assert_allclose(shapely.get_coordinates(batch.geometry)[:, 0], 500000 + 10 * np.arange(4))
    assert layer.n_read == 4
    assert reading.certificate.method == "control-points"
    assert reading.certificate.parameters["control_points"]["redundancy"] == 2
    assert "control points were believed" in reading.certificate.contradictions[0]


def test_without_a_system_for_the_true_points_it_is_asked_for(local_geojson):
    points = pairs([(0, 0), (10, 0)], [(500000, 3100000), (500010, 3100000)])
    with pytest.raises(CrsMissing, match="control points"):
        ingest.read(local_geojson, Hints(control_points=points))
    with pytest.raises(InvalidInput, match="not a plane"):
        ingest.read(local_geojson, Hints(control_points=points, crs="EPSG:4490"))


def test_meshes_move_and_copies_still_fit_their_shape():
    corners = np.array([(0, 0, 0), (4, 0, 0), (0, 3, 0), (0, 0, 2)], float)
    shape = SharedShape("tree", corners)
    mesh = Mesh(corners + np.array([10.0, 0, 0]), np.array([(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]), shared=shape)
    batch = FeatureBatch(["a"], np.array([None], object), pa.table({"base_elev_m": [1.0]}), [None], [mesh])
    layer = VectorLayer("trees", "tree", "EPSG:4549", lambda: iter([batch]))
    local = np.random.default_rng(5).uniform(-60, 60, (5, 3))
    reading = Reading(Path("t.ifc"), "IFC", [layer], Certificate("control-points", "EPSG:4549"))
    moved(reading, Hints(control_points=pairs(local, in_space(local))))
    (out,) = layer.batches()
    placed = out.meshes[0]
    np.testing.assert_allclose(placed.vertices, in_space(mesh.vertices), atol=1e-6)
    assert fitted(pattern(placed, shape.vertices), placed.vertices - placed.vertices.mean(axis=0)) is not None


def test_an_asset_that_cannot_be_moved_is_refused():
    layer = AssetLayer("a", "points", "point_cloud", "EPSG:4549", (0, 0, 1, 1), {}, lambda _: [], ".copc.laz")
    reading = Reading(Path("a.laz"), "LAS", [layer], Certificate("control-points", "EPSG:4549"))
    with pytest.raises(InvalidInput) as caught:
        moved(reading, Hints(control_points=pairs([(0, 0), (1, 0)], [(0, 0), (1, 0)])))
    assert caught.value.code == "CONTROL_POINTS_UNFIT"


def test_the_corners_of_a_square_are_fitted():
    """Their mirror image turns to no direction at all: it must not be asked for."""
    corners = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)]
    points = [ControlPoint(each, (597_000 - each[1], 3_109_000 + each[0])) for each in corners]  # turned by 90°
    made = control_points.fit(points)
    assert np.abs(made.residuals_m[:, :2]).max() < 1e-8
