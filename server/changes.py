"""Changes of one open transaction, as HTTP asks for them: what they find, what they leave, what they answer.

Vertices that come back as they were read keep their exact coordinates: a client reads a geometry rounded, in another
CRS, moves one vertex and sends all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import numpy as np
import shapely

from layers.errors import Conflict, InvalidInput, NotFound
from layers.issue import Issue
from server import feature_tags
from server.editing_body import WrongMember
from server.editing_features import Given
from twin.edit import Edited, Editing
from twin.store.interface import Features, Query

SAME_PLACE_M = 1e-3
"""Closer than that to a vertex that the feature has, a vertex was not moved. Answers are rounded to 0.1 mm."""
MOST_ISSUES = 200


@dataclass(frozen=True)
class Held:
    """A feature as the transaction sees it."""

    features: Features
    row: int
    state: str

    @property
    def geometry(self) -> shapely.Geometry | None:
        """In the city's CRS."""
        shape: shapely.Geometry | None = self.features.geometry[self.row]
        return shape

    @property
    def version(self) -> int:
        """As stored."""
        return int(self.features.versions[self.row])

    @property
    def valid_from(self) -> str:
        """Beginning of this version."""
        return self.features.valid_from[self.row]

    def own(self) -> dict[str, Any]:
        """What the store keeps of it itself."""
        return {
            "id": self.features.ids[self.row],
            "version": self.version,
            "valid_from": self.valid_from,
            "valid_to": self.features.valid_to[self.row],
        }


def held(edit: Editing, layer_id: str, ids: Sequence[str]) -> dict[str, Held]:
    """Those of some features that are there."""
    found: dict[str, Held] = {}
    for part in edit.batch.query(layer_id, Query(ids=tuple(ids)), max(len(ids), 1)):
        for row, name in enumerate(part.ids):
            found[name] = Held(part, row, feature_tags.state(layer_id, part, row))
    return found


def unmoved(new: shapely.Geometry | None, stored: shapely.Geometry | None) -> shapely.Geometry | None:
    """The new geometry, with the stored coordinates for each vertex that is where a stored one is (`SAME_PLACE_M`)."""
    if new is None or stored is None or shapely.is_empty(stored):
        return new
    from scipy.spatial import KDTree

    with_z = bool(shapely.has_z(new) and shapely.has_z(stored))
    was = shapely.get_coordinates(stored, include_z=with_z)
    now = shapely.get_coordinates(new, include_z=with_z)
    away, nearest = KDTree(np.nan_to_num(was)).query(np.nan_to_num(now), distance_upper_bound=SAME_PLACE_M)
    same = np.isfinite(away)
    if not same.any():
        return new
    now[same] = was[nearest[same]]
    if not with_z and shapely.has_z(new):
        now = np.column_stack([now, shapely.get_coordinates(new, include_z=True)[:, 2]])
    return shapely.set_coordinates(shapely.from_wkb(shapely.to_wkb(new)), now)


def insert(edit: Editing, layer_id: str, given: Sequence[Given]) -> Edited:
    """New features; one without an id gets one. Conflict for an id that is taken."""
    named = [(each, each.id or f"{layer_id}-{uuid4().hex}") for each in given]
    taken = held(edit, layer_id, [name for _, name in named])
    for each, name in named:
        if name in taken:
            place = f"{each.where}.id" if each.where else "id"
            raise Conflict(
                f"{place}: {layer_id} has a feature {name[:80]!r} already.", "Replace it by PUT, or leave the id out."
            )
    return edit[layer_id].put([_geojson(name, each.geometry, each.properties) for each, name in named], as_read=True)


def replace(edit: Editing, layer_id: str, name: str, given: Given, now: Held | None) -> Edited:
    """A whole feature in the place of the one that is there, or as a new one."""
    shape = unmoved(given.geometry, now.geometry if now else None)
    return edit[layer_id].put([_geojson(name, shape, given.properties)], as_read=True)


def update(edit: Editing, layer_id: str, name: str, given: Given, now: Held) -> Edited:
    """Some attributes or the geometry; all else stays."""
    shape = unmoved(given.geometry, now.geometry)
    return edit[layer_id].update(name, geometry=shape, attributes=given.properties, as_read=True)


def _geojson(name: str, shape: shapely.Geometry | None, own: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "id": name, "geometry": shape, "properties": dict(own)}


def missing(layer_id: str, name: str, where: str = "") -> NotFound:
    """There is no such feature."""
    return NotFound(
        f"{where + ': ' if where else ''}{layer_id} has no feature {name[:80]!r}.",
        f"See /collections/{layer_id}/items.",
    )


def check_version(where: str, layer_id: str, name: str, expected: int | None, now: Held | None) -> None:
    """Conflict if a feature is in another version than a transaction expects."""
    if expected is None or now is None or now.version == expected:
        return
    raise Conflict(
        f"{where}: {layer_id} {name[:80]!r} is in version {now.version}, not {expected}: someone was faster.",
        "Read it again and repeat the edit.",
    )


def address(base: str, layer_id: str, name: str) -> str:
    """Of one feature. QGIS takes what follows the last `/items/` for the id."""
    return f"{base}/collections/{layer_id}/items/{quote(name, safe='')}"


def told(done: Edited, base: str) -> list[dict[str, Any]]:
    """What became of each feature, for an answer."""
    return [
        {"id": name, "outcome": outcome, "version": version, "href": address(base, done.layer, name)}
        for name, outcome, version in zip(done.ids, done.outcome, done.versions, strict=True)
    ]


def issues_told(issues: Sequence[Issue]) -> list[dict[str, str]]:
    """Issues for an answer, the first of very many."""
    return [issue.to_dict() for issue in issues[:MOST_ISSUES]]


def renamed(error: InvalidInput, where: str, layer_id: str, name: str) -> InvalidInput:
    """A complaint of the edit itself, under the place in the body of the feature that it is about."""
    own = error.problem.removeprefix(f"{layer_id} {name!r}: ")
    return WrongMember(where, own, error.hint)
