"""CSV, and sheets of workbooks -> points or shapes where they have coordinates, else rows of a table layer; streamed.

RFC 4180 for CSV (`ingest.table.csv_sheet`), ECMA-376 for workbooks (`ingest.table.xlsx`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from ingest import detect, place
from ingest.city_toml import FileHints
from ingest.sensor import reservoir_curve
from ingest.sensor import series as sensor_series
from ingest.table import csv_sheet, join, pipe_survey, pipe_survey_lines, pipe_types, survey_scan, xlsx_sheets
from ingest.table import layer as table_layer
from ingest.table import points as table_points
from ingest.table.layer import Rows
from ingest.table.points import Columns
from ingest.table.sheet import Sheet, slices
from ingest.vector import kinds
from ingest.vector.kinds import Part
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import AssetLayer, Hints, Reading, VectorLayer

SUFFIXES = (".csv",)


def read(path: Path, hints: Hints) -> Reading:
    """One layer (or one for each kind of geometry).

    Raises CrsMissing for coordinates without CRS, InvalidInput when the columns say nothing.
    """
    return reading([csv_sheet.opened(path, hints)], path, "CSV", hints)


def reading(sheets: Sequence[Sheet], path: Path, format_name: str, hints: Hints) -> Reading:
    """The layers of all tables of a file. Raises the first refusal where there is no layer; else they are issues."""
    layers: list[VectorLayer | AssetLayer] = []
    issues: list[Issue] = []
    refusals: list[InvalidInput] = []
    survey = [pipe_survey.role(sheet, hints_of(sheet, hints)) for sheet in sheets]
    for sheet, role in zip(sheets, survey, strict=True):
        issues += sheet.issues
        told = hints_of(sheet, hints)
        try:
            if role == "lines":
                inside = [each for each, other in zip(sheets, survey, strict=True) if other == "points"]
                points = [] if told.join else _points(sheet, inside, hints)
                layers += pipe_survey_lines.layers(sheet, points, told, lambda each: hints_of(each, hints), issues)
            elif role == "points":
                layers += _point_layers(sheet, told, issues)
            else:
                layers += table_layers(sheet, told, issues)
        except InvalidInput as error:
            refusals.append(error)
            issues.append(Issue(error.code, sheet.place, error.problem, error.hint, "error"))
    if not layers:
        raise refusals[0]
    placed = (each.certificate for each in layers if isinstance(each, VectorLayer) and each.certificate)
    return Reading(path, format_name, layers, next(placed, None) or Certificate("none"), issues)


def hints_of(sheet: Sheet, hints: Hints) -> Hints:
    """What is said about one sheet; the file's hints where nothing more is."""
    return hints.for_table(sheet.table) if sheet.table and isinstance(hints, FileHints) else hints


def _points(lines: Sheet, inside: Sequence[Sheet], hints: Hints) -> list[Sheet]:
    """The point tables of a line table: in its workbook, else in files beside it whose names say so.

    Those of the same name but for the words of points and lines go before all others.
    """
    found = list(inside)
    if not found:
        for path in survey_scan.points_beside(lines.path, lines.path.parent.iterdir()):
            sheets = xlsx_sheets.opened(path, hints)[0] if path.suffix.lower() != ".csv" else None
            found += [
                each
                for each in sheets or [csv_sheet.opened(path, hints)]
                if pipe_survey.role(each, hints_of(each, hints)) == "points"
            ]
    own = [each for each in found if survey_scan.key(each.name) == survey_scan.key(lines.name)]
    return own or found


