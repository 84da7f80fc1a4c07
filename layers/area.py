"""Boxes in degrees that may lie across the antimeridian: such a box has its west above its east, as in the registry."""

from layers.crs import Bounds


def is_within(area: Bounds, lon_deg: float, lat_deg: float, margin_deg: float) -> bool:
    """True if a position lies in a box widened by a margin on each side."""
    west, south, east, north = area
    if not south - margin_deg <= lat_deg <= north + margin_deg:
        return False
    span = (east - west) % 360 or 360.0
    return (lon_deg - west + margin_deg) % 360 <= span + 2 * margin_deg


def cut_to(area: Bounds, box: Bounds, margin_deg: float) -> Bounds | None:
    """The part of a box (west <= east) within a widened area, None where there is none.

    Longitudes of the answer go beyond 180 where both lie across the antimeridian; of two parts it is the hull.
    """
    low, high = max(box[1], area[1] - margin_deg), min(box[3], area[3] + margin_deg)
    span = ((area[2] - area[0]) % 360 or 360.0) + 2 * margin_deg
    if low > high:
        return None
    if span >= 360:
        return box[0], low, box[2], high
    west = area[0] - margin_deg
    parts = [(max(west, box[0] + turn), min(west + span, box[2] + turn)) for turn in (-360.0, 0.0, 360.0)]
    real = [part for part in parts if part[0] <= part[1]]
    if not real:
        return None
    return min(part[0] for part in real), low, max(part[1] for part in real), high
