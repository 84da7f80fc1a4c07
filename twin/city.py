"""The city as a script sees it: layers to query, heights to ask, analyses to run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cached_property, partial
from importlib.metadata import entry_points
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import shapely
from numpy.typing import NDArray

from layers import crs as crs_module
from layers.crs import Bounds
from layers.errors import InvalidInput, NotFound
from layers.frame import CityFrame
from twin import config as config_module
from twin.config import TwinConfig
from twin.scope import EVERYTHING, Scope
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, EditRecord, Features, LayerInfo, Query, Store

if TYPE_CHECKING:
    import geopandas

    from twin.edit import Edited, Editing
    from twin.edit.fusing import Surroundings
    from twin.surface import DerivedSurface
    from twin.terrain import Terrain

STORE_FILE = "city.gpkg"
_OWN_COLUMNS = ("version", "valid_from", "valid_to", "extra")

When = str | date | datetime | None


class City:
    """A twin's folder, opened. Thread-safe.

    While it is open, read `city.gpkg` itself (geopandas, GDAL, a copy) from another process only: docs/decisions/0002.

    Parameters
    ----------
    folder : with `twin.toml` and `city.gpkg`
    scope : what the asker may see; every read goes through it
    store : another implementation of the store; the folder's GeoPackage when absent
    """

    def __init__(self, folder: Path, scope: Scope = EVERYTHING, store: Store | None = None) -> None:
        self.folder = Path(folder)
        self.scope = scope
        self.config: TwinConfig = config_module.load(self.folder)
        self.store: Store = GeoPackageStore(self.folder / STORE_FILE) if store is None else store
        self._terrain: tuple[int, list[Asset], Terrain] | None = None
        self._place: tuple[list[Asset], Surroundings] | None = None
        self._derived: tuple[int, DerivedSurface] | None = None
        self._lock = Lock()

    @cached_property
    def frame(self) -> CityFrame:
        """The ENU frame that meshes and 3D tiles are in."""
        return self.config.frame(self.folder)

    @property
    def crs(self) -> str:
        """The projected CRS features are stored in."""
        return self.config.crs

    @property
    def layers(self) -> list[LayerInfo]:
        """All vector layers of the scope, in catalogue order."""
        return self.store.layers(self.scope)

    def __getitem__(self, layer_id: str) -> LayerView:
        """One layer; LayerNotFound (with the nearest name) where there is none."""
        self.store.layer(layer_id, self.scope)
        return LayerView(self, layer_id)

    def __contains__(self, layer_id: object) -> bool:
        return any(info.id == layer_id for info in self.layers)

    def with_scope(self, scope: Scope) -> City:
        """The same city for another asker, on the same store."""
        return City(self.folder, scope, self.store)

    @property
    def terrain(self) -> Terrain:
        """Ground heights from every terrain model of the scope; made anew when these have changed."""
        from twin.terrain import from_assets

        version = self.store.version()
        with self._lock:
            known = self._terrain
            if known is None or known[0] != version:
                rasters = self.store.assets(self.scope, "dem")
                if known is not None and known[1] == rasters:  # an edit opens no file again
                    known = (version, rasters, known[2])
                else:
                    known = (version, rasters, from_assets(self.folder, rasters, self.config))
                self._terrain = known
            return known[2]

    def surface(self, name: str = "terrain") -> Terrain | DerivedSurface:
        """`terrain`: the ground as surveyed; `derived`: cut in pits and levelled under dams, as they are now."""
        if name == "terrain":
            return self.terrain
        if name != "derived":
            raise NotFound(f"There is no surface {name!r}.", "Surfaces are terrain and derived.")
        from twin.surface import DerivedSurface, levelled

        terrain = self.terrain
        version = self.store.version()
        with self._lock:
            if self._derived is None or self._derived[0] != version:
                self._derived = (version, DerivedSurface(terrain, levelled(self.store, self.scope, terrain)))
            return self._derived[1]

    @contextmanager
    def editing(self, editor: str = "edit") -> Iterator[Editing]:
        """Several edits as one transaction; an exception inside leaves the city as it was.

        `with city.editing() as edit: edit["building"].update("B-17", height_m=42.0)`. `editor` is kept with each edit.
        """
        from twin.edit import Editing

        place = self._surroundings()
        with self.store.writing() as batch:
            edit = Editing(self, batch, place, editor)
            yield edit
            edit.finish()

    def _surroundings(self) -> Surroundings:
        """What an edited feature is put into: all of the ground and surfaces, whoever edits."""
        from twin.edit.fusing import Surroundings
        from twin.fuse import roof
        from twin.terrain import from_assets

        assets = self.store.assets(EVERYTHING)
        with self._lock:
            if self._place is None or self._place[0] != assets:
                ground, surface = (
                    from_assets(self.folder, [each for each in assets if each.layer == layer], self.config)
                    for layer in ("dem", "dsm")
                )
                clouds = partial(roof.clouds, self.folder, assets, self.config)
                roofs = roof.RoofSampler(surface, clouds, self.config.crs)
                self._place = (assets, Surroundings(self.config, self.frame, ground, roofs))
            return self._place[1]

    def height(self, x: float | NDArray[np.float64], y: float | NDArray[np.float64]) -> Any:
        """Normal height of the ground in metres at east x, north y (city CRS); NaN where no terrain model reaches.

        Numbers give a float, arrays an array of their shape.
        """
        east, north = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        heights = np.asarray(self.terrain.height(east.ravel(), north.ravel()), np.float64).reshape(east.shape)
        return float(heights) if heights.ndim == 0 else heights

    def certificates(self) -> dict[str, dict[str, Any] | None]:
        """Source -> its placement certificate as a JSON object (see `layers.certificate`), None where it has none.

        Sources are no part of a scope of layers: with one, only those are told whose layers are all in it.
        """
        return {
            report["source"]: report["certificate"]
            for report in self.store.reports()
            if self.scope.layers is None
            or (report["layers"] and all(self.scope.allows(count["layer"]) for count in report["layers"]))
        }

    def run(self, process: str, **inputs: Any) -> dict[str, Any]:
        """Run an analysis by its id (`twin.analysis.registry()` lists them); its answer is a JSON object."""
        from twin import analysis

        return analysis.run(process, self, inputs)

    def add(self, *paths: str | Path, **hints: Any) -> Any:
        """Read files into the city and return the build's result. Hints: `layer`, `crs`, `columns` … as in city.toml.

        The readers live in an outer ring, which registers itself as the entry point `citytwin.builders`.
        """
        found = list(entry_points(group="citytwin.builders"))
        if not found:
            raise NotFound("No reader is installed.", "Install citytwin with its command: pip install citytwin.")
        return found[0].load()(self, [Path(path) for path in paths], hints)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LayerView:
    """One layer of a city, to be asked."""

    def __init__(self, city: City, layer_id: str) -> None:
        self.city = city
        self.id = layer_id

    @property
    def info(self) -> LayerInfo:
        """Type, count, bounds, version."""
        return self.city.store.layer(self.id, self.city.scope)

    def query(
        self,
        *,
        bbox: Sequence[float] | None = None,
        region: shapely.Geometry | None = None,
        filter: str | Mapping[str, Any] | None = None,  # noqa: A002 the standard's word
        ids: Iterable[str] | None = None,
        at: When = None,
        crs: str | None = None,
        limit: int | None = None,
        properties: Sequence[str] | None = None,
    ) -> geopandas.GeoDataFrame:
        """Features as a GeoDataFrame; the index is their public id.

        Parameters
        ----------
        bbox : west, south, east, north; in `crs`, or the city's CRS when that is absent
        region : a geometry features must intersect, in the same CRS as `bbox`
        filter : CQL2 text or JSON; geometries in it are in the same CRS as `bbox`
        at : the state of that moment: an ISO date (its first instant, UTC) or date and time (UTC unless it says)
        crs : of the answer, east first; the city's when absent
        limit : at most so many, in the order they were stored
        properties : attributes to read; all when absent
        """
        import geopandas
        import pandas as pd

        query = self._query(
            bbox=bbox, region=region, filter=filter, ids=ids, at=at, crs=crs, limit=limit, properties=properties
        )
        parts = [_frame(features) for features in self.city.store.query(self.id, query, self.city.scope)]
        if not parts:
            parts = [_frame(_nothing(self.info, query.properties))]
        table = pd.concat(parts) if len(parts) > 1 else parts[0]
        target = self.city.crs if crs is None else crs
        geometry = table.pop("geometry").to_numpy()
        frame = geopandas.GeoDataFrame(
            table,
            geometry=crs_module.transform_geometries(self.city.crs, target, geometry),
            crs=crs_module.parse(target).to_wkt(),
        )
        frame.index.name = "id"
        return frame

    def update(self, ids: str | Iterable[str], **changes: Any) -> Edited:
        """Change features by hand, in a transaction of its own; see `twin.edit.LayerEdit.update`."""
        with self.city.editing() as edit:
            done = edit[self.id].update(ids, **changes)
        return edit.told(done)

    def put(self, features: Any, **options: Any) -> Edited:
        """Insert features or replace them as a whole, in a transaction of its own; see `twin.edit.LayerEdit.put`."""
        with self.city.editing() as edit:
            done = edit[self.id].put(features, **options)
        return edit.told(done)

    def delete(self, ids: str | Iterable[str], **options: Any) -> Edited:
        """Close features by hand, in a transaction of its own; see `twin.edit.LayerEdit.delete`."""
        with self.city.editing() as edit:
            done = edit[self.id].delete(ids, **options)
        return edit.told(done)

    def revert(self, ids: str | Iterable[str]) -> Edited:
        """Withdraw edits, in a transaction of its own; see `twin.edit.LayerEdit.revert`."""
        with self.city.editing() as edit:
            done = edit[self.id].revert(ids)
        return edit.told(done)

    def edits(self) -> list[EditRecord]:
        """Edits by hand that hold, by id: who, when, what, and whether the source has changed since."""
        return self.city.store.edits(self.id, self.city.scope)

    def count(
        self,
        *,
        bbox: Sequence[float] | None = None,
        region: shapely.Geometry | None = None,
        filter: str | Mapping[str, Any] | None = None,  # noqa: A002
        ids: Iterable[str] | None = None,
        at: When = None,
        crs: str | None = None,
    ) -> int:
        """Number of features for which everything given holds; arguments as in `query`."""
        query = self._query(bbox=bbox, region=region, filter=filter, ids=ids, at=at, crs=crs)
        return self.city.store.count(self.id, query, self.city.scope)

    def get(self, feature_id: str, *, at: When = None) -> dict[str, Any]:
        """One feature: its attributes by name, with `id`, `version`, `valid_from`, `valid_to` and `geometry`."""
        found = self.query(ids=[feature_id], at=at)
        if not len(found):
            raise NotFound(f"Layer {self.id!r} has no feature {feature_id!r}{'' if at is None else f' at {at}'}.")
        return {"id": feature_id, **found.iloc[0].to_dict()}

    def _query(
        self,
        *,
        bbox: Sequence[float] | None,
        region: shapely.Geometry | None,
        filter: str | Mapping[str, Any] | None,  # noqa: A002
        ids: Iterable[str] | None,
        at: When,
        crs: str | None,
        limit: int | None = None,
        properties: Sequence[str] | None = None,
    ) -> Query:
        source = self.city.crs if crs is None else crs
        return Query(
            region=_region(bbox, region, source, self.city.crs),
            filter=_filter(filter, source, self.city.crs),
            ids=None if ids is None else tuple(ids),
            at=moment(at),
            limit=limit,
            properties=None if properties is None else tuple(properties),
        )


def moment(at: When) -> datetime | None:
    """An ISO date or date and time as an aware datetime. A date is its first instant; without zone it is UTC."""
    if at is None or isinstance(at, datetime):
        return at if at is None or at.tzinfo else at.replace(tzinfo=UTC)
    if isinstance(at, date):
        return datetime(at.year, at.month, at.day, tzinfo=UTC)
    try:
        return moment(datetime.fromisoformat(at))
    except ValueError as error:
        raise InvalidInput(f"at = {at!r} is no date.", "Write 2026-01-31 or 2026-01-31T12:00:00Z.") from error


def _region(
    bbox: Sequence[float] | None, region: shapely.Geometry | None, source: str, target: str
) -> shapely.Geometry | None:
    if bbox is not None:
        if region is not None:
            raise InvalidInput("Give bbox or region, not both.")
        west, south, east, north = _box(bbox)
        return crs_module.transform_box(source, target, (west, south, east, north))
    if region is None:
        return None
    return crs_module.transform_geometries(source, target, np.array([region], dtype=object))[0]


def _box(bbox: Sequence[float]) -> Bounds:
    numbers = [float(v) for v in bbox]
    if len(numbers) == 6:
        numbers = [numbers[0], numbers[1], numbers[3], numbers[4]]
    if len(numbers) != 4 or not np.isfinite(numbers).all() or numbers[1] > numbers[3] or numbers[0] > numbers[2]:
        raise InvalidInput(f"bbox = {list(bbox)} is no box.", "Give west, south, east, north.")
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def _filter(given: str | Mapping[str, Any] | None, source: str, target: str) -> dict[str, Any] | None:
    from twin.store import cql2_parse

    if given is None:
        return None
    parsed = cql2_parse.from_text(given) if isinstance(given, str) else cql2_parse.from_json(given)
    return cql2_parse.reproject(parsed, source, target)


def _frame(features: Features) -> Any:
    """One batch as a pandas table, own columns last; an attribute of the same name keeps it."""
    table = features.attributes.to_pandas()
    own = dict(
        zip(
            _OWN_COLUMNS,
            (features.versions, features.valid_from, features.valid_to, features.extra),
            strict=True,
        )
    )
    for name, values in own.items():
        if name not in table.columns:
            table[name] = np.asarray(values) if name == "version" else np.array(values, dtype=object)
    table["geometry"] = features.geometry
    table.index = features.ids
    return table


def _nothing(info: LayerInfo, properties: tuple[str, ...] | None) -> Features:
    schema = info.type.arrow_schema()
    table = schema.empty_table() if properties is None else schema.empty_table().select(list(properties))
    return Features(np.zeros(0, np.int64), [], np.zeros(0, object), table, [], np.zeros(0, np.int64), [], [])
