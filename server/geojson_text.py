"""Features -> GeoJSON text in bulk: columns of text pieces joined by Arrow, no Python object for a feature.

The coordinates of a page are reprojected, rounded and written at once; the text is then cut between paths. Same
guarantees as `server.geojson`: coordinates within 0.1 mm (9 decimals of a degree, 4 of a metre), heights as stored.
"""

from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from layers import crs
from layers.errors import InvalidInput
from server import geojson, vertical
from twin.store import geometry_blob, geometry_kind, wkb_paths
from twin.store.read_items import Items
from twin.store.wkb_paths import LINE, POINT, RING, Paths

IntArray = NDArray[np.int64]
_MULTI = 3
_NAMES = ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon")
_OPENED = ("", "[", "[[", "[", "[[", "[[[")
_HEAD = tuple(f'{{"type":"{name}","coordinates":{o}' for name, o in zip(_NAMES, _OPENED, strict=True))
# what stands before a path that is not the first of its feature, by type of the feature: a part, a hole
_PART, _HOLE = ("", "", "", "", ",[", ",[["), ",["
_PREFIXES = pa.array([*_HEAD, *_PART, _HOLE])
_AT_HOLE = len(_HEAD) + len(_PART)
_SUFFIXES = pa.array(["", "]", "}", "]}", "]]}"])
_COMMA, _BRACKET, _BRACE, _OPENING = (ord(each) for each in ",]}[")


def encode(items: Items, city_crs: str, target: str, anomaly: vertical.Anomaly | None = None) -> bytes:
    """Features in their order, with commas between them; empty for none."""
    n = len(items)
    if not n:
        return b""
    pieces: list[Any] = [',{"type":"Feature","id":', _quoted(items.ids), ',"geometry":']
    pieces += [_geometries(items, _Way(city_crs, target, anomaly)), ',"properties":{', *_properties(items), "}}"]
    whole = pc.binary_join_element_wise(*_merged(pieces), "")
    return _values(whole)[1:]


def _merged(pieces: list[Any]) -> list[Any]:
    """Texts and arrays of texts; neighbouring texts as one."""
    out: list[Any] = []
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        out += [pa.scalar(text), piece]
        text = ""
    return [*out, pa.scalar(text)]


def _values(texts: pa.Array) -> bytes:
    """All texts of an array without gaps, joined."""
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)
    start, end = ends[texts.offset], ends[texts.offset + len(texts)]
    return bytes(memoryview(data)[start:end]) if data is not None else b""


def _properties(items: Items) -> list[Any]:
    names = items.attributes.column_names
    found: list[Any] = []
    for name, column in zip(names, items.attributes.columns, strict=True):
        found += [
            _key(name, first=not found),
            _json(column.combine_chunks()),
        ]
    for name, values in (
        ("version", items.versions.cast(pa.string())),
        ("valid_from", _quoted(items.valid_from)),
        ("valid_to", _json(items.valid_to)),
    ):
        if name not in names:
            found += [_key(name, first=not found), values]
    if "extra" not in names and items.extra.null_count < len(items):
        own = pc.binary_join_element_wise(pa.scalar(_key("extra", first=not found)), items.extra, "")
        found.append(own.fill_null(""))
    return found


def _key(name: str, *, first: bool) -> str:
    return ("" if first else ",") + orjson.dumps(name).decode() + ":"


def _json(values: pa.Array) -> pa.Array | str:
    """Each value of an attribute as JSON; one text where all are missing."""
    kind = values.type
    if values.null_count == len(values):
        return "null"
    if pa.types.is_string(kind):
        return _quoted(values)
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return values.cast(pa.string()).fill_null("null")
    if pa.types.is_date(kind):
        return _quoted(values.cast(pa.string()))
    if pa.types.is_floating(kind):
        return _listed(orjson.dumps(values.to_numpy(zero_copy_only=False), option=orjson.OPT_SERIALIZE_NUMPY))
    each = [orjson.dumps(value, option=orjson.OPT_UTC_Z).decode() for value in values.to_pylist()]
    return pa.array(each, pa.string())


def _listed(text: bytes) -> pa.Array:
    """The members of a JSON list of numbers."""
    data = np.frombuffer(text, np.uint8)
    commas = np.flatnonzero(data == _COMMA)
    offsets = np.concatenate([[0], commas - 1 - np.arange(len(commas)), [len(text) - 2 - len(commas)]])
    values = text[1:-1].replace(b",", b"")
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(values))


def _quoted(values: pa.Array) -> pa.Array:
    """Texts as JSON strings; missing ones as null."""
    joined = np.frombuffer(_values(values), np.uint8)
    if ((joined < 0x20) | (joined == 0x22) | (joined == 0x5C)).any():  # rare: quotes, backslashes, control characters
        return pa.array([orjson.dumps(value).decode() for value in values.to_pylist()], pa.string())
    quoted = pc.binary_join_element_wise(pa.scalar('"'), values, pa.scalar('"'), "")
    return quoted.fill_null("null") if values.null_count else quoted


class _Way(NamedTuple):
    """From the city's CRS to that of the answer."""

    city_crs: str
    target: str
    anomaly: vertical.Anomaly | None


