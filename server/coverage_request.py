"""Parameters of `/coverage` -> which sheets, which fields, which frame. Whatever is not understood is refused by name.

OGC API Coverages (draft 19-087): 8 subsetting, 9 scaling (and `scale-factor`, `scale-axes`, `scale-size` of earlier
drafts, which OWSLib sends), 10 field selection, 11 CRS.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from layers import crs
from layers.crs import Bounds
from layers.errors import InvalidInput, NotFound
from server import coverage_axes as axes
from server import parameters
from server.coverage_axes import EAST, NORTH
from server.serving import Snapshot
from tiles.coverage import epochs, grid
from tiles.coverage.grid import Grid
from tiles.coverage.sheets import Coverage, Field, coverage
from twin.store.interface import Asset

SCALING = ("resolution", "scale-factor", "scale-axes", "scale-size", "width", "height")
KNOWN = (
    "f", "lang", "asset", "bbox", "bbox-crs", "subset", "subset-crs", "crs", "datetime", "properties",
    "exclude-properties", "scaleSize", *SCALING,
)  # fmt: skip
MAX_CELLS = 1 << 24
"""Cells times fields of an answer in a binary format."""
MAX_SIDE = 16_384
Params = Mapping[str, str]


@dataclass(frozen=True)
class Wanted:
    """What is asked for: `frame` is the answer's grid."""

    coverage: Coverage
    frame: Grid
    fields: tuple[Field, ...]
    crs: str
    given: Params


def wanted(asked: QueryParams, city: Snapshot, layer: str, assets: Sequence[Asset], more: Sequence[str] = ()) -> Wanted:
    """All parameters of `/coverage`. `more`: names that the format understands besides."""
    given = _given(asked, more)
    slices, time = axes.subset(given)
    found = _made(city, layer, _selected(given, time, layer, assets))
    target = _crs(given, "crs", found, city) or found.grid.crs
    fields = _fields(given, found)
    native = found.grid if target == found.grid.crs else found.grid.within(target)
    boxes = _boxes(given, slices, found, city)
    frame = _trimmed(native, boxes, found)
    scaling = [name for name in SCALING if given.get(name)]
    if scaling:
        _not_sliced(slices, scaling)
        frame = _scaled(given, frame, boxes)
    _within_limits(frame, len(fields), given)
    return Wanted(found, frame, fields, target, given)


def _given(asked: QueryParams, more: Sequence[str]) -> dict[str, str]:
    subset = ",".join(value for name, value in asked.multi_items() if name == "subset")
    others = QueryParams([(name, value) for name, value in asked.multi_items() if name != "subset"])
    given = parameters.once(others, (*KNOWN, *more))
    if "scaleSize" in given:  # what GDAL's OGCAPI driver sends: cells along Lat and Long, so the answer is in degrees
        _degrees(given)
    for name, value in {**given, "subset": subset}.items():
        if len(value) > 2000:
            raise InvalidInput(f"{name} is longer than 2000 characters.", "Make it shorter.")
    return given | ({"subset": subset} if "subset" in asked else {})


def _degrees(given: dict[str, str]) -> None:
    if "scale-size" in given:
        raise InvalidInput("scale-size is given twice, once as scaleSize.", "Drop one of them.")
    given["scale-size"] = given.pop("scaleSize")
    if "lat" in given["scale-size"].lower():
        given.setdefault("crs", crs.CRS84)


def _selected(given: Params, time: str | None, layer: str, assets: Sequence[Asset]) -> list[Asset]:
    if time is not None and "datetime" in given:
        raise InvalidInput("Time is given twice, by subset and by datetime.", "Drop one of them.")
    kept = list(assets)
    if "asset" in given:
        kept = [each for each in kept if each.id == given["asset"]]
        if not kept:
            known = ", ".join(each.id for each in assets[:20])
            raise NotFound(f"{layer} has no raster {given['asset'][:60]!r}.", f"asset: there is {known}.")
    text = given.get("datetime") if time is None else time
    if text is None:
        return kept
    period, is_instant = epochs.asked(text, "datetime" if time is None else "subset time")
    return epochs.select(kept, period, is_instant=is_instant, layer=layer)


def _made(city: Snapshot, layer: str, assets: list[Asset]) -> Coverage:
    key = ("coverage", layer, tuple(each.id for each in assets))
    return city.make(key, lambda: coverage(city.city.folder, city.city.config, layer, assets))


def _crs(given: Params, name: str, found: Coverage, city: Snapshot) -> str | None:
    text = given.get(name)
    if text is None:
        return None
    offered = list(dict.fromkeys((found.grid.crs, *city.crs_names)))
    try:
        known = crs.name(text)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error.problem}", error.hint) from error
    if known not in offered:
        raise InvalidInput(f"{name}={text[:80]!r} is not offered.", f"Offered: {', '.join(offered)}.")
    return known


