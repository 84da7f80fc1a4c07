"""P35 crs-audit: is each layer where it says it is? Finds and proposes; changes nothing.

Rows are findings with a verdict: `fail` (cannot be right), `warn` (suspected, with its measure), `pass`, `unknown`
(nothing to compare with). `proposal` is the text to put into city.toml. Places that a reader refused are told from the
reports of their sources.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import catalogue, crs
from layers.catalogue import Title
from layers.crs_doubts import DEFAULT_REACH_KM, Doubt, doubts
from layers.errors import InvalidInput
from twin.analysis import crs_audit_sample, features_input
from twin.analysis.crs_audit_heights import NEAR_M, height_doubt
from twin.analysis.crs_audit_reference import COARSE_M, GOOD_M, LEAST_PAIRS, Outlines, suspicion
from twin.analysis.process import Parameter, Process
from twin.analysis.progress import SILENT, Progress

if TYPE_CHECKING:
    from twin.city import City

RULE = "P35"
MOST_PLACES = 5000
MOST_REFERENCE = 50_000
ZONE_DEG = 3.0

_FAILS = {"degrees-not-metres", "metres-not-degrees", "mixed-zones", "height-range", "zone-prefix", "swapped-axes"}
_REFUSED = {"CRS_MISSING", "COORDINATES_OUTSIDE_CRS", "CRS_GEOCENTRIC", "DATUM_SHIFT_UNKNOWN", "VERTICAL_DATUM"}


def crs_audit(
    city: "City",
    *,
    layer: str | None = None,
    coordinates: Sequence[Sequence[float]] | None = None,
    declared_crs: str | None = None,
    reference: str | None = None,
    match: str | None = None,
    reach_km: float = DEFAULT_REACH_KM,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Audit one layer or all, or `coordinates` (x, y, east first) that are said to be in `declared_crs`.

    `reference` is a layer that lies right; `match` an attribute that both have, else the nearest outline is taken.
    """
    if coordinates is not None:
        if declared_crs is None or layer is not None:
            raise InvalidInput("coordinates are audited with declared_crs and without layer.", "Give declared_crs.")
        rows = _given(city, coordinates, declared_crs, reach_km)
    else:
        if reference is not None:
            known = features_input.attributes(city, "reference", reference)
            if match is not None and match not in known:
                raise InvalidInput(f"match: layer {reference!r} has no attribute {match!r}.", "See its queryables.")
        others = {reference, catalogue.SOURCE}  # boxes of sources are made from the other layers
        ids = [layer] if layer is not None else [info.id for info in city.layers if info.id not in others]
        told = progress.over(ids, len(ids), "auditing")
        rows = [row for each in told for row in _layer(city, each, reference, match, reach_km)]
        if layer is None and city.scope.layers is None:
            rows += _refused(city)
    verdicts = [row["verdict"] for row in rows]
    worst = next((each for each in ("fail", "warn", "unknown") if each in verdicts), "pass")
    return {"verdict": worst, "n_findings": sum(each in {"fail", "warn"} for each in verdicts), "rows": rows}


def _given(
    city: "City", coordinates: Sequence[Sequence[float]], declared: str, reach_km: float
) -> list[dict[str, Any]]:
    xy = np.array([row[:2] for row in coordinates], np.float64)
    found = doubts(declared, xy[:, 0], xy[:, 1], city=_origin(city), reach_km=reach_km)
    return [_row("", "", each) for each in found] or [
        _line("", "", Doubt("place", "The coordinates lie in the city."), "pass")
    ]


def _origin(city: "City") -> tuple[float, float]:
    return city.config.origin_lon_deg, city.config.origin_lat_deg


def _row(layer: str, source: str, doubt: Doubt) -> dict[str, Any]:
    return _line(layer, source, doubt, "fail" if doubt.code in _FAILS else "warn")


def _line(layer: str, source: str, found: Doubt, verdict: str) -> dict[str, Any]:
    return {
        "rule_id": RULE, "layer": layer, "source": source, "finding": found.code, "measured": found.measured,
        "limit": found.limit, "unit": found.unit, "verdict": verdict, "explanation": found.explanation,
        "proposal": _toml(source, found.cure),
    }  # fmt: skip


