"""Pipe layers as arrays: what each pipe carries, how thick it is outside, and where its axis lies.

A pipe of the city is stored with z on its axis where its size and what its heights refer to are known (`twin.fuse`);
elsewhere z is what the source stated and says nothing about the axis: it is unknown here. Nothing is assumed: the outer
size is `od_mm`, or a size with its wall, or the envelope of a duct bank; a nominal diameter alone is no outer one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput
from twin.analysis import place
from twin.fuse import pipe_size
from twin.fuse.attach import ALL_PIPES
from twin.fuse.notes import Notes
from twin.fuse.pipes import FLOWS_BACK
from twin.store.interface import Features

if TYPE_CHECKING:
    from twin.city import City

FloatArray = NDArray[np.float64]
ObjectArray = NDArray[np.object_]

MM = 0.001
LAYERS = ALL_PIPES
DRAIN_LAYERS = ("pipe_rain", "pipe_sewage", "pipe_other")
KINDS = ("water", "reclaimed", "sewage", "rain", "combined", "drain", "gas", "heat", "power", "telecom", "industry")
DRAINS = ("sewage", "rain", "combined", "drain")
"""Kinds that flow by slope; `drain` is one that does not say what it carries."""
_OF_LAYER = {
    f"pipe_{kind}": kind for kind in ("water", "sewage", "rain", "gas", "heat", "power", "telecom", "industry")
}
_OF_CODE = {
    "JS": "water", "WS": "sewage", "YS": "rain", "HS": "combined", "PS": "drain", "RQ": "gas", "RL": "heat",
    "DL": "power", "TX": "telecom", "GY": "industry",
}  # fmt: skip
"""Type codes of CJJ 61-2017."""
_RECLAIMED = ("再生水", "中水", "reclaimed")
PROPERTIES = (
    "kind", "name", "type_code", "start_node", "end_node", "dn_mm", "od_mm", "width_mm", "height_mm", "wall_mm",
    "section", "section_shape", "material", "z_ref", "burial", "pressure_class", "voltage_kv", "flow_dir", "length_m",
    "use", "surface",
)  # fmt: skip

MOST = dict.fromkeys(("dn_mm", "od_mm", "width_mm", "height_mm", "wall_mm"), 100_000.0)
"""A size above it is one in another unit."""

PRESSURES_MPA = (("low", 0.01), ("mid_b", 0.2), ("mid_a", 0.4), ("sub_high_b", 0.8), ("sub_high_a", 1.6), ("high", 4.0))
"""Class and its highest gauge pressure (GB 50028-2006, table 6.1.6)."""
_NAMED_PRESSURES = {
    "次高压b": ("sub_high_b",), "次高压a": ("sub_high_a",), "次高压": ("sub_high_b", "sub_high_a"),
    "中压b": ("mid_b",), "中压a": ("mid_a",), "中压": ("mid_b", "mid_a"), "低压": ("low",),
    "高压b": ("high",), "高压a": ("high",), "高压": ("high",),
}  # fmt: skip
_PRESSURE = re.compile(r"^[<≤≦]?(\d+(?:\.\d+)?)(mpa|kpa)$")


@dataclass(frozen=True)
class Pipes:
    """(n,) pipes. NaN and None are unknown.

    Attributes
    ----------
    names : `layer/id`, or the id as given
    geometry : lines in the city's CRS; z is the axis where `has_axis`
    kind : one of `KINDS`, None where the type is not known
    width_m, height_m : outer size; equal for round pipes
    dn_mm : nominal diameter
    inner_m : height of the clear section; NaN where neither dn nor a wall is known
    inner_width_m : its width; NaN for sections that are neither round nor boxes
    is_round : whether the section is a circle
    crown_m : what must be added to the axis to reach the outer top; known without an outer size where heights are of
        the top
    pressure : classes of `PRESSURES_MPA` that are possible, None where nothing is stated
    burial : direct, duct, trench, tunnel, overhead
    start, end : codes of the nodes at both ends
    is_reversed : whether it flows from its end to its start
    """

    names: list[str]
    geometry: ObjectArray
    kind: ObjectArray
    width_m: FloatArray
    height_m: FloatArray
    is_round: NDArray[np.bool_]
    dn_mm: FloatArray
    inner_m: FloatArray
    inner_width_m: FloatArray
    crown_m: FloatArray
    has_axis: NDArray[np.bool_]
    pressure: ObjectArray
    burial: ObjectArray
    voltage_kv: FloatArray
    material: ObjectArray
    start: ObjectArray
    end: ObjectArray
    is_reversed: NDArray[np.bool_]
    use: ObjectArray
    surface: ObjectArray

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: NDArray[np.int64]) -> "Pipes":
        """Some of them."""
        picked = {key: value[rows] for key, value in vars(self).items() if isinstance(value, np.ndarray)}
        return Pipes(names=[self.names[row] for row in rows.tolist()], **picked)


def from_features(found: Features, layer: str | None = None, name: str = "pipes") -> Pipes:
    """Features in the city's CRS -> pipes.

    Parameters
    ----------
    layer : they are of; None where they are given, when z is on the axis unless `z_ref` says otherwise

    Raises
    ------
    InvalidInput
        A size or voltage that is negative or no number; a kind, burial or z_ref that is not known.
    """
    table = found.attributes
    text = {key: np.array(place.words(found, key), object) for key in PROPERTIES if key not in _NUMBERS}
    number = {key: _number(found, key, name) for key in _NUMBERS}
    if layer is None:
        _check_words(name, found.ids, text)
        text["z_ref"] = np.where(text["z_ref"] == None, "centre", text["z_ref"])  # noqa: E711 element by element
    rows = np.arange(len(found)).astype(object)
    sized = pipe_size.read_sections(rows, _with_numbers(table, number), found.extra, Notes())
    size = pipe_size.size(rows, sized, Notes())
    number["dn_mm"] = np.where(np.isnan(number["dn_mm"]), _column(sized, "dn_mm"), number["dn_mm"])
    width, height = _outer(sized, size, text["burial"])
    shift = _to_axis(text["z_ref"], size)
    shapes = _on_axis(found.geometry, shift) if layer is None else found.geometry
    has_axis = np.isfinite(shift) & shapely.has_z(shapes) & ~shapely.is_empty(shapes)
    xyz, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    has_axis &= np.bincount(owner, weights=~np.isfinite(xyz[:, 2]), minlength=len(found)) == 0
    is_stated = text["z_ref"] == "crown"
    crown = np.where(is_stated, size.height_m / 2, height / 2)
    inner = _inner(sized, size)
    return Pipes(
        names=[f"{layer}/{each}" for each in found.ids] if layer is not None else list(found.ids),
        geometry=shapes,
        kind=kinds(layer, text["kind"], text["type_code"], text["name"]),
        width_m=width,
        height_m=height,
        is_round=size.shape == pipe_size.ROUND,
        dn_mm=number["dn_mm"],
        inner_m=inner,
        inner_width_m=_inner_width(sized, size, inner),
        crown_m=crown,
        has_axis=np.asarray(has_axis, bool),
        pressure=pressures(text["pressure_class"]),
        burial=text["burial"],
        voltage_kv=number["voltage_kv"],
        material=text["material"],
        start=text["start_node"],
        end=text["end_node"],
        is_reversed=np.isin(text["flow_dir"].astype(str), FLOWS_BACK),
        use=text["use"],
        surface=text["surface"],
    )


def read(
    city: "City", given: Sequence[Mapping[str, Any]] | None, layers: Sequence[str] = LAYERS, name: str = "pipes"
) -> Pipes:
    """Pipes that an input means (a list of values of `features_input.SCHEMA`); the city's layers where it is absent."""
    if given is None:
        given = [{"collection": each} for each in layers if each in city]
        if not given:
            raise InvalidInput(f"{name}: the city has no layer of pipes.", f"Give {name}, or add one of {layers[0]} ….")
        found = [_collection(city, each, name, is_asked=False) for each in given]
    else:
        found = [
            _collection(city, each, name) if "collection" in each else from_features(
                place.features(city, name, each, kinds=place.LINES), None, name) for each in given
        ]  # fmt: skip
    return joined([each for each in found if len(each)], name)


