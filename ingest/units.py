"""Numbers as people write them -> numbers in a schema's unit: «DN300», «300mm», «1.5米», «１２．５», «1,234».

Factors are exact by definition of the units (ISO 80000-3, the international foot and inch); the Chinese mu is 10000/15 m².
"""

import re
import unicodedata

TO_BASE: dict[str, tuple[str, float]] = {
    "mm": ("m", 0.001), "毫米": ("m", 0.001), "cm": ("m", 0.01), "厘米": ("m", 0.01), "公分": ("m", 0.01), "dm": ("m", 0.1),
    "m": ("m", 1.0), "米": ("m", 1.0), "公尺": ("m", 1.0), "km": ("m", 1000.0), "千米": ("m", 1000.0), "公里": ("m", 1000.0),
    "ft": ("m", 0.3048), "in": ("m", 0.0254), "英尺": ("m", 0.3048), "英寸": ("m", 0.0254), "us-ft": ("m", 1200 / 3937),
    "cm2": ("m2", 1e-4), "m2": ("m2", 1.0), "㎡": ("m2", 1.0), "平方米": ("m2", 1.0), "平米": ("m2", 1.0), "ha": ("m2", 1e4),
    "公顷": ("m2", 1e4), "km2": ("m2", 1e6), "平方公里": ("m2", 1e6), "亩": ("m2", 10000 / 15), "mu": ("m2", 10000 / 15),
    "m3": ("m3", 1.0), "立方米": ("m3", 1.0), "l": ("m3", 0.001), "万m3": ("m3", 1e4), "1e4m3": ("m3", 1e4), "10^4m3": ("m3", 1e4), "万立方米": ("m3", 1e4), "万方": ("m3", 1e4), "亿m3": ("m3", 1e8),
    "v": ("kV", 0.001), "伏": ("kV", 0.001), "kv": ("kV", 1.0), "千伏": ("kV", 1.0),
    "pa": ("MPa", 1e-6), "kpa": ("MPa", 1e-3), "千帕": ("MPa", 1e-3), "mpa": ("MPa", 1.0), "兆帕": ("MPa", 1.0), "bar": ("MPa", 0.1),
    "pct": ("pct", 1.0), "%": ("pct", 1.0), "‰": ("pct", 0.1), "deg": ("deg", 1.0), "°": ("deg", 1.0), "度": ("deg", 1.0),
    "rad": ("deg", 57.29577951308232), "person": ("person", 1.0), "人": ("person", 1.0), "万人": ("person", 1e4),
    "m3/s": ("m3/s", 1.0), "l/s": ("m3/s", 0.001), "m3/h": ("m3/s", 1 / 3600), "wh": ("kWh", 0.001), "kwh": ("kWh", 1.0), "千瓦时": ("kWh", 1.0), "mwh": ("kWh", 1000.0), "s": ("s", 1.0), "min": ("s", 60.0), "h": ("s", 3600.0),
}  # fmt: skip

EMPTY = frozenset(
    {"", "-", "--", "—", "——", "–", "/", "\\", "无", "空", "未知", "null", "none", "n/a", "na", "nan", "<null>", "*"}
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


def is_empty(text: str) -> bool:
    """True for text that stands for «no value»."""
    return narrow(text).lower() in EMPTY


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
