"""Images of a tile: checked, no larger than asked, in a media type that the reader knows.

PNG and JPEG are core glTF; WebP needs EXT_texture_webp and is taken only where it is allowed and smaller.
"""

import io
import warnings
from dataclasses import dataclass

from PIL import Image

from layers.mesh import Texture

MAX_PIXELS = 2**27
"""An image that says it is larger is not opened."""
_PLAIN_MODES = {"L", "LA", "P", "RGB", "RGBA"}
_QUALITY = 82


@dataclass(frozen=True)
class Picture:
    """An image ready to be embedded; `is_cut_out` where it has see-through pixels."""

    media_type: str
    data: bytes
    wrap: str
    is_cut_out: bool


def picture(texture: Texture, max_px: int, *, allow_webp: bool) -> Picture | None:
    """The image with no side over `max_px`, or None where its bytes are broken.

    The source's own bytes are kept where they need no change and nothing smaller is allowed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = _opened(texture.data)
            if image is None:
                return None
            return _written(texture, image, max_px, allow_webp)
    except (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        return None


def _opened(data: bytes) -> Image.Image | None:
    image = Image.open(io.BytesIO(data))
    if image.width * image.height > MAX_PIXELS or 0 in image.size:
        return None
    image.load()
    return image


def _written(texture: Texture, image: Image.Image, max_px: int, allow_webp: bool) -> Picture:
    kind = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}.get(image.format or "")
    is_plain = image.mode in _PLAIN_MODES
    is_cut_out = image.has_transparency_data and min(image.convert("RGBA").getchannel("A").tobytes()) < 255
    options: list[tuple[str, bytes]] = []
    fits = max(image.size) <= max_px and is_plain
    if fits and kind is not None and (kind != "image/webp" or allow_webp):
        options.append((kind, texture.data))
    shown = image.convert("RGBA" if is_cut_out else "RGB")
    shown.thumbnail((max_px, max_px), Image.Resampling.LANCZOS)
    if not options:
        options.append(_saved(shown, "PNG" if is_cut_out or kind == "image/png" else "JPEG"))
    if allow_webp and options[0][0] != "image/webp":
        options.append(_saved(shown, "WEBP"))
    media_type, data = min(options, key=lambda option: len(option[1]))
    return Picture(media_type, data, texture.wrap, is_cut_out)


def _saved(image: Image.Image, kind: str) -> tuple[str, bytes]:
    out = io.BytesIO()
    if kind == "PNG":
        image.save(out, kind, optimize=True)
    else:
        image.save(out, kind, quality=_QUALITY)
    return f"image/{kind.lower()}", out.getvalue()
