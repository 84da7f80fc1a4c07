"""Terrain model, surface model and two epochs of true orthophoto."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.features
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.transform import from_origin
from scipy.ndimage import gaussian_filter
from shapely.affinity import translate

from sample_data.maker import roofs, site, terrain
from sample_data.maker.layout import KERB_M
from sample_data.maker.town import Town

DEM_CELL_M = 2.0
NODATA = -9999.0
HOLE = (597560.0, 3110640.0, 597640.0, 3110700.0)  # e0, n0, e1, n1: no data here (steep slope without a return)
SEA_LEVEL_M = 0.0


def centres(cell: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cell-centre eastings (1, w) and northings (h, 1), north at the top."""
    e = np.arange(site.E_MIN + cell / 2, site.E_MAX, cell)
    n = np.arange(site.N_MAX - cell / 2, site.N_MIN, -cell)
    return e[None, :], n[:, None]


def write_terrain(town: Town, folder: Path) -> None:
    """dem.tif and dsm.tif, 2 m cells, centimetre steps."""
    e, n = centres(DEM_CELL_M)
    ground = terrain.ground_elev_m(e, n)
    surface = _surface(town, ground, e, n)
    hole = (e > HOLE[0]) & (e < HOLE[2]) & (n > HOLE[1]) & (n < HOLE[3])
    for name, height, title in (("dem", ground, "数字高程模型"), ("dsm", surface, "数字表面模型")):
        z = np.where(hole, NODATA, np.round(height, 2)).astype(np.float32)
        _write_float(folder / f"{name}.tif", z, DEM_CELL_M, title)


def _write_float(path: Path, z: NDArray[np.float32], cell: float, title: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "dtype": "float32",
        "count": 1,
        "height": z.shape[0],
        "width": z.shape[1],
        "crs": site.CRS,
        "nodata": NODATA,
        "transform": from_origin(site.E_MIN, site.N_MAX, cell, cell),
        "compress": "DEFLATE",
        "zlevel": 9,
        "predictor": 3,
        "tiled": True,
    }
    with rasterio.open(path, "w", **profile) as out:
        out.write(z, 1)
        out.update_tags(
            TITLE=title, VERTICAL_DATUM="1985国家高程基准", VERTICAL_CRS=site.VERTICAL_CRS, UNIT="m", EPOCH="2026-04"
        )
        out.set_band_unit(1, "m")


def _surface(
    town: Town, ground: NDArray[np.float64], e: NDArray[np.float64], n: NDArray[np.float64]
) -> NDArray[np.float64]:
    surface = ground.copy()
    transform = from_origin(site.E_MIN, site.N_MAX, DEM_CELL_M, DEM_CELL_M)
    wet = rasterio.features.rasterize([(town.plan.reservoir, 1)], surface.shape, transform=transform) == 1
    surface[wet] = np.maximum(surface[wet], site.RESERVOIR_NORMAL_LEVEL_M)
    coast = (
        rasterio.features.rasterize([(town.plan.sea, 1), (town.plan.river, 1)], surface.shape, transform=transform) == 1
    )
    surface[coast] = np.maximum(surface[coast], SEA_LEVEL_M)
    _raise_trees(town, surface)
    numbers = rasterio.features.rasterize(
        [(b.shape, k + 1) for k, b in enumerate(town.buildings)], surface.shape, transform=transform, dtype="int32"
    )
    for k, b in enumerate(town.buildings):
        row, col = _window(b.shape.bounds)
        r, c = np.nonzero(numbers[row, col] == k + 1)
        r, c = r + row.start, c + col.start
        surface[r, c] = roofs.roof_elev_m(b, e[0, c], n[r, 0])
    return surface