def joined(parts: Sequence[Pipes], name: str = "pipes") -> Pipes:
    """Several as one; InvalidInput where there is none."""
    if not parts:
        raise InvalidInput(f"{name} has no feature.", "Check its filter, bbox and ids.")
    arrays = {
        key: np.concatenate([getattr(each, key) for each in parts])
        for key, value in vars(parts[0]).items()
        if isinstance(value, np.ndarray)
    }
    return Pipes(names=[text for each in parts for text in each.names], **arrays)


def kinds(layer: str | None, kind: ObjectArray, code: ObjectArray, title: ObjectArray) -> ObjectArray:
    """(n,) what pipes carry: as stated, else by CJJ 61 type code, else by their layer; None where nothing says so."""
    found = np.full(len(kind), _OF_LAYER.get(layer or ""), object)
    by_code = np.array([_OF_CODE.get(str(each).strip().upper()) for each in code], object)
    found = np.where(by_code != None, by_code, found)  # noqa: E711 element by element
    is_reclaimed = [any(word in f"{a} {b} {c}".lower() for word in _RECLAIMED)
                    for a, b, c in zip(kind, code, title, strict=True)]  # fmt: skip
    found[np.array(is_reclaimed, bool) & np.isin(found.astype(str), ["water", "None"])] = "reclaimed"
    stated = np.isin(kind.astype(str), KINDS)
    return np.asarray(np.where(stated, kind, found), object)


