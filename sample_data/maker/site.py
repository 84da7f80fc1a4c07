"""Where the sample town lies and what is reserved where: constants and the plan's main lines only.

Everything is in EPSG:4549 (CGCS2000 / 3-degree Gauss-Kruger CM 120E), metres, x = east, y = north;
heights are normal heights of the 1985 datum (EPSG:5737). The town is invented; the terrain does not exist.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CRS = "EPSG:4549"
VERTICAL_CRS = "EPSG:5737"
SEED = 0

E_MIN, E_MAX = 597300.0, 599300.0
N_MIN, N_MAX = 3108900.0, 3110900.0
BOUNDS = (E_MIN, N_MIN, E_MAX, N_MAX)

# The street grid: origin and the angle of its u axis from east, counter-clockwise.
GRID_E, GRID_N = 598300.0, 3109800.0
GRID_ROTATION_DEG = -12.0
BLOCK_U_M, BLOCK_V_M = 160.0, 120.0

# The reservoir dam: centre of the crest, height and slopes (horizontal : vertical).
DAM_E, DAM_N = E_MIN + 430.0, N_MIN + 1560.0
DAM_CREST_ELEV_M = 51.0
DAM_CREST_WIDTH_M = 6.0
DAM_HALF_LENGTH_M = 165.0
DAM_SLOPE_UPSTREAM, DAM_SLOPE_DOWNSTREAM = 2.5, 2.0
RESERVOIR_NORMAL_LEVEL_M = 46.0

SEAWALL_CREST_ELEV_M = 5.8
SLUICE_X_M = 1430.0  # east of E_MIN, where the tidal sluice crosses the river


@dataclass(frozen=True)
class Plot:
    """A rectangle kept free for one building model.

    `e`, `n` is the corner that the rectangle turns about; `width_m` runs along the direction `rotation_deg`
    (counter-clockwise from east), `depth_m` 90 degrees left of it. `pad_elev_m` is the levelled ground, 1985 datum;
    NaN where the ground is left as it is.
    """

    name: str
    title_zh: str
    e: float
    n: float
    width_m: float
    depth_m: float
    rotation_deg: float
    pad_elev_m: float = math.nan
    has_ifc: bool = True

    def corners(self) -> NDArray[np.float64]:
        """Return the (4, 2) corners, counter-clockwise from the plot corner, EPSG:4549."""
        c, s = math.cos(math.radians(self.rotation_deg)), math.sin(math.radians(self.rotation_deg))
        along, left = np.array([c, s]) * self.width_m, np.array([-s, c]) * self.depth_m
        corner = np.array([self.e, self.n])
        return np.array([corner, corner + along, corner + along + left, corner + left])


def grid_to_map(u: ArrayLike, v: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Street-grid coordinates in metres to (E, N)."""
    c, s = math.cos(math.radians(GRID_ROTATION_DEG)), math.sin(math.radians(GRID_ROTATION_DEG))
    u, v = np.asarray(u, float), np.asarray(v, float)
    return GRID_E + c * u - s * v, GRID_N + s * u + c * v


