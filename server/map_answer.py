"""A drawing as an answer: PNG, JPEG, WebP or GeoTIFF over the background asked for, with tag, place and CRS."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from layers import crs
from layers.errors import InvalidInput
from server import answer
from server.weights import preferred

FORMATS = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "tiff": "image/tiff"}
PAPER = (246, 245, 241)
"""Background of the served styles (`tiles.styles.document`)."""
Bytes = NDArray[np.uint8]
Colour = tuple[int, int, int]
_HEX = re.compile(r"(?:0x|#)?([0-9a-f]{6})", re.IGNORECASE)
_NAME = re.compile(r"[a-z]{3,20}", re.IGNORECASE)


@dataclass(frozen=True)
class Ground:
    """What lies below the map, and beyond the CRS: colours, and whether they are seen."""

    colour: Colour = PAPER
    transparent: bool = True
    void: Colour | None = None
    void_transparent: bool | None = None


def ground(given: Mapping[str, str]) -> Ground:
    """`bgcolor`, `transparent`, `void-color`, `void-transparent` (20-058, background)."""
    colour = parse_colour(given, "bgcolor")
    transparent = truth(given, "transparent", default=colour is None)
    void = parse_colour(given, "void-color")
    beyond = truth(given, "void-transparent", default=transparent) if "void-transparent" in given else None
    return Ground(colour or PAPER, transparent, void, beyond)


def truth(given: Mapping[str, str], name: str, *, default: bool) -> bool:
    """`true` or `false`."""
    text = given.get(name)
    if text is None:
        return default
    if text.lower() not in {"true", "false"}:
        raise InvalidInput(f"{name}={text[:20]!r} is not true or false.")
    return text.lower() == "true"


def parse_colour(given: Mapping[str, str], name: str) -> Colour | None:
    """`0xRRGGBB`, `RRGGBB`, `#RRGGBB` or a name of CSS."""
    text = given.get(name)
    if text is None:
        return None
    if match := _HEX.fullmatch(text):
        red, green, blue = bytes.fromhex(match[1])
        return red, green, blue
    from PIL import ImageColor

    if _NAME.fullmatch(text) and text.lower() in ImageColor.colormap:
        found = ImageColor.getrgb(text.lower())
        return found[0], found[1], found[2]
    raise InvalidInput(f"{name}={text[:30]!r} is no colour.", "Use six hexadecimal digits, or a name such as white.")


def image_format(request: Request, asked: str | None) -> str:
    """By `f` (a name or a media type), else by `Accept`; PNG where nothing else is wanted."""
    if asked is not None:
        wanted = {"jpg": "jpeg", "tif": "tiff"}.get(asked.lower(), asked.lower())
        found = next((name for name, kind in FORMATS.items() if wanted in {name, kind}), None)
        if found is None:
            raise InvalidInput(f"f={asked[:30]!r} is no format of maps.", f"Use {', '.join(FORMATS)}.")
        return found
    return preferred(request.headers.get("accept", "*/*"), FORMATS) or "png"


def encoded(pixels: Bytes, view: Any, name: str, below: Ground) -> bytes:
    """Bytes of a map. JPEG and what is not transparent lie over the background."""
    from tiles.drawing import canvas
    from tiles.imagery.encode import encode

    void = _void(view)
    if void is not None and void.any():
        pixels[void] = (*(below.void or below.colour), 0)
        beyond = below.transparent if below.void_transparent is None else below.void_transparent
        if not beyond:
            pixels[void, 3] = 255
    if name == "jpeg" or not below.transparent:
        flat = canvas.flattened(pixels, below.colour)
        if void is not None and void.any() and name != "jpeg" and below.void_transparent:
            return encode(flat, np.where(void, 0, 255).astype(np.uint8), _plain(name), lossy=False)
        if name == "tiff":
            return _tiff(flat, view)
        return encode(flat, None, _plain(name), lossy=name == "jpeg")
    if name == "tiff":
        return _tiff(pixels, view)
    return encode(pixels[..., :3], pixels[..., 3], _plain(name), lossy=False)


def _plain(name: str) -> Any:
    return "png" if name == "tiff" else name


def _void(view: Any) -> NDArray[np.bool_] | None:
    """Pixels whose middle lies beyond the CRS: past 180° or 90°, or the edge of the Mercator square."""
    if view.crs == "EPSG:3857":
        limit_x = limit_y = 20037508.342789244
    elif crs.is_geographic(view.crs):
        limit_x, limit_y = 180.0, 90.0
    else:
        return None
    west, south, east, north = view.bounds
    limit_x = math.inf if view.wraps else limit_x
    if west >= -limit_x and east <= limit_x and south >= -limit_y and north <= limit_y:
        return None
    x = west + (np.arange(view.width) + 0.5) * view.cell[0]
    y = north - (np.arange(view.height) + 0.5) * view.cell[1]
    return (np.abs(y) > limit_y)[:, None] | (np.abs(x) > limit_x)[None, :]


def _tiff(pixels: Bytes, view: Any) -> bytes:
    """GeoTIFF (19-008r4) in the CRS of the map."""
    from rasterio.enums import ColorInterp
    from rasterio.io import MemoryFile
    from rasterio.transform import from_bounds

    bands = pixels.shape[2]
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=view.width, height=view.height, count=bands, dtype="uint8", crs=view.crs,
            transform=from_bounds(*view.bounds, view.width, view.height), compress="deflate", photometric="RGB",
        ) as out:  # fmt: skip
            out.write(np.moveaxis(pixels, -1, 0))
            if bands == 4:
                out.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
        return memory.read()


def respond(
    request: Request,
    drawing: Any,
    name: str,
    below: Ground,
    more: Mapping[str, str] | None = None,
    *,
    keep: bool = False,
    immutable: bool = False,
) -> Response:
    """A map with its validator; 304 costs the tag alone. `keep` on disk what will be asked for again (tiles)."""
    from tiles.drawing import fonts

    content = drawing.tag()
    tag = answer.etag("map", content, name, below, weak=False)
    note = {"CityTwin-Note": fonts.MISSING} if _lacks_font(drawing) else {}
    headers = answer.headers_for(tag, {**(more or {}), **note}, immutable=immutable)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)

    def packed(pixels: Bytes) -> bytes:
        return encoded(pixels, drawing.view, name, below)

    body = drawing.kept(packed, content, name, below) if keep else packed(drawing.pixels())
    return Response(body, headers=headers | {"Content-Type": FORMATS[name]})


def _lacks_font(drawing: Any) -> bool:
    from tiles.drawing import fonts

    return any(getattr(each, "labels", False) for each in drawing.items) and fonts.path() is None


def place(view: Any) -> dict[str, str]:
    """`Content-Crs` and `Content-Bbox` (20-058, core): the box in the axis order of the CRS."""
    west, south, east, north = view.bounds
    east = east - 360 if view.wraps else east
    box = (south, west, north, east) if crs.is_north_first(view.crs) else (west, south, east, north)
    return {"Content-Crs": crs.uri(view.crs), "Content-Bbox": ",".join(f"{value:.12g}" for value in box)}
