"""Kernel of the viewshed: the horizon of narrow wedges of view, kept exactly, from the nearest line of cells outwards.

Seen from the eye, the stretch between two neighbouring cell centres is a straight line: with k the number of lines of
cells from the eye and t the cells aside, the height of its points over the eye, divided by k, is linear in u = t / k.
The horizon of all that lies nearer is then a chain of straight pieces, and a further line of cells is merged into it
as two sorted lists are. A cell is seen if its own number is not below the horizon at its u. What lies between two
lines of cells (the stretches along the view) is merged as well, so that every crossing of a sight line with the
lattice of cell centres counts (algorithm R3 of Franklin and Ray 1994, "Higher isn't necessarily better: visibility
algorithms and experiments", without its cost of a walk for each cell).
"""

import numpy as np
from numpy.typing import NDArray

from twin.analysis.kernel import kernel

FloatArray = NDArray[np.float64]

SEEN, HIDDEN = 1, 0
MARGIN = 2.0**-24
"""A wedge knows its horizon a little beyond its edges: what lies on an edge is hidden by stretches on both sides."""
POINT = 1e-12
"""A stretch that is not known ends so far from a centre that is: what passes over the centre itself is known. Other
sight lines are farther from it: 1 / (lines * lines)."""


@kernel
def _merged(
    n: int, u: FloatArray, lines: FloatArray, m: int, v: FloatArray, chain: FloatArray, out_u: FloatArray,
    out: FloatArray,
) -> int:  # fmt: skip
    """Greater of two functions that are pieces of lines on the same stretch -> number of pieces of the result.

    `u` (n + 1,) ends of pieces, `lines` (n, 2) slope and value at 0; `v`, `chain` the other one; `out_u`, `out` get
    the result. A piece that is nowhere is the line (0, -inf).
    """
    i = j = 0
    made = 0
    at = u[0]
    last = u[n]
    while at < last:
        end = min(u[i + 1], v[j + 1])
        if end > at:
            a0, b0 = lines[i, 0] * at + lines[i, 1], chain[j, 0] * at + chain[j, 1]
            a1, b1 = lines[i, 0] * end + lines[i, 1], chain[j, 0] * end + chain[j, 1]
            a_first, a_last = a0 >= b0, a1 >= b1
            slope, base = (lines[i, 0], lines[i, 1]) if a_first else (chain[j, 0], chain[j, 1])
            if made == 0 or out[made - 1, 0] != slope or out[made - 1, 1] != base:
                out_u[made], out[made, 0], out[made, 1] = at, slope, base
                made += 1
            if a_first != a_last and lines[i, 0] != chain[j, 0]:
                cross = (chain[j, 1] - lines[i, 1]) / (lines[i, 0] - chain[j, 0])
                cross = min(max(cross, at), end)
                slope, base = (lines[i, 0], lines[i, 1]) if a_last else (chain[j, 0], chain[j, 1])
                out_u[made], out[made, 0], out[made, 1] = cross, slope, base
                made += 1
            at = end
        if u[i + 1] <= at:
            i += 1
        if v[j + 1] <= at:
            j += 1
    out_u[made] = last
    return made


@kernel
def _lowest(n: int, u: FloatArray, lines: FloatArray) -> float:
    low = np.inf
    for i in range(n):
        a, b = lines[i, 0] * u[i] + lines[i, 1], lines[i, 0] * u[i + 1] + lines[i, 1]
        low = min(low, min(a, b))
    return low


@kernel
def _push(v, chain, m, until, slope, base):  # type: ignore[no-untyped-def]
    """Lengthen a chain of m pieces by the line `slope`, `base` to `until`; nothing where that is no further."""
    if until <= v[m]:
        return m
    chain[m, 0], chain[m, 1] = slope, base
    v[m + 1] = until
    return m + 1


@kernel
def _across(z, k, t0, first, last, low, high, eye, bend_k, bend_t, void, v, chain):  # type: ignore[no-untyped-def]
    """Pieces of the stretches between neighbours on line k, aside from `first` to `last`, cut to u in [low, high]."""
    v[0] = low
    m = _push(v, chain, 0, min(first / k, high), 0.0, -np.inf)
    b = z[k, t0 + first] - bend_k * k * k - bend_t * first * first
    for t in range(first, last):
        start, end = t / k, (t + 1) / k
        a, b = b, z[k, t0 + t + 1] - bend_k * k * k - bend_t * (t + 1) * (t + 1)
        rise = b - a
        if rise == rise:
            m = _push(v, chain, m, min(end, high), rise, (a - eye - t * rise) / k)
            continue
        if a == a:
            m = _push(v, chain, m, min(start + POINT, high), 0.0, (a - eye) / k)
        if b == b:
            m = _push(v, chain, m, min(end - POINT, high), 0.0, void)
            m = _push(v, chain, m, min(end, high), 0.0, (b - eye) / k)
        else:
            m = _push(v, chain, m, min(end, high), 0.0, void)
    return _push(v, chain, m, high, 0.0, -np.inf)


@kernel
def _along(z, k, t0, first, last, low, high, eye, bend_k, bend_t, void, v, chain):  # type: ignore[no-untyped-def]
    """Pieces of the stretches from line k - 1 to line k, aside from `first` to `last`, cut to u in [low, high]."""
    v[0] = low
    m = 0
    near = k - 1
    for t in range(first, last + 1):
        if t == 0:
            continue  # seen end on: both its ends count with their lines
        start, end = (t / k, t / near) if t > 0 else (t / near, t / k)
        if end <= low or start >= high:
            continue
        a = z[near, t0 + t] - bend_k * near * near - bend_t * t * t
        b = z[k, t0 + t] - bend_k * k * k - bend_t * t * t
        rise = b - a
        slope, base = (a - near * rise - eye) / t, rise
        if rise != rise:
            slope, base = 0.0, void
            if (b if t > 0 else a) == (b if t > 0 else a):
                start += POINT
            if (a if t > 0 else b) == (a if t > 0 else b):
                end -= POINT
        m = _push(v, chain, m, min(start, high), 0.0, -np.inf)
        m = _push(v, chain, m, min(end, high), slope, base)
    return _push(v, chain, m, high, 0.0, -np.inf)


