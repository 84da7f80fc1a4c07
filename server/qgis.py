"""`/qgis/city.qgs`: a QGIS 3.40 project with every layer, styled from the catalogue, over this server's addresses.

QGIS fills in what a project leaves out; the elements written here are those without which a layer is not found,
not placed or not coloured (checked in QGIS 3.40.6). Layers get correct extents and the project
`TrustStoredLayerStatistics`: otherwise QGIS zooms to degrees in a projected layer (qgis/QGIS#63984).
"""

from dataclasses import dataclass
from urllib.parse import quote
from xml.etree import ElementTree as ET

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import catalogue, crs
from layers.catalogue import LayerType, Title, category_titles
from layers.crs import Bounds
from server import adopted, answer, maptiles, parameters, qgis_style
from server.imagetiles import image_path, zooms
from server.map_layers import readable
from server.qgis_style import simple
from server.serving import FILES, Snapshot, base, language, not_flat, snapshot
from tiles import matrix_set
from twin.store.interface import Asset, LayerInfo

QGS = "application/x-qgis-project"
SCENE_CRS = "EPSG:4979"
MERCATOR = "EPSG:3857"
THREE_D = Title("三维模型", "3D models")
TERRAIN = Title("地形（quantized mesh）", "Terrain (quantized mesh)")
TILES = Title("矢量瓦片（全市）", "Vector tiles (whole city)")
SUPERVISION = Title("监管", "Supervision")
FINDINGS = "finding"
STATUS_SET = ("status", "note")
"""What people set of a finding; all else is the supervision's."""
GEOMETRY_NAMES = {"polygon": "Polygon", "linestring": "Line", "point": "Point"}


def project(request: Request) -> Response:
    """The project file; `lang` chooses the language of the layer names."""
    parameters.once(request.query_params, ("lang",))
    city, address, code = snapshot(request), base(request), language(request)
    tag = answer.etag(city.version, "qgs", address, code)
    headers = {"Content-Disposition": 'attachment; filename="city.qgs"'}
    if answer.is_fresh(request, tag):
        return answer.not_modified(answer.headers_for(tag, headers))
    return answer.conditional(request, document(city, address, code), QGS, tag, headers)


def document(city: Snapshot, address: str, code: str) -> bytes:
    """The project as XML."""
    config = city.city.config
    root = ET.Element("qgis", version="3.40.0", projectname=config.title_in(code))
    _text(root, "title", config.title_in(code))
    ET.SubElement(root, "projectFlags", set="TrustStoredLayerStatistics")
    _srs(ET.SubElement(root, "projectCrs"), config.crs, with_wkt=True)
    tree = ET.SubElement(root, "layer-tree-group")
    layers = ET.SubElement(root, "projectlayers")
    _Writer(city, address, code, tree, layers).write()
    properties = ET.SubElement(ET.SubElement(root, "properties"), "SpatialRefSys")
    ET.SubElement(properties, "ProjectionsEnabled", type="int").text = "1"  # else the project's CRS is not read
    bounds = city.city_bounds
    if bounds:
        _view(root, city, not_flat(bounds))
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, "utf-8")


