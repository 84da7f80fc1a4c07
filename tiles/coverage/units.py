"""Units as the catalogue writes them -> UCUM (https://ucum.org) and a label. What is not known stays as it is."""

from layers import observations

UCUM = {
    "m": "m", "cm": "cm", "mm": "mm", "km": "km", "ft": "[ft_i]", "in": "[in_i]", "ug/m3": "ug/m3", "mg/m3": "mg/m3",
    "ppb": "[ppb]", "db": "dB", "db(a)": "dB[SPL]", "degc": "Cel", "degf": "[degF]", "k": "K", "pct": "%", "1": "1",
    "hpa": "hPa", "kpa": "kPa", "mpa": "MPa", "pa": "Pa", "bar": "bar", "mmhg": "mm[Hg]", "m/s": "m/s", "km/h": "km/h",
    "kn": "[kn_i]", "mph": "[mi_i]/h", "deg": "deg", "m3/s": "m3/s", "m3/h": "m3/h", "l/s": "L/s", "ft3/s": "[cft_i]/s",
    "m3": "m3", "m2": "m2", "kwh": "kW.h", "w": "W",
}  # fmt: skip
SYSTEM = "http://www.opengis.net/def/uom/UCUM/"


def ucum(unit: str) -> str | None:
    """UCUM code of a unit, or None."""
    return UCUM.get(observations.unit_key(unit)) or UCUM.get(observations.fold(unit))


def covjson(unit: str) -> dict[str, object]:
    """A unit as CoverageJSON and EDR write it."""
    code = ucum(unit)
    made: dict[str, object] = {"label": {"en": unit}}
    made["symbol"] = {"value": code, "type": SYSTEM} if code else unit
    return made
