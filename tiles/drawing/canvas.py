"""Areas, lines and discs on pixels, antialiased: AGG, by way of matplotlib, which takes whole arrays at once.

One path may hold the outlines of thousands of features, so that a colour costs one call. Areas are filled by the
nonzero rule: with outer rings and holes turned opposite ways neighbours join without a seam.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twin.store.wkb_paths import RING, Paths

Bytes = NDArray[np.uint8]
FloatArray = NDArray[np.float64]
Colour = tuple[float, float, float, float]
"""Red, green, blue, opacity, each 0 to 1."""
_MOVE, _LINE, _CLOSE = 1, 2, 79
GRAIN_PX = 0.25
"""Points of a path that fall into the same quarter of a pixel are drawn as one."""


def colour_of(text: str, opacity: float = 1.0) -> Colour:
    """`#rrggbb` -> Colour."""
    red, green, blue = bytes.fromhex(text.removeprefix("#")[:6])
    return red / 255, green / 255, blue / 255, opacity


class Canvas:
    """Pixels that are drawn on. Paths are in pixels, x right and y down."""

    def __init__(self, width: int, height: int) -> None:
        from matplotlib.backends.backend_agg import RendererAgg

        self.width, self.height = width, height
        agg: Any = RendererAgg
        self._agg = agg(width, height, 72)  # a point is a pixel

    @property
    def pixels(self) -> Bytes:
        """(height, width, 4) the pixels themselves, opacity not multiplied in; what is written there is drawn on."""
        return np.asarray(self._agg.buffer_rgba())

    def areas(self, paths: Paths, colour: Colour) -> None:
        """Fill rings."""
        if len(paths.rows):
            gc = self._gc(colour, 0.0)
            self._agg.draw_path(gc, _outline(_turned(paths), self.height), _identity(), colour)

    def lines(self, paths: Paths, colour: Colour, width_px: float) -> None:
        """Draw along paths, with round ends and corners."""
        if len(paths.rows) and width_px > 0:
            gc = self._gc(colour, width_px)
            gc.set_capstyle("round")
            gc.set_joinstyle("round")
            self._agg.draw_path(gc, _outline(paths, self.height), _identity())

    def discs(self, xy: FloatArray, colour: Colour, radius_px: float, *, rim: Colour, rim_px: float) -> None:
        """A disc with a rim around it at each place, one over the other. Places go to the nearest corner of a pixel."""
        if not len(xy):
            return
        from matplotlib.path import Path
        from matplotlib.transforms import Affine2D

        gc = self._gc(rim, rim_px)
        disc = Affine2D().scale(radius_px + rim_px / 2)
        places = Path(np.column_stack([xy[:, 0], self.height - xy[:, 1]]))
        self._agg.draw_markers(gc, Path.unit_circle(), disc, places, _identity(), colour)

    def specks(self, places: NDArray[np.int64], colours: Bytes) -> None:
        """Lay colours (k, 4: red, green, blue, opacity) over single pixels (k, 2: column, row), each named once."""
        if not len(places):
            return
        row, column = places[:, 1], places[:, 0]
        below = self.pixels[row, column]
        taken = np.flatnonzero(below[:, 3])
        mixed = over(below[taken].astype(np.float32) / 255, colours[taken].astype(np.float32) / 255)
        below[:] = colours
        below[taken] = np.rint(mixed * 255).astype(np.uint8)
        self.pixels[row, column] = below

    def layer(self, colours: Bytes) -> None:
        """Lay a picture (height, width, 4) over everything."""
        for top in range(0, self.height, 256):
            part, above = self.pixels[top : top + 256], colours[top : top + 256]
            if not part[..., 3].any():
                part[:] = above
            elif above[..., 3].any():
                mixed = over(part.astype(np.float32) / 255, above.astype(np.float32) / 255)
                part[:] = np.rint(mixed * 255).astype(np.uint8)

    def _gc(self, colour: Colour, width_px: float) -> Any:
        gc = self._agg.new_gc()
        gc.set_foreground(colour, isRGBA=True)
        gc.set_linewidth(width_px)
        gc.set_snap(False)
        return gc


def over(below: NDArray[Any], above: NDArray[Any]) -> NDArray[Any]:
    """Porter and Duff's `over` for colours (…, 4) from 0 to 1, opacity not multiplied in."""
    top, bottom = above[..., 3:], below[..., 3:] * (1 - above[..., 3:])
    alpha = top + bottom
    mixed = (above[..., :3] * top + below[..., :3] * bottom) / np.where(alpha > 0, alpha, 1)
    return np.concatenate([mixed, alpha], axis=-1)


