"""A coverage as PNG: one or three fields of 8 or 16 bits, cells without a value transparent.

Numbers that are not unsigned integers are told by `encoded = value * scale + offset` (OGC API Coverages, 14, PNG).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tiles.coverage import read
from tiles.coverage.grid import Grid
from tiles.coverage.sheets import Coverage, Field

FULL = {"uint8": 255, "uint16": 65535}


def scaling(
    coverage: Coverage, frame: Grid, fields: Sequence[Field], asked: tuple[float | None, float | None]
) -> tuple[float, float]:
    """Scale and offset that spread the lowest to the highest value over 0 to 65535; what is asked for stays."""
    scale, offset = asked
    if scale is None or offset is None:
        low, high = np.inf, -np.inf
        for block in read.blocks(coverage, frame, fields):
            known = read.real(coverage, block.values, block.valid, fields)
            known = known[np.isfinite(known)]
            if known.size:
                low, high = min(low, float(known.min())), max(high, float(known.max()))
        low, high = (low, high) if low <= high else (0.0, 0.0)
        scale = scale if scale is not None else (65535.0 / (high - low) if high > low else 1.0)
        offset = offset if offset is not None else -low * scale
    return scale, offset


def write(
    path: Path, coverage: Coverage, frame: Grid, fields: Sequence[Field], how: tuple[float | None, float | None]
) -> None:
    """Write the file. `how`: scale and offset of the numbers in it; (None, None): as they are stored."""
    values, valid = read.whole(coverage, frame, fields)
    if how[0] is None or how[1] is None:
        _save(path, values, valid)
        return
    numbers = read.real(coverage, values, valid, fields)
    valid = valid & np.isfinite(numbers).all(axis=0)
    encoded = np.zeros(numbers.shape, np.uint16)
    encoded[:, valid] = np.clip(np.rint(numbers[:, valid] * how[0] + how[1]), 0, 65535).astype(np.uint16)
    _save(path, encoded, valid)


def _save(path: Path, values: Any, valid: Any) -> None:
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    if not valid.all():
        opaque = np.where(valid, FULL[str(values.dtype)], 0).astype(values.dtype)
        values = np.concatenate([values, opaque[None]])
    count, height, width = values.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a PNG says not where it lies; the headers do
        with rasterio.open(path, "w", driver="PNG", width=width, height=height, count=count, dtype=values.dtype) as out:
            out.write(values)
