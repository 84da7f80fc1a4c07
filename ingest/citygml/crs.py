"""What a `srsName` says: the CRS, and in which order the coordinates of the file are.

URNs and http URIs mean the axis order of the registry (OGC 09-048r3, 7.2). The bare `EPSG:4326` and the old
`…/gml/srs/epsg.xml#4326` are written east first by convention (GeoServer, PostGIS and GDAL read them so); where the
coordinates fit only the other order, that one is taken, and said.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from ingest.place import AREA_MARGIN_DEG
from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints

_PART = re.compile(r"crs:(?:EPSG|epsg):[^:,]*:(\d+)", re.IGNORECASE)
_URI_PART = re.compile(r"=https?://www\.opengis\.net/def/crs/EPSG/[^/&]*/(\d+)", re.IGNORECASE)
_HASH = re.compile(r"epsg\.xml#(\d+)$", re.IGNORECASE)
_NO_VERSION = re.compile(r"crs:EPSG:(\d+)$", re.IGNORECASE)
_BARE = re.compile(r"^EPSG:{1,2}(\d+)(?:\s*[,+]\s*(?:EPSG:{1,2})?(\d+))?$", re.IGNORECASE)

_ADV_HORIZONTAL = {"ETRS89_UTM31": 25831, "ETRS89_UTM32": 25832, "ETRS89_UTM33": 25833}
_ADV_VERTICAL = {"DE_DHHN2016_NH": 7837, "DE_DHHN92_NH": 5783, "DE_DHHN85_NOH": 5784}
"""Names of the German survey authorities (GeoInfoDok, `urn:adv:crs:ETRS89_UTM32*DE_DHHN2016_NH`) -> EPSG codes."""


@dataclass(frozen=True)
class Reference:
    """A `srsName` understood.

    Attributes
    ----------
    crs : as `layers.crs.name` spells it, compound where there is a height part
    is_legacy : spelled so that its axis order is a convention, not stated
    north_first : the registry's order
    """

    crs: str
    is_legacy: bool
    north_first: bool


def understand(stated: str) -> Reference | None:
    """Raises InvalidInput for a name that is no CRS; None for an empty one."""
    text = stated.strip()
    if not text:
        return None
    legacy = False
    if (text.lower().startswith("urn:") and len(parts := _PART.findall(text)) > 1) or (
        "crs-compound" in text and len(parts := _URI_PART.findall(text)) > 1
    ):
        text = f"EPSG:{parts[0]}+{parts[1]}"
    elif match := _HASH.search(text):
        text, legacy = f"EPSG:{match[1]}", True
    elif match := _BARE.match(text):
        text, legacy = f"EPSG:{match[1]}" + (f"+{match[2]}" if match[2] else ""), True
    elif text.lower().startswith("urn:") and len(parts := _PART.findall(text)) == 1:
        text = f"EPSG:{parts[0]}"
    elif text.lower().startswith("urn:adv:crs:"):
        text = _of_adv(text)
    elif match := _NO_VERSION.search(text):
        text = f"EPSG:{match[1]}"
    name = crs.name(text)
    return Reference(name, legacy, crs.is_north_first(name))


def _of_adv(text: str) -> str:
    parts = text[len("urn:adv:crs:") :].split("*")
    codes = [_ADV_HORIZONTAL.get(parts[0]), *(_ADV_VERTICAL.get(part) for part in parts[1:2])]
    return "EPSG:" + "+".join(str(code) for code in codes) if all(codes) else text


def is_swapped(reference: Reference, stored: Bounds | None, hints: Hints, where: str) -> tuple[bool, list[Issue]]:
    """Whether the first stored coordinate is north, and what had to be decided.

    `correct = ["swap-axes"]` is done after the readers, to what they understood; then nothing is tried here.
    `stored` is the box of the coordinates in the order of the file (first axis, second axis).
    """
    north_first = reference.north_first and not reference.is_legacy
    issues: list[Issue] = []
    if reference.is_legacy and reference.north_first:
        east, north = fits(reference.crs, stored, north_first=False), fits(reference.crs, stored, north_first=True)
        north_first = north and not east and "swap-axes" not in hints.correct
        order = "north first, as the registry has it" if north_first else "east first, as is the custom"
        both = " Both orders would lie in its area." if east and north else ""
        message = f"The short name of {reference.crs} does not state the axis order: taken as {order}.{both}"
        hint = 'Write the URN into the file, or correct = ["swap-axes"] into city.toml if this is wrong.'
        issues.append(Issue("AXIS_ORDER_ASSUMED", where, message, hint, "warning" if both else "info"))
    return north_first, issues


def fits(name: str, stored: Bounds | None, *, north_first: bool) -> bool:
    """True if the middle of the stored box is in the CRS's area of use (3° further out at most), read in that order."""
    if stored is None or not all(math.isfinite(value) for value in stored):
        return True
    first, second = (stored[0] + stored[2]) / 2, (stored[1] + stored[3]) / 2
    east, north = (second, first) if north_first else (first, second)
    area = crs.area_of_use(name)
    flat = crs.horizontal(name)
    if crs.is_geographic(flat) and not (-90 <= north <= 90 and -360 <= east <= 360):
        return False
    if area is None:
        return True
    try:
        lon, lat = crs.transform(flat, crs.WGS84, np.array([east]), np.array([north]))
    except InvalidInput:
        return False
    if not (math.isfinite(lon[0]) and area[1] - AREA_MARGIN_DEG <= lat[0] <= area[3] + AREA_MARGIN_DEG):
        return False
    span = (area[2] - area[0]) % 360 or 360.0
    return bool((lon[0] - area[0] + AREA_MARGIN_DEG) % 360 <= span + 2 * AREA_MARGIN_DEG)
