"""Which model of one set is which of another, and by how much they differ. No city."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis.model_diff_models import Model
from twin.analysis.verdict import SAME

IntArray = NDArray[np.int64]
LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class Difference:
    """Of a model before and after; NaN where one of the two is not known.

    `percent` is of the volume before.
    """

    before: Model
    after: Model
    volume_m3: float
    percent: float
    height_m: float
    top_m: float

    @property
    def change(self) -> str:
        """`unknown`, `same`, `larger` or `smaller` by volume."""
        if np.isnan(self.volume_m3):
            return "unknown"
        return "same" if abs(self.volume_m3) <= SAME else ("larger" if self.volume_m3 > 0 else "smaller")


def difference(before: Model, after: Model) -> Difference:
    """After less before."""
    volume = after.volume_m3 - before.volume_m3
    return Difference(
        before,
        after,
        volume,
        100.0 * volume / before.volume_m3 if before.volume_m3 > 0 else np.nan,
        after.height_m - before.height_m,
        after.top_m - before.top_m,
    )


def by_key(before: Sequence[Model], after: Sequence[Model], key: str | None) -> list[tuple[int, int]]:
    """Rows with the same id, or the same value of an attribute. InvalidInput where it names two of one set."""
    sides = []
    for name, side in (("before", before), ("after", after)):
        rows: dict[str, int] = {}
        for row, each in enumerate(side):
            value = each.id if key is None else each.values.get(key)
            if value is None:
                continue
            if value in rows:
                raise InvalidInput(f"{name}: two models have {key or 'id'} {value[:60]!r}.", "Choose another key.")
            rows[value] = row
        sides.append(rows)
    return [(row, sides[1][value]) for value, row in sides[0].items() if value in sides[1]]


def by_overlap(before: Sequence[Model], after: Sequence[Model]) -> list[tuple[int, int]]:
    """Rows whose footprints share more than half of the smaller, each with the one it shares most with, both ways."""
    old, new = _footprints(before), _footprints(after)
    a, b = shapely.STRtree(new).query(old, predicate="intersects")
    shared = np.asarray(shapely.area(shapely.intersection(old[a], new[b])), np.float64)
    least = np.minimum(shapely.area(old[a]), shapely.area(new[b]))
    keep = shared > LEAST_OVERLAP * least
    a, b, shared = a[keep], b[keep], shared[keep]
    best_a, best_b = np.zeros(len(old)), np.zeros(len(new))
    np.maximum.at(best_a, a, shared)
    np.maximum.at(best_b, b, shared)
    mutual = (shared == best_a[a]) & (shared == best_b[b])
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, other in zip(a[mutual].tolist(), b[mutual].tolist(), strict=True):
        if row not in pairs and other not in taken:
            pairs[row] = other
            taken.add(other)
    return sorted(pairs.items())


def _footprints(side: Sequence[Model]) -> NDArray[np.object_]:
    """Areas; of a mesh that was sent along there is none."""
    out = np.full(len(side), None, dtype=object)
    for row, each in enumerate(side):
        shape = each.footprint
        if shape is not None and shapely.get_dimensions(shape) == 2 and shapely.is_valid(shape):
            out[row] = shapely.force_2d(shape)
    return out
