"""Control points: a file in coordinates of its own is laid onto its true place by point pairs from city.toml.

Contract with the readers: where `hints.control_points` is set, `place.certificate` returns method `control-points`
with the CRS of the true points as `source_crs`; the reader hands over its coordinates as they are in the file (x east,
y north, z up; IFC and meshes in metres of their own system) under that CRS and refuses nothing for want of a CRS.
`ingest.read` then moves every geometry and mesh of every VectorLayer. Rasters move themselves (their reader fits an
affine map of its own and leaves `control_points` in the certificate's parameters); other assets refuse.

Two models, both by least squares in closed form:
* `similarity`: plan by 4 parameters (shift, rotation, scale), heights by their mean difference. For two points, points
  without heights, heights all alike in the source (a drawing), or points on a line.
* `helmert`: 7 parameters in space (Umeyama 1991, IEEE PAMI 13(4), after Horn 1987). For three points or more with
  heights in both systems that differ by more than 1 % of the extent in the source.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from layers.errors import InvalidInput
from layers.source import ControlPoint

FloatArray = NDArray[np.float64]

OUTLIER_FACTOR = 3.0
LEAST_MISFIT_M = 0.01
"""Below this a point is never called an outlier: it is the noise of any survey."""

FLAT = 0.01
"""Heights that differ by less than this share of the extent say nothing about a tilt."""

UNIT_SCALE = 0.01
"""A plan scale further from 1 than this is a unit (mm, feet), so heights are scaled too; else it is a projection's."""

MOST_POINTS = 10_000


@dataclass(frozen=True)
class Fit:
    """The map from the source's coordinates to the true ones: `true = matrix @ (source - origin) + target`.

    Attributes
    ----------
    model : `similarity` or `helmert`
    matrix : (3, 3) rotation times scale
    origin, target : (3,) centres of the points, source and true
    scale : of the plan
    residuals_m : (n, 3) true minus fitted; NaN in height where a pair has none
    redundancy : observations minus parameters
    """

    model: Literal["similarity", "helmert"]
    matrix: FloatArray
    origin: FloatArray
    target: FloatArray
    scale: float
    residuals_m: FloatArray
    redundancy: int
    suspects: tuple[str, ...] = ()

    def apply(self, xyz: FloatArray) -> FloatArray:
        """(n, 2) or (n, 3) source coordinates -> the same shape, true ones. Without z, the points' mean z is taken."""
        out = np.array(xyz, np.float64)
        if not len(out):
            return out
        space = np.column_stack([out[:, :2], out[:, 2] if out.shape[1] == 3 else np.full(len(out), self.origin[2])])
        return np.asarray(((space - self.origin) @ self.matrix.T + self.target)[:, : out.shape[1]])

    def affine(self) -> tuple[float, float, float, float, float, float]:
        """`a, b, c, d, e, f` of `east = a x + b y + c`, `north = d x + e y + f` at the points' mean z, for rasters."""
        (a, b), (d, e) = self.matrix[0, :2], self.matrix[1, :2]
        x, y = self.origin[:2]
        east, north = self.target[:2]
        values = (a, b, east - a * x - b * y, d, e, north - d * x - e * y)
        return tuple(float(v) for v in values)  # type: ignore[return-value]

    @property
    def rms_m(self) -> float:
        """Root mean square of the residuals' lengths."""
        return float(np.sqrt(np.nansum(self.residuals_m**2) / len(self.residuals_m)))

    def parameters(self) -> dict[str, Any]:
        """For the certificate: the model with its numbers, and every point's residual."""
        lengths = np.sqrt(np.nansum(self.residuals_m**2, axis=1))
        tilt = math.degrees(math.acos(min(1.0, abs(self.matrix[2, 2]) / float(np.linalg.norm(self.matrix[2])))))
        return {
            "model": self.model,
            "points": len(self.residuals_m),
            "redundancy": self.redundancy,
            "scale": self.scale,
            "scale_ppm": (self.scale - 1) * 1e6,
            "rotation_deg": math.degrees(math.atan2(self.matrix[1, 0], self.matrix[0, 0])),
            "tilt_deg": tilt,
            "height_scale": float(np.linalg.norm(self.matrix[2])),
            "origin": self.origin.tolist(),
            "target": self.target.tolist(),
            "rms_m": self.rms_m,
            "max_m": float(lengths.max()),
            "residuals_m": [[None if math.isnan(v) else float(v) for v in row] for row in self.residuals_m],
        }


def fit(points: Sequence[ControlPoint]) -> Fit:
    """Choose the model and fit it; outliers are named in `suspects`, never left out.

    Raises InvalidInput for fewer than two points, numbers that are not finite, and points that lie on each other.
    """
    if not 2 <= len(points) <= MOST_POINTS:
        raise _degenerate(f"{len(points)} control points are given", "Give 2 pairs or more, far apart.")
    source, true = _column(points, "source"), _column(points, "true")
    if not (np.isfinite(source[:, :2]).all() and np.isfinite(true[:, :2]).all()):
        raise _degenerate("A control point is not finite", "Correct it in city.toml.")
    made = _fit(source, true)
    return Fit(**{**vars(made), "suspects": (*_outliers(source, true), *_doubts(source, true, made))})


def _column(points: Sequence[ControlPoint], side: str) -> FloatArray:
    rows = [tuple(getattr(each, side)) for each in points]
    return np.array([row if len(row) == 3 else (*row[:2], math.nan) for row in rows], np.float64)