def pressures(stated: ObjectArray) -> ObjectArray:
    """(n,) pressure as written (低压, 中压B, 0.3MPa, mid_a …) -> the classes it may mean; None where none is said."""
    known: dict[Any, tuple[str, ...] | None] = {None: None}
    for each in stated:
        if each not in known:
            known[each] = _pressure(str(each))
    out = np.empty(len(stated), object)
    out[:] = [known[each] for each in stated]
    return out


def _pressure(text: str) -> tuple[str, ...] | None:
    plain = text.strip().lower().replace(" ", "").replace("级", "").replace("燃气", "").replace("管", "")
    if plain in {name for name, _ in PRESSURES_MPA}:
        return (plain,)
    if found := _PRESSURE.match(plain):
        mpa = float(found[1]) * (0.001 if found[2] == "kpa" else 1.0)
        return (next((name for name, most in PRESSURES_MPA if mpa <= most + 1e-9), "high"),)
    return _NAMED_PRESSURES.get(plain)


_NUMBERS = ("dn_mm", "od_mm", "width_mm", "height_mm", "wall_mm", "voltage_kv", "length_m")
_WORDS = {"kind": KINDS, "burial": ("direct", "duct", "trench", "tunnel", "overhead"),
          "z_ref": ("crown", "centre", "invert")}  # fmt: skip


def _check_words(name: str, ids: list[str], text: Mapping[str, ObjectArray]) -> None:
    for key, allowed in _WORDS.items():
        for row, value in enumerate(text[key]):
            if value is not None and value not in allowed:
                raise InvalidInput(f"{name}: {ids[row]!r} has {key} {value[:40]!r}.", f"Use {', '.join(allowed)}.")


