"""Features that an analysis of land takes: what an input means, or the city's own layer where it is absent."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis import features_input, place
from twin.analysis.parcel_intensity_buildings import chosen
from twin.store.interface import Features, Query

if TYPE_CHECKING:
    from twin.city import City


def areas(city: "City", name: str, given: Mapping[str, Any], columns: tuple[str, ...]) -> Features:
    """The areas that a required input means, at least one; attributes that a layer lacks are left out."""
    found = place.features(city, name, given, kinds=place.AREAS, properties=_known(city, name, given, columns))
    return _flat(found)


def areas_or_layer(
    city: "City",
    name: str,
    given: Mapping[str, Any] | None,
    layer: str,
    near: NDArray[np.object_],
    *,
    columns: tuple[str, ...],
    reach_m: float = 0.0,
) -> Features:
    """The areas that an input means, perhaps none; where it is absent, those of a layer around `near`.

    What is no area is left out of a layer, and refused in GeoJSON.
    InvalidInput, named after the input, for what is invalid or elsewhere.
    """
    if given is None:
        return around(city, layer, near, columns, reach_m)
    found = place.collected(features_input.read(city, name, given, properties=_known(city, name, given, columns)), name)
    place.check_inside(city, name, found.geometry)
    is_area = (shapely.get_dimensions(found.geometry) == 2) & ~shapely.is_empty(found.geometry)
    if "collection" not in given and not is_area.all():
        raise InvalidInput(f"{name}: {found.ids[int(np.argmin(is_area))]!r} has no area.", "It takes polygons.")
    found = _flat(chosen(found, np.flatnonzero(is_area)))
    bad = np.flatnonzero(~shapely.is_valid(found.geometry))
    if bad.size:
        raise InvalidInput(
            f"{name}: {found.ids[bad[0]]!r} is no valid area: {shapely.is_valid_reason(found.geometry[bad[0]])}.",
            "Repair it first; topology-check finds and mends what is invalid.",
        )
    return found


def around(
    city: "City", layer: str, near: NDArray[np.object_], columns: tuple[str, ...], reach_m: float = 0.0
) -> Features:
    """Areas of a layer within the box of some geometries widened by `reach_m`; none where there is no such layer."""
    if layer not in city or not len(near):
        return place.collected(())
    west, south, east, north = shapely.total_bounds(near).tolist()
    region = shapely.box(west - reach_m, south - reach_m, east + reach_m, north + reach_m)
    query = Query(region=region, properties=_known(city, layer, {"collection": layer}, columns))
    return usable(place.collected(city.store.query(layer, query, city.scope), layer))


def has_any(city: "City", layer: str) -> bool:
    """Whether the city has the layer and anything in it: an empty one tells nothing."""
    return layer in city and city.store.layer(layer, city.scope).count > 0


def usable(found: Features) -> Features:
    """Those with a valid area, heights left out."""
    is_area = (shapely.get_dimensions(found.geometry) == 2) & shapely.is_valid(found.geometry)
    return _flat(chosen(found, np.flatnonzero(is_area & ~shapely.is_empty(found.geometry))))


def _known(city: "City", name: str, given: Mapping[str, Any], columns: tuple[str, ...]) -> tuple[str, ...]:
    if "collection" not in given:
        return columns
    names = features_input.attributes(city, name, str(given["collection"]))
    return tuple(each for each in columns if each in names)


def _flat(found: Features) -> Features:
    found.geometry[:] = shapely.force_2d(found.geometry)
    return found
