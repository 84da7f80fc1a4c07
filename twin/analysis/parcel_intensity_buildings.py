"""Buildings as analyses of land count them: each once, standing, with what is known of height and floors."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.analysis.place import numbers, words
from twin.store.interface import Features

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

COLUMNS = ("floors", "gfa_m2", "height_m", "base_elev_m", "phase", "same_as", "estimated", "building_code")
"""Attributes that are read of a building."""
NOT_STANDING = ("plan", "permit")
_LISTED = 50


def standing(found: Features) -> NDArray[np.int64]:
    """Rows that count: with an area, not only planned or permitted, and no second copy of another row.

    A finer model of a footprint names it in `same_as`; where that footprint is there too, it counts and the model does
    not.
    """
    phases, twins, ids = words(found, "phase"), words(found, "same_as"), set(found.ids)
    is_area = (shapely.get_dimensions(found.geometry) == 2) & ~shapely.is_empty(found.geometry)
    keep = [
        phase not in NOT_STANDING and (twin is None or twin not in ids)
        for phase, twin in zip(phases, twins, strict=True)
    ]
    return np.flatnonzero(is_area & np.array(keep, bool))


def chosen(found: Features, rows: NDArray[np.int64]) -> Features:
    """Those rows of some features."""
    listed = rows.tolist()
    return Features(
        found.fids[rows],
        [found.ids[row] for row in listed],
        found.geometry[rows],
        found.attributes.take(rows),
        [found.extra[row] for row in listed],
        found.versions[rows],
        [found.valid_from[row] for row in listed],
        [found.valid_to[row] for row in listed],
    )


def is_estimated(found: Features, attribute: str) -> BoolArray:
    """(n,) whether a value was worked out when the city was built, not given by a source."""
    return np.array([attribute in (text or "").replace(" ", "").split(",") for text in words(found, "estimated")], bool)


def floors(found: Features, name: str = "buildings") -> FloatArray:
    """(n,) storeys above ground, NaN where none are told; less than 1 is no number of storeys."""
    given = numbers(found, "floors", name)
    return np.where(np.isfinite(given) & (given >= 1), given, np.nan)


def heights(found: Features, name: str = "buildings") -> FloatArray:
    """(n,) heights above the base in metres, NaN where none is told; 0 and less is no height."""
    given = numbers(found, "height_m", name)
    return np.where(np.isfinite(given) & (given > 0), given, np.nan)


def rows_schema(**units: str) -> dict[str, Any]:
    """Schema of an output that is a list of objects, with the units of their numbers."""
    numbers_ = {name: {"type": ["number", "null"], "x-unit": unit} for name, unit in units.items()}
    return {"type": "array", "items": {"type": "object", "properties": numbers_}}


RESULTS: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "rule_id": {"type": "string"},
            "measured": {"type": ["number", "null"], "description": "In `unit`."},
            "limit": {"type": ["number", "null"], "description": "In `unit`."},
            "unit": {"type": "string"},
            "verdict": {"enum": ["pass", "fail", "review", "unknown"]},
            "source": {"type": "string"},
            "confidence": {"enum": ["high", "medium", "low"]},
        },
    },
}
"""Schema of an output that is one row for each thing and rule."""


def listed(names: list[str]) -> str:
    """Ids for a note, not more than fit."""
    more = f" … (+{len(names) - _LISTED})" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def number(value: float) -> float | None:
    """For JSON: None instead of NaN."""
    return None if np.isnan(value) else float(value)
