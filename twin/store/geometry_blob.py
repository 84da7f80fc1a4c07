"""GeoPackage geometry blobs in bulk: header, envelope, ISO WKB.

Spec: OGC 12-128r18, 2.1.3.1.1 "BLOB Format". Written: version 0, little-endian, an XY envelope (XYZ where the geometry
has z), none for empty geometries. Read: every header of the spec.
"""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from layers.errors import InvalidInput

_HEADS = {
    False: np.dtype([("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs_id", "<i4"), ("envelope", "<f8", 4)]),
    True: np.dtype([("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srs_id", "<i4"), ("envelope", "<f8", 6)]),
}
_LITTLE, _XY, _XYZ, _EMPTY, _EXTENDED = 0x01, 0x02, 0x04, 0x10, 0x20
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)


@dataclass(frozen=True)
class EncodedGeometries:
    """Blobs ready to be stored. `boxes` is (n, 4) min x, min y, max x, max y; NaN where there is nothing to index."""

    blobs: list[bytes | None]
    boxes: NDArray[np.float64]
    z_bounds: NDArray[np.float64]


def encode(geometries: NDArray[np.object_], srs_id: int) -> EncodedGeometries:
    """(n,) geometries or None -> n blobs or None, their boxes (n, 4) and heights (n, 2), NaN where there are none.

    Raises InvalidInput where a coordinate is not finite: such a geometry could never be found again.
    """
    boxes = np.asarray(shapely.bounds(geometries), np.float64).reshape(-1, 4)
    has_z = shapely.has_z(geometries)
    z_bounds = _z_bounds(geometries, has_z)
    present = ~shapely.is_missing(geometries) & ~shapely.is_empty(geometries)
    bad = np.flatnonzero(present & ~np.isfinite(boxes).all(axis=1))
    if bad.size:
        raise InvalidInput(f"Geometry {bad[0]} has coordinates that are not finite.", "Reject it before storing.")
    heads = _heads(boxes, z_bounds, has_z, srs_id)
    empty_head = _empty_head(srs_id)
    wkb = shapely.to_wkb(geometries, byte_order=1, flavor="iso")
    blobs = [
        None if body is None else (head if ok else empty_head) + body
        for head, body, ok in zip(heads, wkb.tolist(), present.tolist(), strict=True)
    ]
    return EncodedGeometries(blobs, boxes, z_bounds)


def _z_bounds(geometries: NDArray[np.object_], has_z: NDArray[np.bool_]) -> NDArray[np.float64]:
    found = np.full((len(geometries), 2), np.nan)
    chosen = np.flatnonzero(has_z)
    if chosen.size:
        coordinates, owner = shapely.get_coordinates(geometries[chosen], include_z=True, return_index=True)
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        rows = chosen[owner[starts]]
        found[rows, 0] = np.fmin.reduceat(coordinates[:, 2], starts)
        found[rows, 1] = np.fmax.reduceat(coordinates[:, 2], starts)
    return found


def _heads(
    boxes: NDArray[np.float64], z_bounds: NDArray[np.float64], has_z: NDArray[np.bool_], srs_id: int
) -> list[bytes]:
    out: list[bytes] = [b""] * len(boxes)
    with_z = has_z & np.isfinite(z_bounds).all(axis=1)
    for is_3d, chosen in ((False, np.flatnonzero(~with_z)), (True, np.flatnonzero(with_z))):
        dtype = _HEADS[is_3d]
        head = np.zeros(len(chosen), dtype)
        head["magic"], head["flags"], head["srs_id"] = b"GP", _LITTLE | (_XYZ if is_3d else _XY), srs_id
        head["envelope"][:, :4] = boxes[chosen][:, [0, 2, 1, 3]]
        if is_3d:
            head["envelope"][:, 4:] = z_bounds[chosen]
        data = head.tobytes()
        for at, row in enumerate(chosen.tolist()):
            out[row] = data[at * dtype.itemsize : (at + 1) * dtype.itemsize]
    return out


def _empty_head(srs_id: int) -> bytes:
    return b"GP\0" + bytes([_LITTLE | _EMPTY]) + int(srs_id).to_bytes(4, "little", signed=True)


def decode(blobs: list[bytes | None]) -> NDArray[np.object_]:
    """N blobs or None -> (n,) geometries or None. Raises InvalidInput for a blob that is none."""
    bodies = np.empty(len(blobs), dtype=object)
    bodies[:] = [None if blob is None else blob[_body_at(blob) :] for blob in blobs]
    try:
        return np.asarray(shapely.from_wkb(bodies), dtype=object)
    except shapely.errors.ShapelyError as error:
        raise InvalidInput(f"A stored geometry cannot be read: {error}.", "Was the file edited by hand?") from error


def decode_one(blob: bytes) -> shapely.Geometry:
    """One blob as a geometry."""
    return shapely.from_wkb(blob[_body_at(blob) :])


def _body_at(blob: bytes) -> int:
    if len(blob) < 8 or blob[:2] != b"GP" or blob[3] & _EXTENDED or (blob[3] >> 1 & 7) > 4:
        raise InvalidInput("A stored geometry is no GeoPackage geometry.", "Was the file edited by hand?")
    return 8 + _ENVELOPE_BYTES[blob[3] >> 1 & 7]


def envelopes(heads: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """First 56 bytes of n blobs or more -> boxes (n, 4), heights (n, 2), NaN where nothing is; and who is not told.

    The last is True for geometries whose header says too little (other programs write points without an envelope).
    """
    boxes, heights = np.full((len(heads), 4), np.nan), np.full((len(heads), 2), np.nan)
    data = np.frombuffer(b"".join(head[:56].ljust(56, b"\0") for head in heads), np.uint8).reshape(-1, 56)
    codes, is_little = data[:, 3] >> 1 & 7, data[:, 3] & _LITTLE > 0
    for order, in_order in (("<f8", is_little), (">f8", ~is_little)):
        chosen = np.flatnonzero(in_order & (codes > 0))
        numbers = np.ascontiguousarray(data[chosen, 8:]).view(order)
        boxes[chosen] = numbers[:, [0, 2, 1, 3]]
        has_z = np.isin(codes[chosen], (2, 4))
        heights[chosen[has_z]] = numbers[has_z, 4:]
    wkb = np.ascontiguousarray(data[:, 41:45])
    kind = np.where(data[:, 40] == 1, wkb.view("<u4")[:, 0], wkb.view(">u4")[:, 0])
    flat = (codes == 1) & (kind < 1000)  # above: z or m, whose ranges the header does not tell
    told = flat | np.isin(codes, (2, 4)) | (data[:, 3] & _EMPTY > 0)
    return boxes, heights, ~told


def measured(blobs: list[bytes | None]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Boxes (n, 4) and heights (n, 2) of whole geometries."""
    shapes = decode(blobs)
    return np.asarray(shapely.bounds(shapes), np.float64).reshape(-1, 4), _z_bounds(shapes, shapely.has_z(shapes))