def _number(found: Features, key: str, name: str) -> FloatArray:
    values = place.numbers(found, key, name)
    bad = np.flatnonzero((values < 0) | np.isinf(values))
    if bad.size:
        raise InvalidInput(f"{name}: {found.ids[bad[0]]!r} has {key} {values[bad[0]]:g}.", "It cannot be negative.")
    far = np.flatnonzero(values > MOST[key]) if key in MOST else np.array([], np.int64)
    if far.size:
        raise InvalidInput(f"{name}: {found.ids[far[0]]!r} has {key} {values[far[0]]:g}.", f"At most {MOST[key]:g}.")
    return values


def _column(table: pa.Table, key: str) -> FloatArray:
    if key not in table.column_names:
        return np.full(table.num_rows, np.nan)
    return np.asarray(table[key].combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _with_numbers(table: pa.Table, number: Mapping[str, FloatArray]) -> pa.Table:
    """The table with every column of a size as float, so that sections written as text have where to go."""
    for key in ("dn_mm", "od_mm", "width_mm", "height_mm", "wall_mm"):
        column = pa.array(number[key], pa.float64(), from_pandas=True)
        at = table.column_names.index(key) if key in table.column_names else None
        table = table.append_column(key, column) if at is None else table.set_column(at, key, column)
    return table


def _outer(table: pa.Table, size: pipe_size.Size, burial: ObjectArray) -> tuple[FloatArray, FloatArray]:
    """(n,) outer width and height where they are stated: od, or a size with its wall, or a duct bank's envelope."""
    od, wall = _column(table, "od_mm"), _column(table, "wall_mm")
    is_box = np.isnan(od) & np.isfinite(_column(table, "width_mm")) & np.isfinite(_column(table, "height_mm"))
    is_known = (od > 0) | (wall > 0) | (is_box & (burial == "duct"))
    return np.where(is_known, size.width_m, np.nan), np.where(is_known, size.height_m, np.nan)


def _inner(table: pa.Table, size: pipe_size.Size) -> FloatArray:
    is_known = (_column(table, "dn_mm") > 0) | (_column(table, "wall_mm") > 0) | (_column(table, "height_mm") > 0)
    return np.where(is_known, size.inner_m, np.nan)


def _inner_width(table: pa.Table, size: pipe_size.Size, inner: FloatArray) -> FloatArray:
    wide = np.where(size.shape == pipe_size.ROUND, inner, _column(table, "width_mm") * MM)
    return np.asarray(np.where(size.shape == pipe_size.EGG, np.nan, wide), np.float64)


def _to_axis(z_ref: ObjectArray, size: pipe_size.Size) -> FloatArray:
    """(n,) what takes the stated height to the axis, NaN where the store could not tell (as `twin.fuse.pipes`)."""
    shift = np.where(z_ref == "centre", 0.0, np.nan)
    shift = np.where(z_ref == "crown", -size.height_m / 2, shift)
    return np.asarray(np.where(z_ref == "invert", size.inner_m / 2, shift), np.float64)


def _on_axis(geometry: ObjectArray, shift: FloatArray) -> ObjectArray:
    """Given lines, whose z is of `z_ref`, with z on the axis."""
    out = np.array(geometry, dtype=object)
    rows = np.flatnonzero(shapely.has_z(out) & np.isfinite(shift))
    xyz, owner = shapely.get_coordinates(out[rows], include_z=True, return_index=True)
    xyz[:, 2] += shift[rows][owner]
    out[rows] = shapely.set_coordinates(np.array(out[rows], dtype=object), xyz)
    return out


def _collection(city: "City", given: Mapping[str, Any], name: str, *, is_asked: bool = True) -> Pipes:
    layer = str(given["collection"])
    from twin.analysis import features_input

    known = features_input.attributes(city, name, layer)
    names = tuple(each for each in PROPERTIES if each in known)
    found = place.collected(features_input.read(city, name, given, properties=names), name)
    if is_asked and not len(found):
        raise InvalidInput(f"{name} has no feature.", "Check its filter, bbox and ids.")
    return from_features(found, layer, name)
