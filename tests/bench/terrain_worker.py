"""Makes terrain tiles of one raster as fast as it can, as a process of its own; prints what it measured as JSON.

Arguments: raster, cache folder, `ours` or `peer`, threads, which part of how many (`0/2`), `deep` or `spread`.
"""

import io
import json
import resource
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from layers.frame import CityFrame
from layers.heights import Egm96
from tiles.terrain import TerrainTiles
from twin import raster_blocks
from twin.terrain import Terrain, TerrainRaster

CRS = "EPSG:4549"


class Store:
    """Nothing but a name for what is kept."""

    def assets(self, *_, **__):
        return []


def tiles_of(path, cache):
    frame = CityFrame(CRS, Egm96(), 121.0, 28.1)
    config = SimpleNamespace(name="bench", title_in=lambda _: "bench")
    terrain = Terrain([TerrainRaster(path, CRS)], CRS, cache)
    return TerrainTiles(SimpleNamespace(store=Store(), terrain=terrain, frame=frame, config=config, folder=path.parent))


def addresses(made, which):
    """`deep`: 1,024 neighbours of the last level, in the middle; `spread`: 30 of every level, anywhere."""
    if which == "deep":
        z = made.max_zoom
        ((x0, y0, x1, y1),) = made.available.levels[z]
        x, y = (x0 + x1) // 2 - 16, (y0 + y1) // 2 - 16
        return [(z, x + i % 32, y + i // 32) for i in range(1024)]
    draw, found = np.random.default_rng(7), []
    for z in range(made.max_zoom + 1):
        ((x0, y0, x1, y1),) = made.available.levels[z]
        every = min(30, (x1 - x0 + 1) * (y1 - y0 + 1))
        found += [(z, int(draw.integers(x0, x1 + 1)), int(draw.integers(y0, y1 + 1))) for _ in range(every)]
    return found


def peer_of(path, error_m):
    """A tile as one writes it with the packages: 65 x 65 heights, Delatin, quantized-mesh-encoder."""
    import pyproj
    import rasterio
    from egm96 import undulation
    from pydelatin import Delatin
    from pydelatin.util import rescale_positions
    from quantized_mesh_encoder import encode
    from rasterio.windows import Window
    from scipy import ndimage

    dataset = rasterio.open(path)
    project = pyproj.Transformer.from_crs("EPSG:4326", CRS, always_xy=True)

    def tile(z, x, y):
        side = 180 / 2**z
        box = (x * side - 180, y * side - 90, (x + 1) * side - 180, (y + 1) * side - 90)
        lon, lat = np.meshgrid(np.linspace(box[0], box[2], 65), np.linspace(box[3], box[1], 65))
        column, row = ~dataset.transform @ project.transform(lon, lat)
        left, top = int(column.min()) - 1, int(row.min()) - 1
        window = Window(left, top, int(column.max()) + 2 - left, int(row.max()) + 2 - top)
        values = dataset.read(1, window=window, boundless=False)
        heights = ndimage.map_coordinates(values, [row - 0.5 - top, column - 0.5 - left], order=1) + undulation(
            lat, lon
        )
        mesh = Delatin(heights.astype(np.float32), max_error=error_m)
        out = io.BytesIO()
        vertices = rescale_positions(mesh.vertices, box)
        encode(out, vertices, mesh.triangles.astype(np.uint32), bounds=box, sphere_method="bounding_box")
        return out.getvalue()

    return tile


def main():
    path, cache, who, threads, part, which = sys.argv[1:]
    made = tiles_of(Path(path), Path(cache))
    started = time.perf_counter()
    made.tile(0, 1, 0)
    prepared_s = time.perf_counter() - started
    first, of = (int(number) for number in part.split("/"))
    wanted = addresses(made, which)
    wanted = wanted[first * len(wanted) // of : (first + 1) * len(wanted) // of]
    make = made.tile if who == "ours" else peer_of(Path(path), made.error_m(made.max_zoom))
    make(*wanted[0])
    most, sizes, triangles = 0, [], []
    if who == "ours" and threads == "1":
        reads = []
        read = raster_blocks.Level._read
        raster_blocks.Level._read = lambda self, i, j: reads.append((i, j)) or read(self, i, j)
    begun, begun_cpu = time.perf_counter(), time.process_time()
    if threads == "1":
        for address in wanted:
            if who == "ours":
                before = len(reads)
            data = make(*address)
            if who == "ours":
                most = max(most, len(reads) - before)
            sizes.append(len(data))
            (vertices,) = struct.unpack_from("<I", data, 88)
            triangles.append(struct.unpack_from("<I", data, 92 + 6 * vertices)[0])
    else:
        with ThreadPoolExecutor(int(threads)) as pool:
            sizes = list(pool.map(lambda address: len(make(*address)), wanted))
    seconds, cpu_ms = time.perf_counter() - begun, 1e3 * (time.process_time() - begun_cpu) / len(wanted)
    said = {"seconds": seconds, "cpu_ms": cpu_ms, "tiles": len(wanted), "prepared_s": prepared_s, "blocks": most}
    said |= {"bytes": float(np.mean(sizes)), "triangles": float(np.mean(triangles)) if triangles else None}
    said["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(said))  # noqa: T201


if __name__ == "__main__":
    main()