def flattened(pixels: Bytes, background: tuple[int, int, int]) -> Bytes:
    """(height, width, 3): everything over an opaque colour."""
    out = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), 256):
        part = pixels[top : top + 256].astype(np.uint32)
        weight = part[..., 3:]
        mixed = part[..., :3] * weight + np.array(background, np.uint32) * (255 - weight)
        out[top : top + 256] = (mixed + 127) // 255
    return out


def coarsened(paths: Paths) -> Paths:
    """Paths in pixels without points that nobody could see, and without paths that have no place."""
    xy, starts = paths.xy, paths.starts
    counts = np.diff(starts)
    if not len(counts):
        return paths
    finite = np.isfinite(xy).all(axis=1)
    good = np.logical_and.reduceat(finite, starts[:-1])
    cell = np.floor(np.where(finite[:, None], np.clip(xy, -1e9, 1e9), 0) / GRAIN_PX)
    keep = np.ones(len(xy), bool)
    keep[1:] = (cell[1:] != cell[:-1]).any(axis=1)
    keep[starts[:-1]] = True
    keep[starts[1:] - 1] = True
    keep &= np.repeat(good, counts)
    left = np.add.reduceat(keep, starts[:-1])
    ends = np.zeros(int(good.sum()) + 1, np.int64)
    np.cumsum(left[good], out=ends[1:])
    return Paths(xy[keep], ends, paths.rows[good], paths.kinds[good], paths.is_outer[good])


def areas_of(paths: Paths) -> FloatArray:
    """Twice the signed area of each closed path."""
    xy, starts = paths.xy, paths.starts
    if not len(paths.rows):
        return np.zeros(0)
    # relative to the first point of each path: far from the origin products would lose digits
    at = xy - np.repeat(xy[starts[:-1]], np.diff(starts), axis=0)
    cross = np.zeros(len(xy))
    cross[:-1] = at[:-1, 0] * at[1:, 1] - at[1:, 0] * at[:-1, 1]
    cross[starts[1:] - 1] = 0.0
    return np.add.reduceat(cross, starts[:-1])


def _turned(paths: Paths) -> Paths:
    """Outer rings one way round, holes the other."""
    wrong = (areas_of(paths) < 0) == paths.is_outer
    if not wrong.any():
        return paths
    counts = np.diff(paths.starts)
    at = np.arange(len(paths.xy))
    first, last = np.repeat(paths.starts[:-1], counts), np.repeat(paths.starts[1:] - 1, counts)
    at = np.where(np.repeat(wrong, counts), first + last - at, at)
    return Paths(paths.xy[at], paths.starts, paths.rows, paths.kinds, paths.is_outer)


def _outline(paths: Paths, height: int) -> Any:
    """One path of AGG, which counts rows from below."""
    from matplotlib.path import Path

    codes = np.full(len(paths.xy), _LINE, np.uint8)
    codes[paths.starts[:-1]] = _MOVE
    counts = np.diff(paths.starts)
    codes[(paths.starts[1:] - 1)[(paths.kinds == RING) & (counts > 2)]] = _CLOSE
    return Path(np.column_stack([paths.xy[:, 0], height - paths.xy[:, 1]]), codes)


def _identity() -> Any:
    from matplotlib.transforms import IdentityTransform

    return IdentityTransform()
