"""Footprints and models of the same buildings: areas by hand, and brute force over all pairs."""

import numpy as np
import pytest
import shapely

from twin.fuse.same_as import match


def test_the_overlap_is_intersection_over_union():
    footprints = np.array([shapely.box(0, 0, 10, 10), shapely.box(30, 0, 40, 10), None], object)
    models = np.array(
        [
            shapely.box(0, 0, 10, 10),  # the same
            shapely.box(2, 0, 12, 10),  # 80 common, 120 together
            shapely.box(8, 0, 18, 10),  # only a fifth of the smaller one
            shapely.box(20, 0, 60, 10),  # a complex over the second footprint: 100 of 400
            None,
        ],
        object,
    )
    found = match(models, footprints)
    assert found.footprint.tolist() == [0, 0, -1, 1, -1]
    assert found.overlap[[0, 1, 3]] == pytest.approx([1, 80 / 120, 100 / 400])
    assert np.isnan(found.overlap[[2, 4]]).all()


def test_of_several_the_one_with_the_largest_common_area_is_it_and_the_others_are_counted():
    footprints = np.array([shapely.box(0, 0, 6, 10), shapely.box(6, 0, 20, 10), shapely.box(50, 0, 60, 10)], object)
    found = match(np.array([shapely.box(0, 0, 20, 10)], object), footprints)
    assert (found.footprint.tolist(), found.rivals.tolist()) == ([1], [1])


def test_bow_ties_and_nothing_do_no_harm():
    bow_tie = shapely.Polygon([(0, 0), (10, 10), (10, 0), (0, 10)])
    assert match(np.array([bow_tie], object), np.array([shapely.box(0, 0, 10, 10)], object)).footprint.tolist() == [0]
    assert match(np.array([], object), np.array([], object)).footprint.tolist() == []
    assert match(np.array([bow_tie], object), np.array([], object)).footprint.tolist() == [-1]


def test_against_brute_force():
    draw = np.random.default_rng(8)

    def boxes(n):
        x, y, w, h = draw.uniform(0, 300, n), draw.uniform(0, 300, n), draw.uniform(4, 30, n), draw.uniform(4, 30, n)
        return np.asarray(shapely.box(x, y, x + w, y + h), object)

    models, footprints = boxes(60), boxes(150)
    found = match(models, footprints)
    for i, model in enumerate(models):
        fitting = [
            (-model.intersection(each).area, j)
            for j, each in enumerate(footprints)
            if model.intersection(each).area >= 0.5 * min(model.area, each.area)
        ]
        assert found.footprint[i] == (min(fitting)[1] if fitting else -1)
        if fitting:
            best = footprints[min(fitting)[1]]
            assert found.overlap[i] == pytest.approx(model.intersection(best).area / model.union(best).area)
            assert found.rivals[i] == len(fitting) - 1
