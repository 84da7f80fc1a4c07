"""Points of a pipe survey by their codes: from point tables, or from a layer of the city."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from ingest import place, values
from ingest.table import join, pipe_survey
from ingest.table import points as table_points
from ingest.table.sheet import Sheet, slices
from ingest.units import narrow
from layers.certificate import Certificate
from layers.crs import Bounds
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

MAX_POINTS = 5_000_000
SAME_M = 0.001
"""Two points of one code that lie closer are one point."""
Hinted = Callable[[Sheet], Hints]


@dataclass
class Nodes:
    """Points by code: east, north, ground (NaN where unknown).

    Attributes
    ----------
    places : code -> (east, north, ground)
    doubtful : codes that lie in two places
    tables : where they come from
    """

    places: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    tables: list[str] = field(default_factory=list)

    def add(self, sheet: Sheet, hints: Hints) -> None:
        """All points of a table. Raises InvalidInput for axes that are not clear, or more points than are kept."""
        told, _ = pipe_survey.placed(sheet, hints)
        code = pipe_survey.told_column(sheet, hints, "node_code") or ""
        self.tables.append(sheet.place)
        for piece in slices(sheet):
            columns = [told.columns["x"], told.columns["y"], told.columns.get("z")]
            x, y, z = (
                np.full(piece.table.num_rows, np.nan) if each is None else table_points.numbers(piece.table, each)
                for each in columns
            )
            for text, *at in zip(codes(piece.table, code), x.tolist(), y.tolist(), z.tolist(), strict=True):
                if text is not None and np.isfinite(at[:2]).all():
                    self.take(text, (at[0], at[1], at[2]))
        if len(self.places) > MAX_POINTS:
            problem = f"{sheet.place} and others hold more than {MAX_POINTS} points."
            raise InvalidInput(problem, "Split the survey.", code="TABLE_TOO_LARGE")

    def take(self, code: str, at: tuple[float, float, float]) -> None:
        """One point; a code that came before from another place is doubtful."""
        known = self.places.setdefault(code, at)
        if abs(known[0] - at[0]) > SAME_M or abs(known[1] - at[1]) > SAME_M:
            self.doubtful.add(code)

    def bounds(self) -> Bounds | None:
        """West, south, east, north."""
        if not self.places:
            return None
        xy = np.array(list(self.places.values()), np.float64)[:, :2]
        return (*map(float, xy.min(axis=0)), *map(float, xy.max(axis=0)))  # type: ignore[return-value]


def codes(table: pa.Table, column: str) -> list[str | None]:
    """(n,) codes as text, full-width letters made plain; None for empty marks."""
    array = table.column(column)
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return [None if text is None else narrow(text) for text in values.as_text(whole).to_pylist()]


def from_tables(
    sheet: Sheet, points: Sequence[Sheet], hinted: Hinted, issues: list[Issue]
) -> tuple[Nodes, Certificate]:
    """The points of tables in the same workbook or folder, in the CRS that is told for them."""
    if not points:
        problem = f"{sheet.place} names the ends of its pipes, but there is no table of points beside it."
        hint = "Put the point table into the same folder or workbook, such as 管点.csv beside 管线.csv."
        raise InvalidInput(problem, hint, code="PIPE_POINTS_MISSING")
    nodes = Nodes()
    for each in points:
        nodes.add(each, hinted(each))
    certificate, placed = place.certificate(
        None, hinted(points[0]), sheet.source, nodes.bounds(), table=sheet.table or ""
    )
    issues += placed
    return nodes, certificate


def from_city(sheet: Sheet, hints: Hints) -> tuple[Nodes, Certificate]:
    """The points of a layer of the city, as `join` names it: `attribute` there, any end of a pipe here."""
    if hints.lookup is None or hints.city_crs is None:
        problem = f"{sheet.place} takes its points from layer {hints.join['layer']!r}, which only a city has."
        raise InvalidInput(problem, "Build the folder, or add the file to a city.", code="JOIN_NEEDS_CITY")
    layer, attribute = hints.join["layer"], hints.join["attribute"]
    ends = [pipe_survey.told_column(sheet, hints, name) or "" for name in ("start_node", "end_node")]
    nodes = Nodes(tables=[f"layer {layer!r}"])
    for piece in slices(sheet):
        asked = {code: join.key(code, attribute) for each in ends for code in codes(piece.table, each) if code}
        asked = {code: key for code, key in asked.items() if code not in nodes.places}
        found = hints.lookup(layer, attribute, set(asked.values()))
        for code, key in asked.items():
            for match in found.get(key, ()):
                if match.geometry is not None and match.geometry.geom_type == "Point":
                    z = match.geometry.z if match.geometry.has_z else float("nan")
                    nodes.take(code, (match.geometry.x, match.geometry.y, z))
    return nodes, Certificate("joined", source_crs=hints.city_crs, parameters={"join": dict(hints.join)})
