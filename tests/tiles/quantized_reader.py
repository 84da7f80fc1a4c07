"""A reader of quantized-mesh 1.0, written from its specification, one value after the other."""

import struct

import numpy as np
import pyproj
from egm96 import undulation
from scipy import ndimage


def decode(data):
    """Header, places, heights as `low + h / 32767 * (high - low)`, triangles, edges (W, S, E, N), extensions."""
    at = 88
    header = struct.unpack_from("<3d2f4d3d", data)
    (count,) = struct.unpack_from("<I", data, at)
    coded = np.frombuffer(data, "<u2", 3 * count, at + 4).reshape(3, count).astype(int)
    u, v, h = ((coded >> 1) ^ -(coded & 1)).cumsum(axis=1)
    assert min(u.min(), v.min(), h.min()) >= 0
    assert max(u.max(), v.max(), h.max()) <= 32767
    at += 4 + 6 * count
    dtype, width = ("<u4", 4) if count > 65536 else ("<u2", 2)
    at += -at % width
    (triangles,) = struct.unpack_from("<I", data, at)
    codes = np.frombuffer(data, dtype, 3 * triangles, at + 4)
    at += 4 + 3 * triangles * width
    highest, indices = 0, []
    for code in codes.tolist():
        assert 0 <= code <= highest
        indices.append(highest - code)
        highest += code == 0
    edges = []
    for _ in range(4):
        (n,) = struct.unpack_from("<I", data, at)
        edges.append(np.frombuffer(data, dtype, n, at + 4).astype(int))
        at += 4 + n * width
    extensions = {}
    while at < len(data):
        number, length = struct.unpack_from("<BI", data, at)
        extensions[number] = data[at + 5 : at + 5 + length]
        at += 5 + length
    assert at == len(data)
    low, high = header[3], header[4]
    return {
        "header": header, "u": u, "v": v, "h": low + h / 32767 * (high - low), "edges": edges,
        "extensions": extensions, "triangles": np.array(indices).reshape(-1, 3),
    }  # fmt: skip


def bounds(z, x, y):
    side = 180 / 2**z
    return x * side - 180, y * side - 90, (x + 1) * side - 180, (y + 1) * side - 90


def places(tile, z, x, y):
    west, south, east, north = bounds(z, x, y)
    return west + (east - west) * tile["u"] / 32767, south + (north - south) * tile["v"] / 32767


def at(z, lon=121.005, lat=28.105):
    return z, int((lon + 180) * 2**z / 180), int((lat + 90) * 2**z / 180)


def on_lattice(tile):
    """(65, 65) heights of the tile's surface at its lattice points, triangle by triangle; all must be covered."""
    column, row = (np.rint(tile[name] * 64 / 32767).astype(int) for name in "uv")
    surface = np.full((65, 65), np.nan)
    for corners in tile["triangles"]:
        c, r = column[corners], row[corners]
        rows, columns = np.mgrid[r.min() : r.max() + 1, c.min() : c.max() + 1]
        system = np.array([[1, 1, 1], r, c], float)
        weights = np.linalg.solve(system, np.stack([np.ones(rows.size), rows.ravel(), columns.ravel()]))
        inside = (weights > -1e-9).all(axis=0)
        surface[rows.ravel()[inside], columns.ravel()[inside]] = weights[:, inside].T @ tile["h"][corners]
    assert not np.isnan(surface).any()
    return surface


def lattice_places(z, x, y):
    """(65, 65) longitudes and latitudes of a tile's lattice."""
    west, south, east, north = bounds(z, x, y)
    return np.meshgrid(np.linspace(west, east, 65), np.linspace(south, north, 65))


def dem_heights(values, west, north, cell, crs, lon, lat):
    """Ellipsoidal heights of a DEM array by scipy, pyproj and egm96 alone; NaN outside its outermost centres."""
    x, y = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(lon, lat)
    column, row = (np.asarray(x) - west) / cell - 0.5, (north - np.asarray(y)) / cell - 0.5
    found = ndimage.map_coordinates(values.astype(float), [row, column], order=1, mode="constant", cval=np.nan)
    return found + undulation(np.asarray(lat), np.asarray(lon))