def _fields(given: Params, found: Coverage) -> tuple[Field, ...]:
    for name in ("properties", "exclude-properties"):
        if name in given and not given[name]:
            raise InvalidInput(f"{name} names no field.", f"Fields: {', '.join(each.name for each in found.fields)}.")
    if "properties" in given and "exclude-properties" in given:
        raise InvalidInput("properties and exclude-properties exclude each other.", "Drop one of them.")
    known = {each.name: each for each in found.fields} | {str(each.band): each for each in found.fields}
    named = [part.strip() for part in given.get("properties", given.get("exclude-properties", "")).split(",") if part]
    for each in named:
        if each not in known:
            which = "properties" if "properties" in given else "exclude-properties"
            there = ", ".join(field.name for field in found.fields)
            raise InvalidInput(f"{which}: {found.layer} has no field {each[:60]!r}.", f"Fields: {there}.")
    chosen = [known[each] for each in named]
    if "exclude-properties" in given:
        chosen = [each for each in found.fields if each not in chosen]
        if not chosen:
            raise InvalidInput("exclude-properties leaves no field.", "Keep one at least.")
    return tuple(dict.fromkeys(chosen)) or found.fields


def _boxes(
    given: Params, slices: Mapping[str, tuple[str, str | None]], found: Coverage, city: Snapshot
) -> tuple[str, list[Bounds]] | None:
    """CRS and boxes (east first; two where the antimeridian is crossed), or None for the whole."""
    if slices and "bbox" in given:
        raise InvalidInput("subset and bbox exclude each other for the axes of space.", "Drop one of them.")
    if "bbox" in given:
        source = _crs(given, "bbox-crs", found, city) or crs.CRS84
        a_low, b_low, a_high, b_high = _four(given["bbox"])
        if crs.is_north_first(source):
            a_low, b_low, a_high, b_high = b_low, a_low, b_high, a_high
        return source, _unwrapped((a_low, b_low, a_high, b_high), source, "bbox")
    if not slices:
        return None
    source = _crs(given, "subset-crs", found, city) or crs.CRS84
    west, south, east, north = grid.box_in(found.grid.crs, source, found.grid.bounds)
    ends = {EAST: (west, east), NORTH: (south, north)}
    for name, (low, high) in slices.items():
        side = axes.axis_of(name, source, "subset")
        if high is None:
            if low == "*":
                raise InvalidInput(f"subset: {name}(*) is no value.", f"Write {name}(low:high).")
            ends[side] = (axes.number(low, name), axes.number(low, name))
        else:
            lowest, highest = ends[side]
            ends[side] = (
                lowest if low == "*" else axes.number(low, name),
                highest if high == "*" else axes.number(high, name),
            )
    (west, east), (south, north) = ends[EAST], ends[NORTH]
    return source, _unwrapped((west, south, east, north), source, "subset")


def _unwrapped(box: Bounds, source: str, name: str) -> list[Bounds]:
    west, south, east, north = box
    hint = f"Mind the axis order of {name}-crs: {source} is {'north' if crs.is_north_first(source) else 'east'} first."
    if south > north:
        raise InvalidInput(f"{name} has a lower bound above its upper one in {source}.", hint)
    if crs.is_geographic(source):
        if max(abs(west), abs(east)) > 180.001 or max(abs(south), abs(north)) > 90.001:
            raise InvalidInput(f"{name} reaches beyond ±180° or ±90°.", hint)
        if west > east:
            return [(west, south, 180.0, north), (-180.0, south, east, north)]
    elif west > east:
        raise InvalidInput(f"{name} has a lower bound above its upper one in {source}.", hint)
    return [box]


def _four(text: str) -> tuple[float, float, float, float]:
    parts = text.split(",")
    if len(parts) == 6:
        raise InvalidInput("bbox has six numbers; rasters have no third axis.", "Give four.")
    if len(parts) != 4:
        raise InvalidInput(f"bbox has {len(parts)} numbers.", "Give four: two lower and two upper coordinates.")
    a, b, c, d = (axes.number(part, "bbox", "bbox") for part in parts)
    return a, b, c, d


