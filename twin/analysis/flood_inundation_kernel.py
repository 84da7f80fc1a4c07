"""Connected water on a grid: runs of wet cells joined by union-find while rows stream by (compiled).

Runs are numbered in reading order; a run's number is its label, so that no label is stored: a second walk over the
states meets the runs in the same order. Joined runs have the smallest of their numbers as root.
"""

import numpy as np
from numpy.typing import NDArray

from twin.analysis.flood_inundation_water import DRY, FLOODED, TOUCHED, VOID, WET
from twin.analysis.kernel import kernel

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
States = NDArray[np.uint8]
Flags = NDArray[np.bool_]


@kernel
def root_of(parent: Ints, run: int) -> int:
    """Smallest run that `run` is joined with; ways are halved on the walk."""
    while parent[run] != run:
        parent[run] = parent[parent[run]]
        run = parent[run]
    return run


@kernel
def scan(  # noqa: PLR0917 compiled code takes no objects
    z: Floats, level: float, same: float, state: States, above: Ints, n_runs: int, parent: Ints, cells: Ints,
    depth: Floats, deepest: Floats, seeds: NDArray[np.int64], seed_run: NDArray[np.int64], seed: int, top: int,
) -> tuple[int, int]:  # fmt: skip
    """Rows of heights (NaN: none) -> states; runs are numbered on from `n_runs`, joined, and their depths added up.

    `above` (columns,) is the run of each column in the row before, -1 for none; `seeds` (k, 2) are rows and columns in
    reading order, from number `seed` on: their runs go to `seed_run`. Returns the numbers of runs and seeds so far.
    """
    rows, columns = z.shape
    for r in range(rows):
        run = -1
        for c in range(columns):
            height = z[r, c]
            if height < level - same:
                state[r, c] = WET
                if run < 0:
                    run = n_runs
                    n_runs += 1
                    parent[run] = run
                    cells[run], depth[run], deepest[run] = 0, 0.0, 0.0
                below = level - height
                cells[run] += 1
                depth[run] += below
                deepest[run] = max(deepest[run], below)
                over = above[c]
                if over >= 0:
                    a, b = root_of(parent, run), root_of(parent, over)
                    if a < b:
                        parent[b] = a
                    elif b < a:
                        parent[a] = b
                above[c] = run
            else:
                state[r, c] = VOID if np.isnan(height) else DRY
                above[c] = -1
                run = -1
        while seed < len(seeds) and seeds[seed, 0] == top + r:
            seed_run[seed] = above[seeds[seed, 1]]
            seed += 1
    return n_runs, seed


@kernel
def fold(parent: Ints, n_runs: int, cells: Ints, depth: Floats, deepest: Floats, is_in: Flags) -> None:  # noqa: PLR0917
    """Bring what runs have to their roots; `is_in` of a root is that of any run of it, and then that of all."""
    for run in range(n_runs - 1, -1, -1):
        root = root_of(parent, run)
        parent[run] = root
        if root != run:
            cells[root] += cells[run]
            depth[root] += depth[run]
            deepest[root] = max(deepest[root], deepest[run])
            is_in[root] |= is_in[run]
    for run in range(n_runs):
        is_in[run] = is_in[parent[run]]


@kernel
def mark(state: States, run: int, is_in: Flags, counts: NDArray[np.int64]) -> int:
    """WET -> FLOODED in runs that are in; `counts` (columns,) counts them. Returns the next run's number."""
    rows, columns = state.shape
    for r in range(rows):
        is_run = False
        for c in range(columns):
            if state[r, c] != WET:
                is_run = False
                continue
            if not is_run:
                is_run = True
                run += 1
            if is_in[run - 1]:
                state[r, c] = FLOODED
                counts[c] += 1
    return run


@kernel
def shores(state: States) -> tuple[int, int]:
    """Cells without a value beside the water become TOUCHED; their number, and that of flooded cells on the rim."""
    rows, columns = state.shape
    touched, rim = 0, 0
    for r in range(rows):
        for c in range(columns):
            if state[r, c] == FLOODED:
                if r == 0 or c == 0 or r == rows - 1 or c == columns - 1:
                    rim += 1
            elif state[r, c] == VOID and (
                (r > 0 and state[r - 1, c] == FLOODED)
                or (r < rows - 1 and state[r + 1, c] == FLOODED)
                or (c > 0 and state[r, c - 1] == FLOODED)
                or (c < columns - 1 and state[r, c + 1] == FLOODED)
            ):
                state[r, c] = TOUCHED
                touched += 1
    return touched, rim
