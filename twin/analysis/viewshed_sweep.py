"""Kernel of the viewshed: the horizon of narrow wedges of view, kept exactly, from the nearest line of cells outwards.

Seen from the eye, the stretch between two neighbouring cell centres is a straight line: with k the number of lines of
cells from the eye and t the cells aside, the height of its points over the eye, divided by k, is linear in u = t / k.
The horizon of all that lies nearer is then a chain of straight pieces, and a further line of cells is merged into it
as two sorted lists are. A cell is seen if its own number is not below the horizon at its u. What lies between two
lines of cells (the stretches along the view) is merged as well, so that every crossing of a sight line with the
lattice of cell centres counts (algorithm R3 of Franklin and Ray 1994, "Higher isn't necessarily better: visibility
algorithms and experiments", without its cost of a walk for each cell).

A chain is `ends` (n + 1,) and `lines` (n, 2), slope and value at u = 0, of its n pieces; where there is nothing, its
line is (0, -inf). A bend is the pair of what the ground drops for a square of lines away, and of cells aside.
"""

import math

import numpy as np
from numpy.typing import NDArray

from twin.analysis.kernel import kernel

FloatArray = NDArray[np.float64]
Bend = tuple[float, float]

SEEN, HIDDEN = 1, 0
MARGIN = 2.0**-24
"""A wedge knows its horizon a little beyond its edges: what lies on an edge is hidden by stretches on both sides."""
POINT = 1e-12
"""A stretch that is not known ends so far from a centre that is: what passes over the centre itself is known. Other
sight lines are farther from it: 1 / (lines * lines)."""


@kernel
def _merged(  # noqa: PLR0917 compiled code takes no objects
    n: int,
    ends: FloatArray,
    lines: FloatArray,
    others: FloatArray,
    chain: FloatArray,
    into: FloatArray,
    out: FloatArray,
) -> tuple[int, float]:
    """Greater of a chain of n pieces and of `others`, `chain` on the same stretch: its number of pieces, its least."""
    i = j = made = 0
    at, last, low = ends[0], ends[n], np.inf
    last_slope = last_base = np.nan
    end_a, end_b = ends[1], others[1]
    slope_a, base_a, slope_b, base_b = lines[0, 0], lines[0, 1], chain[0, 0], chain[0, 1]
    while at < last:
        end = min(end_a, end_b)
        if end > at:
            a0, b0 = slope_a * at + base_a, slope_b * at + base_b
            a1, b1 = slope_a * end + base_a, slope_b * end + base_b
            is_a = a0 >= b0
            slope, base = (slope_a, base_a) if is_a else (slope_b, base_b)
            if slope != last_slope or base != last_base:
                into[made], out[made, 0], out[made, 1] = at, slope, base
                last_slope, last_base = slope, base
                made += 1
            ends_a = a1 >= b1
            low = min(low, a0 if is_a else b0, a1 if ends_a else b1)
            if is_a != ends_a and slope_a != slope_b:
                cross = min(max((base_b - base_a) / (slope_a - slope_b), at), end)
                last_slope, last_base = (slope_b, base_b) if is_a else (slope_a, base_a)
                into[made], out[made, 0], out[made, 1] = cross, last_slope, last_base
                low = min(low, last_slope * cross + last_base)
                made += 1
            at = end
        if end_a <= at:
            i += 1
            end_a, slope_a, base_a = ends[i + 1], lines[i, 0], lines[i, 1]
        if end_b <= at:
            j += 1
            end_b, slope_b, base_b = others[j + 1], chain[j, 0], chain[j, 1]
    into[made] = last
    return made, low


@kernel
def _push(ends: FloatArray, lines: FloatArray, n: int, until: float, slope: float, base: float) -> int:  # noqa: PLR0917
    """Lengthen a chain of n pieces by a line to `until`; not where that is no further. Returns the number of pieces."""
    if until <= ends[n]:
        return n
    lines[n, 0], lines[n, 1] = slope, base
    ends[n + 1] = until
    return n + 1