def _toml(source: str, cure: Mapping[str, Any]) -> str:
    if not cure:
        return ""
    return "\n".join(["[[source]]", *(f"{key} = {_value(v)}" for key, v in {"path": source or "FILE", **cure}.items())])


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _layer(
    city: "City", layer: str, reference: str | None, match: str | None, reach_km: float
) -> Iterable[dict[str, Any]]:
    sample = crs_audit_sample.spread(city, layer, match, MOST_PLACES)
    geometry, keys = sample.geometry, sample.keys
    source = _source(city, layer)
    if not len(geometry):
        yield _line(layer, source, Doubt("place", "The layer has no geometry to look at."), "unknown")
        return
    boxes = shapely.bounds(geometry)
    middle = np.column_stack([boxes[:, [0, 2]].mean(axis=1), boxes[:, [1, 3]].mean(axis=1)])
    found = doubts(city.crs, middle[:, 0], middle[:, 1], city=_origin(city), reach_km=reach_km)
    yield from [_row(layer, source, each) for each in found]
    if not found:
        yield _line(
            layer, source, Doubt("place", f"The middle of the layer lies within {reach_km:g} km of the city."), "pass"
        )
    yield from _wide(city, layer, source, middle)
    yield _against(city, layer, source, geometry, keys, reference, match)
    yield _heights(city, layer, source, geometry, middle)


def _wide(city: "City", layer: str, source: str, middle: NDArray[np.float64]) -> Iterable[dict[str, Any]]:
    lon, _ = crs.transform(city.crs, crs.WGS84, middle[:, 0], middle[:, 1])
    width = float(np.ptp(lon))
    if width > ZONE_DEG:
        words = f"The layer is {width:.2f} degrees wide, more than one zone; perhaps features of two zones are mixed."
        yield _row(layer, source, Doubt("wider-than-zone", words, width, ZONE_DEG, "deg"))


def _source(city: "City", layer: str) -> str:
    """The source of a layer, where all of it comes from one; only for whom may see everything."""
    if city.scope.layers is not None:
        return ""
    names = {
        report["source"] for report in city.store.reports() for count in report["layers"] if count["layer"] == layer
    }
    return names.pop() if len(names) == 1 else ""


def _against(  # noqa: PLR0917
    city: "City",
    layer: str,
    source: str,
    geometry: NDArray[np.object_],
    keys: list[Any],
    reference: str | None,
    match: str | None,
) -> dict[str, Any]:
    if reference is None:
        words = "No reference layer was given, so a shift of metres to hundreds of metres cannot be seen."
        return _line(layer, source, Doubt("reference", words), "unknown")
    if match is None:
        xy = shapely.get_coordinates(geometry)
        xy = xy[np.unique(np.linspace(0, len(xy) - 1, min(MOST_PLACES, len(xy))).astype(int))]
        found, is_inside = crs_audit_sample.around(city, reference, xy, MOST_REFERENCE)
        outlines, xy = Outlines(found.geometry), xy[is_inside]
        n, told = (len(xy) if len(found.geometry) else 0), outlines.nearest
    else:
        found = crs_audit_sample.matching(city, reference, match, keys)
        at = dict(zip(found.keys, _middles(found.geometry), strict=True))
        both = [i for i, key in enumerate(keys) if key is not None and key in at]
        xy = _middles(geometry)[both].reshape(-1, 2)
        target = np.array([at[keys[i]] for i in both], np.float64).reshape(-1, 2)
        n, told = len(both), lambda places: target - places
    if n < LEAST_PAIRS:
        words = f"Only {n} places can be compared with {reference}."
        return _line(layer, source, Doubt("reference", words), "unknown")
    mean_m, doubt = suspicion(xy, told, city.crs)
    spacing_m = 0.0 if match is not None else outlines.spacing_m()
    if doubt is not None and doubt.code == "reference-residual" and spacing_m > COARSE_M:
        words = (
            f"Mean residual {mean_m:.1f} m, but the vertices of {reference} lie {spacing_m:.0f} m apart: it is drawn "
            "too coarsely to show a shift of hundreds of metres."
        )
        return _line(layer, source, Doubt("reference-too-coarse", words, spacing_m, COARSE_M, "m"), "unknown")
    if doubt is not None:
        return _row(layer, source, doubt)
    words = f"Mean residual to {reference}: {mean_m:.2f} m."
    return _line(layer, source, Doubt("reference", words, mean_m, GOOD_M, "m"), "pass")