def _window(bounds: tuple[float, float, float, float]) -> tuple[slice, slice]:
    c0, c1 = (int((bounds[k] - site.E_MIN) // DEM_CELL_M) for k in (0, 2))
    r0, r1 = (int((site.N_MAX - bounds[k]) // DEM_CELL_M) for k in (3, 1))
    return slice(max(r0, 0), r1 + 1), slice(max(c0, 0), c1 + 1)


def _raise_trees(town: Town, surface: NDArray[np.float64]) -> None:
    """Each crown as a cone-like cap on the cells within its radius."""
    t = town.trees
    base = terrain.ground_elev_m(t.e, t.n)
    for de in range(-2, 3):
        for dn in range(-2, 3):
            c = ((t.e - site.E_MIN) // DEM_CELL_M).astype(int) + de
            r = ((site.N_MAX - t.n) // DEM_CELL_M).astype(int) + dn
            away = np.hypot(de, dn) * DEM_CELL_M
            ok = (away <= t.crown_m) & (c >= 0) & (r >= 0) & (c < surface.shape[1]) & (r < surface.shape[0])
            top = base + t.height_m * (1 - 0.4 * away / np.maximum(t.crown_m, 0.1))
            np.maximum.at(surface, (r[ok], c[ok]), top[ok])


def write_orthophotos(town: Town, folder: Path) -> None:
    """dom_2024.tif and dom_2026.tif, 1 m, YCbCr JPEG in TIFF; 2024 lacks what was built later and the open sites."""
    rng = np.random.default_rng([town.seed, 4])
    texture = gaussian_filter(rng.normal(0, 1, (500, 500)), 1.2, mode="wrap") * 10
    texture = np.asarray(Image.fromarray(texture.astype(np.float32)).resize((2000, 2000), Image.Resampling.BILINEAR))
    shade = _shade()
    for year in (2024, 2026):
        painted = np.asarray(_paint(town, year), np.float32)
        picture = painted * shade[..., None] + texture[..., None] * (1.0 if year == 2026 else 0.8)
        _write_jpeg(folder / f"dom_{year}.tif", np.clip(picture, 0, 255).astype(np.uint8), year)


def _shade() -> NDArray[np.float32]:
    e, n = centres(4.0)
    z = terrain.ground_elev_m(e, n)
    dn, de = np.gradient(z, 4.0)
    light = np.clip(0.92 + 0.5 * (-de - dn) / np.sqrt(1 + de**2 + dn**2), 0.45, 1.2).astype(np.float32)
    return np.asarray(Image.fromarray(light).resize((2000, 2000), Image.Resampling.BILINEAR))


COLOURS = {
    "housing": (168, 166, 150),
    "commerce": (178, 172, 162),
    "industry": (160, 156, 150),
    "village": (150, 158, 118),
    "public": (176, 172, 158),
    "office": (176, 172, 162),
    "hospital": (180, 176, 168),
    "plaza": (190, 182, 168),
    "park": (88, 130, 66),
    "pit": (170, 166, 152),
    "field": (136, 156, 82),
}
ROOFS = {"flat": (196, 194, 190), "gabled": (164, 84, 66), "hipped": (150, 72, 62)}


def _paint(town: Town, year: int) -> Image.Image:
    image = Image.new("RGB", (2000, 2000), (96, 118, 70))
    pen = _Pen(ImageDraw.Draw(image))
    e, n = centres(1.0)
    _woods(image, e, n)
    for block in town.plan.blocks:
        pen.fill(block.shape, COLOURS[block.kind])
        if block.kind == "field":
            _furrows(pen, block.shape)
    for edge in sorted(town.plan.edges, key=lambda x: x.width_m):
        pen.fill(edge.line.buffer(KERB_M - 5, cap_style="square"), (150, 148, 140))
    for edge in town.plan.edges:
        pen.fill(edge.line.buffer(edge.width_m / 2, cap_style="square"), (98, 98, 100))
    for edge in town.plan.edges:
        if edge.road_class != "支路":
            _markings(pen, edge.line)
    pen.fill(town.plan.dam_road.buffer(3), (140, 136, 124))
    pen.fill(town.plan.sea, (52, 92, 122))
    pen.fill(town.plan.sea.boundary.intersection(town.plan.shore.buffer(1)).buffer(5), (176, 172, 160))
    pen.fill(town.plan.river, (74, 108, 112))
    pen.fill(town.plan.reservoir, (48, 96, 110))
    for edge in town.plan.edges:
        if edge.bridge:
            pen.fill(
                edge.line.buffer(edge.width_m / 2, cap_style="flat").intersection(town.plan.river_zone(12.0)),
                (134, 134, 134),
            )
    pen.fill(shapely.Polygon(site.PLOTS["dam"].corners()).buffer(2), (186, 182, 172))
    for pit in site.PITS.values():
        shape = shapely.Polygon(pit.corners())
        pen.fill(
            shape.buffer(9, join_style="mitre") if year == 2026 else shape.buffer(4),
            (164, 128, 92) if year == 2026 else (120, 140, 84),
        )
        if year == 2026:
            pen.fill(shape, (112, 84, 60))
    _buildings(pen, town, year)
    for name in ("office", "school", "sluice"):  # the buildings that have models
        plot = shapely.Polygon(site.PLOTS[name].corners())
        pen.fill(plot.buffer(-6 if name != "sluice" else -9, join_style="mitre"), (172, 178, 186))
    _trees(pen, town)
    return image


class _Pen:
    """Fills map polygons on a 1 m picture."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self.draw = draw

    def fill(self, shape: Any, colour: tuple[int, int, int]) -> None:
        for part in shapely.get_parts(shape):
            if part.geom_type == "Polygon":
                self.draw.polygon([(x - site.E_MIN, site.N_MAX - y) for x, y in part.exterior.coords], fill=colour)

    def dot(self, e: float, n: float, r: float, colour: tuple[int, int, int]) -> None:
        x, y = e - site.E_MIN, site.N_MAX - n
        self.draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _markings(pen: _Pen, line: shapely.LineString) -> None:
    """Centre line in dashes, short of the crossings."""
    for start in np.arange(20.0, line.length - 24.0, 12.0):
        dash = shapely.LineString([line.interpolate(start), line.interpolate(start + 6.0)])
        pen.fill(dash.buffer(0.7, cap_style="flat"), (188, 186, 176))


def _woods(image: Image.Image, e: NDArray[np.float64], n: NDArray[np.float64]) -> None:
    high = terrain.ground_elev_m(e, n) > 18
    pixels = np.array(image)
    pixels[high] = (62, 92, 52)
    image.paste(Image.fromarray(pixels))


def _furrows(pen: _Pen, shape: Any) -> None:
    """Stripes of two crops."""
    x0, y0, x1, y1 = shape.bounds
    for k, x in enumerate(np.arange(x0, x1, 22.0)):
        strip = shapely.box(x, y0, x + 21, y1).intersection(shape)
        pen.fill(strip, [(142, 158, 78), (118, 148, 74), (166, 162, 96)][(k + int(x0)) % 3])


def _buildings(pen: _Pen, town: Town, year: int) -> None:
    present = [b for b in town.buildings if b.year <= year]
    for b in present:
        shift = 0.35 * b.height_m
        shadow = shapely.union_all([translate(b.shape, -k * shift, k * shift * 0.6) for k in (0.34, 0.67, 1.0)])
        pen.fill(shadow, (70, 76, 72))
    for b in present:
        roof = ROOFS[b.roof] if b.use != "工业" else (112, 140, 172)
        tint = (int(b.id[1:]) * 37 % 25) - 12
        pen.fill(b.shape, (roof[0] + tint, roof[1] + tint, roof[2] + tint))
        for hole in b.shape.interiors:
            pen.fill(shapely.Polygon(hole), (120, 150, 92))
        if b.roof != "flat" and b.size[0]:
            half = b.shape.intersection(translate(b.shape, 3.0, 4.0))
            pen.fill(half, (roof[0] - 22, roof[1] - 16, roof[2] - 14))


def _trees(pen: _Pen, town: Town) -> None:
    t = town.trees
    for e, n, r, kind in zip(t.e, t.n, t.crown_m, t.kind, strict=True):
        pen.dot(e, n, float(r), (58 + 5 * int(kind), 98 + 4 * int(kind), 48))


def _write_jpeg(path: Path, picture: NDArray[np.uint8], year: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 3,
        "height": 2000,
        "width": 2000,
        "crs": site.CRS,
        "transform": from_origin(site.E_MIN, site.N_MAX, 1.0, 1.0),
        "compress": "JPEG",
        "photometric": "YCBCR",
        "jpeg_quality": 72,
        "tiled": True,
        "blockxsize": 512,
        "blockysize": 512,
    }
    with rasterio.open(path, "w", **profile) as out:
        out.write(np.moveaxis(picture, -1, 0))
        out.update_tags(TITLE="数字正射影像", EPOCH=f"{year}-04", GSD_M="1.0")
