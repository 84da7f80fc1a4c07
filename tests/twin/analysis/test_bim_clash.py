"""P12: unit cubes 0.8 apart share 0.2 m³; 1.05 apart with a soft gap of 0.1 the gap is 0.05; touching is not hard."""

import itertools

import manifold3d
import numpy as np
import pytest
import trimesh
from hypothesis import example, given, settings
from hypothesis import strategies as st

from layers.errors import InvalidInput
from tests.twin.analysis.land_city import EAST, NORTH, box, collection, feature, made
from twin.analysis.bim_clash_contacts import HARD, SOFT, contacts, winding
from twin.analysis.bim_clash_pairs import near_pairs
from twin.analysis.model_diff_solids import solid


def cuboid(low, size, turn_deg=0.0):
    made_ = trimesh.creation.box(size)
    made_.apply_translation(np.array(low) + np.array(size) / 2)
    made_.apply_transform(trimesh.transformations.rotation_matrix(np.radians(turn_deg), [0.3, 0.2, 1]))
    return solid(made_.vertices, made_.faces)


def cube(x, y=0.0, z=0.0):
    return cuboid((x, y, z), (1, 1, 1))


def found(solids, **how):
    low, high = np.array([each.low for each in solids]), np.array([each.high for each in solids])
    return contacts(solids, near_pairs(low, high, how.get("soft_gap_m") or 0.0), **how)[0]


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    def mesh(x):
        return cube(x).vertices + np.array([EAST, NORTH, 5.0]), cube(x).triangles

    elements = [
        ("whole", box(0, 0, 3, 1), {"ifc_class": "IfcWall"}),
        ("part", box(0, 0, 1, 1), {"ifc_class": "IfcSlab", "parent_id": "whole"}),
        ("other", box(1, 0, 2, 1), {"ifc_class": "IfcBeam"}),
        ("nothing", box(1, 0, 2, 1), {"ifc_class": "IfcSpace"}),
    ]
    meshes = {"bim_element": {"whole": mesh(0.0), "part": mesh(0.5), "other": mesh(0.8)}}
    with made(tmp_path_factory.mktemp("models"), {"bim_element": elements}, meshes) as opened:
        yield opened


def sent(*solids):
    rows = [
        {
            "id": str(row),
            "vertices": (each.vertices + np.array([EAST, NORTH, 0])).tolist(),
            "triangles": each.triangles.tolist(),
        }
        for row, each in enumerate(solids)
    ]
    return {"meshes": rows, "crs": "city"}


def test_hand_case_hard(city):
    answer = city.run("bim-clash", elements=sent(cube(0), cube(0.8)), crs="city")
    (only,) = answer["clashes"]["features"]
    assert only["properties"]["volume_m3"] == pytest.approx(0.2, abs=1e-8)
    assert (only["properties"]["kind"], only["properties"]["verdict"]) == ("hard", "fail")
    assert only["geometry"]["coordinates"] == pytest.approx([EAST + 0.9, NORTH + 0.5, 0.5])


@pytest.mark.parametrize(("soft", "n"), [(0.1, 1), (0.05, 1), (0.0499, 0), (None, 0)])
def test_hand_case_soft(city, soft, n):
    given_ = {} if soft is None else {"soft_gap_m": soft}
    answer = city.run("bim-clash", elements=sent(cube(0), cube(1.05)), **given_)
    rows = [each["properties"] for each in answer["clashes"]["features"]]
    assert (answer["n_hard"], answer["n_soft"]) == (0, n)
    assert [each["gap_m"] for each in rows] == pytest.approx([0.05] * n, abs=1e-8)
    assert answer["verdict"] == ("fail" if n else "pass")


