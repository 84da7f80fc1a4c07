"""Features of an input with numbers that are checked: what the questions about construction sites read."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]


def read(
    city: "City",
    name: str,
    given: Mapping[str, Any],
    *,
    kinds: Sequence[str] = (),
    columns: tuple[str, ...] = (),
) -> Features:
    """Features of an input with `features_input.SCHEMA`; of a layer, those of `columns` that it has.

    Raises
    ------
    InvalidInput, LayerNotFound
        As `place.features`; also where a feature that is sent along has no geometry.
    """
    wanted = features_input.wanted(city, name, given, columns)
    found = place.features(city, name, given, kinds=kinds, properties=wanted)
    bare = np.flatnonzero(shapely.is_missing(found.geometry) | shapely.is_empty(found.geometry))
    if bare.size and "collection" not in given:
        raise InvalidInput(f"{name}: {found.ids[bare[0]]!r} has no geometry.", "Leave it out, or give one.")
    return found


def around(
    city: "City", layer: str, region: shapely.Geometry, columns: tuple[str, ...] = (), *, at: dt.datetime | None = None
) -> Features:
    """Features of a layer that meet a region (city CRS), with those of `columns` that the layer has."""
    known = {each.name for each in city.store.layer(layer, city.scope).type.attributes}
    query = Query(region=region, properties=tuple(each for each in columns if each in known), at=at)
    return place.collected(city.store.query(layer, query, city.scope), layer)


def boxes(bounds: FloatArray, reach_m: FloatArray | float) -> shapely.Geometry:
    """(n, 4) west, south, east, north, each widened by its reach, as one region."""
    grown = bounds + np.broadcast_to(np.asarray(reach_m, np.float64), len(bounds))[:, None] * np.array([-1, -1, 1, 1])
    return shapely.union_all(shapely.box(*grown.T))


def numbers(found: Features, name: str, column: str, *, least: float = -np.inf, most: float = np.inf) -> FloatArray:
    """(n,) values of an attribute, NaN where there is none. InvalidInput names input, feature and attribute."""
    if column not in found.attributes.column_names:
        return np.full(len(found), np.nan)
    values = found.attributes[column].combine_chunks()
    if pa.types.is_boolean(values.type):
        raise InvalidInput(f"{name}: {column} is no number: it is true or false.", "Give numbers, without units.")
    try:
        values = values.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidInput(f"{name}: {column} is no number: {error}.", "Give numbers, without units.") from error
    made = np.array(values.to_numpy(zero_copy_only=False), np.float64)
    is_given = np.asarray(pc.is_valid(values).to_numpy(zero_copy_only=False))
    with np.errstate(invalid="ignore"):
        is_bad = is_given & (~np.isfinite(made) | (made < least) | (made > most))
    if is_bad.any():
        bad = int(np.flatnonzero(is_bad)[0])
        span = "" if np.isinf(least) and np.isinf(most) else f" It must be {least:g} to {most:g}."
        raise InvalidInput(
            f"{name}: {found.ids[bad]!r} has {column} {made[bad]:g}.{span}", "Correct it or leave it out."
        )
    return made


def today() -> dt.date:
    """The day in the time that all of China keeps: rules are those of this day."""
    return dt.datetime.now(dt.timezone(dt.timedelta(hours=8))).date()