def _trimmed(native: Grid, boxes: tuple[str, list[Bounds]] | None, found: Coverage) -> Grid:
    """The cells of the lattice that the boxes touch; NotFound for none."""
    if boxes is None:
        return native
    source, asked = boxes
    there = _padded(grid.box_in(found.grid.crs, source, found.grid.bounds), source, native)
    hits = [grid.box_in(source, native.crs, part) for each in asked if (part := grid.cut(each, there))]
    trimmed = [kept for each in hits if (kept := native.trimmed(each))]
    if not trimmed:
        raise NotFound(
            f"{found.layer} has nothing in that part of space.",
            f"Its extent in {source} is {', '.join(f'{v:.8g}' for v in there)}.",
        )
    return trimmed[0] if len(trimmed) == 1 else native.around([each.bounds for each in trimmed])


def _padded(box: Bounds, source: str, native: Grid) -> Bounds:
    """An extent so little wider (a cell) that rounding does not cut off its edge."""
    if source == native.crs:
        return box
    margin = max(box[2] - box[0], box[3] - box[1]) / max(native.width, native.height)
    return box[0] - margin, box[1] - margin, box[2] + margin, box[3] + margin


def _not_sliced(slices: Mapping[str, tuple[str, str | None]], scaling: Sequence[str]) -> None:
    single = [name for name, (_, high) in slices.items() if high is None]
    if single:
        raise InvalidInput(f"subset slices {single[0]}, so {scaling[0]} means nothing there.", "Drop one of them.")


def _scaled(given: Params, frame: Grid, boxes: tuple[str, list[Bounds]] | None) -> Grid:
    kinds = [name for name in SCALING if given.get(name)]
    families = {"size" if each in {"width", "height"} else each for each in kinds}
    if len(families) > 1:
        raise InvalidInput(f"{' and '.join(kinds)} exclude each other.", "Give one of them.")
    kind = families.pop()
    if kind == "resolution":
        sizes = {
            side: value for side, value in axes.per_axis(given, kind, frame.crs, may_be_empty=True).items() if value
        }
        for side, value in sizes.items():
            extent = frame.width * frame.dx if side == EAST else frame.height * frame.dy
            if extent / value > MAX_SIDE * 4:
                raise InvalidInput(
                    f"resolution={value:g} gives too many cells.", "Ask for wider cells or a smaller box."
                )
        return frame.resolved(sizes.get(EAST), sizes.get(NORTH))
    if kind == "scale-factor":
        factor = axes.positive(given[kind], kind)
        factors: dict[str, float] = {EAST: factor, NORTH: factor}
    elif kind == "scale-axes":
        factors = axes.per_axis(given, kind, frame.crs)
    else:
        counts = _counts(given, kind, frame)
        return frame.sized(*counts, box=_exact(frame, boxes))
    width = max(1, round(frame.width / factors.get(EAST, 1.0)))
    height = max(1, round(frame.height / factors.get(NORTH, 1.0)))
    return frame.sized(min(width, 1 << 40), min(height, 1 << 40))


def _counts(given: Params, kind: str, frame: Grid) -> tuple[int, int]:
    if kind == "size":
        found: dict[str, float] = {
            side: parameters.whole(dict(given), name, 0, minimum=1)
            for side, name in ((EAST, "width"), (NORTH, "height")) if name in given
        }  # fmt: skip
    else:
        found = axes.per_axis(given, kind, frame.crs)
        for value in found.values():
            if value != int(value):
                raise InvalidInput(
                    f"scale-size: {value:g} is no whole number of cells.", "Example: scale-size=E(256),N(256)"
                )
    return int(found.get(EAST, frame.width)), int(found.get(NORTH, frame.height))


def _exact(frame: Grid, boxes: tuple[str, list[Bounds]] | None) -> Bounds:
    """The box that `width` and `height` are laid over: the one asked for, where it is in the answer's CRS."""
    if boxes is None or boxes[0] != frame.crs or len(boxes[1]) != 1:
        return frame.bounds
    west, south, east, north = boxes[1][0]
    return (west, south, east, north) if east > west and north > south else frame.bounds


def _within_limits(frame: Grid, n_fields: int, given: Params) -> None:
    """InvalidInput that names the scale which fits."""
    total = frame.cells * n_fields
    if total <= MAX_CELLS and max(frame.width, frame.height) <= MAX_SIDE:
        return
    factor = max(math.sqrt(total / MAX_CELLS), max(frame.width, frame.height) / MAX_SIDE)
    scale = float(given["scale-factor"]) if "scale-factor" in given else 1.0
    raise InvalidInput(
        f"The answer would have {frame.width} × {frame.height} cells of {n_fields} fields; "
        f"{MAX_CELLS} values and {MAX_SIDE} cells on a side are possible.",
        f"Give a smaller bbox or subset, or scale-factor={math.ceil(factor * scale * 100) / 100:g}; "
        "whole files are at …/raster.tif.",
        code="COVERAGE_TOO_LARGE",
    )
