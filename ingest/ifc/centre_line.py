"""The centre line of one IfcAlignment: what the file says in numbers becomes points that keep to it within 1 cm."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.ifc.alignment import KINDS, Turn
from ingest.ifc.profile import EXACT, Profile, Rise, steps

FloatArray = NDArray[np.float64]

CHORD_M = 0.01
"""Greatest distance of the sampled line from the true one: half of it in plan, half of it in height."""
GAP_M = 0.01
_MAX_SAMPLES = 200_000
_MAX_LENGTH_M = 1e7
_MAX_TURN = 1000.0


class Unusable(ValueError):
    """An alignment whose numbers make no line; says why."""


@dataclass(frozen=True)
class CentreLine:
    """Horizontal segments one after the other, and the heights along them where the file has any.

    Attributes
    ----------
    turns, starts : segments and the distances at which they start, metres
    length : metres along the horizontal line
    profile : None where the file has no vertical layout
    """

    turns: tuple[Turn, ...]
    starts: FloatArray
    length: float
    profile: Profile | None
    notes: list[str] = field(default_factory=list)

    def at(self, distances: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(n, 3) points and (n,) directions at ascending distances; z is 0 without a profile.

        Before the start and after the end the line goes straight on.
        """
        plan, headings = np.empty((len(distances), 2)), np.empty(len(distances))
        owner = np.clip(np.searchsorted(self.starts, distances, side="right") - 1, 0, len(self.turns) - 1)
        for i in np.unique(owner):
            turn, mine = self.turns[int(i)], owner == i
            s = distances[mine] - self.starts[i]
            inside = np.clip(s, 0.0, turn.length)
            headings[mine] = turn.headings(inside)
            beyond = (s - inside)[:, None]
            ahead = np.column_stack([np.cos(headings[mine]), np.sin(headings[mine])])
            plan[mine] = turn.points(inside) + beyond * ahead
        heights = np.zeros(len(distances)) if self.profile is None else self.profile.heights(distances)
        return np.column_stack([plan, heights]), headings

    def sampled(self) -> FloatArray:
        """(n, 3) points of the whole line, chords within CHORD_M."""
        wanted = [
            steps(float(start), turn.length, turn.sharpest(), CHORD_M / 2)
            for start, turn in zip(self.starts, self.turns, strict=True)
        ]
        if self.profile is not None:
            wanted += [steps(each.start, each.length, each.sharpest(), CHORD_M / 2) for each in self.profile.rises]
        if sum(map(len, wanted)) > _MAX_SAMPLES:
            raise Unusable(f"it would need more than {_MAX_SAMPLES} points")
        distances = np.unique(np.concatenate(wanted).clip(0.0, self.length))
        keep = np.diff(distances, prepend=-1.0) > 1e-6
        keep[-1] = True
        return self.at(distances[keep])[0]


def centre_line(found: Mapping[str, Any], unit_m: float) -> CentreLine:
    """From the numbers of `ingest.ifc.alignment_facts` in project units. Raises Unusable."""
    notes: list[str] = []
    turns = _turns(found, unit_m)
    starts = np.concatenate([[0.0], np.cumsum([each.length for each in turns])])
    length = float(starts[-1])
    profile = _profile(found["vertical"], length, unit_m, notes)
    line = CentreLine(tuple(turns), starts[:-1], length, profile, notes)
    _check_gaps(line)
    if line.profile is not None:
        low, high = line.profile.reach
        if low > GAP_M or high < line.length - GAP_M:
            notes.append(
                f"its heights are given from {low:.2f} to {high:.2f} m of {line.length:.2f} m; beyond, the gradient is "
                "kept"
            )
    return line


def _turns(found: Mapping[str, Any], unit_m: float) -> list[Turn]:
    turns = []
    for each in found["horizontal"]:
        numbers = [each["x"], each["y"], each["direction"], each["start_radius"], each["end_radius"], each["length"]]
        if not all(map(math.isfinite, numbers)) or each["length"] < 0:
            raise Unusable("a horizontal segment has numbers that are not finite, or a negative length")
        if each["kind"] not in KINDS:
            raise Unusable(f"a horizontal segment is of type {each['kind']}, which is not known")
        x, y, first, last, length = (numbers[i] * unit_m for i in (0, 1, 3, 4, 5))
        if length == 0:
            continue  # the last segment of a layout may have no length (IFC 4.3.2, concept template)
        lean = _lean(each, found["cant"], length, unit_m) if each["kind"] == "VIENNESEBEND" else 0.0
        turns.append(Turn(x, y, float(each["direction"]), first, last, length, each["kind"], lean))
    if not turns:
        raise Unusable("it has no horizontal segment with a length")
    if sum(each.length for each in turns) > _MAX_LENGTH_M:
        raise Unusable(f"it is longer than {_MAX_LENGTH_M / 1000:.0f} km")
    if sum(each.length * each.sharpest() for each in turns) > _MAX_TURN:
        raise Unusable("it turns round and round: a radius or a length must be wrong")
    return turns


def _lean(segment: Mapping[str, Any], cant: Mapping[str, Any] | None, length_m: float, unit_m: float) -> float:
    """The cant segment at the same distance gives the change of the angle; 0 without one."""
    height = segment["gravity_height"]
    if cant is None or not height or not cant["rail_distance"]:
        return 0.0
    same = [each for each in cant["segments"] if abs(each["start"] - segment["start"]) * unit_m < GAP_M]
    if not same or not all(map(math.isfinite, [height, *same[0]["left"], *same[0]["right"]])):
        return 0.0
    (left0, left1), (right0, right1) = same[0]["left"], same[0]["right"]
    change = (right1 - left1 - right0 + left0) / cant["rail_distance"]
    return float(-420.0 * height * unit_m / length_m * change)


def _profile(segments: Sequence[Mapping[str, Any]], along_m: float, unit_m: float, notes: list[str]) -> Profile | None:
    rises: list[Rise] = []
    ordered = sorted(segments, key=lambda each: float(each["start"]))
    for i, each in enumerate(ordered):
        numbers = [each["start"], each["height"], each["length"], each["first"], each["last"]]
        if not all(map(math.isfinite, numbers)) or each["length"] < 0:
            raise Unusable("a vertical segment has numbers that are not finite, or a negative length")
        if each["length"] == 0 and rises:
            continue
        following = ordered[i + 1]["height"] * unit_m if i + 1 < len(ordered) else None
        start, height, length = (value * unit_m for value in numbers[:3])
        if each["kind"] not in EXACT:
            notes.append(f"its vertical segment {i + 1} is of type {each['kind']} and is read as a cubic")
        rises.append(Rise(start, height, length, numbers[3], numbers[4], each["kind"], following))
    for one, other in pairwise(rises):
        step = float(one.heights(np.array([other.start]))[0]) - other.height
        if abs(step) > GAP_M:
            notes.append(f"its heights jump by {-step:.3f} m at {other.start:.2f} m")
    if rises and (rises[0].start > along_m or rises[-1].start + rises[-1].length < 0):
        notes.append(
            f"its heights are given for {rises[0].start:.2f} m and on, where the line is not; they are left out"
        )
        return None
    return Profile(tuple(rises)) if rises else None


def _check_gaps(line: CentreLine) -> None:
    """Each segment says where it starts, so the end of the one before can be compared with it."""
    for i, (one, other) in enumerate(pairwise(line.turns)):
        end = one.points(np.array([one.length]))[0]
        gap = math.hypot(end[0] - other.x, end[1] - other.y)
        if gap > GAP_M:
            line.notes.append(f"its segment {i + 1} ({one.kind}) ends {gap:.3f} m beside the next one's start")
