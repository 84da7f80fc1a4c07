"""Whether the ground stands between a window and the sun: the compiled part of `sunlight_terrain`."""

# ruff: noqa: PLR0917 -- compiled functions take arrays and numbers one by one

import numpy as np
from numpy.typing import NDArray

from twin.analysis.kernel import kernel

FloatArray = NDArray[np.float64]
FREE, HIDDEN, NO_GROUND = 0, 1, 2


@kernel
def _height(column: float, row: float, heights: FloatArray) -> float:
    """Bilinear between the centres of cells, which have whole numbers; the edge's own within the outer half cell."""
    rows, columns = heights.shape
    c, r = min(max(int(np.floor(column)), 0), columns - 2), min(max(int(np.floor(row)), 0), rows - 2)
    u, v = min(max(column - c, 0.0), 1.0), min(max(row - r, 0.0), 1.0)
    upper = (1 - u) * heights[r, c] + u * heights[r, c + 1]
    return float((1 - v) * upper + v * ((1 - u) * heights[r + 1, c] + u * heights[r + 1, c + 1]))


@kernel
def _to_line(at: float, step: float) -> float:
    """How far to the next whole number, for something that moves by `step` a metre."""
    if step > 0.0:
        return float((np.floor(at + 1e-9) + 1.0 - at) / step)
    if step < 0.0:
        return float((np.ceil(at - 1e-9) - 1.0 - at) / step)
    return np.inf


@kernel
def hides(
    point: FloatArray, sun: FloatArray, heights: FloatArray, west: float, north: float, dx: float, dy: float, top: float
) -> int:
    """FREE, HIDDEN, or NO_GROUND where the ray passes cells without a height before anything hides the sun.

    The ray is followed from one cell off the window until it is above `top` or off the grid. The ground is looked at
    where the ray crosses the lines between centres of cells, at which it bends, and halfway between.
    """
    if sun[2] <= 0.0:
        return HIDDEN
    flat = np.hypot(sun[0], sun[1])
    if flat == 0.0:
        return FREE
    rows, columns = heights.shape
    across, down, up = sun[0] / flat / dx, -sun[1] / flat / dy, sun[2] / flat
    column, row = (point[0] - west) / dx - 0.5, (north - point[1]) / dy - 0.5
    distance, is_open = min(dx, dy), False
    while point[2] + distance * up <= top:
        c, r = column + distance * across, row + distance * down
        if c < -0.5 or r < -0.5 or c > columns - 0.5 or r > rows - 0.5:
            break
        step = min(_to_line(c, across), _to_line(r, down))
        for share in (0.0, 0.5):
            along = distance + share * step
            ground = _height(column + along * across, row + along * down, heights)
            if np.isnan(ground):
                is_open = True
            elif ground > point[2] + along * up:
                return HIDDEN
        distance += step
    return NO_GROUND if is_open else FREE


@kernel
def free_stretches(
    point: FloatArray, parts: FloatArray, first: float, last: float, steps: int, heights: FloatArray, west: float,
    north: float, dx: float, dy: float, top: float,
) -> tuple[FloatArray, bool]:  # fmt: skip
    """(k, 2) hour angles between which the ground hides nothing, and whether all of it is known.

    Looked at `steps` times a window of hours; each change is then narrowed down to a second (7e-5 radians).
    """
    found, k = np.empty((steps + 2, 2)), 0
    before, state, start, is_known = first, -1, first, True
    for i in range(steps + 1):
        angle = first + (last - first) * i / steps
        sun = parts[0] + parts[1] * np.cos(angle) + parts[2] * np.sin(angle)
        now = hides(point, sun, heights, west, north, dx, dy, top)
        if now == NO_GROUND:
            is_known = False
        is_free = 0 if now == HIDDEN else 1
        if state >= 0 and is_free != state:
            low, high = before, angle
            while high - low > 7e-5:
                middle = 0.5 * (low + high)
                sun = parts[0] + parts[1] * np.cos(middle) + parts[2] * np.sin(middle)
                there = 0 if hides(point, sun, heights, west, north, dx, dy, top) == HIDDEN else 1
                if there == state:
                    low = middle
                else:
                    high = middle
            if is_free == 1:
                start = high
            else:
                found[k, 0], found[k, 1] = start, low
                k += 1
        state, before = is_free, angle
    if state == 1:
        found[k, 0], found[k, 1] = start, last
        k += 1
    return found[:k], is_known
