"""Spatial operators of CQL2 (OGC 21-065r2, 7.8) over geometries in the city's CRS: flat, heights are not looked at.

The predicates are exact, by shapely, called from SQL. Where one side is the feature's own geometry and the other a
literal, the R-tree spares the call for rows whose box is elsewhere.
"""
# ruff: noqa: S608 -- identifiers go through columns.quote, values are parameters

from typing import Any

import shapely

from layers.errors import InvalidInput
from twin.store.columns import quote
from twin.store.layer_record import LayerRecord
from twin.store.sql_functions import SPATIAL
from twin.store.sql_term import Term, joined

__all__ = ["SPATIAL", "region", "translate"]


def region(operator: str, a: Term, b: Term) -> tuple[shapely.Geometry | None, bool]:
    """The literal that a spatial conjunct makes the geometry intersect, and whether that says all of it."""
    if operator == "s_disjoint":
        return None, False
    shape = _literal_beside_column(a, b)
    return (None, False) if shape is None else (shape, operator == "s_intersects")


def translate(operator: str, a: Term, b: Term, layer: LayerRecord) -> Term:
    """A spatial predicate as SQL."""
    for term in (a, b):
        if term.kind not in {"geometry", "null"}:
            raise InvalidInput(f"{operator.upper()} takes geometries, not a {term.kind}.")
    exact = joined(f"citytwin_spatial('{operator}', {{}}, {{}})", "boolean", a, b)
    shape = _literal_beside_column(a, b)
    if shape is None:
        return exact
    west, south, east, north = (float(v) for v in shapely.bounds(shape))
    # of closed versions too, which have their own row numbers
    near = " UNION ALL ".join(
        f"SELECT id FROM {quote(rtree)} WHERE maxx >= ? AND minx <= ? AND maxy >= ? AND miny <= ?"
        for rtree in (layer.rtree, layer.history_rtree)
    )
    elsewhere = int(operator == "s_disjoint")
    box: tuple[Any, ...] = (west, east, south, north)
    return Term(
        f"CASE WHEN t.geom IS NULL THEN NULL WHEN t.fid NOT IN ({near}) THEN {elsewhere} ELSE {exact.sql} END",
        "boolean",
        (*box, *box, *exact.parameters),
    )


def _literal_beside_column(a: Term, b: Term) -> shapely.Geometry | None:
    """The literal, where the other side is the feature's own geometry."""
    sides = [(a, b), (b, a)]
    for literal, other in sides:
        if literal.kind == "geometry" and literal.literal is not None and other.sql == "t.geom":
            return None if shapely.is_empty(literal.literal) else literal.literal
    return None