def _geometries(items: Items, way: _Way) -> pa.Array | str:
    """Each geometry as GeoJSON in `target`, in its axis order on the wire; null where there is none."""
    n = len(items)
    if not items.blobs.data:
        return "null"
    paths = wkb_paths.parse_3d(items.blobs)
    types = np.zeros(n, np.int64) if paths.types is None else paths.types.astype(np.int64)
    n_paths = np.bincount(paths.rows, minlength=n)
    types -= _MULTI * ((types > _MULTI) & items.is_single & (_n_parts(paths, n) <= 1))
    texts = _texts(paths, types, n_paths, _coordinates(paths, way))
    rare = np.flatnonzero((n_paths == 0) & (items.blobs.sizes > 0))
    missing = np.flatnonzero((n_paths == 0) & (items.blobs.sizes == 0))
    if len(rare) or len(missing):
        filled = np.array(texts.to_pylist(), object)
        filled[missing] = "null"
        filled[rare] = _by_geos(items, rare, way)
        texts = pa.array(filled, pa.string())
    return texts


def _n_parts(paths: Paths, n: int) -> IntArray:
    return np.bincount(paths.rows[paths.is_outer], minlength=n)


def _by_geos(items: Items, rows: IntArray, way: _Way) -> list[str]:
    """Empty geometries, collections, curves and those with very many parts."""
    shapes = geometry_blob.decode(items.blobs.each(rows.tolist()))
    shapes = geometry_kind.demoted(shapes, items.is_single[rows])
    return [text or "null" for text in geojson.texts(shapes, *way).tolist()]


def _coordinates(paths: Paths, way: _Way) -> tuple[bytearray, IntArray]:
    """All positions as JSON text, and where that of each path begins and the last one ends."""
    east, north = crs.transform(way.city_crs, way.target, paths.xy[:, 0], paths.xy[:, 1])
    decimals = 9 if crs.is_geographic(way.target) else 4
    axes = [north, east] if crs.is_north_first(way.target) else [east, north]
    has_z = paths.z is not None and bool(np.isfinite(paths.z).any())
    xyz = np.empty((len(paths.xy), 3 if has_z else 2))
    for at, axis in enumerate(axes):
        np.round(axis, decimals, out=xyz[:, at])
    if not np.isfinite(xyz[:, :2]).all():
        raise InvalidInput("A coordinate cannot be expressed in the CRS asked for.", "Ask for another crs.")
    if has_z and paths.z is not None:
        xyz[:, 2] = np.round(paths.z if way.anomaly is None else paths.z + way.anomaly(east, north), 4)
    text = orjson.dumps(xyz, option=orjson.OPT_SERIALIZE_NUMPY)
    if has_z and np.isnan(xyz[:, 2]).any():
        text = text.replace(b",null]", b"]")
    opened = np.flatnonzero(np.frombuffer(text, np.uint8) == _OPENING)[1:]
    cuts = np.append(opened[paths.starts[:-1]], len(text))
    return bytearray(text), cuts


def _texts(paths: Paths, types: IntArray, n_paths: IntArray, written: tuple[bytearray, IntArray]) -> pa.Array:
    """Text of each feature; empty for those without paths.

    Behind each path stands a comma (behind the last one a bracket), which becomes the bracket that closes a line or a
    ring, or the brace that closes a point.
    """
    text, cuts = written
    kinds = types[paths.rows]
    is_first = np.diff(paths.rows, prepend=-1) != 0
    is_last = np.append(is_first[1:], True)
    ends_part = np.append(paths.is_outer[1:], True) | is_last
    prefix = np.where(is_first, kinds - 1, np.where(paths.is_outer, len(_HEAD) + kinds - 1, _AT_HOLE))
    closing = np.where(kinds == POINT, _BRACE, np.where((kinds == _MULTI + POINT) & ~is_last, _COMMA, _BRACKET))
    np.frombuffer(text, np.uint8)[cuts[1:] - 1] = closing
    suffix = np.zeros(len(kinds), np.int64)
    suffix[is_last & ((kinds == LINE) | (kinds == _MULTI + POINT))] = 2
    suffix[is_last & ((kinds == RING) | (kinds == _MULTI + LINE))] = 3
    suffix[(kinds == _MULTI + RING) & ends_part] = 1
    suffix[is_last & (kinds == _MULTI + RING)] = 4
    bodies = pa.StringArray.from_buffers(
        len(kinds),
        pa.py_buffer(np.append(cuts[0] if len(cuts) > 1 else 0, cuts[1:]).astype(np.int32)),
        pa.py_buffer(text),
    )
    whole = pc.binary_join_element_wise(_PREFIXES.take(pa.array(prefix)), bodies, _SUFFIXES.take(pa.array(suffix)), "")
    _, offsets, data = whole.buffers()
    begins = np.concatenate([[0], np.cumsum(n_paths)])
    per_feature = (
        np.frombuffer(offsets, np.int32)[begins + whole.offset] if len(kinds) else np.zeros(len(begins), np.int32)
    )
    return pa.StringArray.from_buffers(len(n_paths), pa.py_buffer(per_feature), data or pa.py_buffer(b""))