class _Writer:
    """Appends layers to the project and to its tree; what comes first in the tree is drawn on top."""

    def __init__(self, city: Snapshot, address: str, code: str, tree: ET.Element, layers: ET.Element) -> None:
        self.city, self.address, self.code = city, address, code
        self.tree, self.layers = tree, layers
        self.groups: dict[str, ET.Element] = {}

    def write(self) -> None:
        """All layers: findings, 3D models, features by category, point clouds, images, elevation, terrain."""
        if FINDINGS in self.city.vectors:
            self._findings(self._group("supervision", SUPERVISION), self.city.vectors[FINDINGS])
        three_d = self._group("3d", THREE_D)
        for info in self.city.vectors.values():
            if info.mesh_count:
                self._tiles(three_d, info)
        for key, title in category_titles().items():
            members = [
                info for info in self.city.vectors.values() if _category(info.type)[0] == key and info.id != FINDINGS
            ]
            members.sort(key=_drawing_order)
            for info in members:
                self._features(self._group(key, title), info)
        self._vector_tiles()
        for layer in self.city.files.values():
            group = three_d if adopted.has(self.city, layer.id) else self._group(*_category(layer.type))
            for position, asset in enumerate(readable(self.city, layer.assets)):
                self._asset(group, layer.type, asset, first=position == 0)
        if "dem" in self.city.files and readable(self.city, self.city.files["dem"].assets):
            source = f"url={self.address}/terrain/layer.json"
            name = getattr(TERRAIN, self.code)
            self._layer(three_d, _Source("terrain", "tiled-scene", "quantizedmesh", source), name, "EPSG:4326")

    def _group(self, key: str, title: Title) -> ET.Element:
        if key not in self.groups:
            name = getattr(title, self.code)
            group = ET.SubElement(self.tree, "layer-tree-group", name=name, checked="Qt::Checked", expanded="1")
            self.groups[key] = group
        return self.groups[key]

    def _title(self, layer_type: LayerType) -> str:
        return str(getattr(layer_type.title, self.code))

    def _findings(self, group: ET.Element, info: LayerInfo) -> None:
        """Named in the reader's language; the status is chosen from a list, what was measured is not to be changed."""
        name = "name" if self.code == "zh" else "name_en"
        layer = self._features(group, info, shown=True, name=name)
        qgis_style.chosen_values(layer, info.type, STATUS_SET[:1], self.code)
        names = [each.name for each in (*info.type.attributes, *parameters.OWN)]
        qgis_style.editable(layer, names, STATUS_SET)

    def _features(self, group: ET.Element, info: LayerInfo, *, shown: bool = False, name: str = "name") -> ET.Element:
        srs = self.city.city.config.crs
        source = (
            "pagingEnabled='true' preferCoordinatesForWfsT11='false' restrictToRequestBBOX='1' "
            f"srsname='{srs}' typename='{info.id}' url='{self.address}/' version='OGC_API_FEATURES'"
        )
        kind = simple(info.type.geometry)
        bounds = info.bounds or (self.city.city_bounds if info.type.geometry != "none" else None)
        shown = shown or info.id in {"building", "road", "river"}
        layer = self._layer(
            group, _Source(info.id, "vector", "OAPIF", source), self._title(info.type), srs, bounds, shown=shown
        )
        unknown = "No geometry" if info.type.geometry == "none" else "Unknown geometry"
        layer.set("geometry", GEOMETRY_NAMES.get(kind, unknown))
        qgis_style.field_names(layer, info.type, self.code)
        if kind:
            qgis_style.renderer(layer, info.type, kind, self.code)
            qgis_style.labels(layer, info.type, kind, name)
        return layer

    def _vector_tiles(self) -> None:
        """One layer with everything, for looking at the whole city at once: fast, but without the attributes' forms."""
        drawable = maptiles.drawable(self.city)
        types = [self.city.vectors[each].type for each in drawable if each != catalogue.SOURCE]
        if not types:
            return
        grid = matrix_set.get("WebMercatorQuad", self.city.city.config.crs)
        template = f"{self.address}/tiles/{grid.id}/{{z}}/{{y}}/{{x}}"
        described = maptiles.document_of(self.city, drawable, template, grid)
        address = quote(described["tiles"][0], safe=":/{}")
        zooms_of = f"zmin={described['minzoom']}&zmax={described['maxzoom']}"
        source = _Source("tiles", "vector-tile", "xyzvectortiles", f"type=xyz&url={address}&{zooms_of}")
        bounds = self.city.city_bounds
        placed = crs.transform_bounds(self.city.city.config.crs, MERCATOR, not_flat(bounds)) if bounds else None
        layer = self._layer(self._group("tiles", TILES), source, getattr(TILES, self.code), MERCATOR, placed)
        qgis_style.tile_styles(layer, types, self.code)

    def _tiles(self, group: ET.Element, info: LayerInfo) -> None:
        source = f"url={self.address}/collections/{info.id}/3dtiles/explicit/tileset.json"
        title = f"{self._title(info.type)} 3D"
        self._layer(group, _Source(f"{info.id}_3d", "tiled-scene", "cesiumtiles", source), title, SCENE_CRS)

    def _asset(self, group: ET.Element, layer_type: LayerType, asset: Asset, *, first: bool) -> None:
        title = f"{self._title(layer_type)} {asset.epoch or ''}".strip()
        layer_id = f"{asset.layer}_{asset.id}"
        if asset.kind == adopted.KIND:
            source = _Source(layer_id, "tiled-scene", "cesiumtiles", f"url={self.address}/{adopted.address(asset)}")
            self._layer(group, source, f"{self._title(layer_type)} {asset.title}".strip(), SCENE_CRS)
            return
        url = f"{self.address}/collections/{asset.layer}/{FILES[asset.kind][1]}?asset={quote(asset.id, safe='')}"
        if asset.kind == "points":
            self._layer(group, _Source(layer_id, "point-cloud", "copc", url), title, asset.crs, asset.bounds)
        elif layer_type.id == "dom":
            low, high = zooms(self.city, asset)
            template = quote(self.address + image_path(asset), safe=":/{}")
            xyz = f"type=xyz&url={template}&zmin={low}&zmax={high}&crs=EPSG:3857"
            bounds = crs.transform_bounds(asset.crs, MERCATOR, asset.bounds)
            self._layer(group, _Source(layer_id, "raster", "wms", xyz), title, MERCATOR, bounds, shown=first)
        else:
            cog = _Source(layer_id, "raster", "gdal", f"/vsicurl/{url}")
            self._layer(group, cog, title, asset.crs, asset.bounds)

    def _layer(
        self,
        group: ET.Element,
        source: "_Source",
        title: str,
        srs: str | None = None,
        bounds: Bounds | None = None,
        *,
        shown: bool = False,
    ) -> ET.Element:
        layer_id = f"citytwin_{source.layer_id}"  # QGIS invents another id where one has fewer than 11 characters
        ET.SubElement(
            group, "layer-tree-layer", id=layer_id, name=title, source=source.address,
            providerKey=source.provider, checked="Qt::Checked" if shown else "Qt::Unchecked", expanded="0",
        )  # fmt: skip
        layer = ET.SubElement(self.layers, "maplayer", type=source.kind)
        _text(layer, "id", layer_id)
        _text(layer, "datasource", source.address)
        _text(layer, "layername", title)
        if srs:  # vector tiles are content with WKT alone
            _srs(ET.SubElement(layer, "srs"), srs, with_wkt=source.kind == "vector-tile")
        if bounds:
            _extent(layer, not_flat(bounds))
        _text(layer, "provider", source.provider)
        return layer


