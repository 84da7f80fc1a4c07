"""A table that mixes points, lines and areas -> one part for each kind, so that no feature is lost or misplaced."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import shapely

from ingest import wkb
from ingest.geometry import kind
from layers import catalogue
from layers.issue import Issue
from layers.source import Hints

SUFFIXES = {"Point": "_points", "LineString": "_lines", "Polygon": "_areas"}
_MULTI = {"Point": shapely.multipoints, "LineString": shapely.multilinestrings, "Polygon": shapely.multipolygons}
_SINGLE = {0: "Point", 1: "LineString", 2: "LineString", 3: "Polygon"}


@dataclass(frozen=True)
class Part:
    """The features of one kind in a table.

    Attributes
    ----------
    kind : `Point`, `LineString`, `Polygon`; empty: every row, whatever it is
    geometry_type : simple-features name that holds all of them
    suffix : behind the table's name; empty for the main part
    takes_rest : rows without geometry, or of no known kind, are this part's
    """

    kind: str
    geometry_type: str
    suffix: str = ""
    takes_rest: bool = True

    def has(self, value: bytes | None) -> bool:
        """True if the row with this WKB belongs to the part."""
        if not self.kind:
            return True
        found = wkb.kinds(value) if value else frozenset()
        return self.kind in found if found else self.takes_rest


@dataclass
class Census:
    """What kinds of geometry a table holds; `count` it batch by batch."""

    rows: Counter[str] = field(default_factory=Counter)
    names: set[str] = field(default_factory=set)

    def count(self, values: Iterable[bytes | None]) -> None:
        """Add (n,) WKB."""
        for value in values:
            if value:
                self.names.add(wkb.type_name(value))
                self.rows.update(wkb.kinds(value))

    def parts(self, hints: Hints) -> list[Part]:
        """The main part first: of the kind that the hinted layer holds, else the most frequent one."""
        ranked = sorted(self.rows, key=lambda each: (-self.rows[each], each))
        if hints.layer in catalogue.load():
            wanted = kind(catalogue.layer_type(hints.layer).geometry)
            ranked.sort(key=lambda each: each != wanted)
        if not ranked:
            return [Part("", "Unknown")]
        if len(ranked) == 1 and not any(name.startswith("GeometryCollection") for name in self.names):
            return [Part("", self._type(ranked[0]))]
        made = [Part(each, self._type(each), SUFFIXES[each], takes_rest=False) for each in ranked]
        return [replace(made[0], suffix="", takes_rest=True), *made[1:]]

    def _type(self, wanted: str) -> str:
        names = [name for name in self.names if kind(name) in {wanted, "GeometryCollection"}] or list(self.names)
        z = "Z" if any(name.endswith("Z") for name in names) else ""
        is_multi = wanted != "Point" or any(name.startswith(("Multi", "Geometry")) for name in names)
        return f"{'Multi' if is_multi else ''}{wanted}{z}"

    def issue(self, table: str, parts: Sequence[Part]) -> list[Issue]:
        """What to know where a table became several layers."""
        if len(parts) < 2:
            return []
        counted = ", ".join(f"{self.rows[part.kind]} {part.kind}s as {table + part.suffix!r}" for part in parts)
        message = f"{table!r} mixes kinds of geometry, and a layer holds one: {counted}."
        return [Issue("GEOMETRY_KINDS_SPLIT", table, message, "", "info")]


def hints_of(part: Part, hints: Hints) -> Hints:
    """What was said about a table holds for its main part; a layer type and its columns do not fit the others."""
    return hints if not part.suffix else replace(hints, layer=None, columns={}, units={}, values={})


def of_kind(value: bytes | None, wanted: str) -> bytes | None:
    """The parts of one kind of a geometry collection, as WKB; everything else unchanged."""
    if not value or not wanted or not wkb.type_name(value).startswith("GeometryCollection") or wkb.has_surface(value):
        return value
    with np.errstate(invalid="ignore"):
        shape = shapely.from_wkb(value, on_invalid="ignore")
    if shape is None:
        return value
    leaves = [each for each in _leaves(shape) if _SINGLE.get(shapely.get_type_id(each)) == wanted]
    return bytes(shapely.to_wkb(_MULTI[wanted](leaves))) if leaves else value


def _leaves(shape: shapely.Geometry) -> list[shapely.Geometry]:
    parts = shapely.get_parts(shape)
    if len(parts) == 1 and parts[0].geom_type == shape.geom_type:
        return [shape]
    return [leaf for part in parts for leaf in _leaves(part)]