@kernel
def _across(  # noqa: PLR0917
    z: FloatArray, k: int, t0: int, first: int, last: int, low: float, high: float, eye: float, bend: Bend,
    void: float, ends: FloatArray, lines: FloatArray,
) -> None:  # fmt: skip
    """Chain of the stretches between neighbours on line k, aside from `first` to `last`, for u in [low, high]."""
    ends[0] = low
    n = _push(ends, lines, 0, min(first / k, high), 0.0, -np.inf)
    drop = bend[0] * k * k
    b = z[k, t0 + first] - drop - bend[1] * first * first
    for t in range(first, last):
        start, end = t / k, (t + 1) / k
        a, b = b, z[k, t0 + t + 1] - drop - bend[1] * (t + 1) * (t + 1)
        rise = b - a
        if not math.isnan(rise):
            n = _push(ends, lines, n, min(end, high), rise, (a - eye - t * rise) / k)
            continue
        if not math.isnan(a):
            n = _push(ends, lines, n, min(start + POINT, high), 0.0, (a - eye) / k)
        if not math.isnan(b):
            n = _push(ends, lines, n, min(end - POINT, high), 0.0, void)
            n = _push(ends, lines, n, min(end, high), 0.0, (b - eye) / k)
        else:
            n = _push(ends, lines, n, min(end, high), 0.0, void)
    _push(ends, lines, n, high, 0.0, -np.inf)


@kernel
def _along(  # noqa: PLR0917
    z: FloatArray, k: int, t0: int, first: int, last: int, low: float, high: float, eye: float, bend: Bend,
    void: float, ends: FloatArray, lines: FloatArray,
) -> None:  # fmt: skip
    """Chain of the stretches from line k - 1 to line k, aside from `first` to `last`, for u in [low, high]."""
    ends[0] = low
    n, near = 0, k - 1
    for t in range(first, last + 1):
        if t == 0:
            continue  # seen end on: both its ends count with their lines
        start, end = (t / k, t / near) if t > 0 else (t / near, t / k)
        if end <= low or start >= high:
            continue
        a = z[near, t0 + t] - bend[0] * near * near - bend[1] * t * t
        b = z[k, t0 + t] - bend[0] * k * k - bend[1] * t * t
        rise = b - a
        slope, base = (a - near * rise - eye) / t, rise
        if math.isnan(rise):
            slope, base = 0.0, void
            if not math.isnan(b if t > 0 else a):
                start += POINT
            if not math.isnan(a if t > 0 else b):
                end -= POINT
        n = _push(ends, lines, n, min(start, high), 0.0, -np.inf)
        n = _push(ends, lines, n, min(end, high), slope, base)
    _push(ends, lines, n, high, 0.0, -np.inf)


@kernel
def _line(  # noqa: PLR0917
    z: FloatArray, k: int, t0: int, first: int, last: int, low: float, high: float, eye: float, bend: Bend,
    ends: FloatArray, lines: FloatArray,
) -> None:  # fmt: skip
    """Chain of the stretches on line k and of those that join it to line k - 1, where every height is known.

    A stretch along the view is seen from the centre t on line k inwards, over the stretch across that starts there:
    from one point both, so that the steeper one is the higher. Pieces are added as `_push` does it, which the compiler
    does not put in place by itself (a fifth of the time).
    """
    ends[0] = low
    each = 1.0 / k
    inner = 1.0 / (k - 1) if k > 1 else 0.0
    n = _push(ends, lines, 0, min(first * each, high), 0.0, -np.inf)
    drop, before = bend[0] * k * k + eye, bend[0] * (k - 1) * (k - 1) + eye
    b = z[k, t0 + first] - drop - bend[1] * first * first
    reached = ends[n]
    for t in range(first, last):
        a, b = b, z[k, t0 + t + 1] - drop - bend[1] * (t + 1) * (t + 1)
        rise = b - a
        base = (a - t * rise) * each
        end = min((t + 1) * each, high)
        if k > 1 and t > 0:
            up = a - (z[k - 1, t0 + t] - before - bend[1] * t * t)
            if a - k * up > rise * t:
                middle = min(t * inner, high)
                if middle > reached:
                    lines[n, 0], lines[n, 1] = (a - k * up) / t, up
                    n += 1
                    ends[n] = middle
                    reached = middle
        elif k > 1 and t < -1:
            up = b - (z[k - 1, t0 + t + 1] - before - bend[1] * (t + 1) * (t + 1))
            if b - k * up > rise * (t + 1):
                middle = min((t + 1) * inner, high)
                if middle > reached:
                    lines[n, 0], lines[n, 1] = rise, base
                    n += 1
                    ends[n] = middle
                    reached = middle
                rise, base = (b - k * up) / (t + 1), up
        if end > reached:
            lines[n, 0], lines[n, 1] = rise, base
            n += 1
            ends[n] = end
            reached = end
    _push(ends, lines, n, high, 0.0, -np.inf)