@dataclass(frozen=True)
class _Source:
    """Where a layer's data come from: id in the project, kind of layer, QGIS provider, its source string."""

    layer_id: str
    kind: str
    provider: str
    address: str


def _category(layer_type: LayerType) -> tuple[str, Title]:
    key = layer_type.category if layer_type.category in category_titles() else "public"
    return key, category_titles()[key]


def _drawing_order(info: LayerInfo) -> int:
    """Points over lines over areas."""
    return ["point", "linestring", "polygon", ""].index(simple(info.type.geometry))


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _srs(parent: ET.Element, name: str, *, with_wkt: bool = False) -> None:
    """A CRS; a layer is content with the code, the project reads only WKT."""
    authority = crs.horizontal(name)
    is_code = ":" in authority and len(authority) < 32
    inner = ET.SubElement(parent, "spatialrefsys", nativeFormat="Wkt")
    if with_wkt or not is_code:
        _text(inner, "wkt", str(crs.parse(authority).to_wkt()))
    if is_code:
        _text(inner, "authid", authority)


def _extent(parent: ET.Element, bounds: Bounds) -> None:
    extent = ET.SubElement(parent, "extent")
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True):
        _text(extent, name, repr(float(value)))


def _view(root: ET.Element, city: Snapshot, bounds: Bounds) -> None:
    canvas = ET.SubElement(root, "mapcanvas", name="theMapCanvas", annotationsVisible="1")
    _text(canvas, "units", "meters")
    _extent(canvas, bounds)
    _srs(ET.SubElement(canvas, "destinationsrs"), city.city.config.crs)
    settings = ET.SubElement(root, "ProjectViewSettings", UseProjectScales="0", rotation="0")
    names = ("xmin", "ymin", "xmax", "ymax")
    default = ET.SubElement(
        settings, "DefaultViewExtent", {n: repr(float(v)) for n, v in zip(names, bounds, strict=True)}
    )
    _srs(default, city.city.config.crs)


def routes() -> list[Route]:
    """The project."""
    return [Route("/qgis/city.qgs", project, methods=["GET"])]
