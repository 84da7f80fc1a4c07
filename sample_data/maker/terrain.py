"""The ground of the sample town as one formula: hills and reservoir valley, river, plain, seawall and sea.

Continuous, so that any sampling (DEM, pipe covers, check points) is of the same ground.
Heights about -4..120 m, 1985 datum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sample_data.maker import site

Floats = NDArray[np.float64]


def smoothstep(x: Floats) -> Floats:
    """0 below 0, 1 above 1, 3x^2 - 2x^3 between."""
    t = np.clip(x, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def river_distance_m(e: ArrayLike, n: ArrayLike) -> Floats:
    """Distance to the river axis, first order (exact on straight reaches; within a few percent near the channel)."""
    return np.abs(np.asarray(n, float) - site.river_n(e)) / np.hypot(1.0, site.river_slope(e))


def sea_distance_m(e: ArrayLike, n: ArrayLike) -> Floats:
    """Signed distance to the shore, first order; positive on the sea side."""
    return (np.asarray(e, float) - site.coast_e(n)) / 1.03


def ground_elev_m(e: ArrayLike, n: ArrayLike) -> Floats:
    """Ground height at (e, n), EPSG:4549; any shapes that broadcast, result in metres, 1985 datum."""
    e, n = np.broadcast_arrays(np.asarray(e, float), np.asarray(n, float))
    ground = _land(e, n)
    ground = _river(ground, e, n)
    ground = _sea(ground, e, n)
    ground = _dam(ground, e, n)
    for plot in site.PLOTS.values():
        if plot.name != "dam" and not np.isnan(plot.pad_elev_m):
            ground = _level(ground, e, n, plot, blend_m=12.0)
    for pit in site.PITS.values():
        ground = _level(ground, e, n, pit, blend_m=1.5)
    return ground


def _land(e: Floats, n: Floats) -> Floats:
    """Plain, hills and valley without the river bed."""
    x, y = e - site.E_MIN, n - site.N_MIN
    inland = np.maximum(-sea_distance_m(e, n), 0.0)
    plain = 3.3 + 0.0024 * inland + 0.15 * np.sin(x / 90.0) * np.cos(y / 110.0)
    hilly = smoothstep((0.6 * (1000.0 - x) + 0.8 * (y - 1150.0)) / 700.0)
    tops = 92.0 + 12.0 * np.sin(x / 130.0 + 0.7) * np.cos(y / 150.0) + 6.0 * np.sin((x + y) / 60.0)
    hills = plain + hilly * tops + 42.0 * np.exp(-(((x - 230.0) / 130.0) ** 2) - ((y - 330.0) / 170.0) ** 2)
    floor = plain + 46.0 * np.exp(-((np.maximum(x, 0.0) / 480.0) ** 1.6))
    in_valley = np.exp(-((river_distance_m(e, n) / 200.0) ** 2))
    return hills * (1.0 - in_valley) + floor * in_valley


def _river(ground: Floats, e: Floats, n: Floats) -> Floats:
    """Cut the channel below the dam and raise the dykes beside it in the plain."""
    x = e - site.E_MIN
    away, half = river_distance_m(e, n), site.river_half_width_m(e)
    below_dam = smoothstep((x - 470.0) / 60.0)
    depth = 2.0 + 3.4 * smoothstep((x - 600.0) / 700.0)
    bed = smoothstep((half - away) / 9.0)
    dyke = np.exp(-(((away - half - 7.0) / 4.0) ** 2)) * 1.1 * smoothstep((x - 800.0) / 200.0)
    return ground + below_dam * (dyke - depth * bed)


def _sea(ground: Floats, e: Floats, n: Floats) -> Floats:
    """Seawall with its crest 9 m inland of the shore (open at the river mouth), then the sea bed."""
    out = sea_distance_m(e, n)
    bed = np.maximum(-1.0 - 0.009 * np.maximum(out, 0.0), -3.4)
    mouth = smoothstep((river_distance_m(e, n) - site.river_half_width_m(e) - 2.0) / 6.0)
    wall = np.clip(1.0 - (np.abs(out + 9.0) - 3.0) / 6.0, 0.0, 1.0) * mouth
    ground = np.where(wall > 0, np.maximum(ground, ground * (1 - wall) + site.SEAWALL_CREST_ELEV_M * wall), ground)
    shore = smoothstep((out + 5.0) / 12.0)
    return np.where(out > -5.0, ground * (1 - shore) + np.minimum(bed, ground) * shore, ground)


def _dam(ground: Floats, e: Floats, n: Floats) -> Floats:
    """Raise the ground to the dam's cross-section where that is higher."""
    angle = np.radians(site.PLOTS["dam"].rotation_deg)
    along = (e - site.DAM_E) * np.cos(angle) + (n - site.DAM_N) * np.sin(angle)
    downstream = (e - site.DAM_E) * np.sin(angle) - (n - site.DAM_N) * np.cos(angle)
    beyond = np.maximum(np.abs(downstream) - site.DAM_CREST_WIDTH_M / 2, 0.0)
    slope = np.where(downstream > 0, site.DAM_SLOPE_DOWNSTREAM, site.DAM_SLOPE_UPSTREAM)
    top = site.DAM_CREST_ELEV_M - beyond / slope
    return np.where(np.abs(along) <= site.DAM_HALF_LENGTH_M, np.maximum(ground, top), ground)


def _level(ground: Floats, e: Floats, n: Floats, plot: site.Plot, *, blend_m: float) -> Floats:
    """Level a plot to its pad height, blending to the ground around it over `blend_m`."""
    angle = np.radians(plot.rotation_deg)
    a = (e - plot.e) * np.cos(angle) + (n - plot.n) * np.sin(angle)
    b = -(e - plot.e) * np.sin(angle) + (n - plot.n) * np.cos(angle)
    outside = np.hypot(np.maximum(np.maximum(-a, a - plot.width_m), 0), np.maximum(np.maximum(-b, b - plot.depth_m), 0))
    weight = 1.0 - smoothstep(outside / blend_m)
    return ground * (1 - weight) + plot.pad_elev_m * weight
