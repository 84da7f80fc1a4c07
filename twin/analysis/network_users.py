"""Users of a network: features that belong to the link nearest to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis import place
from twin.analysis.network import Network
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Users:
    """(u,) users: link of each, -1 where none is near, and how many it stands for."""

    link: NDArray[np.int64]
    count: FloatArray

    @property
    def n_without_link(self) -> int:
        """Features that belong to no link."""
        return int((self.link < 0).sum())

    def on_links(self, mask: NDArray[np.bool_]) -> float:
        """How many are on some links."""
        return float(self.count[(self.link >= 0) & mask[self.link]].sum())


def read(
    city: "City", given: Sequence[Mapping[str, Any]] | None, network: Network, column: str | None, reach_m: float
) -> Users | None:
    """Users that an input means; None where none are given."""
    if given is None:
        return None
    made = [of_features(place.features(city, "users", each), network, reach_m, column) for each in given]
    return Users(np.concatenate([each.link for each in made]), np.concatenate([each.count for each in made]))


def of_features(found: Features, network: Network, reach_m: float, column: str | None = None) -> Users:
    """Each feature to the nearest link within `reach_m` in plan; of two equally near ones the first."""
    count = np.ones(len(found))
    if column is not None:
        count = place.numbers(found, column, "users")
        bad = np.flatnonzero(~np.isfinite(count) | (count < 0))
        if bad.size:
            raise InvalidInput(f"users: {found.ids[bad[0]]!r} has no {column} that is a number of users.")
    link = np.full(len(found), -1, np.int64)
    rows = np.flatnonzero(~(shapely.is_missing(network.geometry) | shapely.is_empty(network.geometry)))
    if len(rows) and len(found):
        tree = shapely.STRtree(network.geometry[rows])
        user, near = tree.query_nearest(found.geometry, max_distance=max(reach_m, 1e-9), all_matches=True)
        for each, line in sorted(zip(user.tolist(), rows[near].tolist(), strict=True), reverse=True):
            link[each] = line
    return Users(link, count)