def _degenerate(problem: str, hint: str) -> InvalidInput:
    return InvalidInput(f"{problem}.", hint, code="CONTROL_POINTS_DEGENERATE")


def _fit(source: FloatArray, true: FloatArray) -> Fit:
    for side, words in ((source, "source"), (true, "true")):
        extent = float(np.linalg.norm(np.ptp(side[:, :2], axis=0)))
        if extent <= 1e-12 * max(1.0, float(np.abs(side[:, :2]).max())):
            raise _degenerate(f"The control points have one and the same {words} place", "Give points far apart.")
    return _helmert(source, true) if _has_space(source, true) else _similarity(source, true)


def _has_space(source: FloatArray, true: FloatArray) -> bool:
    if len(source) < 3 or not (np.isfinite(source).all() and np.isfinite(true).all()):
        return False
    if np.ptp(source[:, 2]) < FLAT * np.linalg.norm(np.ptp(source[:, :2], axis=0)):
        return False
    return all(_is_spread(side) for side in (source, true))


def _is_spread(side: FloatArray) -> bool:
    """False for points on, or nearly on, a line."""
    widths = np.linalg.svd(side - side.mean(axis=0), compute_uv=False)
    return bool(widths[1] > FLAT * widths[0])


def _similarity(source: FloatArray, true: FloatArray, *, mirrored: bool = False) -> Fit:
    """Complex numbers: the best a in true = a · source is the ratio of sums (turning and scaling in one)."""
    origin, target = source[:, :2].mean(axis=0), true[:, :2].mean(axis=0)
    p = (source[:, :2] - origin) @ np.array([1, 1j])
    q = (true[:, :2] - target) @ np.array([1, 1j])
    p = np.conj(p) if mirrored else p
    turn = complex((np.conj(p) * q).sum() / (np.abs(p) ** 2).sum())
    scale = abs(turn)
    if scale < 1e-12:
        raise _degenerate("The control points fit no turn and scale at all", "Check which belongs to which.")
    with_height = np.isfinite(source[:, 2]) & np.isfinite(true[:, 2])
    height_scale = scale if abs(scale - 1) > UNIT_SCALE else 1.0
    z0 = float(source[with_height, 2].mean()) if with_height.any() else 0.0
    h0 = float(true[with_height, 2].mean()) if with_height.any() else 0.0
    matrix = np.array([[turn.real, -turn.imag, 0], [turn.imag, turn.real, 0], [0, 0, height_scale]])
    flat = q - turn * p
    up = (true[:, 2] - h0) - height_scale * (source[:, 2] - z0)
    redundancy = 2 * len(source) - 4 + max(0, int(with_height.sum()) - 1)
    residuals = np.column_stack([flat.real, flat.imag, up])
    return Fit("similarity", matrix, np.array([*origin, z0]), np.array([*target, h0]), scale, residuals, redundancy)


def _helmert(source: FloatArray, true: FloatArray) -> Fit:
    origin, target = source.mean(axis=0), true.mean(axis=0)
    p, q = source - origin, true - target
    left, widths, right = np.linalg.svd(q.T @ p)
    sign = np.diag([1.0, 1.0, math.copysign(1.0, np.linalg.det(left) * np.linalg.det(right))])
    scale = float((widths * np.diag(sign)).sum() / (p**2).sum())
    matrix = scale * (left @ sign @ right)
    return Fit("helmert", matrix, origin, target, scale, q - p @ matrix.T, 3 * len(source) - 7)


def _outliers(source: FloatArray, true: FloatArray) -> list[str]:
    """Each point against a fit of the others that has redundancy: more than 3 times their own misfit is named."""
    if len(source) < 4:
        return []
    found: list[tuple[float, str]] = []
    for i in range(len(source)) if len(source) <= 200 else ():
        others = np.arange(len(source)) != i
        try:
            made = _fit(source[others], true[others])
        except InvalidInput:
            continue
        if made.redundancy < 1:
            continue
        sigma = math.sqrt(float(np.nansum(made.residuals_m**2)) / made.redundancy)
        has_height = np.isfinite(source[i, 2]) and np.isfinite(true[i, 2])
        size = 3 if has_height else 2
        start = np.nan_to_num(source[i : i + 1], nan=made.origin[2])
        off = float(np.linalg.norm((true[i] - made.apply(start)[0])[:size]))
        limit = OUTLIER_FACTOR * max(sigma, LEAST_MISFIT_M)
        if off > limit:
            words = f"Control point {i + 1} lies {off:.3f} m from where the others put it (limit {limit:.3f} m)."
            found.append((off / limit, words))
    return [words for _, words in sorted(found, reverse=True)]


def _mirrored_m(source: FloatArray, true: FloatArray) -> float:
    """Misfit in plan of the mirrored points; infinite where they have no fit, as the corners of a square."""
    try:
        return float(np.linalg.norm(_similarity(source, true, mirrored=True).residuals_m[:, :2]))
    except InvalidInput:
        return math.inf


def _doubts(source: FloatArray, true: FloatArray, made: Fit) -> list[str]:
    """A mirrored fit that is far better, and a building that would lean."""
    doubts = []
    mine = float(np.linalg.norm(made.residuals_m[:, :2]))
    if len(source) >= 3 and mine > 1 and _mirrored_m(source, true) < 0.1 * mine:
        doubts.append("The control points fit ten times better mirrored: in one of the systems x and y are swapped.")
    tilt = made.parameters()["tilt_deg"]
    if tilt > 1:
        doubts.append(f"The fit tilts the source by {tilt:.2f}°.")
    return doubts
