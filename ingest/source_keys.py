"""Keys of `[[source]]` that are more than one word or number: checked, and made what `Hints` holds.

The same spelling is taken from city.toml and from a script (`city.add(path, control_points=[...])`).
"""

import math
from collections.abc import Mapping
from typing import Any, NoReturn

from ingest.control_points import MOST_POINTS
from layers.errors import InvalidInput
from layers.source import ControlPoint

TYPES: dict[str, tuple[type, ...]] = {
    "priority": (int,), "vertical_offset_m": (int, float), "control_points": (list, tuple), "correct": (list, tuple),
    "join": (dict,), "unit_scale": (int, float), "pipeline": (list, tuple),
}  # fmt: skip
"""Key -> types that TOML may give for it."""

REPAIRS = ("given-crs", "swap-axes", "zone-prefix", "bd09", "gcj02")
"""What `correct` may ask for, in the order in which it is done."""

FARTHEST_M = 12_000.0
"""Nothing on Earth needs a greater change of height."""

_JOIN = ("layer", "attribute", "column")


def checked(said: Mapping[str, Any]) -> dict[str, Any]:
    """All keys of `said`, those of `TYPES` as `Hints` wants them. Raises InvalidInput that begins with the key."""
    out = dict(said)
    for key, make in _MAKERS.items():
        if key in out:
            if not isinstance(out[key], TYPES[key]) or isinstance(out[key], bool):
                _wrong(key, f"must be of type {' or '.join(kind.__name__ for kind in TYPES[key])}, not {out[key]!r}")
            out[key] = make(key, out[key])
    return out


def _wrong(key: str, problem: str) -> NoReturn:
    raise InvalidInput(f"{key} {problem}.", "See the guide to city.toml.", code="CITY_TOML_WRONG")


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        _wrong(key, f"must be a number, not {value!r}")
    return float(value)


def _offset(key: str, value: Any) -> float:
    if abs(_number(key, value)) > FARTHEST_M:
        _wrong(key, f"is {value}, more than {FARTHEST_M:.0f} m")
    return float(value)


def _scale(key: str, value: Any) -> float:
    if not _number(key, value) > 0:
        _wrong(key, f"must be more than 0, not {value!r}")
    return float(value)


def _points(key: str, value: Any) -> tuple[ControlPoint, ...]:
    if not 2 <= len(value) <= MOST_POINTS:
        _wrong(key, f"holds {len(value)} pairs; 2 are needed at least")
    return tuple(_point(f"{key}[{number}]", pair) for number, pair in enumerate(value, 1))


def _point(key: str, pair: Any) -> ControlPoint:
    if isinstance(pair, ControlPoint):
        return pair
    if not isinstance(pair, dict) or set(pair) != {"from", "to"}:
        _wrong(key, f"must be {{from = [x, y], to = [east, north]}}, not {pair!r}")
    for side in ("from", "to"):
        if not isinstance(pair[side], list | tuple) or len(pair[side]) not in {2, 3}:
            _wrong(f"{key}.{side}", f"must be 2 or 3 numbers, not {pair[side]!r}")
    source, true = (tuple(_number(f"{key}.{side}", v) for v in pair[side]) for side in ("from", "to"))
    return ControlPoint(source, true)


def _repairs(key: str, value: Any) -> tuple[str, ...]:
    for each in value:
        if each not in REPAIRS:
            _wrong(key, f"knows {', '.join(REPAIRS)}, not {each!r}")
    if {"gcj02", "bd09"} <= set(value):
        _wrong(key, "cannot have both gcj02 and bd09: name the one that the data is in")
    return tuple(dict.fromkeys(value))


def _join(key: str, value: Any) -> dict[str, str]:
    if set(value) != set(_JOIN) or not all(isinstance(each, str) and each for each in value.values()):
        _wrong(key, f"must have {', '.join(_JOIN)}, each a text, not {value!r}")
    return dict(value)


def _stages(key: str, value: Any) -> tuple[Mapping[str, Any], ...]:
    for number, stage in enumerate(value, 1):
        if not isinstance(stage, dict) or not isinstance(stage.get("type"), str):
            _wrong(f"{key}[{number}]", f"must be a table with type, such as filters.outlier, not {stage!r}")
        if not stage["type"].startswith("filters."):
            _wrong(f"{key}[{number}]", f"is {stage['type']!r}: only filters can be run on a source")
    return tuple(value)


_MAKERS = {
    "priority": lambda _, value: int(value), "vertical_offset_m": _offset, "control_points": _points,
    "correct": _repairs, "join": _join, "unit_scale": _scale, "pipeline": _stages,
}  # fmt: skip
