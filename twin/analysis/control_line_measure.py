"""How much of areas lies inside or outside a control line, and what that means.

Over the tolerance in m² and over the tolerance as a share of the area: the rule's own verdict (`fail`, or `review` for
uses that may be allowed there); over the one in m² only: `review`; equal to it passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import land_codes
from layers.catalogue import Title
from twin.analysis.overlay import Cover, Pieces, common, polygonal, uncovered_m2
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import SAME, Verdict
from twin.supervision.rules import Rule, softened

FloatArray = NDArray[np.float64]
Shapes = NDArray[np.object_]

NO_USE = Title(
    "未说明规划用途，不知是否为城镇用途", "The planned use is not stated: whether it is an urban one is not known"
)
UNKNOWN_USE = Title("规划用途代码不在其分类中", "The planned use is no code of its list")
NOT_URBAN = Title("不是城镇用途，可在边界外", "No urban use: it may lie outside")


@dataclass(frozen=True)
class Measured:
    """(n,) areas against one line.

    Attributes
    ----------
    inside_m2 : (n,) on the ellipsoid
    outside_m2 : (n,)
    pieces : what is inside
    """

    inside_m2: FloatArray
    outside_m2: FloatArray
    pieces: Pieces

    def part(self, row: int, shape: shapely.Geometry, measures: str) -> shapely.Geometry:
        """What of an area lies inside, or outside."""
        inside = shapely.union_all(polygonal(self.pieces.shapes[self.pieces.left == row]))
        return inside if measures == "inside" else shapely.difference(shape, inside)


def measure(
    shapes: Shapes, areas_m2: FloatArray, line: Cover, *, progress: Progress = SILENT, message: str = ""
) -> Measured:
    """(n,) valid areas against a line, which is one area (`Cover(..., is_one=True)`)."""
    pieces = common(shapes, line, left_m2=areas_m2, progress=progress, message=message)
    return Measured(pieces.of_left(len(shapes)), uncovered_m2(areas_m2, pieces), pieces)


def tolerance_verdicts(
    measured_m2: FloatArray, areas_m2: FloatArray, tolerance_m2: float, share_pct: float, beyond: Verdict = "fail"
) -> NDArray[np.object_]:
    """(n,) pass up to `tolerance_m2`, `review` up to `share_pct` of the area, else `beyond`; unknown for NaN."""
    with np.errstate(invalid="ignore"):
        is_over = measured_m2 > tolerance_m2 + SAME
        is_large = measured_m2 > areas_m2 * (share_pct / 100.0) + SAME
    found = np.where(is_over, np.where(is_large, beyond, "review"), "pass").astype(object)
    found[np.isnan(measured_m2) | np.isnan(areas_m2)] = "unknown"
    return found


def use_verdict(rule: Rule, code: str | None, system: str | None) -> tuple[Verdict, Title | None]:
    """What land of a use outside the line comes to, by the rule's table: `pass` where the use is no urban one."""
    if not code or not system:
        return "unknown", NO_USE
    known = land_codes.read(code, system)
    if known is not None and not known.plain:
        return "unknown", UNKNOWN_USE
    plain = code.strip().upper() if known is None else known.plain
    for n in range(len(plain), 1, -1):
        row = rule.row({"code_system": system, "use": plain[:n]})
        if row is not None:
            found: Verdict = row.value
            return found, NOT_URBAN if found == "pass" else None
    return "pass", NOT_URBAN


def verdicts(
    rule: Rule,
    measured_m2: FloatArray,
    areas_m2: FloatArray,
    uses: Sequence[tuple[str | None, str | None]] | None = None,
) -> tuple[NDArray[np.object_], list[Title | None]]:
    """(n,) verdicts of a rule of `control_lines.yaml` and notes on them; `uses` are codes with their lists.

    A rule with a table asks for the use; the use of what lies within the tolerance does not matter.
    """
    tolerance_m2, share_pct = float(rule.value or 0.0), float(rule.parameters["share_pct"])
    found = tolerance_verdicts(measured_m2, areas_m2, tolerance_m2, share_pct)
    notes: list[Title | None] = [None] * len(found)
    if rule.rows:
        given = uses if uses is not None else [(None, None)] * len(found)
        known = {each: use_verdict(rule, *each) for each in set(given)}
        for row in np.flatnonzero(np.isin(found, ("fail", "review"))).tolist():
            beyond, notes[row] = known[given[row]]
            if beyond in ("pass", "unknown") or found[row] == "fail":
                found[row] = beyond
    if rule.confidence == "low":
        found = np.array([softened(each, rule.confidence) for each in found], object)
    return found, notes