def test_touching_is_not_hard_and_a_gap_of_nothing():
    assert not found([cube(0), cube(1)])
    (only,) = found([cube(0), cube(1)], soft_gap_m=0.0)
    assert (only.kind, only.gap_m) == (SOFT, 0)
    turned = [cuboid((0, 0, 0), (1, 1, 1), 31), cuboid((1, 0, 0), (1, 1, 1), 31)]
    assert not found(turned), "faces that lie on each other to rounding"
    stored = [solid(each.vertices.astype(np.float32).astype(float), each.triangles) for each in turned]
    assert not found(stored)
    assert found([cube(0), cube(0.999)])[0].volume_m3 == pytest.approx(0.001)
    assert not found([cube(0), cube(0.999)], tolerance_m=0.001), "equal to the tolerance is none"


def test_one_inside_the_other_and_the_same_twice():
    (inner,) = found([cube(0), cuboid((0.25, 0.25, 0.25), (0.5, 0.5, 0.5))])
    assert (inner.kind, inner.volume_m3) == (HARD, pytest.approx(0.125))
    assert found([cube(0), cube(0)])[0].volume_m3 == pytest.approx(1)
    hollow = trimesh.util.concatenate(
        [trimesh.creation.box((3, 3, 3)), trimesh.Trimesh(*_inverted(trimesh.creation.box((2, 2, 2))))]
    )
    room = solid(hollow.vertices, hollow.faces)
    assert room.volume_m3 == pytest.approx(27 - 8)
    assert not found([room, cuboid((-0.5, -0.5, -0.5), (1, 1, 1))]), "in the hollow, not in the wall"


def _inverted(mesh):
    return mesh.vertices, mesh.faces[:, ::-1]


def test_a_cylinder_through_a_wall():
    rod = trimesh.creation.cylinder(0.1, 4, sections=4096)
    wall = trimesh.creation.box((2, 2, 0.3))
    (only,) = found([solid(rod.vertices, rod.faces), solid(wall.vertices, wall.faces)])
    assert only.volume_m3 == pytest.approx(np.pi * 0.01 * 0.3, rel=1e-5)
    beside = rod.copy()
    beside.apply_translation([1.15, 0, 0])
    (only,) = found([solid(beside.vertices, beside.faces), solid(wall.vertices, wall.faces)], soft_gap_m=0.06)
    assert only.gap_m == pytest.approx(0.05, abs=1e-6)


def test_meshes_that_are_not_closed_clash_without_a_volume():
    lid = solid(np.array([[0.5, 0.5, -1], [0.5, 0.5, 2], [3, 0.5, 0.5]]), np.array([[0, 1, 2]]))
    assert not lid.is_closed
    (only,) = found([cube(0), lid])
    assert only.kind == HARD
    assert np.isnan(only.volume_m3)
    inside = solid(np.array([[0.4, 0.4, 0.4], [0.6, 0.4, 0.5], [0.4, 0.6, 0.6]]), np.array([[0, 1, 2]]))
    (only,) = found([cube(0), inside])
    assert only.kind == HARD
    on_top = solid(np.array([[0, 0, 1], [1, 0, 1], [0.5, 0.5, 2.0]]), np.array([[0, 1, 2]]))
    assert not found([cube(0), on_top]), "stands on the face"
    assert found([cube(0), on_top], soft_gap_m=0.0)[0].gap_m == 0
    above = solid(on_top.vertices + np.array([0, 0, 0.25]), on_top.triangles)
    assert found([cube(0), above], soft_gap_m=0.3)[0].gap_m == pytest.approx(0.25)


def test_elements_of_a_layer_and_what_belongs_together(city):
    answer = city.run("bim-clash", elements={"collection": "bim_element"})
    pairs = {frozenset((each["properties"]["a"], each["properties"]["b"])) for each in answer["clashes"]["features"]}
    assert pairs == {frozenset(("whole", "other")), frozenset(("part", "other"))}
    assert answer["without_mesh"] == ["nothing"]
    everything = city.run("bim-clash", elements={"collection": "bim_element"}, ignore_related=False)
    assert everything["n_hard"] == 3
    volumes = [each["properties"]["volume_m3"] for each in everything["clashes"]["features"]]
    assert volumes == pytest.approx([0.7, 0.5, 0.2], abs=1e-5), "stored in single precision"
    beams = {"collection": "bim_element", "filter": "ifc_class = 'IfcBeam'"}
    answer = city.run("bim-clash", elements=beams, against={"collection": "bim_element"}, ignore_related=False)
    assert answer["n_hard"] == 2, "not with itself, each pair once"
    swapped = city.run("bim-clash", elements={"collection": "bim_element"}, against=beams, ignore_related=False)
    assert swapped["n_hard"] == 2