@kernel
def _mark(  # type: ignore[no-untyped-def]
    z, out, k, t0, low, high, is_last, is_first, n, u, lines, eye, bend_k, bend_t, dk, dt, reach2, is_hidden
):
    """Hold the cells of line k against the horizon of what is nearer; `eye` is less what the targets stand over z."""
    first, last = int(np.ceil(low * k)), int(np.ceil(high * k)) - 1
    if is_last:
        last = k
    if not is_first:
        first, last = max(first, 1 - k), min(last, k - 1)
    i = 0
    for t in range(max(first, -t0), min(last, z.shape[1] - 1 - t0) + 1):
        if (k * dk) ** 2 + (t * dt) ** 2 > reach2:
            continue
        if is_hidden:
            out[k, t0 + t] = HIDDEN
            continue
        at = t / k
        while i < n - 1 and u[i + 1] < at:
            i += 1
        horizon = lines[i, 0] * at + lines[i, 1]
        if i < n - 1 and u[i + 1] == at:
            horizon = max(horizon, lines[i + 1, 0] * at + lines[i + 1, 1])
        own = (z[k, t0 + t] - bend_k * k * k - bend_t * t * t - eye) / k
        out[k, t0 + t] = SEEN if own >= horizon else HIDDEN


@kernel
def _grown(values: FloatArray, size: int) -> FloatArray:
    made = np.empty(size)
    made[: len(values)] = values
    return made


@kernel
def _grown2(values: FloatArray, size: int) -> FloatArray:
    made = np.empty((size, 2))
    made[: len(values)] = values
    return made


@kernel
def sweep(  # type: ignore[no-untyped-def]
    z, out, t0, first_wedge, last_wedge, n_wedges, eye, same, rise_m, dk, dt, bend, reach_m, void, is_first
):
    """Mark what is seen in wedges of the quarter of view towards growing rows.

    Parameters
    ----------
    z : (lines, width) heights; the eye is over row 0, column `t0`
    out : (lines, width) uint8; cells of the wedges within reach get SEEN or HIDDEN
    first_wedge, last_wedge, n_wedges : wedges to do, of so many (a power of two) between u = -1 and 1
    eye : its height, as z
    same : obstacles count so much lower
    rise_m : targets stand so high over z
    dk, dt : distance of rows, of columns
    bend : the drop at distance d is bend * d**2
    reach_m : cells farther than this are left as they are
    void : height of what is not known: -inf or inf
    is_first : whether cells at u = -1 and 1 are of this quarter
    """
    lines_n, width = z.shape
    bend_k, bend_t = bend * dk * dk, bend * dt * dt
    reach2 = reach_m * reach_m * (1.0 + 1e-12)
    most = min(lines_n - 1, int(reach_m / dk * (1.0 + 1e-12)))
    lowered = eye + same
    size = 1024
    u, v, w = np.empty(size), np.empty(size), np.empty(size)
    lines, chain, made = np.empty((size, 2)), np.empty((size, 2)), np.empty((size, 2))
    for wedge in range(first_wedge, last_wedge):
        own_low, own_high = -1.0 + 2.0 * wedge / n_wedges, -1.0 + 2.0 * (wedge + 1) / n_wedges
        low, high = own_low - MARGIN, own_high + MARGIN
        n = 1
        u[0], u[1], lines[0, 0], lines[0, 1] = low, high, 0.0, -np.inf
        floor = -np.inf
        highest = -np.inf  # of the line before
        for k in range(1, most + 1):
            first = max(int(np.floor(low * k)), -t0)
            last = min(int(np.ceil(high * k)), width - 1 - t0)
            if first > last:
                break
            aside = min(abs(low), abs(high)) * k * dt if low * high > 0.0 else 0.0
            if k * k * dk * dk + aside * aside > reach2:
                break
            # nothing of this line, and nothing between it and the one before, may rise over the horizon
            top = -np.inf
            for t in range(max(first - 1, -t0), min(last + 1, width - 1 - t0) + 1):
                height = z[k, t0 + t]
                top = max(top, void if height != height else height)
            over = max(top, highest) - lowered
            highest = top
            is_low = over / k <= floor and (k == 1 or over / (k - 1) <= floor)
            if not is_low and k > 1:
                while 2 * (n + 3 * (last - first + 4)) > size:
                    size *= 2
                    u, lines = _grown(u, size), _grown2(lines, size)
                    v, w, chain, made = np.empty(size), np.empty(size), np.empty((size, 2)), np.empty((size, 2))
                m = _along(z, k, t0, first, last, low, high, lowered, bend_k, bend_t, void, v, chain)
                n = _merged(n, u, lines, m, v, chain, w, made)
                u, w, lines, made = w, u, made, lines
            _mark(z, out, k, t0, own_low, own_high, wedge == n_wedges - 1, is_first, n, u, lines, eye - rise_m, bend_k, bend_t,
                  dk, dt, reach2, is_low and top + rise_m - eye < floor * k)  # fmt: skip
            if not is_low:
                m = _across(z, k, t0, first, last, low, high, lowered, bend_k, bend_t, void, v, chain)
                n = _merged(n, u, lines, m, v, chain, w, made)
                u, w, lines, made = w, u, made, lines
                floor = _lowest(n, u, lines)