def _point_layers(sheet: Sheet, hints: Hints, issues: list[Issue]) -> list[VectorLayer]:
    """Points of a pipe survey, with what was decided about their columns."""
    told, said = pipe_survey.placed(sheet, hints)
    deep = [column for column in sheet.header if pipe_types.bare(column) in {"埋深", "井深", "井底深"}]
    measured, doubts = pipe_survey.metres(sheet, dict.fromkeys(deep, "depth_m"), hints)
    issues += [*said, *doubts]
    code = pipe_survey.told_column(sheet, hints, "node_code") or ""
    if linked := pipe_types.column(sheet.header, "end_node"):
        message = f"{linked} names the points that each point is connected with; pipes are read from line tables alone."
        hint = "Export the table of pipes (起点点号, 终点点号 …) too and put it beside this one."
        issues.append(Issue("PIPE_LINES_NOT_READ", sheet.place, message, hint, "warning"))
    network = pipe_types.code_in(sheet.name) or pipe_types.code_in(sheet.path.stem)
    spare = {"network": network} if network else {}
    told = replace(
        told,
        layer="pipe_node",  # a layer of pipes that is told for the whole file means its lines
        id_column=hints.id_column or code or None,
        columns={"node_code": code, **told.columns},
        values={**spare, **hints.values},
    )
    return list(table_layers(measured, told, issues))


def table_layers(sheet: Sheet, hints: Hints, issues: list[Issue]) -> Iterator[VectorLayer]:
    """The layers of one table; what is found on opening goes to `issues`.

    Raises InvalidInput for a table without rows, or that fits nothing; CrsMissing for coordinates without CRS.
    """
    if next(sheet.rows(), None) is None:
        problem = f"{sheet.place} has a header but no rows."
        raise InvalidInput(problem, "Export it again.", code="TABLE_EMPTY")
    if hints.join:
        yield join.layer(sheet, hints)
        return
    hints = reservoir_curve.told(sheet, hints)
    columns = table_points.find(sheet, hints)
    if (series := sensor_series.found(sheet, columns, hints)) is not None:
        yield sensor_series.layer(sheet, series, hints)
        return
    certificate = None
    parts = [Part("", "none")]
    if columns is not None:
        certificate, placed = table_points.certificate(sheet, columns, hints)
        parts, split = table_points.parts(sheet, columns, hints)
        issues += [*placed, *split]
    own = {key: column for key, column in hints.columns.items() if key not in {"x", "y", "z"}}
    for part in parts:
        told = kinds.hints_of(part, replace(hints, columns=own))
        rows = _rows(sheet, columns, part, certificate, is_only=sheet.table is None and len(parts) == 1)
        if columns is None:
            _check_understood(rows, sheet, told)
        yield reservoir_curve.checked(table_layer.layer(rows, told))


def _rows(sheet: Sheet, columns: Columns | None, part: Part, certificate: Certificate | None, *, is_only: bool) -> Rows:
    geometry = columns.wkt if columns else None
    names = [name for name in sheet.header if name != geometry] or sheet.header
    return Rows(
        sheet.path,
        sheet.source,
        sheet.name + part.suffix,
        sheet.table,
        pa.schema([sheet.schema.field(name) for name in names]),
        part.geometry_type,
        certificate,
        lambda: table_points.chunks(sheet, columns, part),
        lambda _: (
            (chunk.table for chunk in table_points.chunks(sheet, columns, part))
            if part.kind
            else (piece.table for piece in slices(sheet))
        ),
        is_only=is_only,
    )


def _check_understood(rows: Rows, sheet: Sheet, hints: Hints) -> None:
    """A table without coordinates that fits no layer is refused: its rows would lie nowhere and mean nothing."""
    found = detect.detect(rows.source, rows.name, rows.schema, rows.geometry_type, hints, is_only=rows.is_only)
    if found.is_own:
        raise _not_understood(sheet, found.issues)


def _not_understood(sheet: Sheet, issues: Sequence[Issue]) -> InvalidInput:
    shown = ", ".join(sheet.header[:20]) + (" …" if len(sheet.header) > 20 else "")
    maybe = issues[0].message.partition(" It could be ")[2]
    problem = f"{sheet.place} has no coordinate columns and fits no table layer; its columns are {shown}."
    if maybe:
        problem += f" The nearest layers are {maybe}"
    table = {} if sheet.table is None else {"table": sheet.table}
    lines = place.toml_lines(sheet.source, **table, layer="sensor_obs")
    hint = f'Name the layer and its columns in city.toml:\n{lines}\ncolumns = {{ value = "…" }}'
    return InvalidInput(problem, hint, code="CSV_NOT_UNDERSTOOD")
