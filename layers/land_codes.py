"""Land class codes of the two Chinese lists, and how a code as written relates to them.

`sd2017` is the working classification of the third national land survey, `ydyh2023` the classification of land and sea
use for spatial planning (guide of 2023). The same four digits mean different things in the two lists (0702 is a rural
homestead in one and a community service in the other), so that a code without its list says nothing.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Standing = Literal["known", "trailing-zeros", "suffix", "unknown"]

NEEDS_DETAIL = frozenset({"05H1", "08H1", "08H2", "0810", "1005", "09"})
"""Codes of `sd2017` that have no single counterpart in `ydyh2023`: which one it is must be looked up, not guessed."""

# first class: its second classes as two digits; a range «01-07» counts through
_YDYH = (
    "01:01-03 02:01-05 03:01-04 04:01-03 05:01-07 06:01-02 07:01-04 08:01-07 09:01-04 10:01-03 11:01-02 12:01-09 "
    "13:01-12 14:01-03 15:01-07 16: 17:01-06 18:01-04 19:01-06 20:01-05 21:01-02 22:01-06 23:01-07 24:"
)
_YDYH_THIRD = (
    "0601:01-02 0602:01-03 0701:01-03 0703:01-02 0803:01-02 0804:01-05 0805:01-02 0806:01-03 0807:01-04 0901:01-05 "
    "1001:01-03 1101:01-03 1208:01-03"
)
_SD = (
    "01:0101,0102,0103 02:0201,0202,0203,0204 03:0301,0302,0305,0307 04:0401,0403,0404 05:05H1,0508 06:0601,0602 "
    "07:0701,0702 08:08H1,08H2,0809,0810 09: 10:1001,1002,1003,1004,1005,1006,1007,1008,1009 "
    "11:1101,1102,1103,1104,1107,1109,1110 12:1201,1202,1203,1204,1205,1206,1207 "
    "00:0303,0304,0306,0402,0603,1105,1106,1108"
)
_SD_WITH_A = frozenset({"0810", "1104"})


@dataclass(frozen=True)
class LandCode:
    """A code as written, its plain form in the list (empty where unknown), and how they relate."""

    written: str
    plain: str
    standing: Standing


@lru_cache(maxsize=4)
def codes(system: str) -> frozenset[str] | None:
    """All codes of a list, every level; None for a list that is not known here (`ydyh2020`)."""
    if system == "sd2017":
        rows = [part.partition(":") for part in _SD.split()]
        return frozenset({first for first, _, _ in rows} | {code for *_, seconds in rows for code in seconds.split(",")
                          if code})  # fmt: skip
    return _spelled(_YDYH) | _spelled(_YDYH_THIRD) if system == "ydyh2023" else None


def _spelled(text: str) -> frozenset[str]:
    made: set[str] = set()
    for part in text.split():
        parent, _, span = part.partition(":")
        made.add(parent)
        if span:
            first, last = (int(each) for each in span.split("-"))
            made |= {f"{parent}{number:02d}" for number in range(first, last + 1)}
    return frozenset(made)


def read(code: str, system: str) -> LandCode | None:
    """How a code stands in its list; None where the list is not known here.

    `trailing-zeros`: 010100 is 0101. `suffix`: of the third survey, K (land that may be turned back into farmland) and
    A (a variant) behind a code. Nothing else is tried.
    """
    known = codes(system)
    if known is None:
        return None
    written = code.strip().upper()
    if written in known:
        return LandCode(code, written, "known")
    if system == "sd2017" and written[-1:] in {"K", "A"}:
        plain = written[:-1]
        if plain in known and (written[-1] == "K" or plain in _SD_WITH_A):
            return LandCode(code, plain, "suffix")
    plain = written
    while len(plain) > 2 and len(plain) % 2 == 0 and plain.endswith("00"):
        plain = plain[:-2]
        if plain in known:
            return LandCode(code, plain, "trailing-zeros")
    return LandCode(code, "", "unknown")
