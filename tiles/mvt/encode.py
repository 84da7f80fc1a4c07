"""Paths on the tile's integer grid and their attributes -> one layer of a Mapbox Vector Tile 2.1. Pure.

Spec: https://github.com/mapbox/vector-tile-spec/tree/master/2.1. A feature is a sequence of varints from its first
byte to its last, lengths included, so that all features are laid out as one array of numbers and encoded at once.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tiles.mvt import varint
from tiles.mvt.values import Tags, tags
from twin.store.wkb_paths import LINE, POINT, RING, Paths

IntArray = NDArray[np.int64]
Numbers = NDArray[np.uint64] | NDArray[np.uint32]

EXTENT = 4096
_HEAD, _MIDDLE = 6, 4
"""Numbers before the tags of a feature, and between its tags and its geometry."""


def layer(name: str, paths: Paths, fids: IntArray, columns: pa.Table, constants: dict[str, str]) -> bytes:
    """A `Tile.layers` entry, tag and length included; empty bytes if there are no paths.

    `paths` have integer coordinates, rings are open (their first point is not repeated) and rightly turned. `fids` and
    `columns` have a row for each row number in the paths; `fids` become the numeric feature ids. A feature that has
    paths of several kinds is written once for each kind.
    """
    if not len(paths.rows):
        return b""
    tagged = tags(columns, constants)
    kinds = [kind for kind in (POINT, LINE, RING) if (paths.kinds == kind).any()]
    features = [_features(_of_kind(paths, kind), kind, fids, tagged) for kind in kinds]
    body = b"".join([
        b"\x78\x02", _text(1, name), *features, *(_text(3, key) for key in tagged.keys), tagged.values,
        b"\x28" + varint.one(EXTENT),
    ])  # fmt: skip
    return b"\x1a" + varint.one(len(body)) + body


def first_of_rows(paths: Paths) -> IntArray:
    """The first path of each row that has any."""
    return np.flatnonzero(np.diff(paths.rows, prepend=-1))


def _text(number: int, text: str) -> bytes:
    data = text.encode()
    return bytes([number << 3 | 2]) + varint.one(len(data)) + data


def _of_kind(paths: Paths, kind: int) -> Paths:
    chosen = paths.kinds == kind
    return paths if chosen.all() else taken(paths, np.flatnonzero(chosen))


def taken(paths: Paths, chosen: IntArray) -> Paths:
    """Some of the paths, in the order given."""
    counts = np.diff(paths.starts)[chosen]
    starts = np.zeros(len(chosen) + 1, np.int64)
    np.cumsum(counts, out=starts[1:])
    at = np.arange(int(starts[-1])) + np.repeat(paths.starts[:-1][chosen] - starts[:-1], counts)
    # take along the axis: twelve times faster than an index here, for it moves whole points
    return Paths(paths.xy.take(at, axis=0), starts, paths.rows[chosen], paths.kinds[chosen], paths.is_outer[chosen])


def _features(paths: Paths, kind: int, fids: IntArray, tagged: Tags) -> bytes:
    geometry, n_geometry, rows = (_points if kind == POINT else _lines)(paths, kind)
    n_tags = tagged.counts[rows]
    n_numbers = _HEAD + n_tags + _MIDDLE + n_geometry
    ends = np.cumsum(n_numbers)
    at = ends - n_numbers
    middle, body = at + _HEAD + n_tags, at + _HEAD + n_tags + _MIDDLE
    # half as wide is twice as fast; every other number of a feature is far below 2^32
    is_narrow = int(fids.max()) < 2**32 and int(fids.min()) >= 0
    numbers: Numbers = np.empty(int(ends[-1]), np.uint32) if is_narrow else np.empty(int(ends[-1]), np.uint64)
    numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3] = 0x12, 0, 0x08, fids[rows]
    numbers[at + 4], numbers[at + 5] = 0x12, 0
    if len(rows) == len(tagged.counts):  # every row has a feature of this kind, in order
        numbers[_runs(at + _HEAD, n_tags)] = tagged.numbers
    else:
        first_tag = np.cumsum(tagged.counts) - tagged.counts
        numbers[_runs(at + _HEAD, n_tags)] = tagged.numbers[_runs(first_tag[rows], n_tags)]
    numbers[middle], numbers[middle + 1], numbers[middle + 2], numbers[middle + 3] = 0x18, kind, 0x22, 0
    numbers[_runs(body, n_geometry)] = geometry
    return _with_lengths(numbers, at, middle, ends).tobytes()


def _with_lengths(numbers: Numbers, at: IntArray, middle: IntArray, ends: IntArray) -> NDArray[np.uint8]:
    """Fill in the lengths of tags, geometry and feature, which depend on the bytes of what they hold."""
    n_bytes = varint.sizes(numbers)
    before = np.zeros(len(numbers) + 1, np.int64)
    before[1:] = varint.running(n_bytes)
    tag_bytes = before[middle] - before[at + _HEAD]
    geometry_bytes = before[ends] - before[middle + _MIDDLE]
    for place, length in ((at + 5, tag_bytes), (middle + 3, geometry_bytes)):
        numbers[place] = length
        n_bytes[place] = varint.sizes(numbers[place])
    # everything behind the feature's own length: six one-byte field tags and kinds, the id, two lengths, tags, geometry
    whole = tag_bytes + geometry_bytes + 5 + n_bytes[at + 3] + n_bytes[at + 5] + n_bytes[middle + 3]
    numbers[at + 1] = whole
    n_bytes[at + 1] = varint.sizes(numbers[at + 1])
    return varint.encoded(numbers, n_bytes)


def _runs(starts: IntArray, counts: IntArray) -> IntArray:
    ends = np.cumsum(counts)
    return np.arange(int(ends[-1])) + np.repeat(starts - (ends - counts), counts)


def _points(paths: Paths, _: int) -> tuple[Numbers, IntArray, IntArray]:
    """Commands of points, how many numbers each feature has, and its row; one MoveTo for all points of a feature."""
    xy = paths.xy.astype(np.int32)
    first = first_of_rows(paths)
    rows, counts = paths.rows[first], np.diff(first, append=len(xy))
    starts = np.cumsum(1 + 2 * counts) - (1 + 2 * counts)
    numbers = np.empty(len(rows) + 2 * len(xy), np.uint32)
    numbers[starts] = counts << 3 | 1
    at = _runs(starts + 1, 2 * counts)
    numbers[at] = varint.zigzag(_steps(xy, first)).reshape(-1)
    return numbers, 1 + 2 * counts, rows


def _lines(paths: Paths, kind: int) -> tuple[Numbers, IntArray, IntArray]:
    """Commands of lines or rings, how many numbers each feature has, and its row."""
    xy, counts, closes = paths.xy.astype(np.int32), np.diff(paths.starts), int(kind == RING)
    n_numbers = 2 * counts + 2 + closes
    ends = np.cumsum(n_numbers)
    at = ends - n_numbers
    first_path = first_of_rows(paths)
    rows = paths.rows[first_path]
    steps = varint.zigzag(_steps(xy, paths.starts[first_path]))
    numbers = np.empty(int(ends[-1]), np.uint32)
    numbers[at] = 1 << 3 | 1
    numbers[at + 3] = (counts - 1) << 3 | 2
    if closes:
        numbers[ends - 1] = 1 << 3 | 7
    # a point's two numbers stand one behind its path's MoveTo, those of all but the first behind LineTo as well
    place = np.repeat(at - 2 * paths.starts[:-1] + 2, counts) + 2 * np.arange(len(xy))
    place[paths.starts[:-1]] -= 1
    numbers[place], numbers[place + 1] = steps[:, 0], steps[:, 1]
    return numbers, np.add.reduceat(n_numbers, first_path), rows


def _steps(xy: NDArray[np.int32], first: IntArray) -> NDArray[np.int32]:
    """Differences to the point before; the cursor starts at 0, 0 with each feature."""
    steps = xy.copy()
    steps[1:] -= xy[:-1]
    steps[first] = xy[first]
    return steps