@kernel
def _mark(  # noqa: PLR0917
    z: FloatArray, out: NDArray[np.uint8], k: int, t0: int, first: int, last: int, n: int, ends: FloatArray,
    lines: FloatArray, eye: float, bend: Bend, squares: Bend, reach2: float, is_hidden: bool, is_smooth: bool,
) -> None:  # fmt: skip
    """Hold the cells of line k against the horizon; `eye` is less what the targets stand over z.

    The horizon may hold what is on line k itself: it counts a little lower and hides nothing there. `is_smooth`: it has
    no steps, so that one of the pieces that meet at u is enough.
    """
    i = 0
    each, drop = 1.0 / k, bend[0] * k * k + eye
    farthest = max(first * first, last * last)
    is_in = k * k * squares[0] + farthest * squares[1] <= reach2
    row, marks = z[k], out[k]
    start, stop = max(first + t0, 0), min(last + t0, z.shape[1] - 1) + 1
    if is_hidden and is_in:
        for j in range(start, stop):
            marks[j] = HIDDEN
        return
    until, slope, base = ends[1], lines[0, 0], lines[0, 1]
    for j in range(start, stop):
        t = j - t0
        if not is_in and k * k * squares[0] + t * t * squares[1] > reach2:
            continue
        if is_hidden:
            marks[j] = HIDDEN
            continue
        at = t * each
        while until < at and i < n - 1:
            i += 1
            until, slope, base = ends[i + 1], lines[i, 0], lines[i, 1]
        horizon = slope * at + base
        if not is_smooth and i < n - 1 and ends[i + 1] == at:
            horizon = max(horizon, lines[i + 1, 0] * at + lines[i + 1, 1])
        own = (row[j] - drop - bend[1] * t * t) * each
        marks[j] = SEEN if own >= horizon else HIDDEN


@kernel
def _highest(z: FloatArray, k: int, first: int, last: int) -> tuple[float, bool]:
    """Of cells of a line, and whether all are known."""
    top, is_known = -np.inf, True
    for i in range(first, last + 1):
        height = z[k, i]
        top = max(top, height)
        is_known &= height == height  # noqa: PLR0124 not a number
    return top, is_known


