"""CQL2-JSON as parameterised SQL."""

from dataclasses import dataclass
from typing import Any

import shapely

from layers.errors import InvalidInput
from twin.store.layer_record import LayerRecord


@dataclass(frozen=True)
class Condition:
    """SQL with its parameters, and the regions that features must intersect besides (for the R-tree)."""

    sql: str
    parameters: tuple[Any, ...]
    regions: tuple[shapely.Geometry, ...]


def translate(expression: dict[str, Any], layer: LayerRecord) -> Condition:
    """CQL2-JSON -> Condition."""
    raise InvalidInput(f"Filters are not read yet: {expression} on {layer.type.id}.")
