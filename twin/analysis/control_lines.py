"""The three control lines of a city, and features held against them: shared by process and supervision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.catalogue import Title
from layers.ellipsoid_area import areas_m2
from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.control_line_measure import Measured, measure, verdicts
from twin.analysis.land_classes import SYSTEM
from twin.analysis.overlay import Cover
from twin.analysis.progress import SILENT, Progress
from twin.analysis.verdict import Verdict, worst
from twin.store.interface import Features, Query
from twin.supervision.rules import Rule

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
Shapes = NDArray[np.object_]

USE = ("planned_use", SYSTEM)
MISSING = Title("没有该控制线的数据", "There is no data of this line")
UNDATED = Title("该控制线没有日期", "This line has no date")
NO_AREA = Title("该要素没有面积", "The feature has no area")


@dataclass(frozen=True)
class Line:
    """A control line: its rule, and the line itself or why there is none."""

    name: str
    rule: Rule
    cover: Cover | None
    missing: Title | None = None

    @property
    def is_inside(self) -> bool:
        """Whether what lies inside it is measured, or outside."""
        return bool(self.rule.parameters["measures"] == "inside")


@dataclass(frozen=True)
class Against:
    """(n,) features against a line; `measured` is None where there is no line."""

    line: Line
    measured: Measured | None
    verdicts: NDArray[np.object_]
    notes: list[Title | None]

    @property
    def measured_m2(self) -> FloatArray:
        """(n,) inside or outside, whichever the rule is about; NaN where there is no line."""
        if self.measured is None:
            return np.full(len(self.notes), np.nan)
        return self.measured.inside_m2 if self.line.is_inside else self.measured.outside_m2

    def part(self, row: int, shape: shapely.Geometry) -> shapely.Geometry | None:
        """The part of a feature that is measured; None where there is none."""
        if self.measured is None or not self.measured_m2[row] > 0:
            return None
        return self.measured.part(row, shape, "inside" if self.line.is_inside else "outside")


@dataclass(frozen=True)
class Held:
    """(n,) features against lines: their areas in m² on the ellipsoid, each line, and the worst verdict of each."""

    shapes: Shapes
    areas_m2: FloatArray
    against: list[Against]
    worst: list[Verdict]


def held(found: Features, lines: Sequence[Line], source: str, progress: Progress = SILENT) -> Held:
    """Features with valid areas in `source` against lines; the use is read from `planned_use` and `code_system`."""
    shapes = np.asarray(shapely.force_2d(found.geometry), dtype=object)
    uses = list(zip(*(place.words(found, each) for each in USE), strict=True))
    own_m2 = areas_m2(shapes, source)
    made = []
    for line in lines:
        if line.cover is None:
            made.append(Against(line, None, np.full(len(shapes), "unknown", object), [line.missing] * len(shapes)))
            continue
        measured = measure(shapes, own_m2, line.cover, progress=progress, message=line.name)
        of_rule = measured.inside_m2 if line.is_inside else measured.outside_m2
        made.append(Against(line, measured, *verdicts(line.rule, of_rule, own_m2, uses)))
    return Held(shapes, own_m2, made, [worst(each) for each in zip(*(one.verdicts for one in made), strict=True)])


def line_of(name: str, rule: Rule, found: Features, source: str) -> Line:
    """A line from the features of a layer, which must have a date; what is not valid of it is mended first."""
    if not len(found):
        return Line(name, rule, None, MISSING)
    if not all(found.valid_from):
        return Line(name, rule, None, UNDATED)
    return Line(name, rule, Cover(mended(found.geometry), source, is_one=True))


def city_line(city: "City", name: str, rule: Rule, region: shapely.Geometry | None) -> Line:
    """A line of the city, where the region lies; missing where the layer has no feature anywhere."""
    if name not in city or not city.store.layer(name, city.scope).count:
        return Line(name, rule, None, MISSING)
    found = place.collected(city.store.query(name, Query(region=region, properties=()), city.scope), name)
    return line_of(name, rule, found, city.crs) if len(found) else Line(name, rule, Cover(found.geometry, city.crs))


def given_line(city: "City", name: str, rule: Rule, given: Mapping[str, Any]) -> Line:
    """A line that was given as an input; one of a layer must have a date."""
    batches = place.batches(city, name, given, kinds=place.AREAS, properties=None, is_dense=True)
    found = place.collected(batches, name)
    if not len(found):
        raise InvalidInput(f"{name} has no feature.", "Leave it out where it is not known: it is unknown then.")
    if "collection" in given and not all(found.valid_from):
        return Line(name, rule, None, UNDATED)
    return Line(name, rule, Cover(found.geometry, city.crs, is_one=True))


def mended(shapes: Shapes) -> Shapes:
    """(n,) areas without heights, the invalid ones mended: a step to another CRS may bend edges over others."""
    out = np.asarray(shapely.force_2d(shapes), dtype=object)
    bad = np.flatnonzero(~shapely.is_valid(out) & ~shapely.is_missing(out))
    out[bad] = shapely.make_valid(out[bad])
    return out