def test_nothing_to_look_at_is_unknown(city):
    nothing = {"collection": "bim_element", "ids": ["nothing", "other"]}
    assert city.run("bim-clash", elements=nothing)["verdict"] == "unknown"


def test_areas_with_base_and_height(city):
    areas = collection(
        feature(box(0, 0, 10, 10), "a", base_elev_m=0.0, height_m=5.0),
        feature(box(5, 0, 15, 10), "b", base_elev_m=4.0, height_m=5.0),
        feature(box(5, 0, 15, 10), "c", base_elev_m=9.5, height_m=5.0),
    )
    answer = city.run("bim-clash", elements=areas, soft_gap_m=0.5)
    rows = [(each["properties"]["a"], each["properties"]["b"], each["properties"]["measured"]) for each in
            answer["clashes"]["features"]]  # fmt: skip
    assert rows == [("a", "b", pytest.approx(50)), ("b", "c", pytest.approx(0.5))]


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ({"soft_gap_m": -0.1}, "soft_gap_m"),
        ({"soft_gap_m": float("nan")}, "soft_gap_m"),
        ({"tolerance_m": 2}, "tolerance_m"),
        ({"elements": {"meshes": [{"id": "x", "vertices": [[0, 0, 0]] * 3, "triangles": [[0, 1, 5]]}]}}, "elements"),
        ({"elements": {"meshes": [{"id": "x", "vertices": [[9, 9, 0]] * 3, "triangles": [[0, 1, 2]]}]}}, "elements"),
        ({"elements": {"meshes": [{"id": "x", "vertices": [[0, 0]] * 3, "triangles": [[0, 1, 2]]}]}}, "elements"),
        ({"elements": {"meshes": [{"id": "x", "vertices": [[0, 0, "a"]] * 3, "triangles": [[0, 1, 2]]}]}}, "elements"),
        ({"elements": {"meshes": [{"id": "x", "vertices": [[0, 0, 0]] * 3, "triangles": [[0, 1, 1.5]]}]}}, "elements"),
        ({"elements": collection()}, "elements"),
    ],
)
def test_wrong_inputs_are_named(city, inputs, named):
    with pytest.raises(InvalidInput, match=named):
        city.run("bim-clash", **({"elements": sent(cube(0))} | inputs))


numbers = st.floats(-2, 2, width=16)
clouds = st.lists(st.tuples(numbers, numbers, numbers), min_size=4, max_size=9, unique=True)


def hull(points):
    body = manifold3d.Manifold.hull_points(np.array(points, float))
    mesh = body.to_mesh64()
    return body, np.asarray(mesh.vert_properties)[:, :3], np.asarray(mesh.tri_verts).astype(np.int64)


@settings(max_examples=60)
@given(clouds, clouds, st.tuples(numbers, numbers, numbers))
@example([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], (1, 0, 0))
def test_volumes_and_gaps_of_hulls_equal_manifolds(first, second, shift):
    (a, va, ta), (b, vb, tb) = hull(first), hull(np.array(second) + shift)
    if a.volume() < 1e-3 or b.volume() < 1e-3:
        return
    got = found([solid(va, ta), solid(vb, tb)], soft_gap_m=5.0)
    swapped = found([solid(vb, tb), solid(va, ta)], soft_gap_m=5.0)
    shared, gap = a ^ b, a.min_gap(b, 5.0)
    thick = 2 * shared.volume() / shared.surface_area() if shared.volume() > 0 else 0.0
    if abs(thick - 1e-4) < 1e-6:
        return  # on the edge of the tolerance rounding decides
    if thick > 1e-4:
        assert [each.kind for each in (*got, *swapped)] == [HARD, HARD]
        assert got[0].volume_m3 == pytest.approx(shared.volume(), rel=1e-6, abs=1e-9)
    elif gap < 5.0 - 1e-6:
        assert [each.kind for each in (*got, *swapped)] == [SOFT, SOFT]
        assert got[0].gap_m == pytest.approx(gap, abs=1e-6)
        assert swapped[0].gap_m == pytest.approx(got[0].gap_m, abs=1e-9)


