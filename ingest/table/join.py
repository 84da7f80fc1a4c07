"""Rows of a table without coordinates -> features that take their place from features of another layer, by a code.

`join = {layer = "parcel", attribute = "parcel_code", column = "宗地号"}` in city.toml. The other layer may come from
another file of the same build or be in the city already; the build reads joined tables after all others. A row whose
code is not found, or found twice, is kept as a reject; the share that was found is an issue.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import batched

import numpy as np
import pyarrow as pa
import shapely

from ingest import geometry as shapes
from ingest.geometry import Conformed
from ingest.stream import Chunk
from ingest.table import layer as table_layer
from ingest.table.layer import Rows
from ingest.table.sheet import Sheet, Slice, slices
from ingest.units import narrow
from ingest.values import as_text
from layers import catalogue
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Match, VectorLayer

SLICES_AT_ONCE = 10
"""So many batches of rows are looked up together: one pass through the other layer each time."""

ADMIN = ("xzqdm", "admincode", "adcode", "xzqh")
"""Attributes with codes of administrative units: 6 digits county, 9 town, 12 village (GB/T 2260, GB/T 10114)."""

_ADDRESS = re.compile(r"地址|address|addr|住所|坐落|dz$", re.IGNORECASE)
_DASHES = re.compile(r"[‐‑‒–—―−－~～]")
_SOFT = re.compile(r"[\s,，.。;；:：()（）\[\]【】'\"“”·]")


def key(text: str, attribute: str) -> str:
    """A code or address in the spelling in which both sides are compared.

    Full width, case, blanks and kinds of dashes do not matter; in addresses, punctuation neither.
    """
    plain = _DASHES.sub("-", narrow(text)).casefold()
    plain = "".join(plain.split())
    return _SOFT.sub("", plain) if _ADDRESS.search(attribute) else plain


def keys_of(text: str, attribute: str) -> list[list[str]]:
    """Keys to look for, in the order of trust: the code itself and its equals, then the units above it.

    Zeros at the end of an administrative code say nothing: 330382000000 is 330382.
    """
    own = key(text, attribute)
    if attribute.lower().replace("_", "") not in ADMIN or not (own.isascii() and own.isdigit()):
        return [[own]]
    if len(own) not in {6, 9, 12}:
        return [[own]]
    core = own
    while len(core) > 6 and core.endswith("000"):
        core = core[:-3]
    levels = [core[:n] for n in (12, 9, 6) if n <= len(core)]
    return [_equals(level) for level in levels]


def _equals(core: str) -> list[str]:
    return [core + "0" * n for n in (0, 3, 6) if len(core) + n <= 12]


@dataclass
class _Tally:
    """What became of the rows of one reading."""

    n_rows: int = 0
    n_found: int = 0
    n_twice: int = 0
    above: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Joined:
    """The place of one row, or why it has none."""

    geometry: shapely.Geometry | None
    digits: int | None = None
    reason: tuple[str, str] | None = None


def layer(sheet: Sheet, hints: Hints) -> VectorLayer:
    """The layer of a joined table, in the city's CRS.

    Raises InvalidInput for a column or attribute that does not exist, or where there is no city to join with.
    """
    join = hints.join
    if join["column"] not in sheet.header:
        problem = f"join: {sheet.place} has no column {join['column']!r}."
        raise InvalidInput(problem, f"The columns are {', '.join(sheet.header)}.", code="HINT_UNKNOWN_COLUMN")
    if hints.lookup is None or hints.city_crs is None:
        problem = f"{sheet.place} takes its places from layer {join['layer']!r}, which only a city has."
        raise InvalidInput(problem, "Build the folder, or add the file to a city.", code="JOIN_NEEDS_CITY")
    tally = _Tally()
    kind = _geometry_type(sheet, hints)
    own = {name: column for name, column in hints.columns.items() if name not in {"x", "y", "z"}}
    certificate = Certificate("joined", source_crs=hints.city_crs, parameters={"join": dict(join)})
    rows = Rows(
        sheet.path,
        sheet.source,
        sheet.name,
        sheet.table,
        sheet.schema,
        kind,
        certificate,
        lambda: _chunks(sheet, hints, kind, tally),
        lambda _: (piece.table for piece in slices(sheet)),
        is_only=sheet.table is None,
        closing=lambda: _told(sheet, hints, tally),
    )
    return table_layer.layer(rows, replace(hints, columns=own))


def _geometry_type(sheet: Sheet, hints: Hints) -> str:
    """What the rows will be: what the layer that was told holds, if it holds points; else what is found."""
    if hints.layer in catalogue.load() and catalogue.layer_type(hints.layer).geometry.startswith("Point"):
        return catalogue.layer_type(hints.layer).geometry
    for pieces in batched(slices(sheet), SLICES_AT_ONCE):
        found = [each.geometry for row in _joined(pieces, hints) for each in row if each.geometry is not None]
        if found:
            plain = found[0].geom_type.removeprefix("Multi")
            is_multi = plain != "Point" or any(each.geom_type.startswith("Multi") for each in found)
            z = "Z" if any(each.has_z for each in found) else ""
            return f"{'Multi' if is_multi else ''}{plain}{z}"
    known = catalogue.load().get(hints.join["layer"])
    return known.geometry if known is not None and known.is_vector and known.geometry != "none" else "MultiPolygon"


def _texts(piece: Slice, column: str) -> list[str | None]:
    array = piece.table.column(column)
    return as_text(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array).to_pylist()


def _joined(pieces: Sequence[Slice], hints: Hints) -> list[list[_Joined]]:
    """The place of every row of some batches; one look through the other layer."""
    layer_id, attribute, column = (hints.join[name] for name in ("layer", "attribute", "column"))
    texts = [_texts(piece, column) for piece in pieces]
    asked = {text: keys_of(text, attribute) for part in texts for text in part if text is not None}
    wanted = {each for levels in asked.values() for level in levels for each in level}
    assert hints.lookup is not None
    matches = hints.lookup(layer_id, attribute, wanted)
    made = {text: _one(text, levels, matches, hints.join) for text, levels in asked.items()}
    nothing = _Joined(None, reason=("JOIN_UNMATCHED", f"It has no value in {column!r}."))
    return [[nothing if text is None else made[text] for text in part] for part in texts]


def _one(text: str, levels: list[list[str]], matches: Mapping[str, list[Match]], join: Mapping[str, str]) -> _Joined:
    where = f"layer {join['layer']!r}, attribute {join['attribute']}"
    for number, level in enumerate(levels):
        found = {match.id: match for each in level for match in matches.get(each, ())}
        if len(found) > 1:
            ids = ", ".join(list(found)[:5])
            return _Joined(None, reason=("JOIN_AMBIGUOUS", f"{text!r} stands for {len(found)} of {where}: {ids}."))
        for match in found.values():
            if match.geometry is None or match.geometry.is_empty:
                reason = ("JOIN_UNMATCHED", f"{match.id} of {where} has no geometry itself.")
                return _Joined(None, reason=reason)
            return _Joined(match.geometry, len(level[0]) if number else None)
    return _Joined(None, reason=("JOIN_UNMATCHED", f"{text!r} is not in {where}."))


def _chunks(sheet: Sheet, hints: Hints, kind: str, tally: _Tally) -> Iterator[Chunk]:
    tally.n_rows = tally.n_found = tally.n_twice = 0
    tally.above.clear()
    for pieces in batched(slices(sheet), SLICES_AT_ONCE):
        for piece, rows in zip(pieces, _joined(pieces, hints), strict=True):
            yield _chunk(sheet, piece, rows, kind, tally)


def _chunk(sheet: Sheet, piece: Slice, rows: list[_Joined], kind: str, tally: _Tally) -> Chunk:
    bad = dict(piece.bad)
    geometry = np.full(len(rows), None, dtype=object)
    for i, row in enumerate(rows):
        geometry[i] = row.geometry
        tally.n_rows += 1
        tally.n_found += row.geometry is not None
        if row.reason is not None:
            bad.setdefault(i, row.reason)
            tally.n_twice += row.reason[0] == "JOIN_AMBIGUOUS"
        if row.digits is not None:
            tally.above[row.digits] = tally.above.get(row.digits, 0) + 1
    if kind.startswith("Point"):
        other = np.isin(shapely.get_type_id(geometry), (1, 2, 3, 4, 5, 6, 7))
        geometry[other] = shapely.point_on_surface(geometry[other])
    numbers = piece.numbers
    where = lambda i: f"{sheet.place}, {sheet.word} {numbers[i]}"  # noqa: E731
    return Chunk(piece.table, shapes.check(Conformed(geometry)), None, None, where, None, bad)


def _told(sheet: Sheet, hints: Hints, tally: _Tally) -> list[Issue]:
    layer_id, attribute, column = (hints.join[name] for name in ("layer", "attribute", "column"))
    share = 100 * tally.n_found / tally.n_rows if tally.n_rows else 0.0
    found = f"{tally.n_found} of {tally.n_rows} rows ({share:.1f} %)"
    message = f"{found} found their place by {column} in {layer_id}.{attribute}"
    message += f"; {tally.n_twice} codes stand for several features." if tally.n_twice else "."
    hint = "" if tally.n_found == tally.n_rows else "Rows without a place are among the rejects, with the reason."
    issues = [Issue("JOIN_RATE", sheet.place, message, hint, "info" if not hint else "warning")]
    for digits, n in sorted(tally.above.items(), reverse=True):
        said = f"{n} rows were joined to the unit above theirs, by the first {digits} digits of {column}."
        issues.append(Issue("JOIN_PREFIX", sheet.place, said, "Add the smaller units to the layer.", "warning"))
    return issues
