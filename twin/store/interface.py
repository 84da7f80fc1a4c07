"""The narrow interface between the city and whatever keeps it. GeoPackage is the first implementation.

Geometries are in the city's CRS, east first, z = normal height. Every read takes a `scope`. A write happens inside
`Store.writing()`: one transaction, so that a killed build leaves the old state or the new one.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.catalogue import LayerType
from layers.crs import Bounds
from layers.mesh import Bounds3, StoredMesh, Texture
from layers.report import Report
from twin.scope import Scope


@dataclass(frozen=True)
class Rows:
    """Features ready to be stored: in the city's CRS, meshes in its ENU frame. All sequences have n entries."""

    ids: Sequence[str]
    geometry: NDArray[np.object_]
    attributes: pa.Table
    extra: Sequence[str | None]
    meshes: Sequence[StoredMesh | None] | None = None


@dataclass(frozen=True)
class Features:
    """Features as read back: like Rows, with version and validity, without meshes.

    `fids` are the store's row numbers, stable for a version; ascending unless `Query.sort` says otherwise.
    """

    fids: NDArray[np.int64]
    ids: list[str]
    geometry: NDArray[np.object_]
    attributes: pa.Table
    extra: list[str | None]
    versions: NDArray[np.int64]
    valid_from: list[str]
    valid_to: list[str | None]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Query:
    """What to read. Everything that is set must hold.

    Attributes
    ----------
    region : features whose geometry intersects it (exactly, in shapely); city CRS
    filter : CQL2 expression as a JSON object (OGC 21-065r2)
    ids : public ids
    at : state of that moment; None is now
    since : features that were valid at any moment after it and up to `at`, each in its last state of that time
    z : lowest and highest height; features whose heights, or those of their models, meet it. Features without any
        height are left in
    sort : attributes (or `id`) to order by, each with True for descending; nulls last; ties in fid order
    after : the sort values and the row number of the feature after which to go on, in the order of `sort`
    after_fid, limit, offset : paging in fid order
    properties : attributes to read; None for all
    with_geometry : False leaves all geometries None
    """

    region: shapely.Geometry | None = None
    filter: dict[str, Any] | None = None
    ids: tuple[str, ...] | None = None
    at: datetime | None = None
    since: datetime | None = None
    z: tuple[float, float] | None = None
    sort: tuple[tuple[str, bool], ...] = ()
    after: tuple[Any, ...] | None = None
    after_fid: int = 0
    limit: int | None = None
    offset: int = 0
    properties: tuple[str, ...] | None = None
    with_geometry: bool = True


@dataclass(frozen=True)
class LayerInfo:
    """A layer that exists in the store. `version` grows with every change of the layer; it is what ETags hang on."""

    type: LayerType
    count: int
    mesh_count: int
    bounds: Bounds | None
    z_bounds: tuple[float, float] | None
    version: int
    updated: str

    @property
    def id(self) -> str:
        """Same as `type.id`."""
        return self.type.id


@dataclass(frozen=True)
class Asset:
    """A raster, point cloud or adopted 3D Tiles set of the twin. `path` is relative to the twin's folder.

    Bounds are in `crs`. `height_offset_m` is added to its heights to reach the city's datum; None where `vertical_crs`
    says how to get there.
    """

    id: str
    layer: str
    kind: Literal["raster", "points", "tileset"]
    path: str
    crs: str
    bounds: Bounds
    city_bounds: Bounds
    source: str
    title: str = ""
    epoch: str | None = None
    vertical_crs: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    priority: int = 0
    height_offset_m: float | None = None


@dataclass(frozen=True)
class SourceRecord:
    """A file as the store remembers it, so that only what changed is read again."""

    path: str
    sha256: str
    size: int
    mtime_ns: int
    settings: str
    status: str = "stored"


@dataclass(frozen=True)
class MeshTable:
    """Where the meshes of a layer are, for building a tile tree without reading them.

    `bounds` is (n, 6) float64 in the ENU frame (lowest x y z, highest x y z), `sizes` the bytes of each blob as
    `Store.meshes` gives it: a copy of a shared shape counts as much as the shape. `stamps` are 0, or the layer's
    version at which the row was last changed in place by another program: with `fids` they name the content.
    """

    fids: NDArray[np.int64]
    bounds: NDArray[np.float64]
    sizes: NDArray[np.int64]
    stamps: NDArray[np.int64]


