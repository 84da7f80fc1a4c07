"""WebMercatorQuad: the grid of vector and image tiles. x counts from the west, y from the north.

Spec: OGC 17-083r4, annex D.1.
"""

from layers.crs import Bounds
from layers.errors import NotFound

CRS = "EPSG:3857"
HALF_M = 20037508.342789244
"""Half of the grid's side in mercator metres."""
MAX_ZOOM = 24


def require(z: int, x: int, y: int) -> None:
    """NotFound for an address outside the grid."""
    if not (0 <= z <= MAX_ZOOM and 0 <= x < 2**z and 0 <= y < 2**z):
        raise NotFound(
            f"WebMercatorQuad has no tile {z}/{x}/{y}.", f"Levels are 0 to {MAX_ZOOM}, x and y 0 to 2^z - 1."
        )


def bounds(z: int, x: int, y: int) -> Bounds:
    """West, south, east, north in mercator metres."""
    side = 2 * HALF_M / 2**z
    return x * side - HALF_M, HALF_M - (y + 1) * side, (x + 1) * side - HALF_M, HALF_M - y * side
