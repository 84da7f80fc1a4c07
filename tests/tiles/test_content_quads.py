"""Quadrilaterals cut along their other diagonal: the surface stays the same, and only plane convex ones are."""

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from layers.mesh import Mesh, encode
from tests.tiles.test_content import areas, tile


def drawn(corners, triangles=((0, 1, 2), (0, 2, 3))):
    return tile([encode(Mesh(np.array(corners, float), np.array(triangles)))]).triangles().corners


def diagonals(corners):
    """The side that two triangles share, as a set of rounded ends."""
    sides = [{frozenset(map(tuple, np.round([t[i], t[i - 1]], 3).tolist())) for i in range(3)} for t in corners]
    return sides[0] & sides[1]


def cut(a, b):
    return {frozenset([tuple(map(float, a)), tuple(map(float, b))])}


WALL = [[0, 0, 0], [5, 0, 0], [5, 0, 3], [0, 0, 3]]


def test_a_wall_and_a_roof_are_cut_from_the_other_corner():
    assert diagonals(drawn(WALL)) == cut(WALL[1], WALL[3])
    roof = [[0, 0, 9], [5, 0, 9], [5, 4, 9], [0, 4, 9]]
    assert diagonals(drawn(roof)) == cut(roof[1], roof[3])


def test_what_is_not_plane_not_convex_or_leans_stays_as_it_was():
    bent = [[0, 0, 0], [5, 0, 0], [5, 0, 3], [0, 0.001, 3]]
    arrow = [[0, 0, 9], [5, 0, 9], [1, 1, 9], [0, 5, 9]]  # reaches inwards at its third corner
    leaning = [[0, 0, 0], [5, 0, 0], [5, 2, 3], [0, 2, 3]]
    for quad in (bent, arrow, leaning):
        assert diagonals(drawn(quad)) == cut(quad[0], quad[2])


def test_two_colours_are_never_mixed():
    palette = np.array([[255, 0, 0, 255], [0, 255, 0, 255]], np.uint8)
    wall = encode(Mesh(np.array(WALL, float), np.array([[0, 1, 2], [0, 2, 3]]), np.array([0, 1]), palette))
    assert diagonals(tile([wall]).triangles().corners) == cut(WALL[0], WALL[2])


angle = st.floats(0, 2 * np.pi)


@settings(max_examples=80, deadline=None)
@given(st.lists(angle, min_size=3, max_size=12, unique_by=lambda a: round(a, 1)), st.floats(0.5, 30), st.booleans())
def test_a_fan_covers_the_same_face_once(turns, radius, is_star):
    """Fans over convex and star-shaped outlines: shapely's area of the union is that of the sum, before and after."""
    turns = np.sort(turns)
    reach = radius * (np.where(np.arange(len(turns)) % 2, 0.4, 1.0) if is_star else np.ones(len(turns)))
    outline = np.c_[reach * np.cos(turns), reach * np.sin(turns), np.full(len(turns), 7.0)]
    fan = [(0, i, i + 1) for i in range(1, len(turns) - 1)]
    before = outline[np.array(fan)]
    across = np.cross(before[:, 1] - before[:, 0], before[:, 2] - before[:, 0])[:, 2]
    fan = [t if up > 0 else (t[0], t[2], t[1]) for t, up in zip(fan, across, strict=True)]
    after = drawn(outline, fan)
    clear = areas(before) > 1e-6
    assert clear.sum() <= len(after) <= len(before)
    np.testing.assert_allclose(areas(after).sum(), areas(before).sum(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(_union(after), _union(before), rtol=1e-5, atol=1e-4)
    up = np.cross(after[:, 1] - after[:, 0], after[:, 2] - after[:, 0])[:, 2]
    assert (up > 0).all()


def _union(corners):
    flat = [shapely.Polygon(t[:, :2]) for t in corners]
    return shapely.area(shapely.union_all(flat, grid_size=1e-6))