@dataclass(frozen=True)
class MeshChanges:
    """What happened to the meshes of a layer since a version of it.

    Attributes
    ----------
    version : the layer's version now
    gone : rows that are no longer there, or are in `came` again because they were changed in place
    came : rows that are new or were changed in place, as they are now
    """

    version: int
    gone: NDArray[np.int64]
    came: MeshTable


@dataclass(frozen=True)
class MeshBlobs:
    """Meshes as they are stored: `blobs` in the order asked for, `shapes` what the copies among them name, by key."""

    blobs: list[bytes]
    shapes: dict[str, bytes]


@dataclass(frozen=True)
class MeshInstances:
    """Meshes that are copies of shared shapes, for tiles that draw a shape many times.

    Attributes
    ----------
    fids : (k,) features whose mesh is a copy, ascending
    shapes : (k,) key of each one's shape
    matrices : (k, 3, 4) float64, a shape's vertices (x, y, z, 1) -> ENU frame; never mirroring
    bounds : (k, 6) lowest x y z, highest x y z in the ENU frame
    blobs : key -> blob of the shape in its own frame, for `layers.mesh.decode`
    """

    fids: NDArray[np.int64]
    shapes: list[str]
    matrices: NDArray[np.float64]
    bounds: NDArray[np.float64]
    blobs: dict[str, bytes]


@dataclass(frozen=True)
class PutResult:
    """What became of each row: (n,) of `inserted`, `updated`, `unchanged`, `duplicate` (id already taken), or, where
    someone has edited the feature by hand and the edit is kept, `edited` or `deleted`.
    """

    outcome: NDArray[np.str_]


@dataclass(frozen=True)
class EditRecord:
    """An edit by hand that holds.

    Attributes
    ----------
    what : `changed`, `added` or `deleted`
    moment : of the last edit
    source : whose feature it was; None where no source gave it
    differs : True if that source has meanwhile said something else than before the edit
    """

    id: str
    what: str
    editor: str
    moment: str
    source: str | None
    differs: bool


@dataclass(frozen=True)
class EditConflict:
    """A source against an edit of one of its features: it `differs` from before, or no longer gives it (`gone`)."""

    layer: str
    id: str
    what: str
    how: str
    moment: str


class WriteBatch(Protocol):
    """One transaction. Nothing is visible to readers before it ends well."""

    def ensure_layer(self, layer_type: LayerType) -> None:
        """Create the layer's table, or widen it by attributes it lacks."""
        ...

    def begin_source(self, source: SourceRecord) -> None:
        """Start (re)reading a source: its features count as unseen until they are put again."""
        ...

    def put(self, layer_id: str, source: str, rows: Rows) -> PutResult:
        """Insert, or close the old version and add one where content changed, or leave what is equal.

        An id that another source holds, or that this source already gave in this reading, is a `duplicate` and is
        not stored.
        """
        ...

    def touched(self) -> set[str]:
        """Layers that something was put into, or closed in, by this transaction."""
        ...

    def query(self, layer_id: str, query: Query, batch_size: int = 10_000) -> Iterator[Features]:
        """Current features as this transaction sees them; nothing where there is no such layer. No `region`."""
        ...

    def count(self, layer_id: str) -> int:
        """Number of current features as this transaction sees them; 0 where there is no such layer."""
        ...

    def set_derived(self, layer_id: str, fids: NDArray[np.int64], values: pa.Table) -> None:
        """Current rows take values that follow from other features; their source's content stays the same.

        A row that is older than this transaction gets a new version. Give only rows whose values change.
        """
        ...

    def edit(self, layer_id: str, rows: Rows, editor: str) -> PutResult:
        """Put features by hand: whoever holds the id gives it up, now and when its source is read again."""
        ...

    def delete(self, layer_id: str, ids: Sequence[str], editor: str) -> int:
        """Close features by hand, so that their sources do not bring them again; returns how many there were."""
        ...

    def revert(self, layer_id: str, ids: Sequence[str]) -> list[str]:
        """Withdraw edits: what the source said before comes back; returns sources that must be read again for it."""
        ...

    def edit_conflicts(self, source: str) -> list[EditConflict]:
        """Edits that a source, as far as it was read here, contradicts; of one that was not begun, all that stay."""
        ...

    def meshes(self, layer_id: str, fids: NDArray[np.int64]) -> list[StoredMesh | None]:
        """Meshes of current rows as they are stored, each copy with its shape; None where there is none."""
        ...

    def put_asset(self, asset: Asset) -> None:
        """Register a raster or point cloud, replacing one of the same id."""
        ...

    def finish_source(self, source: SourceRecord, report: Report) -> dict[str, int]:
        """Close what the source no longer holds, keep its report; returns features closed by layer."""
        ...

    def remove_source(self, path: str) -> dict[str, int]:
        """Close every feature and drop every asset of a source that is gone; returns features closed by layer."""
        ...


