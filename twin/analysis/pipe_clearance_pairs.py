"""P25, the numbers: net clearances between pipes and how they stand to the tables, for arrays of pipes.

Side by side: distance in plan, outer wall to outer wall, whatever the heights. Where plans cross: the difference of
heights there, outer wall to outer wall. Near a crossing pipes are near in plan of necessity: what lies within twice the
reach of it (limit and radii; pipes that cross at less than 30 degrees leave it) is the crossing's, the rest is side by
side. Joined pipes are no clash. What is not known is `unknown`, and told where it may be too near.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis import pipe_distance, pipe_joints
from twin.analysis.pipe_distance import Pairs, Segments
from twin.analysis.pipe_limits import Table, classes
from twin.analysis.pipes import MM, Pipes
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME
from twin.supervision.rules import Rule

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ObjectArray = NDArray[np.object_]
NOT_IN_GROUND = ("overhead", "tunnel")
"""Pipes above ground or in a utility tunnel: the tables are of buried ones."""
SINE = 0.5
"""Of 30 degrees: a pipe that crosses at more is beyond reach where it is twice the reach from the crossing."""
MARGIN_M = 0.1
"""Pairs that keep the largest limit by no more than this are told to pass; those farther apart are not looked at."""


@dataclass(frozen=True)
class Clearances:
    """(k,) pairs of pipes (numbers of rows) under one of the two tables.

    Attributes
    ----------
    is_vertical : by the table of crossings
    net_m : outer wall to outer wall; NaN where a size or height is not known, negative where they overlap
    limit_m, verdict, confidence : of the table's line
    space_m : outer wall to outer wall in space; NaN where not known or a section is not round
    place : where: a line from one to the other in plan, or the point where plans cross
    lacks : what is not known: `od`, `height`, `fact` (a pressure, burial or diameter that the table asks for)
    """

    a: IntArray
    b: IntArray
    is_vertical: NDArray[np.bool_]
    net_m: FloatArray
    limit_m: FloatArray
    verdict: ObjectArray
    confidence: ObjectArray
    space_m: FloatArray
    place: ObjectArray
    lacks: ObjectArray

    def __len__(self) -> int:
        return len(self.a)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "Clearances":
        """Some of them."""
        return Clearances(**{key: value[rows] for key, value in vars(self).items()})


def clearances(pipes: Pipes, horizontal: Rule, vertical: Rule, *, progress: Progress = SILENT) -> Clearances:
    """All pairs of pipes that a table has a limit for and that are near enough to matter.

    Pairs that pass are there too where they lie within `MARGIN_M` of the largest limit of the table.
    """
    number, facts = classes(pipes)
    beside, above = Table(horizontal, facts), Table(vertical, facts)
    half = half_sizes(pipes, horizontal)
    given = pipe_distance.segments(pipes.geometry, pipes.has_axis)
    found = pipe_distance.pairs(
        given, half[0], beside.largest + MARGIN_M, pipe_joints.labels(pipes), progress=progress.part(0, 90)
    )
    found = found.take(~pipe_joints.tees(pipes, found))
    progress(92, "limits")
    buried = is_buried(pipes)
    found = found.take(buried[found.a] & buried[found.b])
    work = _Work(pipes, number, *half)
    made = joined(
        _side_by_side(work, found.take(~found.crosses), beside),
        _crossing(work, found.take(found.crosses), above),
        _beside_crossing(work, found.take(found.crosses), beside),
    )
    covered = beside.largest + MARGIN_M + half[0][made.a] + half[0][made.b]
    made = _with_space(made, pipes, given, covered)
    order = np.lexsort((made.is_vertical, made.b, made.a))
    progress(100, f"{len(made)} pairs")
    return made.take(order)


def half_sizes(pipes: Pipes, rule: Rule) -> tuple[FloatArray, FloatArray]:
    """(n,) half widths and half heights; where they are not known, the largest that is thought possible."""
    most = np.where(
        np.isfinite(pipes.dn_mm),
        pipes.dn_mm * MM * float(rule.parameters.get("od_at_most_dn", 1.5)),
        float(rule.parameters.get("od_at_most_m", 3.0)),
    )
    return tuple(np.where(np.isfinite(each), each, most) / 2 for each in (pipes.width_m, pipes.height_m))  # type: ignore[return-value]


@dataclass(frozen=True)
class Measured:
    """(k,) pairs before they are judged; `at_least_m` is what an unknown net cannot be below, `missing` why it is."""

    a: IntArray
    b: IntArray
    net_m: FloatArray
    at_least_m: FloatArray
    missing: ObjectArray
    place: ObjectArray
    space_m: FloatArray
    is_vertical: bool


def judged(found: Measured, table: Table, class_a: IntArray, class_b: IntArray) -> Clearances:
    """Pairs against the table; those without a limit, and unknown ones that cannot be too near, are left out."""
    least, most, sure, confidence = table.limits(class_a, class_b)
    net = found.net_m
    with np.errstate(invalid="ignore"):
        passes, fails = net >= most - SAME, (net < least - SAME) & sure
        matters = np.isfinite(most) & (np.isfinite(net) | (found.at_least_m < most - SAME))
    verdict = np.where(passes, "pass", np.where(fails, np.where(confidence == "low", "review", "fail"), "unknown"))
    lacks = np.where(np.isnan(net), found.missing, np.where(verdict == "unknown", "fact", ""))
    made = Clearances(
        found.a, found.b, np.full(len(net), found.is_vertical), net, np.where(fails, least, most),
        verdict.astype(object), confidence, found.space_m, found.place, lacks.astype(object),
    )  # fmt: skip
    return made.take(matters)


def is_buried(pipes: Pipes) -> NDArray[np.bool_]:
    """(n,) pipes that the tables are of."""
    return ~np.isin(pipes.burial.astype(str), NOT_IN_GROUND)


@dataclass(frozen=True)
class _Work:
    """(n,) pipes, their classes, and half of what they are wide and high, at most."""

    pipes: Pipes
    number: IntArray
    half_width: FloatArray
    half_height: FloatArray


def _side_by_side(work: _Work, found: Pairs, table: Table) -> Clearances:
    place = shapely.linestrings(np.stack([found.plan_a, found.plan_b], axis=1))
    return _beside(work, found, found.plan_m, np.asarray(place, object), table)


def _beside(work: _Work, found: Pairs, plan_m: FloatArray, place: ObjectArray, table: Table) -> Clearances:
    a, b = found.a, found.b
    net = plan_m - (work.pipes.width_m[a] + work.pipes.width_m[b]) / 2
    at_least = plan_m - work.half_width[a] - work.half_width[b]
    made = Measured(a, b, net, at_least, np.full(len(a), "od", object), place, found.space_m, is_vertical=False)
    return judged(made, table, work.number[a], work.number[b])


def _crossing(work: _Work, found: Pairs, table: Table) -> Clearances:
    a, b = found.a, found.b
    net = found.gap_m - (work.pipes.height_m[a] + work.pipes.height_m[b]) / 2
    is_known = np.isfinite(found.gap_m)
    at_least = np.where(is_known, found.gap_m - work.half_height[a] - work.half_height[b], -np.inf)
    missing = np.where(is_known, "od", "height").astype(object)
    place = np.asarray(shapely.points(found.cross_at), object)
    made = Measured(a, b, net, at_least, missing, place, found.space_m, is_vertical=True)
    return judged(made, table, work.number[a], work.number[b])


def _beside_crossing(work: _Work, found: Pairs, table: Table) -> Clearances:
    """Pairs that cross, where they are too near each other away from the crossing."""
    # where one straight piece crosses another at 30 degrees or more and no other is near, there is nothing beside
    found = found.take((found.n_near > 1) | (found.sine < SINE))
    _, most, _, _ = table.limits(work.number[found.a], work.number[found.b])
    found, most = found.take(np.isfinite(most)), most[np.isfinite(most)]
    reach = most + work.half_width[found.a] + work.half_width[found.b]
    lines = work.pipes.geometry[found.a], work.pipes.geometry[found.b]
    plan, place = pipe_distance.beside(*lines, pipe_distance.crossings(*lines), reach / SINE)
    with np.errstate(invalid="ignore"):
        near = np.flatnonzero(plan < reach - SAME)
    return _beside(work, found.take(near), plan[near], place[near], table)


def _with_space(made: Clearances, pipes: Pipes, given: Segments, covered_m: FloatArray) -> Clearances:
    """Axes' distances in space, exact where the nearest place lies beyond what was looked at, as net ones."""
    space = pipe_distance.exact_space(made.space_m, covered_m, made.a, made.b, given)
    is_round = pipes.is_round[made.a] & pipes.is_round[made.b]
    net = np.where(is_round, space - (pipes.width_m[made.a] + pipes.width_m[made.b]) / 2, np.nan)
    return Clearances(**{**vars(made), "space_m": net})


def joined(*parts: Clearances) -> Clearances:
    """Several as one."""
    return Clearances(**{key: np.concatenate([getattr(each, key) for each in parts]) for key in vars(parts[0])})
