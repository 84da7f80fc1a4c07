"""Flow over a grid: pits filled, steepest ways down, cells above each cell (compiled).

Cells are taken from the rim inwards, lowest first (a heap by height, then by age): a neighbour that lies no higher than
the cell it is reached from is in a pit or on a flat; it gets that height and waits in a queue instead of the heap. In
the order in which cells are taken, every cell comes after the one it flows to. Cells are numbered row by row.
"""

import numpy as np
from numpy.typing import NDArray

from twin.analysis.kernel import kernel
from twin.analysis.watershed_flow import DC, DR, NONE, OUT

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]

FREE = 254
_EAST, _SOUTH = np.array(DC), np.array(DR)


@kernel
def push(heights: Floats, ages: Ints, cells: Ints, n: int, height: float, age: int, cell: int) -> None:  # noqa: PLR0917
    """Put a cell into the heap of `n`; four below each."""
    k = n
    while k > 0:
        up = (k - 1) >> 2
        if heights[up] < height or (heights[up] == height and ages[up] < age):
            break
        heights[k], ages[k], cells[k] = heights[up], ages[up], cells[up]
        k = up
    heights[k], ages[k], cells[k] = height, age, cell


@kernel
def drop(heights: Floats, ages: Ints, cells: Ints, n: int) -> None:
    """Take the first of `n` off the heap."""
    height, age, cell = heights[n - 1], ages[n - 1], cells[n - 1]
    k, n = 0, n - 1
    while True:
        first = 4 * k + 1
        if first >= n:
            break
        least = first
        for c in range(first + 1, min(first + 4, n)):
            if heights[c] < heights[least] or (heights[c] == heights[least] and ages[c] < ages[least]):
                least = c
        if height < heights[least] or (height == heights[least] and age < ages[least]):
            break
        heights[k], ages[k], cells[k] = heights[least], ages[least], cells[least]
        k = least
    heights[k], ages[k], cells[k] = height, age, cell


@kernel
def start(z: Floats, rows: int, columns: int, way: Bytes, heights: Floats, ages: Ints, cells: Ints) -> int:  # noqa: PLR0917
    """Mark voids NONE and others FREE; cells on the rim or beside a void are OUT and go into the heap. How many."""
    n = 0
    for r in range(rows):
        for c in range(columns):
            at = r * columns + c
            if np.isnan(z[at]):
                way[at] = NONE
                continue
            is_rim = r == 0 or c == 0 or r == rows - 1 or c == columns - 1
            if not is_rim:
                for d in range(8):
                    is_rim |= np.isnan(z[at + _SOUTH[d] * columns + _EAST[d]])
            way[at] = OUT if is_rim else FREE
            if is_rim:
                push(heights, ages, cells, n, z[at], n, at)
                n += 1
    return n


@kernel
def take(  # noqa: PLR0917
    z: Floats, rows: int, columns: int, way: Bytes, heights: Floats, ages: Ints, cells: Ints, queue: Ints, taken: Ints,
    at: NDArray[np.int64], most: int,
) -> float:  # fmt: skip
    """Take up to `most` more cells; `at` holds heap size, age, queue begin and end, number taken, number filled.

    `z` becomes the filled heights; `way` of a cell is the direction of the cell it was reached from. Returns the
    greatest depth filled.
    """
    n, age, begin, end, done, filled = at[0], at[1], at[2], at[3], at[4], at[5]
    deepest = 0.0
    stop = done + most
    while done < stop and (n > 0 or begin < end):
        if begin < end:
            cell = queue[begin]
            begin += 1
        else:
            begin = end = 0
            cell = cells[0]
            drop(heights, ages, cells, n)
            n -= 1
        taken[done] = cell
        done += 1
        height = z[cell]
        r, c = cell // columns, cell % columns
        for d in range(8):
            r1, c1 = r + _SOUTH[d], c + _EAST[d]
            if r1 < 0 or c1 < 0 or r1 >= rows or c1 >= columns:
                continue
            other = r1 * columns + c1
            if way[other] != FREE:
                continue
            way[other] = (d + 4) % 8
            if z[other] <= height:
                if z[other] < height:
                    filled += 1
                    deepest = max(deepest, height - z[other])
                    z[other] = height
                queue[end] = other
                end += 1
            else:
                push(heights, ages, cells, n, z[other], age, other)
                age += 1
                n += 1
    at[0], at[1], at[2], at[3], at[4], at[5] = n, age, begin, end, done, filled
    return deepest


@kernel
def steepest(z: Floats, rows: int, columns: int, way: Bytes, lengths: Floats, first: int, last: int) -> None:  # noqa: PLR0917
    """In rows first to last, turn `way` to the steepest neighbour below, if any; of equal ones the first."""
    for r in range(first, last):
        for c in range(columns):
            at = r * columns + c
            if way[at] == NONE:
                continue
            best, found = 0.0, -1
            for d in range(8):
                r1, c1 = r + _SOUTH[d], c + _EAST[d]
                if r1 < 0 or c1 < 0 or r1 >= rows or c1 >= columns:
                    continue
                other = r1 * columns + c1
                if way[other] != NONE:
                    slope = (z[at] - z[other]) / lengths[d]
                    if slope > best * (1.0 + 1e-12):
                        best, found = slope, d
            if found >= 0:
                way[at] = found


@kernel
def accumulate(way: Bytes, columns: int, taken: Ints, cells_above: Ints) -> None:
    """(n,) cells above each cell, itself not counted; `cells_above` is 0 before."""
    for k in range(len(taken) - 1, -1, -1):
        cell = taken[k]
        d = way[cell]
        if d < OUT:
            cells_above[cell + _SOUTH[d] * columns + _EAST[d]] += cells_above[cell] + 1


@kernel
def label(way: Bytes, columns: int, taken: Ints, labels: Ints) -> None:
    """Cells without a label (0) get that of the cell they flow to."""
    for k in range(len(taken)):
        cell = taken[k]
        d = way[cell]
        if labels[cell] == 0 and d < OUT:
            labels[cell] = labels[cell + _SOUTH[d] * columns + _EAST[d]]


@kernel
def confluences(way: Bytes, columns: int, cells_above: Ints, labels: Ints, least: int, joins: Bytes) -> None:  # noqa: PLR0917
    """`joins` (n,) counts the streams (so many cells or more, itself among them) that flow into a cell of the basin."""
    for cell in range(len(way)):
        d = way[cell]
        if labels[cell] != 0 and d < OUT and cells_above[cell] + 1 >= least:
            joins[cell + _SOUTH[d] * columns + _EAST[d]] += 1


@kernel
def pours(way: Bytes, columns: int, cells_above: Ints, labels: Ints, least: int, joins: Bytes, n: int) -> int:  # noqa: PLR0917
    """Give each stream's last cell before a confluence a label of its own (n + 1 and on), take those of others off.

    The outlet, the cell whose way leads out of the basin, keeps label 1. Returns the last label.
    """
    for cell in range(len(way)):
        if labels[cell] == 0:
            continue
        d = way[cell]
        down = cell + _SOUTH[d] * columns + _EAST[d] if d < OUT else -1
        if labels[cell] == 2:  # the outlet
            labels[cell] = -1
        elif down >= 0 and joins[down] >= 2 and cells_above[cell] + 1 >= least:
            n += 1
            labels[cell] = -n
    for cell in range(len(way)):
        labels[cell] = -labels[cell] if labels[cell] < 0 else 0
    return n
