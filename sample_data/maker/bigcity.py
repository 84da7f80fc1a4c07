"""A big city for benchmarks: terrain, buildings and water mains, streamed block by block.

About 4000 buildings a km2 on the town's street grid; the area grows with the number. Memory does not: tables are Arrow
batches written as they are made, the DEM is written in strips. Made of the same shapes and columns as the town.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.transform import from_origin
from rasterio.windows import Window

from sample_data.maker import files, site
from sample_data.maker.layout import KERB_M

Floats = NDArray[np.float64]

COLUMNS, ROWS = 11, 7  # plots in a block
PER_BLOCK = COLUMNS * ROWS
BLOCKS_PER_BATCH = 400
DEM_CELL_M = 10.0
DEM_STRIP_ROWS = 512
CITY_TOML = """\
name = "big_city"
title = {zh = "大规模测试城市", en = "Big test city"}
crs = "EPSG:4549"
vertical_crs = "EPSG:5737"
origin = [121.0, 28.1]
height_model = "egm96"
"""

# Unit outlines in [-0.5, 0.5]^2, counter-clockwise, with the share of buildings that have them.
_TURN = 2 * np.pi * np.arange(32) / 32
OUTLINES: list[tuple[float, Floats, Floats | None]] = [
    (0.70, np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]), None),
    (0.15, np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, -0.05), (-0.05, -0.05), (-0.05, 0.5), (-0.5, 0.5)]), None),
    (
        0.09,
        np.array(
            [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (0.2, 0.5), (0.2, 0.0), (-0.2, 0.0), (-0.2, 0.5), (-0.5, 0.5)]
        ),
        None,
    ),
    (
        0.04,
        np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]),
        np.array([(-0.2, -0.2), (-0.2, 0.2), (0.2, 0.2), (0.2, -0.2)]),
    ),
    (0.02, 0.5 * np.column_stack([np.cos(_TURN), np.sin(_TURN)]), None),
]
USES = np.array(["城镇住宅", "农村住宅", "商业", "办公", "工业"])
BUILDING_SCHEMA = pa.schema(
    {
        "geometry": pa.binary(),
        "建筑编号": pa.string(),
        "基底高程": pa.float64(),
        "建筑高度": pa.float64(),
        "地上层数": pa.int32(),
        "建筑面积": pa.float64(),
        "用途": pa.string(),
        "建成年份": pa.int32(),
        "重点用能": pa.bool_(),
    }
)
PIPE_SCHEMA = pa.schema(
    {
        "geometry": pa.binary(),
        "管线编号": pa.string(),
        "管线类型": pa.string(),
        "起点点号": pa.string(),
        "终点点号": pa.string(),
        "管径": pa.int32(),
        "外径": pa.int32(),
        "材质": pa.string(),
        "高程位置": pa.string(),
        "起点高程": pa.float64(),
        "终点高程": pa.float64(),
        "埋设方式": pa.string(),
        "埋设年代": pa.int32(),
        "是否监测": pa.bool_(),
    }
)


def write(out: Path, n_buildings: int, seed: int = 0) -> None:
    """Write city.toml, terrain/dem.tif, vector/buildings.gpkg and pipes/pipe_water.gpkg below `out`."""
    if n_buildings < 1:
        raise ValueError(f"The number of buildings must be positive, not {n_buildings}.")
    files.pin_dates()
    n_blocks = math.ceil(n_buildings / PER_BLOCK)
    n_columns = max(1, round(math.sqrt(n_blocks * site.BLOCK_V_M / site.BLOCK_U_M)))
    for folder in ("terrain", "vector", "pipes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    (out / "city.toml").write_text(CITY_TOML, encoding="utf-8")
    _write_dem(out / "terrain" / "dem.tif", n_columns, math.ceil(n_blocks / n_columns))
    _stream(
        out / "vector" / "buildings.gpkg",
        "building",
        "Polygon",
        BUILDING_SCHEMA,
        _buildings(n_buildings, n_columns, seed),
    )
    _stream(out / "pipes" / "pipe_water.gpkg", "pipe_water", "LineString Z", PIPE_SCHEMA, _pipes(n_blocks, n_columns))


def ground_elev_m(e: Floats, n: Floats) -> Floats:
    """Rolling ground between about 2 and 60 m; streets stay gentle."""
    x, y = (e - site.E_MIN) / 1000, (n - site.N_MIN) / 1000
    return np.asarray(
        14 + 7 * np.sin(x / 1.7) * np.cos(y / 2.1) + 12 * np.sin((x + y) / 3.3) ** 2 + 3 * np.sin(x * 2.3 + 0.5 * y),
        float,
    )


def _stream(path: Path, layer: str, geometry_type: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    path.unlink(missing_ok=True)
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    pyogrio.write_arrow(
        reader,
        path,
        layer=layer,
        driver="GPKG",
        geometry_name="geometry",
        geometry_type=geometry_type,
        crs=site.CRS,
        VERSION="1.3",
    )


def _write_dem(path: Path, n_columns: int, n_rows: int) -> None:
    """The box around the turned grid, in strips."""
    u = np.array([0, n_columns, n_columns, 0]) * site.BLOCK_U_M
    v = np.array([0, 0, n_rows, n_rows]) * site.BLOCK_V_M
    e, n = site.grid_to_map(u, v)
    west, north = np.floor(e.min() / 10) * 10 - 50, np.ceil(n.max() / 10) * 10 + 50
    width, height = int((e.max() + 50 - west) / DEM_CELL_M) + 1, int((north - n.min() + 50) / DEM_CELL_M) + 1
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": 1,
        "width": width,
        "height": height,
        "crs": site.CRS,
        "nodata": -9999.0,
        "transform": from_origin(west, north, DEM_CELL_M, DEM_CELL_M),
        "compress": "DEFLATE",
        "predictor": 3,
        "tiled": True,
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(path, "w", **profile) as dem:
        dem.update_tags(VERTICAL_CRS=site.VERTICAL_CRS, UNIT="m")
        columns = west + DEM_CELL_M * (np.arange(width) + 0.5)
        for top in range(0, height, DEM_STRIP_ROWS):
            rows = np.arange(top, min(top + DEM_STRIP_ROWS, height))
            z = ground_elev_m(columns[None, :], (north - DEM_CELL_M * (rows + 0.5))[:, None])
            dem.write(np.round(z, 2).astype(np.float32), 1, window=Window(0, top, width, len(rows)))


def _buildings(n_buildings: int, n_columns: int, seed: int) -> Iterator[pa.RecordBatch]:
    step = BLOCKS_PER_BATCH * PER_BLOCK
    for start in range(0, n_buildings, step):
        number = np.arange(start, min(start + step, n_buildings))
        yield _building_batch(number, n_columns, np.random.default_rng([seed, 20, start // step]))


def _building_batch(number: NDArray[np.int64], n_columns: int, rng: np.random.Generator) -> pa.RecordBatch:
    block, plot = np.divmod(number, PER_BLOCK)
    row, column = np.divmod(plot, COLUMNS)
    plot_u, plot_v = (site.BLOCK_U_M - 2 * KERB_M) / COLUMNS, (site.BLOCK_V_M - 2 * KERB_M) / ROWS
    u = (block % n_columns) * site.BLOCK_U_M + KERB_M + (column + 0.5) * plot_u
    v = (block // n_columns) * site.BLOCK_V_M + KERB_M + (row + 0.5) * plot_v
    e, n = site.grid_to_map(u, v)
    count = len(number)
    size = rng.uniform((6.0, 7.0), (9.4, 10.2), (count, 2))
    angle = np.radians(site.GRID_ROTATION_DEG + rng.uniform(-4, 4, count))
    shapes = _footprints(e, n, size, angle, rng)
    floors = rng.choice([1, 2, 3, 4, 6, 11, 18], count, p=[0.15, 0.25, 0.25, 0.15, 0.1, 0.07, 0.03])
    height = np.round(floors * 3.1 + rng.uniform(0.2, 1.2, count), 2)
    return pa.record_batch(
        [
            pa.array(shapely.to_wkb(shapes)),
            pa.array([f"B{k:08d}" for k in number + 1]),
            pa.array(np.round(ground_elev_m(e, n), 2)),
            pa.array(height, mask=rng.random(count) < 0.03),
            pa.array(floors.astype(np.int32)),
            pa.array(np.round(shapely.area(shapes) * floors, 1)),
            pa.array(USES[rng.integers(0, len(USES), count)].tolist()),
            pa.array(rng.integers(1980, 2027, count).astype(np.int32)),
            pa.array(rng.random(count) < 0.002),
        ],
        schema=BUILDING_SCHEMA,
    )


def _footprints(e: Floats, n: Floats, size: Floats, angle: Floats, rng: np.random.Generator) -> NDArray[np.object_]:
    """Polygons, one a building, of the kinds in OUTLINES."""
    kinds = rng.choice(len(OUTLINES), len(e), p=[share for share, _, _ in OUTLINES])
    shapes = np.empty(len(e), object)
    turn = np.stack([np.stack([np.cos(angle), np.sin(angle)], -1), np.stack([-np.sin(angle), np.cos(angle)], -1)], 1)

    def ring(unit: Floats, at: NDArray[np.int64]) -> NDArray[np.object_]:
        local = unit[None, :, :] * size[at][:, None, :]
        moved = np.einsum("nki,nij->nkj", local, turn[at]) + np.stack([e[at], n[at]], -1)[:, None, :]
        return np.asarray(shapely.linearrings(np.round(moved, 3)))

    for kind, (_, outline, hole) in enumerate(OUTLINES):
        at = np.flatnonzero(kinds == kind)
        if len(at):
            shapes[at] = shapely.polygons(ring(outline, at), holes=None if hole is None else ring(hole, at)[:, None])
    return shapes


def _pipes(n_blocks: int, n_columns: int) -> Iterator[pa.RecordBatch]:
    """The lower and the left street of every block; the network of the town's water mains."""
    for start in range(0, n_blocks, BLOCKS_PER_BATCH * 10):
        block = np.arange(start, min(start + BLOCKS_PER_BATCH * 10, n_blocks))
        i, j = block % n_columns, block // n_columns
        a = np.repeat(np.stack([i, j], -1), 2, axis=0)
        b = a + np.tile([[1, 0], [0, 1]], (len(block), 1))
        ends = []
        for node in (a, b):
            e, n = site.grid_to_map(node[:, 0] * site.BLOCK_U_M + 6.0, node[:, 1] * site.BLOCK_V_M + 6.0)
            ends.append(np.round(np.stack([e, n, ground_elev_m(e, n) - 2.3], -1), 3))
        names = [[f"JS-{i}-{j}" for i, j in node] for node in (a, b)]
        dn = np.where((a[:, 0] % 8 == 0) | (a[:, 1] % 8 == 0), 400, 200).astype(np.int32)
        count = len(a)
        yield pa.record_batch(
            [
                pa.array(shapely.to_wkb(shapely.linestrings(np.stack(ends, 1)), output_dimension=3)),
                pa.array([f"JS{2 * start + k + 1:07d}" for k in range(count)]),
                pa.array(["JS"] * count),
                pa.array(names[0]),
                pa.array(names[1]),
                pa.array(dn),
                pa.array(np.where(dn == 400, 429, 222).astype(np.int32)),
                pa.array(["球墨铸铁"] * count),
                pa.array(["管外顶"] * count),
                pa.array(ends[0][:, 2]),
                pa.array(ends[1][:, 2]),
                pa.array(["直埋"] * count),
                pa.array((1995 + a.sum(axis=1) % 30).astype(np.int32)),
                pa.array((a.sum(axis=1) % 5) != 0),
            ],
            schema=PIPE_SCHEMA,
        )
