"""Line tables of pipe surveys -> pipes: each end lies where the point table has its point (CJJ 61-2017, appendix F).

A pipe whose end is in no point table is rejected with its content. Heights stay attributes; where a table has depths
and no elevations, and the points have the ground's height, z of the line is ground minus depth.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from ingest import geometry as shapes
from ingest import place, units, values
from ingest.geometry import Conformed
from ingest.stream import Chunk
from ingest.table import layer as table_layer
from ingest.table import pipe_survey, pipe_survey_nodes, pipe_types
from ingest.table.layer import Rows
from ingest.table.pipe_survey_nodes import Hinted, Nodes, codes
from ingest.table.sheet import Sheet, Slice, as_text, slices
from ingest.units import narrow
from layers import catalogue
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, VectorLayer

_BOX = re.compile(r"^\s*\d+(?:\.\d+)?\s*(?:mm)?\s*[xX×*✕╳乘]\s*\d+(?:\.\d+)?\s*(?:mm)?\s*$")
_TYPE = "type_code"


@dataclass(frozen=True)
class _Table:
    """A line table, read: its columns, its nodes, and how its rows are told apart."""

    sheet: Sheet
    nodes: Nodes
    start: str
    end: str
    type_column: str | None
    code: str | None
    heights: dict[str, str]
    diameter: str | None
    hints: Hints


def layers(
    sheet: Sheet, points: Sequence[Sheet], hints: Hints, hinted: Hinted, issues: list[Issue]
) -> Iterator[VectorLayer]:
    """One layer for each kind of pipe in a line table; findings on opening go to `issues`.

    Raises InvalidInput where there is no point table, no kind of pipe, or nothing says where the points are.
    """
    if hints.join:
        nodes, certificate = pipe_survey_nodes.from_city(sheet, hints)
    else:
        nodes, certificate = pipe_survey_nodes.from_tables(sheet, points, hinted, issues)
    told = ", ".join(nodes.tables)
    issues.append(Issue("PIPE_POINTS", sheet.place, f"{len(nodes.places)} points are from {told}.", "", "info"))
    table, said = _opened(sheet, nodes, hints)
    issues += said
    counts = _kinds(table)
    if not any(code and pipe_types.layer_of(code) for code in counts):
        raise _no_kind(table)
    first = True
    for layer_id in _layer_ids(table, counts):
        yield _layer(table, layer_id, certificate, takes_rest=first, is_only=len(counts) == 1)
        first = False


def _opened(sheet: Sheet, nodes: Nodes, hints: Hints) -> tuple[_Table, list[Issue]]:
    found, reference, issues = pipe_survey.heights(sheet)
    depths = {column: name for name, column in found.items() if name.endswith("depth_m")}
    sheet, said = pipe_survey.metres(sheet, depths, hints)
    found = {name: column for name, column in found.items() if column in sheet.header}
    start, end = (pipe_survey.told_column(sheet, hints, name) or "" for name in ("start_node", "end_node"))
    diameter = pipe_survey.told_column(sheet, hints, "dn_mm")
    columns = {**found, "start_node": start, "end_node": end, _TYPE: _TYPE, "section": _section_of(sheet, hints)}
    columns |= {"dn_mm": diameter} if diameter else {}
    own = {key: column for key, column in hints.columns.items() if key not in {"x", "y", "z", _TYPE}}
    known = {} if reference is None or "z_ref" in hints.values else {"z_ref": reference}
    told = replace(hints, columns={**columns, **own}, values={**known, **hints.values})
    code = pipe_types.code_in(sheet.name) or pipe_types.code_in(sheet.path.stem)
    type_column = hints.columns.get(_TYPE) or pipe_types.column(sheet.header, _TYPE)
    return _Table(sheet, nodes, start, end, type_column, code, found, diameter, told), [*issues, *said]


def _section_of(sheet: Sheet, hints: Hints) -> str:
    return pipe_survey.told_column(sheet, hints, "section") or "section"


def _kinds(table: _Table) -> Counter[str | None]:
    counts = Counter[str | None]()
    for piece in slices(table.sheet):
        counts.update(_row_kinds(table, piece.table))
    return counts


def _row_kinds(table: _Table, rows: pa.Table) -> list[str | None]:
    """(n,) codes: by the column, else by the name of the table or file, else by the layer that was told."""
    told = table.hints.layer
    spare = table.code or next((c for c in pipe_types.data()["types"] if pipe_types.layer_of(c) == told), None)
    if table.type_column is None:
        return [spare] * rows.num_rows
    return [spare if text is None else pipe_types.code_of(text) for text in codes(rows, table.type_column)]


def _no_kind(table: _Table) -> InvalidInput:
    name = table.sheet.place
    seen = f"column {table.type_column}" if table.type_column else "a column 管线类型, or a code in its name,"
    problem = f"{name} does not say which kind of pipes it holds: {seen} names none that is known."
    keys = {} if table.sheet.table is None else {"table": table.sheet.table}
    lines = place.toml_lines(table.sheet.source, **keys, layer="pipe_water")
    return InvalidInput(problem, f"Write into city.toml:\n{lines}", code="PIPE_TYPE_UNKNOWN")


def _layer_ids(table: _Table, counts: Counter[str | None]) -> list[str]:
    if table.hints.layer is not None:
        return [table.hints.layer]
    found = {layer for code in counts if code and (layer := pipe_types.layer_of(code))}
    return sorted(found)


def _layer(table: _Table, layer_id: str, certificate: Certificate, *, takes_rest: bool, is_only: bool) -> VectorLayer:
    sheet = table.sheet
    names = [name for name in sheet.header if name != table.type_column]
    names += [name for name in (_TYPE, "section") if name not in names]
    known = catalogue.layer_type(layer_id)
    columns = {key: column for key, column in table.hints.columns.items() if known.attribute(key) and column in names}
    chosen = {key: value for key, value in table.hints.values.items() if known.attribute(key)}
    rows = Rows(
        sheet.path,
        sheet.source,
        sheet.name if is_only else f"{sheet.name} {layer_id}",
        sheet.table,
        pa.schema([(name, pa.string()) for name in names]),
        "LineStringZ",
        certificate,
        partial(_chunks, table, layer_id, takes_rest),
        lambda _: (chunk.table for chunk in _chunks(table, layer_id, takes_rest)),
        is_only=sheet.table is None,
        is_persistent=True,
    )
    return table_layer.layer(rows, replace(table.hints, layer=layer_id, columns=columns, values=chosen))


def _chunks(table: _Table, layer_id: str, takes_rest: bool) -> Iterator[Chunk]:
    times = Counter[str]()
    for piece in slices(table.sheet):
        kinds = _row_kinds(table, piece.table)
        wanted = [table.hints.layer or (code and pipe_types.layer_of(code)) for code in kinds]
        rows = [row for row, layer in enumerate(wanted) if layer == layer_id or (layer is None and takes_rest)]
        if not rows:
            continue
        part = piece.table.take(pa.array(rows, pa.int64()))
        numbers = [piece.numbers[row] for row in rows]
        bad = {i: piece.bad[row] for i, row in enumerate(rows) if row in piece.bad}
        own = [kinds[row] for row in rows]
        for i, row in enumerate(rows):
            if wanted[row] is None:
                bad.setdefault(i, ("PIPE_TYPE_UNKNOWN", f"No layer holds pipes of kind {_said(table, part, i)!r}."))
        yield _chunk(table, Slice(numbers, part, bad), own, times)


def _said(table: _Table, part: pa.Table, row: int) -> str:
    return "" if table.type_column is None else str(part.column(table.type_column)[row].as_py())


def _chunk(table: _Table, piece: Slice, kinds: list[str | None], times: Counter[str]) -> Chunk:
    part, numbers, bad = piece.table, piece.numbers, dict(piece.bad)
    ends = list(zip(codes(part, table.start), codes(part, table.end), strict=True))
    xyz = np.full((part.num_rows, 2, 3), np.nan)
    for row, pair in enumerate(ends):
        why = _doubt(table, pair)
        if why:
            bad.setdefault(row, why)
        else:
            xyz[row] = [table.nodes.places[code or ""] for code in pair]
    xyz[:, :, 2] = _heights(table, part, xyz[:, :, 2])
    lines = _lines(xyz)
    raw = list(shapely.to_wkb(lines))
    fids = []
    for pair in ends:
        name = "-".join(code or "?" for code in pair)
        times[name] += 1
        fids.append(name if times[name] == 1 else f"{name}-{times[name]}")
    where = lambda row: f"{table.sheet.place}, {table.sheet.word} {numbers[row]}"  # noqa: E731
    original = lambda row: {k: v for k, v in part.slice(row, 1).to_pylist()[0].items() if v is not None}  # noqa: E731
    return Chunk(_attributes(table, part, kinds), shapes.check(Conformed(lines)), raw, fids, where, None, bad, original)


def _doubt(table: _Table, pair: tuple[str | None, str | None]) -> tuple[str, str] | None:
    """Why a pipe cannot be drawn between two points."""
    nodes = table.nodes
    for which, code in zip(("start", "end"), pair, strict=True):
        if code is None:
            return "PIPE_NODE_MISSING", f"It names no {which} point."
        if code not in nodes.places:
            return "PIPE_NODE_MISSING", f"Its {which} point {code!r} is not in {', '.join(nodes.tables)}."
        if code in nodes.doubtful:
            return "PIPE_NODE_AMBIGUOUS", f"Its {which} point {code!r} lies in two places."
    if nodes.places[pair[0] or ""][:2] == nodes.places[pair[1] or ""][:2]:
        return "PIPE_NO_LENGTH", f"Its ends {pair[0]!r} and {pair[1]!r} lie in the same place."
    return None


def _heights(table: _Table, part: pa.Table, ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) ground minus depth where the table has depths and no elevations; else NaN."""
    out = np.full(ground.shape, np.nan)
    if any(name.endswith("elev_m") for name in table.heights):
        return out
    pipe = catalogue.layer_type("pipe_water")
    for side, name in enumerate(("start_depth_m", "end_depth_m")):
        attribute, column = pipe.attribute(name), table.heights.get(name)
        if attribute is not None and column is not None:
            unit = table.hints.units.get(name) or units.split_unit(column)[1]
            array = part.column(column)
            whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
            depth = values.convert(whole, attribute, unit).values
            out[:, side] = ground[:, side] - np.asarray(depth.fill_null(float("nan")).to_numpy(zero_copy_only=False))
    out[np.isnan(out).any(axis=1)] = np.nan
    return out


