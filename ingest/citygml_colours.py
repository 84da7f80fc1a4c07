"""Colours of boundary surfaces, the same as for CityJSON."""

Colour = tuple[int, int, int, int]

MATERIALS: dict[str, Colour] = {
    "WallSurface": (222, 214, 200, 255),
    "RoofSurface": (170, 88, 70, 255),
    "GroundSurface": (120, 120, 120, 255),
    "": (205, 200, 192, 255),
}
"""By class; the last one is for every other."""
