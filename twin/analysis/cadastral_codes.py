"""Codes of cadastral parcels (19 characters) and real-estate units (28), GB/T 37346-2019.

A parcel's code is that of the county (6 digits), cadastral district (3), sub-district (3), two letters for the kind of
right, and a number (5). A unit's code goes on with one letter for what stands there and 8 digits: for houses (F) number
of the building and of the unit, 4 digits each; W, nothing stands there, has eight zeros.
"""

import re
from dataclasses import dataclass

PARCEL_LENGTH, UNIT_LENGTH = 19, 28
_PARCEL = re.compile(r"[0-9]{12}[GJZ][ABSXCDEFLNHGWY][0-9]{5}")
_THING = re.compile(r"[FLQ][0-9]{8}|W00000000")


@dataclass(frozen=True)
class UnitCode:
    """A unit's code in parts; `building` and `unit` of houses only."""

    parcel: str
    thing: str
    building: str | None
    unit: str | None


def is_parcel_code(text: str) -> bool:
    """Whether a text is made as a parcel's code is."""
    return _PARCEL.fullmatch(text) is not None


def unit_code(text: str) -> UnitCode | None:
    """The parts of a unit's code; None where it is not made as one is. Blanks, as it is often printed, are left out."""
    plain = "".join(text.split())
    parcel, rest = plain[:PARCEL_LENGTH], plain[PARCEL_LENGTH:]
    if not is_parcel_code(parcel) or _THING.fullmatch(rest) is None:
        return None
    is_house = rest[0] == "F"
    return UnitCode(parcel, rest[0], rest[1:5] if is_house else None, rest[5:] if is_house else None)
