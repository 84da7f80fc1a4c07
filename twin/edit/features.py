"""Features as they are handed over: a GeoDataFrame, GeoJSON, or a list of GeoJSON features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from layers.errors import InvalidInput

MAX_FEATURES = 1_000_000
_OWN_COLUMNS = ("id", "version", "valid_from", "valid_to")


@dataclass(frozen=True)
class Feature:
    """One feature; `geometry` is shapely's or GeoJSON's, None where there is none."""

    id: str | None
    geometry: Any
    properties: Mapping[str, Any]


def features_of(given: Any) -> tuple[list[Feature], str | None]:
    """Features and the CRS that they state, if they do. InvalidInput for anything else."""
    crs = None
    if hasattr(given, "columns") and hasattr(given, "index"):
        features, crs = _of_frame(given)
    elif isinstance(given, Mapping):
        features = _of_geojson(given)
    elif isinstance(given, Iterable) and not isinstance(given, str | bytes):
        features = [each for one in given for each in _of_geojson(one)]
    else:
        raise InvalidInput(f"Features are given as {type(given).__name__}.", "Give a GeoDataFrame or GeoJSON features.")
    if not features:
        raise InvalidInput("There are no features.", "Give at least one.")
    if len(features) > MAX_FEATURES:
        raise InvalidInput(f"{len(features):,} features are too many for one edit.", "Build them from a file.")
    return features, crs


def _of_geojson(given: Any) -> list[Feature]:
    if not isinstance(given, Mapping):
        raise InvalidInput(f"A feature is given as {type(given).__name__}.", "Give GeoJSON features.")
    if given.get("type") == "FeatureCollection":
        members = given.get("features")
        if not isinstance(members, list | tuple):
            raise InvalidInput("The FeatureCollection has no list of features.")
        return [each for member in members for each in _of_geojson(member)]
    properties = given.get("properties")
    if given.get("type") != "Feature" or not isinstance(properties, Mapping | None):
        raise InvalidInput(
            f"type {str(given.get('type'))[:40]!r} is no GeoJSON feature.", "Give type, geometry, properties."
        )
    own = dict(properties or {})
    stated = own.pop("id", None)
    name = given.get("id", stated)
    if isinstance(name, bool) or not isinstance(name, str | int | None):
        raise InvalidInput(f"id {str(name)[:40]!r} is neither text nor a number.")
    return [Feature(None if name is None else str(name), given.get("geometry"), own)]


def _of_frame(frame: Any) -> tuple[list[Feature], str | None]:
    import pandas as pd

    table = pd.DataFrame(frame)
    geometry_name = getattr(frame, "_geometry_column_name", None)
    geometry = table.pop(geometry_name) if geometry_name in table.columns else pd.Series([None] * len(table))
    names = table["id"].tolist() if "id" in table.columns else frame.index.tolist()
    table = table[[column for column in table.columns if column not in _OWN_COLUMNS]]
    # NaN and NaT are pandas' way of saying that there is nothing
    filled = table.astype(object).where(table.notna(), None)
    rows = filled.to_dict("records") if len(filled.columns) else [{} for _ in names]
    crs = getattr(frame, "crs", None)
    return [
        Feature(str(name), shape, {str(key): value for key, value in row.items()})
        for name, shape, row in zip(names, geometry.tolist(), rows, strict=True)
    ], None if crs is None else crs.to_wkt()