def _lines(xyz: NDArray[np.float64]) -> NDArray[np.object_]:
    """(n, 2, 3) ends -> lines, without z where it is not known; None where there are no ends."""
    out = np.full(len(xyz), None, dtype=object)
    flat = np.isfinite(xyz[:, :, :2]).all(axis=(1, 2))
    deep = flat & np.isfinite(xyz).all(axis=(1, 2))
    for chosen, n in ((flat & ~deep, 2), (deep, 3)):
        if chosen.any():
            out[chosen] = shapely.linestrings(xyz[chosen][:, :, :n])
    return out


def _attributes(table: _Table, part: pa.Table, kinds: list[str | None]) -> pa.Table:
    """The columns as text, the kind as its code, and sections such as `600×400` taken out of the diameters."""
    made: dict[str, list[str | None]] = {}
    for name in part.column_names:
        if name != table.type_column:
            made[name] = [None if cell is None else as_text(cell) for cell in part.column(name).to_pylist()]
    made[_TYPE] = kinds
    section = made.setdefault(table.hints.columns.get("section", "section"), [None] * part.num_rows)
    made.setdefault("section", [None] * part.num_rows)
    if table.diameter is not None:
        for row, text in enumerate(made[table.diameter]):
            if text is not None and _BOX.match(narrow(text)) and section[row] is None:
                section[row], made[table.diameter][row] = narrow(text), None
    return pa.table({name: pa.array(cells, pa.string()) for name, cells in made.items()})