def _middles(geometry: NDArray[np.object_]) -> NDArray[np.float64]:
    return np.asarray(shapely.get_coordinates(shapely.centroid(geometry)), np.float64)


def _heights(
    city: "City", layer: str, source: str, geometry: NDArray[np.object_], middle: NDArray[np.float64]
) -> dict[str, Any]:
    has_z = np.flatnonzero(shapely.has_z(geometry))
    if not len(has_z):
        return _line(layer, source, Doubt("heights", "The layer has no heights."), "unknown")
    rows, index = shapely.get_coordinates(geometry[has_z], include_z=True, return_index=True)
    lowest = np.full(len(has_z), np.inf)
    np.minimum.at(lowest, index, rows[:, 2])
    ground = np.asarray(city.height(middle[has_z, 0], middle[has_z, 1]), np.float64)
    lon, lat = (np.array([value]) for value in _origin(city))
    measured, doubt = height_doubt(lowest, ground, float(city.frame.height_model.undulation_m(lon, lat)[0]))
    if doubt is not None:
        return _row(layer, source, doubt)
    if measured is None:
        return _line(layer, source, Doubt("heights", "There is no ground to compare the heights with."), "unknown")
    words = f"Heights lie {measured:+.2f} m from the ground. (1956 or 1985 datum, 0.03 m apart, cannot be told so.)"
    return _line(layer, source, Doubt("heights", words, measured, NEAR_M, "m"), "pass")


def _refused(city: "City") -> Iterable[dict[str, Any]]:
    """Sources that are parked for want of a place; their hint holds the lines to write. And what readers suspected."""
    for report in city.store.reports():
        for issue in report["issues"]:
            if issue["code"] == "AXES_LOOK_SWAPPED":
                doubt = Doubt("axes-look-swapped", issue["message"], cure={"correct": ["swap-axes"]})
                yield _row("", report["source"], doubt)
            if issue["code"] in _REFUSED and issue["severity"] == "error":
                code = issue["code"].lower().replace("_", "-")
                row = _line("", report["source"], Doubt(code, issue["message"]), "fail")
                _, mark, lines = issue["hint"].partition("[[source]]")
                yield {**row, "proposal": mark + lines}


_TEXT = {"type": "string", "minLength": 1}
PROCESS = Process(
    id="crs-audit",
    title=Title("坐标系审查", "CRS audit"),
    description=Title(
        "检查图层的坐标系是否属实：坐标轴颠倒、带号、度与米、混带、GCJ-02/BD-09、旧基准、高程基准；只提建议，不作修改。",
        "Whether layers are where they say: swapped axes, zone numbers, degrees or metres, mixed zones, GCJ-02/BD-09, "
        "older datums, heights. It proposes and changes nothing.",
    ),
    inputs={
        "layer": Parameter(Title("图层", "Layer; all without it"), _TEXT, required=False),
        "coordinates": Parameter(
            Title("坐标", "Coordinates to judge instead, x (east) first"),
            {
                "type": "array", "minItems": 1, "maxItems": 100_000,
                "items": {"type": "array", "minItems": 2, "maxItems": 3, "items": {"type": "number"}},
            },
            required=False,
        ),
        "declared_crs": Parameter(Title("声明的坐标系", "CRS that the coordinates claim"), _TEXT, required=False),
        "reference": Parameter(Title("参考图层", "Layer that lies right"), _TEXT, required=False),
        "match": Parameter(Title("匹配属性", "Attribute that pairs features of both"), _TEXT, required=False),
        "reach_km": Parameter(
            Title("城市范围", "Farthest place of the city from its origin"),
            {"type": "number", "exclusiveMinimum": 0, "maximum": 20_000, "default": DEFAULT_REACH_KM, "x-unit": "km"},
            required=False,
        ),
    },
    outputs={
        "verdict": Parameter(Title("结论", "Worst verdict"), {"enum": ["pass", "unknown", "warn", "fail"]}),
        "n_findings": Parameter(Title("发现数", "Rows that warn or fail"), {"type": "integer"}),
        "rows": Parameter(Title("发现", "Findings"), {"type": "array", "items": {"type": "object"}}),
    },
    function=crs_audit,
)  # fmt: skip