@kernel
def _wedge(  # noqa: PLR0917
    z: FloatArray, out: NDArray[np.uint8], t0: int, edges: Bend, is_whole: tuple[bool, bool], eyes: Bend,
    target_m: float, squares: Bend, bend_per_m: float, reach2: float, void: float,
) -> None:  # fmt: skip
    """One wedge, u in [edges[0], edges[1]); `is_whole`: whether cells at u = -1 and 1, and at its upper edge, count."""
    eye, lowered = eyes
    low, high = edges[0] - MARGIN, edges[1] + MARGIN
    bend = (bend_per_m * squares[0], bend_per_m * squares[1])
    slant = 1.0 if edges[0] * edges[1] <= 0.0 else 1.0 + min(edges[0] ** 2, edges[1] ** 2) * squares[1] / squares[0]
    width, size, n = z.shape[1], 256, 1
    ends, others, spare = np.empty(size), np.empty(size), np.empty(size)
    lines, chain, free = np.empty((size, 2)), np.empty((size, 2)), np.empty((size, 2))
    ends[0], ends[1], lines[0, 0], lines[0, 1] = low, high, 0.0, -np.inf
    floor = before = -np.inf
    was_known = is_smooth = True
    for k in range(1, z.shape[0]):
        first, last = max(math.floor(low * k), -t0), min(math.ceil(high * k), width - 1 - t0)
        if first > last or k * k * squares[0] * slant > reach2:
            break
        # a line of cells, and what joins it to the one before, that stays below the horizon changes nothing
        top, is_known = _highest(z, k, max(first - 1 + t0, 0), min(last + 1 + t0, width - 1))
        top = top if is_known else max(top, void)
        over = max(top, before) - lowered
        is_low = over / k <= floor and (k == 1 or over / (k - 1) <= floor)
        is_plain, was_known, before = is_known and was_known, is_known, top
        is_smooth &= is_known and first <= low * k and last >= high * k  # the edge of the grid is a step
        if 2 * (n + 6 * (last - first + 4)) > size:
            size = 4 * (n + 6 * (last - first + 4))
            kept, kept_lines = ends, lines
            ends, others, spare = np.empty(size), np.empty(size), np.empty(size)
            lines, chain, free = np.empty((size, 2)), np.empty((size, 2)), np.empty((size, 2))
            ends[: n + 1], lines[:n] = kept[: n + 1], kept_lines[:n]
        if not is_low:
            for part in range(1 if is_plain else 2):
                if is_plain:
                    _line(z, k, t0, first, last, low, high, lowered, bend, others, chain)
                elif part == 0:
                    _across(z, k, t0, first, last, low, high, lowered, bend, void, others, chain)
                elif k > 1:
                    _along(z, k, t0, first, last, low, high, lowered, bend, void, others, chain)
                n, floor = _merged(n, ends, lines, others, chain, spare, free)
                ends, spare, lines, free = spare, ends, free, lines
        start, stop = math.ceil(edges[0] * k), k if is_whole[1] else math.ceil(edges[1] * k) - 1
        if not is_whole[0]:
            start, stop = max(start, 1 - k), min(stop, k - 1)
        is_hidden = is_low and top + target_m - eye < floor * k
        _mark(z, out, k, t0, start, stop, n, ends, lines, eye - target_m, bend, squares, reach2, is_hidden, is_smooth)


@kernel
def sweep(  # noqa: PLR0917
    z: FloatArray, out: NDArray[np.uint8], t0: int, wedges: tuple[int, int, int], is_first: bool, eyes: Bend,
    target_m: float, squares: Bend, bend_per_m: float, reach_m: float, void: float,
) -> None:  # fmt: skip
    """Mark what is seen in wedges of the quarter of view towards growing rows.

    Parameters
    ----------
    z : (lines, width) heights; the eye is over row 0, column `t0`
    out : (lines, width); cells of the wedges within reach get SEEN or HIDDEN
    wedges : first and last (exclusive) to do, of so many (a power of two) between u = -1 and 1
    is_first : whether cells at u = -1 and 1 are of this quarter
    eyes : height of the eye as z, and a little more: what hides counts so much lower
    target_m : targets stand so high over z
    squares : squares of the distance of rows, and of columns, in m2
    bend_per_m : the ground drops by this times the square of the distance
    reach_m : cells farther than this are left as they are
    void : height of what is not known: -inf or inf
    """
    reach2 = reach_m * reach_m * (1.0 + 1e-12)
    for wedge in range(wedges[0], wedges[1]):
        edges = (-1.0 + 2.0 * wedge / wedges[2], -1.0 + 2.0 * (wedge + 1) / wedges[2])
        is_whole = (is_first, wedge == wedges[2] - 1)
        _wedge(z, out, t0, edges, is_whole, eyes, target_m, squares, bend_per_m, reach2, void)
