"""Style expressions over columns: the part of MapLibre's language that `tiles.styles` speaks.

Spec: https://maplibre.org/maplibre-style-spec/expressions/. One value for a row, or one for all rows where nothing
depends on them.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from layers.errors import CityTwinError

Values = Any
"""A plain value for all rows, or an (n,) object array."""


def value(expression: Any, table: pa.Table, zoom: float) -> Values:
    """What an expression gives for each row of a table; missing values are None."""
    if not isinstance(expression, list):
        return expression
    operator, *arguments = expression
    if operator == "get":
        return _column(table, arguments[0])
    if operator == "match":
        return _match(arguments, table, zoom)
    if operator == "interpolate":
        stops = arguments[2:]
        return float(np.interp(zoom, stops[::2], stops[1::2]))
    raise CityTwinError(f"The style uses {str(operator)[:40]!r}, which maps cannot draw yet.")


def rows(condition: list[Any] | None, table: pa.Table) -> NDArray[np.bool_]:
    """The rows for which a filter holds."""
    everyone = np.ones(table.num_rows, bool)
    if condition is None:
        return everyone
    operator, *arguments = condition
    if operator == "all":
        for each in arguments:
            everyone &= rows(each, table)
        return everyone
    if operator == "has":
        return np.array([each is not None for each in _column(table, arguments[0])], bool) & everyone
    if operator in {"==", "!="}:
        if arguments[0] == ["geometry-type"]:
            return everyone  # what draws areas is given areas only
        equal = np.equal(value(arguments[0], table, 0.0), arguments[1]) & everyone
        return equal if operator == "==" else ~equal
    raise CityTwinError(f"The style filters by {str(operator)[:40]!r}, which maps cannot draw yet.")


def _column(table: pa.Table, name: str) -> NDArray[np.object_]:
    if name not in table.column_names:
        return np.full(table.num_rows, None, object)
    return np.array(table.column(name).to_pylist(), dtype=object)


def _match(arguments: list[Any], table: pa.Table, zoom: float) -> NDArray[np.object_]:
    asked, *branches, otherwise = arguments
    found: dict[Any, Any] = {}
    for label, output in zip(branches[::2], branches[1::2], strict=True):
        found |= dict.fromkeys(label if isinstance(label, list) else [label], output)
    out = np.empty(table.num_rows, object)
    out[:] = [found.get(each, otherwise) for each in value(asked, table, zoom)]
    return out
