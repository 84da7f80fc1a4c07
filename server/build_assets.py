"""Rasters, point clouds and 3D Tiles sets of a build: written as files beside the reading of features."""

import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from layers import crs
from layers.certificate import Certificate
from layers.errors import CityTwinError, InvalidInput, Unplaceable
from layers.frame import CityFrame
from layers.issue import Issue
from layers.report import LayerCount, Report
from layers.source import AssetLayer, Reading
from server.build_features import ReaderFailed, read
from server.build_folder import slug
from server.build_plan import Item, mark
from twin.config import TwinConfig
from twin.fuse.place import Placement, certify, placement
from twin.store.interface import Asset

FOLDERS = {"raster": "rasters", "points": "points", "tileset": "tilesets"}
THREADS = 2

HEIGHTS = ("dem", "dsm")
"""Rasters that features need while they are read: the ground they stand on, the roofs they reach."""


@dataclass
class Written:
    """One source's files, or why there are none."""

    item: Item
    report: Report | None = None
    assets: list[Asset] = field(default_factory=list)
    error: CityTwinError | None = None


class AssetWriter:
    """Writes in two threads: GDAL and the LAZ decoder run without the interpreter's lock."""

    def __init__(self, twin_dir: Path, config: TwinConfig, frame: CityFrame, standing: Sequence[Asset] = ()) -> None:
        self._folder, self._config, self._frame = twin_dir, config, frame
        self._taken = {asset.id: asset.source for asset in standing}
        self._ids: dict[str, str] = {}
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="asset")
        self._heights: list[Future[Written]] = []
        self._points: list[Future[Written]] = []
        self._others: list[Future[Written]] = []

    def start(self, items: Sequence[Item]) -> None:
        """Queue all sources: elevation rasters and surface models, then point clouds, then the rest."""
        for folder in FOLDERS.values():
            (self._folder / folder).mkdir(exist_ok=True)
        for item in items:
            self._ids[item.name] = self._id_of(item)
        opened = [(item, *_opened(item)) for item in items]
        for kind, queue in (("heights", self._heights), ("points", self._points), ("", self._others)):
            for item, reading, error in opened:
                if _kind(reading) == kind:
                    queue.append(self._pool.submit(self._write, item, reading, error))

    def _id_of(self, item: Item) -> str:
        """Name without suffix; with it where another source (scan.e57 beside scan.ptx) has that id already."""
        short = slug(item.name.removesuffix(item.file.path.suffix).removesuffix("/tileset"))
        found = short if self._taken.get(short, item.name) == item.name else slug(item.name)
        self._taken[found] = item.name
        return found

    def heights(self) -> list[Written]:
        """Wait for the elevation rasters and surface models."""
        return [future.result() for future in self._heights]

    def points(self) -> list[Written]:
        """Wait for the point clouds."""
        return [future.result() for future in self._points]

    def others(self) -> list[Written]:
        """Wait for everything else."""
        return [*self.points(), *(future.result() for future in self._others)]

    def stop(self) -> None:
        """Drop what has not begun and wait for the rest; files that nobody registers are swept by the next build."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _write(self, item: Item, reading: Reading | None, error: CityTwinError | None) -> Written:
        if reading is None:
            return Written(item, error=error)
        start = time.perf_counter()
        try:
            return self._written(item, reading, start)
        except CityTwinError as failed:
            return Written(item, error=failed)
        except Exception as failed:  # noqa: BLE001 whatever a writer falls over parks its source, not the build
            return Written(item, error=ReaderFailed(item.file.path, failed))

    def _written(self, item: Item, reading: Reading, start: float) -> Written:
        report = Report(item.name, reading.format, item.file.sha256, "stored", issues=list(reading.issues))
        assets = []
        for layer in reading.layers:
            if isinstance(layer, AssetLayer):
                asset, certificate, issues = self._asset(item, reading, layer)
                assets.append(asset)
                report.certificate = certificate
                report.issues += issues
                count = LayerCount(layer.layer_type, layer.name, n_read=1, n_stored=1, n_inserted=1)
                count.certificate, count.bounds = certificate, asset.city_bounds
                report.layers.append(count)
        if any(issue.severity == "error" for issue in report.issues):
            report.status = "partly"
        report.seconds = time.perf_counter() - start
        return Written(item, report, assets)

    def _asset(self, item: Item, reading: Reading, layer: AssetLayer) -> tuple[Asset, Certificate, list[Issue]]:
        stated = layer.vertical_crs if layer.height_offset_m is None else self._config.vertical_crs
        way = placement(self._frame, self._config.vertical_crs, layer.crs, stated)
        bounds = self._city_bounds(item, layer, way)
        asset_id = self._ids[item.name]
        if len(reading.layers) > 1:
            asset_id = f"{asset_id}-{slug(layer.name)}"
        path = f"{FOLDERS[layer.kind]}/{asset_id}-{mark(item)}{layer.suffix}"
        issues = self._write_file(layer, self._folder / path)
        asset = Asset(
            id=asset_id, layer=layer.layer_type, kind=layer.kind, path=path, crs=layer.crs, bounds=layer.bounds,
            city_bounds=bounds, source=item.name, title=layer.name, epoch=layer.epoch, vertical_crs=layer.vertical_crs,
            meta=dict(layer.meta), priority=layer.priority, height_offset_m=layer.height_offset_m,
        )  # fmt: skip
        return asset, _certified(reading.certificate, layer, way, self._config.vertical_crs), issues

    def _city_bounds(self, item: Item, layer: AssetLayer, way: Placement) -> crs.Bounds:
        import numpy as np

        try:
            bounds = crs.transform_bounds(layer.crs, self._config.crs, layer.bounds)
        except InvalidInput:  # a part of it cannot be shown in the city's projection at all
            bounds = (np.inf, np.inf, np.inf, np.inf)
        if way.is_outside(np.array([bounds]))[0]:
            raise Unplaceable(
                f"{item.name} would lie outside the area where {self._config.crs} holds.",
                "Its CRS does not fit its coordinates: correct one of them.",
                code="PLACED_OUTSIDE",
            )
        return bounds

    @staticmethod
    def _write_file(layer: AssetLayer, path: Path) -> list[Issue]:
        """Write under another name first: a file or folder that has its true name is whole."""
        temporary = path.with_name(f".{os.getpid()}-{path.name}")
        try:
            issues = layer.write(temporary)
            if path.is_dir():  # the same bytes under the same settings, from a build that was stopped
                shutil.rmtree(path)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)
        return issues


def _certified(read: Certificate, layer: AssetLayer, way: Placement, city_vertical: str) -> Certificate:
    made = certify(read, way, city_vertical)
    if layer.kind != "tileset":
        return made
    words = "kept as it is, in geocentric coordinates; its heights are above the ellipsoid, as in all 3D Tiles"
    return replace(made, transformation=words)


def _opened(item: Item) -> tuple[Reading | None, CityTwinError | None]:
    try:
        return read(item.file, item.hints), None
    except CityTwinError as error:
        return None, error


def _kind(reading: Reading | None) -> str:
    layers = [] if reading is None else [layer for layer in reading.layers if isinstance(layer, AssetLayer)]
    if any(layer.layer_type in HEIGHTS for layer in layers):
        return "heights"
    return "points" if any(layer.kind == "points" for layer in layers) else ""
