"""Colours -> PNG, JPEG or WebP bytes."""

from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Format = Literal["auto", "png", "webp", "jpeg"]
MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
QUALITY = 85


def encode(colours: NDArray[np.uint8], alpha: NDArray[np.uint8] | None, wanted: Format, *, lossy: bool) -> bytes:
    """(rows, columns, 3) colours and (rows, columns) alpha, None where all is opaque.

    `auto` is JPEG for what is opaque and may lose (`lossy`), else PNG. JPEG has no alpha: white lies below. WebP is
    without loss where `lossy` is False.
    """
    if alpha is not None and (alpha == 255).all():
        alpha = None
    chosen = ("jpeg" if lossy and alpha is None else "png") if wanted == "auto" else wanted
    if chosen == "jpeg" and alpha is not None:
        weight = alpha[..., None].astype(np.uint16)
        colours = ((colours * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)
        alpha = None
    is_grey = bool((colours == colours[..., :1]).all())
    planes = colours[..., 0] if is_grey else colours
    if alpha is not None:
        planes = np.dstack([planes, alpha])
    return _packed(planes, chosen, lossy=lossy)


def _packed(planes: NDArray[np.uint8], chosen: str, *, lossy: bool) -> bytes:
    from PIL import Image

    out = BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(planes))
    options: dict[str, Any] = {"compress_level": 6}
    if chosen == "jpeg":
        options = {"quality": QUALITY}
    elif chosen == "webp":
        picture = picture.convert("RGBA" if picture.mode.endswith("A") else "RGB")
        options = {"quality": QUALITY, "method": 2} if lossy else {"lossless": True, "quality": 50, "method": 2}
        options["exact"] = not lossy
    picture.save(out, chosen.upper(), **options)
    return out.getvalue()


@lru_cache(maxsize=16)
def nothing(size: int, wanted: Format) -> bytes:
    """A tile that nothing touches: transparent, or white as JPEG."""
    blank = np.zeros((size, size), np.uint8)
    return encode(np.zeros((size, size, 3), np.uint8), blank, "png" if wanted == "auto" else wanted, lossy=False)
