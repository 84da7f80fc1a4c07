"""What a reader makes of one file: layers in the source's own CRS, streamed in batches, and what was wrong.

Every reader in `ingest/` is a module with two names: `SUFFIXES`, and
`read(path: Path, hints: Hints) -> Reading`. It raises InvalidInput (or CrsMissing, Unplaceable) when nothing of the
file can be used; smaller troubles become Issues or Rejects and the rest is still read.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers.certificate import Certificate
from layers.crs import Bounds
from layers.issue import Issue, Reject
from layers.mesh import Mesh


@dataclass(frozen=True)
class ControlPoint:
    """One place in two systems: as the source has it and where it truly is (east first; 2 or 3 numbers each)."""

    source: tuple[float, ...]
    true: tuple[float, ...]


@dataclass(frozen=True)
class Match:
    """A feature of another layer whose place a row of a table takes: its id, and its geometry in the city's CRS."""

    id: str
    geometry: shapely.Geometry | None


class Lookup(Protocol):
    """Finds features of a layer of the city by the values of an attribute."""

    def __call__(self, layer_id: str, attribute: str, keys: set[str], /) -> dict[str, list[Match]]:
        """The features for each of the keys (spelled as `ingest.table.join.key` does) that are found."""
        ...


@dataclass(frozen=True)
class Hints:
    """What `city.toml` or the command line says about a source; used only where the file itself is silent.

    Attributes
    ----------
    root : the folder from which relative names count (ids are made from the path below it)
    layer : catalogue id, instead of detection
    crs : CRS of a file that names none
    vertical_crs : height datum of a file that names none
    encoding : of text in DBF, CSV, INP
    columns : schema attribute -> column of the file
    units : schema attribute -> unit of the column (`mm`, `cm`, `m`, `km`, `ft` …)
    values : schema attribute -> one value for all features
    id_column : column that holds the public id
    epoch : ISO date of the survey
    city_crs : CRS of the city, for readers that must choose (site latitude and longitude)
    priority : of a raster: where sheets overlap, the higher one is on top; among equals the younger epoch
    vertical_offset_m : added to the heights of the source to reach the city's datum, where no transformation is known
    control_points : pairs of (source x, y[, z]) and (true east, north[, height]) in `crs` or else the city's CRS
    correct : repairs that were asked for: `swap-axes`, `gcj02`, `bd09`, `zone-prefix`
    join : for tables without geometry: `layer`, `attribute` there, `column` here, whose geometry the rows take
    unit_scale : metres per unit of a mesh file that states no unit
    pipeline : PDAL stages as JSON objects, to be run on a point cloud before it is stored
    drape : areas get a thin surface on the ground, for 3D
    lookup : into the city that is being built, for `join`; set by the build alone
    """

    root: Path | None = None
    layer: str | None = None
    crs: str | None = None
    vertical_crs: str | None = None
    encoding: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)
    id_column: str | None = None
    epoch: str | None = None
    city_crs: str | None = None
    priority: int = 0
    vertical_offset_m: float | None = None
    control_points: tuple[ControlPoint, ...] = ()
    correct: tuple[str, ...] = ()
    join: Mapping[str, str] = field(default_factory=dict)
    unit_scale: float | None = None
    pipeline: tuple[Mapping[str, Any], ...] = ()
    drape: bool = False
    lookup: "Lookup | None" = None

    def for_table(self, table: str) -> "Hints":
        """What holds for one table of the file; here the same for all."""
        del table
        return self


@dataclass(frozen=True)
class FeatureBatch:
    """Some thousand features of one layer, in the source's CRS, attributes already under the catalogue's names.

    Attributes
    ----------
    ids : (n,) public ids, stable when the same file is read again
    geometry : (n,) shapely geometries or None; east first; z in metres where the source has heights
    attributes : n rows; columns are attributes of the layer type, in the schema's units
    extra : n JSON objects (or None) with what the schema does not know
    meshes : n meshes (or None) with vertices east, north, height in the source's CRS; or None for no meshes at all
    """

    ids: list[str]
    geometry: NDArray[np.object_]
    attributes: pa.Table
    extra: list[str | None]
    meshes: list[Mesh | None] | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class VectorLayer:
    """A stream of features. `n_read`, `issues` and `rejects` grow while `batches` is consumed.

    Attributes
    ----------
    name : of the table or layer inside the file
    layer_type : catalogue id; where detection found none, the id of a new layer made from the file's name
    fields : for a layer that the catalogue does not know: column -> pyarrow type; empty otherwise
    crs : horizontal CRS of the geometries; None only when there is no geometry at all
    vertical_crs : of z, None when not stated (then taken as the city's, and said so in the certificate)
    batches : call it to start reading
    certificate : how this layer is placed, when it differs from the file's (several CRSs in one file)
    """

    name: str
    layer_type: str
    crs: str | None
    batches: Callable[[], Iterator[FeatureBatch]]
    vertical_crs: str | None = None
    fields: dict[str, pa.DataType] = field(default_factory=dict)
    geometry_type: str = ""
    n_read: int = 0
    issues: list[Issue] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    certificate: Certificate | None = None


@dataclass
class AssetLayer:
    """A raster, point cloud or 3D Tiles set that is kept as files: COG, COPC, or a folder with `tileset.json`.

    Attributes
    ----------
    kind : `raster`, `points` or `tileset`
    layer_type : catalogue id (`dem`, `dsm`, `dom`, `point_cloud`)
    crs, bounds : of the source, east first
    meta : facts for the catalogue (size, cell size, nodata, bands, dtype, point count, classes …)
    write : writes the COG, the COPC or the folder to the given path, streaming; returns issues found on the way
    suffix : `.tif`, `.copc.laz`, or empty for a folder
    priority : where rasters overlap, the higher one is on top
    height_offset_m : told by the user: added to the heights to reach the city's datum, instead of `vertical_crs`
    """

    name: str
    kind: Literal["raster", "points", "tileset"]
    layer_type: str
    crs: str
    bounds: Bounds
    meta: dict[str, Any]
    write: Callable[[Path], list[Issue]]
    suffix: str
    vertical_crs: str | None = None
    epoch: str | None = None
    priority: int = 0
    height_offset_m: float | None = None


@dataclass
class Reading:
    """One file as its reader sees it."""

    path: Path
    format: str
    layers: list[VectorLayer | AssetLayer]
    certificate: Certificate
    issues: list[Issue] = field(default_factory=list)