def map_to_grid(e: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(E, N) to street-grid coordinates in metres; the inverse of `grid_to_map`."""
    c, s = math.cos(math.radians(GRID_ROTATION_DEG)), math.sin(math.radians(GRID_ROTATION_DEG))
    de, dn = np.asarray(e, float) - GRID_E, np.asarray(n, float) - GRID_N
    return c * de + s * dn, -s * de + c * dn


def river_n(e: ArrayLike) -> NDArray[np.float64]:
    """Northing of the river axis at easting `e`; the axis never turns back, so one northing each."""
    x = np.asarray(e, float) - E_MIN - 430.0
    return N_MIN + 1560.0 - 0.82 * x + 60.0 * np.sin(x / 200.0)


def river_slope(e: ArrayLike) -> NDArray[np.float64]:
    """dN/dE of the river axis at easting `e`."""
    x = np.asarray(e, float) - E_MIN - 430.0
    return -0.82 + 0.3 * np.cos(x / 200.0)


def river_half_width_m(e: ArrayLike) -> NDArray[np.float64]:
    """Half the width of the channel between its banks: 6 m below the dam, 22 m at the mouth."""
    x = np.asarray(e, float) - E_MIN - 430.0
    return 6.0 + 16.0 * np.clip(x / 1150.0, 0.0, 1.0)


def coast_e(n: ArrayLike) -> NDArray[np.float64]:
    """Easting of the shore at northing `n`; the sea is east of it."""
    y = np.asarray(n, float) - N_MIN
    return E_MIN + 1450.0 + 0.22 * y + 35.0 * np.sin(y / 180.0)


def _block_plot(
    name: str, title: str, *, block: tuple[int, int], size: tuple[float, float], pad: float, **kw: bool
) -> Plot:
    """A plot 20 m inside the street block whose lower-left grid corner is `block` blocks from the grid origin."""
    e, n = grid_to_map(block[0] * BLOCK_U_M + 20.0, block[1] * BLOCK_V_M + 20.0)
    return Plot(name, title, float(e), float(n), *size, GRID_ROTATION_DEG, pad, **kw)


def _across_river(name: str, title: str, e: float, width: float, depth: float) -> Plot:
    """A plot centred on the river axis at easting `e`; its width runs across the river, its depth along it."""
    angle = math.atan(float(river_slope(e))) + math.pi / 2  # left bank direction
    c, s = math.cos(angle), math.sin(angle)
    n = float(river_n(e))
    return Plot(
        name,
        title,
        e - c * width / 2 + s * depth / 2,
        n - s * width / 2 - c * depth / 2,
        width,
        depth,
        math.degrees(angle),
    )


PLOTS: dict[str, Plot] = {
    plot.name: plot
    for plot in (
        _block_plot("office", "海湾科创办公楼", block=(0, -2), size=(60.0, 40.0), pad=5.6),
        _block_plot("school", "清湾小学教学楼", block=(-2, -2), size=(70.0, 45.0), pad=6.2),
        _block_plot("library", "市民图书馆（无模型）", block=(-1, -3), size=(50.0, 40.0), pad=6.0, has_ifc=False),
        _across_river("sluice", "清湾河口水闸", E_MIN + SLUICE_X_M, 60.0, 30.0),
        Plot(
            # The crest rectangle: width along the crest, depth = crest width.
            *("dam", "云溪水库大坝"),
            DAM_E
            - math.cos(math.atan(-0.52) + math.pi / 2) * DAM_HALF_LENGTH_M
            + math.sin(math.atan(-0.52) + math.pi / 2) * 3.0,
            DAM_N
            - math.sin(math.atan(-0.52) + math.pi / 2) * DAM_HALF_LENGTH_M
            - math.cos(math.atan(-0.52) + math.pi / 2) * 3.0,
            2 * DAM_HALF_LENGTH_M,
            DAM_CREST_WIDTH_M,
            math.degrees(math.atan(-0.52) + math.pi / 2),
            DAM_CREST_ELEV_M,
        ),
    )
}


def dam_crest_line() -> NDArray[np.float64]:
    """The (2, 3) ends of the crest axis, from the right (south-west) to the left bank, EPSG:4549 and 1985 datum."""
    c = PLOTS["dam"].corners()
    ends = np.array([(c[0] + c[3]) / 2, (c[1] + c[2]) / 2])
    return np.column_stack([ends, [DAM_CREST_ELEV_M] * 2])


# Open pits: the DEM is cut down to their floor. Rectangles like plots, `pad_elev_m` is the pit floor.
PITS: dict[str, Plot] = {
    plot.name: plot
    for plot in (
        _block_plot("pit_metro", "滨海广场深基坑", block=(1, -3), size=(70.0, 50.0), pad=-2.4, has_ifc=False),
        _block_plot("pit_mall", "城东商业综合体基坑", block=(-1, -5), size=(60.0, 45.0), pad=-0.2, has_ifc=False),
    )
}
