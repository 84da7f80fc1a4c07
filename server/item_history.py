"""The earlier states of one feature, for its page: when each was valid, and what the next one changed."""

from datetime import datetime, timedelta
from typing import Any

import shapely

from server import geojson
from server.providers import OWN_FIELDS
from server.serving import Snapshot
from twin.store.interface import Features, LayerInfo, Query

AT_MOST = 20
"""Earlier states that are looked for; each is one query by id."""
INSTANT = timedelta(milliseconds=1)
"""The store's clock ticks in milliseconds."""


def of(city: Snapshot, info: LayerInfo, feature_id: str, version: int, valid_from: str) -> list[dict[str, Any]]:
    """Earlier states, newest first: `version`, `valid_from`, `valid_to`, and `changed`, the attributes that the state
    after it has different (`geometry` among them).
    """
    if version <= 1:
        return []
    after = _state(city, info, feature_id, _moment(valid_from))
    found: list[dict[str, Any]] = []
    while after is not None and len(found) < AT_MOST:
        before = _state(city, info, feature_id, _moment(after.valid_from[0]) - INSTANT)
        if before is None or before.valid_from[0] == after.valid_from[0]:
            break
        found.append({
            "version": int(before.versions[0]), "valid_from": before.valid_from[0], "valid_to": before.valid_to[0],
            "changed": _changed(before, after),
        })  # fmt: skip
        after = before
    return found


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _state(city: Snapshot, info: LayerInfo, feature_id: str, at: datetime) -> Features | None:
    query = Query(ids=(feature_id,), at=at, limit=1)
    return next(iter(city.city.store.query(info.id, query, city.settings.scope)), None)


def _changed(before: Features, after: Features) -> list[str]:
    old, new = (geojson.properties(each)[0] for each in (before, after))
    names = [name for name in new if name not in OWN_FIELDS and str(old.get(name)) != str(new[name])]
    both = before.geometry[0], after.geometry[0]
    same = both[0] is both[1] or (None not in both and shapely.equals_identical(both[0], both[1]))
    return names if same else [*names, "geometry"]
