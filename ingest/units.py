"""Numbers as people write them -> numbers in a schema's unit: «DN300», «300mm», «1.5米», «１２．５», «1,234».

Factors are exact by definition (ISO 80000-3, the international foot and inch); the Chinese mu is 10000/15 m².
"""

import re
import unicodedata

_FACTORS: dict[str, dict[str, float]] = {
    "m": {
        "mm": 0.001, "毫米": 0.001, "cm": 0.01, "厘米": 0.01, "公分": 0.01, "dm": 0.1, "m": 1.0, "米": 1.0,
        "公尺": 1.0, "km": 1000.0, "千米": 1000.0, "公里": 1000.0, "ft": 0.3048, "in": 0.0254, "英尺": 0.3048,
        "英寸": 0.0254, "us-ft": 1200 / 3937,
    },
    "m2": {
        "cm2": 0.0001, "m2": 1.0, "㎡": 1.0, "平方米": 1.0, "平米": 1.0, "ha": 10000.0, "公顷": 10000.0,
        "km2": 1000000.0, "平方公里": 1000000.0, "亩": 10000 / 15, "mu": 10000 / 15,
    },
    "m3": {
        "m3": 1.0, "立方米": 1.0, "l": 0.001, "万m3": 10000.0, "1e4m3": 10000.0, "10^4m3": 10000.0,
        "万立方米": 10000.0, "万方": 10000.0, "亿m3": 100000000.0, "ft3": 0.3048**3, "acre-ft": 43560 * 0.3048**3,
        "acreft": 43560 * 0.3048**3, "ac-ft": 43560 * 0.3048**3,
    },
    "kV": {
        "v": 0.001, "伏": 0.001, "kv": 1.0, "千伏": 1.0,
    },
    "MPa": {
        "pa": 1e-06, "kpa": 0.001, "千帕": 0.001, "mpa": 1.0, "兆帕": 1.0, "bar": 0.1,
    },
    "pct": {
        "pct": 1.0, "%": 1.0, "‰": 0.1,
    },
    "deg": {
        "deg": 1.0, "°": 1.0, "度": 1.0, "rad": 57.29577951308232,
    },
    "person": {
        "person": 1.0, "人": 1.0, "万人": 10000.0,
    },
    "m3/s": {
        "m3/s": 1.0, "l/s": 0.001, "m3/h": 1 / 3600,
    },
    "kWh": {
        "wh": 0.001, "kwh": 1.0, "千瓦时": 1.0, "mwh": 1000.0,
    },
    "s": {
        "s": 1.0, "min": 60.0, "h": 3600.0,
    },
}  # fmt: skip

TO_BASE = {unit: (base, factor) for base, units in _FACTORS.items() for unit, factor in units.items()}
"""Unit, lower-case and without blanks -> the unit of its kind, and how many of it."""

EMPTY = frozenset(
    {
        "",
        "-",
        "--",
        "—",
        "——",
        "–",
        "/",
        "\\",
        "无",
        "空",
        "未知",
        "null",
        "none",
        "n/a",
        "na",
        "nan",
        "<null>",
        "*",
        "－",
        "／",
        "＊",
    }
)
"""What stands in a table where there is no value."""

_NUMBER = re.compile(
    r"^(?P<dn>dn|de|φ|ø|Φ|d)?\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?P<unit>\D{0,8}|m2|m3|cm2|km2|万m3|亿m3|m3/s|m3/h)$",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$))")
_BRACKETS = re.compile(r"^(?P<name>.*?)\s*[(\[【]\s*(?P<unit>[^)\]】]*)\s*[)\]】]$")


def narrow(text: str) -> str:
    """Full-width digits and letters as ASCII, superscripts as digits (NFKC), blanks at the ends gone."""
    return unicodedata.normalize("NFKC", text).strip()


def is_unit(text: str) -> bool:
    """True if the text names a unit that is known here."""
    return _key(text) in TO_BASE


def _key(unit: str) -> str:
    return "".join(narrow(unit).lower().split())


def factor(source: str, target: str) -> float | None:
    """What a number in `source` is multiplied by to be in `target`; None when the units do not convert."""
    source, target = _key(source), _key(target)
    if source == target:
        return 1.0
    if source not in TO_BASE or target not in TO_BASE:
        return None
    (from_base, numerator), (to_base, denominator) = TO_BASE[source], TO_BASE[target]
    return numerator / denominator if from_base == to_base else None


def split_unit(column: str) -> tuple[str, str | None]:
    """`高度（米）` -> (`高度`, `米`); a bracket that names no unit stays in the name."""
    match = _BRACKETS.match(narrow(column))
    if match and is_unit(match["unit"]):
        return match["name"], match["unit"]
    return column, None


def number(text: str, unit: str | None, default: str | None) -> float | None:
    """Text -> number in `unit`; a bare number is in `default` (or already in `unit`). None when it is not understood.

    `DN` and `Φ` mean millimetres (GB/T 1047, nominal diameter).
    """
    match = _NUMBER.match(_THOUSANDS.sub("", narrow(text)))
    if match is None:
        return None
    written = match["unit"].strip() or ("mm" if match["dn"] else "") or default or ""
    value = float(match["number"])
    if not written or unit is None:
        return value if not match["unit"].strip() else None
    times = factor(written, unit)
    return None if times is None else _scaled(value, times)


def _scaled(value: float, times: float) -> float:
    # dividing by a whole number is exact where multiplying by its reciprocal is not: 1500 mm is 1.5 m
    return value / round(1 / times) if times < 1 and abs(1 / times - round(1 / times)) < 1e-9 else value * times
