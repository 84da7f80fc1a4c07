"""Which of many million keys were there before, in 8 bytes a key.

Keys are 64-bit hashes. Two different keys among 10 million share one with a chance of 3e-6.
"""

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.int64]


class Seen:
    """A set of hashes that only grows: sorted runs, merged when they are of like size."""

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def add(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Add (n,) hashes; True where one was there before, or stands earlier in the same array."""
        if not len(hashes):
            return np.zeros(0, bool)
        fresh, first = np.unique(hashes, return_index=True)
        repeated = np.ones(len(hashes), bool)
        repeated[first] = False
        known = np.zeros(len(fresh), bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, fresh), len(run) - 1)
            known |= run[at] == fresh
        repeated[first[known]] = True
        self._push(fresh[~known])
        return repeated

    def _push(self, run: Hashes) -> None:
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) <= 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)