class Store(Protocol):
    """Reading side. Thread-safe: each thread has its own connection."""

    def writing(self) -> AbstractContextManager[WriteBatch]:
        """One transaction; an exception inside rolls it back."""
        ...

    def layers(self, scope: Scope) -> list[LayerInfo]:
        """All vector layers of the scope, in catalogue order."""
        ...

    def layer(self, layer_id: str, scope: Scope) -> LayerInfo:
        """One layer; LayerNotFound if it does not exist or is outside the scope."""
        ...

    def count(self, layer_id: str, query: Query, scope: Scope) -> int:
        """Number of features, paging ignored; cheap when nothing but `at` None is asked."""
        ...

    def query(self, layer_id: str, query: Query, scope: Scope, batch_size: int = 10_000) -> Iterator[Features]:
        """Features in fid order, or in the order of `sort`, streamed; an empty answer yields nothing."""
        ...

    def position(self, layer_id: str, query: Query, fid: int, scope: Scope) -> tuple[Any, ...]:
        """Sort values and row number of a feature, for `Query.after`; NotFound where there is no such row."""
        ...

    def mesh_table(self, layer_id: str, scope: Scope, at: datetime | None = None) -> MeshTable:
        """Bounds of all meshes of current features, or of those of a moment, in fid order."""
        ...

    def mesh_changes(self, layer_id: str, since: int, scope: Scope) -> MeshChanges | None:
        """What happened since the layer's version `since`; None where that is no longer known: read the whole table."""
        ...

    def mesh_blobs(self, layer_id: str, fids: NDArray[np.int64], scope: Scope) -> MeshBlobs:
        """Blobs of current or closed features in the order of `fids`, copies not expanded; NotFound if one has none."""
        ...

    def meshes(self, layer_id: str, fids: NDArray[np.int64], scope: Scope) -> list[StoredMesh]:
        """Meshes of current features, in the order of `fids`; NotFound if one has none.

        Copies of shared shapes come as meshes of their own.
        """
        ...

    def mesh_instances(self, layer_id: str, fids: NDArray[np.int64], scope: Scope) -> MeshInstances:
        """Those of `fids` whose meshes are copies of shared shapes; for the others there is `meshes`."""
        ...

    def texture(self, key: str, scope: Scope) -> Texture:
        """An image that a mesh names (`layers.mesh.texture_keys`); NotFound outside the scope."""
        ...

    def features_by_fid(self, layer_id: str, fids: NDArray[np.int64], scope: Scope) -> Features:
        """Current or closed features without geometry in the order of `fids`, for property tables."""
        ...

    def edits(self, layer_id: str, scope: Scope) -> list[EditRecord]:
        """Edits by hand that hold, by id."""
        ...

    def assets(self, scope: Scope, layer: str | None = None) -> list[Asset]:
        """Files of the twin, uppermost first: by priority, then newest epoch, then id."""
        ...

    def sources(self) -> list[SourceRecord]:
        """Every source that was read, for the build."""
        ...

    def reports(self) -> list[dict[str, Any]]:
        """The report of each source, as JSON objects."""
        ...

    def version(self) -> int:
        """Grows with every committed write; cheap, for caches."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


__all__ = [
    "Asset", "Bounds3", "EditConflict", "EditRecord", "Features", "LayerInfo", "MeshBlobs", "MeshChanges",
    "MeshInstances", "MeshTable", "PutResult", "Query", "Rows", "SourceRecord", "Store", "WriteBatch",
]  # fmt: skip