@settings(max_examples=60)
@given(st.lists(st.tuples(numbers, numbers, numbers), min_size=6, max_size=6))
def test_the_distance_of_two_triangles_equals_a_dense_sample(points):
    a, b = np.array(points[:3], float), np.array(points[3:], float)
    if min(np.linalg.norm(np.cross(t[1] - t[0], t[2] - t[0])) for t in (a, b)) < 1e-3:
        return
    face = np.array([[0, 1, 2]])
    (only,) = found([solid(a, face), solid(b, face)], soft_gap_m=20.0, tolerance_m=1.0)
    n = 20
    grid = np.array([(i / n, j / n) for i in range(n + 1) for j in range(n + 1 - i)])
    pa, pb = (t[0] + grid @ (t[1:] - t[0]) for t in (a, b))
    sampled = np.sqrt(((pa[:, None] - pb[None]) ** 2).sum(axis=2)).min()
    step = max(np.linalg.norm(t[i] - t[j]) for t in (a, b) for i in range(3) for j in range(i)) / n
    assert only.gap_m <= sampled + 1e-9
    assert only.gap_m >= sampled - 2 * step


@settings(max_examples=40)
@given(st.lists(st.tuples(*[st.integers(0, 12)] * 3, *[st.integers(1, 4)] * 3), min_size=1, max_size=14))
def test_boxes_on_a_grid_equal_arithmetic_over_all_pairs(rows):
    solids = [cuboid(row[:3], row[3:]) for row in rows]
    got = {(each.a, each.b): each for each in found(solids, soft_gap_m=2.0)}
    for i, j in itertools.combinations(range(len(rows)), 2):
        a, b = np.array(rows[i]), np.array(rows[j])
        overlap = np.minimum(a[:3] + a[3:], b[:3] + b[3:]) - np.maximum(a[:3], b[:3])
        gap = np.sqrt((np.maximum(-overlap, 0) ** 2).sum())
        if (overlap > 0).all():
            assert got[i, j].volume_m3 == pytest.approx(overlap.prod())
        elif gap <= 2:
            assert (got[i, j].kind, got[i, j].gap_m) == (SOFT, pytest.approx(gap))
        else:
            assert (i, j) not in got


def test_a_tree_finds_the_pairs_that_all_pairs_give():
    rng = np.random.default_rng(3)
    low = rng.uniform(0, [5, 5, 300], (1200, 3))  # a tower
    high = low + rng.uniform(0.1, 2, (1200, 3))
    pairs = np.concatenate(list(near_pairs(low, high, 0.1)))
    apart = np.maximum(low[:, None] - high[None], low[None] - high[:, None]).max(axis=2)
    expected = np.argwhere(np.triu(apart <= 0.1 + 1e-6, 1))
    assert pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist() == expected.tolist()
    crossed = np.concatenate(list(near_pairs(low[:50], high[:50], 0.1, (low[50:], high[50:]))))
    assert len(crossed) == (apart[:50, 50:] <= 0.1 + 1e-6).sum()


def test_winding_tells_inside():
    ball = trimesh.creation.icosphere(2)
    points = np.random.default_rng(0).uniform(-1.2, 1.2, (60, 3))
    inside = [winding(ball.triangles, each) > 0.5 for each in points]
    equations = np.einsum("ij,ij->i", ball.face_normals, ball.triangles[:, 0])
    assert inside == [(ball.face_normals @ each < equations).all() for each in points], "half-spaces of a convex body"
