"""Operations of what has no face of its own yet: Common, Features, 3D Tiles, terrain, tiles, styles, files."""

from typing import Any

from server.face import Operation, query
from server.openapi_schemas import ref

FEATURES, COLLECTION = "/collections/{featuresId}", "/collections/{collectionId}"
GEOJSON, JSON, HTML, SCHEMA_JSON = "application/geo+json", "application/json", "text/html", "application/schema+json"
MVT, QUANTIZED_MESH = "application/vnd.mapbox-vector-tile", "application/vnd.quantized-mesh"
MAPLIBRE, OPENAPI = "application/vnd.mapbox.style+json", "application/vnd.oai.openapi+json;version=3.0"
PAGE = ("f", "lang")
SELECTION = ("filter", "filter-lang", "filter-crs", "datetime")
WORD: dict[str, Any] = {"type": "string"}
TEXT_HTML: dict[str, dict[str, Any]] = {HTML: WORD}
BINARY: dict[str, Any] = {"type": "string", "format": "binary"}
NO_TILE = {204: "The tile is empty"}
IMAGE_FORMAT = query("f", "Format; default by the Accept header.", {"type": "string", "enum": ["png", "jpeg", "webp"]})
ONLY_JSON = query("f", "Format.", {"type": "string", "enum": ["json"]})
VERSION = query("v", "Version of the content, as in links: what has it may be kept for ever.", WORD)
TMS = query("tms", "Tile matrix set of the tiles.", WORD)
CHOSEN = query("collections", "Layers that the tiles show; all without it.", {"type": "array", "items": WORD})
EPOCH = query("epoch", "The picture of that time.", WORD)
ASSET = query("asset", "The file of that id.", WORD)
LOOK = (
    query("style", "Style of the picture.", WORD),
    query("colormap", "Colours for one band.", WORD),
    query("rescale", "Lowest and highest value.", WORD),
    query("bands", "Numbers of bands.", {"type": "array", "items": {"type": "integer", "minimum": 1}}),
)
SIDE: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": 4096, "default": 256}
DRAWN: tuple[str | dict[str, Any], ...] = (
    query("bgcolor", "Background, as 0xRRGGBB or a name of CSS.", WORD),
    query("transparent", "Whether the background is left open.", {"type": "boolean"}),
    query("void-color", "Colour where the CRS ends.", WORD),
    query("void-transparent", "Whether that is left open.", {"type": "boolean"}),
    query("mm-per-pixel", "Side of a pixel on the screen.",
          {"type": "number", "minimum": 0.05, "maximum": 5, "default": 0.28}),
    query("width", "Pixels.", SIDE),
    query("height", "Pixels.", SIDE),
    query("scale-denominator", "Scale on the ground, instead of width and height.",
          {"type": "number", "minimum": 0, "exclusiveMinimum": True}),
    *SELECTION,
)  # fmt: skip
"""How map tiles of features look, and what of them is drawn."""
IMAGES = dict.fromkeys(("image/png", "image/jpeg", "image/webp"), BINARY)


def _both(kind: str, schema: str) -> dict[str, dict[str, Any]]:
    return {kind: ref(schema)} | TEXT_HTML


def _common(items: tuple[str, ...], item: tuple[str, ...]) -> tuple[Operation, ...]:
    return (
        Operation("/", "Landing page", _both(JSON, "landingPage"), PAGE),
        Operation("/conformance", "Conformance classes", _both(JSON, "conformance"), PAGE),
        Operation("/api", "This document", {OPENAPI: {"type": "object"}} | TEXT_HTML, PAGE),
        Operation("/collections", "All layers", _both(JSON, "collections"), PAGE),
        Operation(COLLECTION, "One layer", _both(JSON, "collection"), PAGE),
        Operation(f"{FEATURES}/schema", "JSON Schema of the features", _both(SCHEMA_JSON, "jsonSchema"), PAGE),
        Operation(f"{FEATURES}/queryables", "What can be filtered by", _both(SCHEMA_JSON, "jsonSchema"), PAGE),
        Operation(
            f"{FEATURES}/items",
            "Features",
            _both(GEOJSON, "featureCollection"),
            (*items, "queryables"),
            answers={303: "A form left fields empty: the address without them"},
        ),
        Operation(f"{FEATURES}/items/{{featureId}}", "One feature", _both(GEOJSON, "feature"), item),
    )


def _sets_3d() -> tuple[Operation, ...]:
    form = {JSON: ref("tileset3d")}
    kinds = {"": "implicit, packed", "compat/": "implicit, float32", "explicit/": "explicit, float32"}
    return (
        *(Operation(f"{FEATURES}/3dtiles/{path}tileset.json", f"3D Tiles 1.1 of a layer, {text}", form, SELECTION)
          for path, text in kinds.items()),
        *(Operation(f"/3dtiles/{path}tileset.json", f"3D Tiles 1.1 of the whole city, {text}", form, ("datetime",))
          for path, text in kinds.items()),
        Operation(f"{COLLECTION}/3dtiles/{{assetId}}/tileset.json", "3D Tiles 1.1 of a point cloud or an adopted set",
                  form),
    )  # fmt: skip


def _terrain() -> tuple[Operation, ...]:
    mesh, layer = {QUANTIZED_MESH: BINARY}, {JSON: ref("layerJson")}
    return (
        Operation("/terrain/layer.json", "Terrain description (quantized-mesh 1.0)", layer),
        Operation("/terrain/{z}/{x}/{y}.terrain", "Terrain tile; y counts from south", mesh, (VERSION,)),
        Operation("/terrain/derived/layer.json", "Terrain with pits cut and dams levelled", layer),
        Operation("/terrain/derived/{z}/{x}/{y}.terrain", "Terrain tile with pits cut and dams levelled", mesh,
                  (VERSION,)),
        Operation("/terrain-rgb/tilejson.json", "TileJSON of Terrain-RGB", {JSON: ref("tileJson")}),
        Operation("/terrain-rgb/{z}/{x}/{y}.png", "Terrain-RGB tile", {"image/png": BINARY}, (VERSION,)),
    )  # fmt: skip


def _tiles() -> tuple[Operation, ...]:
    text, tile = {JSON: ref("tileJson")}, "{tileMatrixSetId}/{z}/{row}/{col}"
    return (
        Operation("/tileMatrixSets", "Tile matrix sets", _both(JSON, "tileMatrixSets"), PAGE),
        Operation("/tileMatrixSets/{tileMatrixSetId}", "One tile matrix set", _both(JSON, "tileMatrixSet"), PAGE),
        Operation(f"{COLLECTION}/tilejson.json", "TileJSON 3.0 of a layer", text, (TMS,)),
        Operation(f"{FEATURES}/tiles", "Vector tilesets of a layer", _both(JSON, "tilesets"), PAGE),
        Operation(f"{FEATURES}/tiles/{{tileMatrixSetId}}", "Vector tileset of a layer", _both(JSON, "tileset"), PAGE),
        Operation(f"{COLLECTION}/tiles/{tile}", "MVT or image tile of a layer", {MVT: BINARY} | IMAGES, SELECTION,
                  answers=NO_TILE),
        Operation("/tiles", "Vector tilesets of the whole city", _both(JSON, "tilesets"), PAGE),
        Operation("/tiles/tilejson.json", "TileJSON 3.0 of the whole city", text, (TMS, CHOSEN)),
        Operation("/tiles/{tileMatrixSetId}", "Vector tileset of the whole city", _both(JSON, "tileset"), PAGE),
        Operation(f"/tiles/{tile}", "MVT tile of the whole city", {MVT: BINARY}, ("datetime", CHOSEN),
                  answers=NO_TILE),
        *(each for root, words in ((COLLECTION, "in the default style"),
                                   (f"{COLLECTION}/styles/{{styleId}}", "in a style"))
          for each in _map_tiles(root, words, tile, LOOK[1:] if "styleId" in root else LOOK)),
    )  # fmt: skip


def _map_tiles(root: str, words: str, tile: str, look: tuple[dict[str, Any], ...]) -> tuple[Operation, ...]:
    """Tiles of pictures of one layer: drawn features, or images."""
    kinds = "Features take what they are drawn with and filter; rasters take epoch, asset and colours."
    passed = (EPOCH, ASSET, *look, *DRAWN)
    return (
        Operation(f"{root}/map/tiles", f"Map tilesets of a layer, {words}. {kinds}", {JSON: ref("tilesets")},
                  (ONLY_JSON, *passed)),
        Operation(f"{root}/map/tiles/{{tileMatrixSetId}}", f"Map tileset of a layer, {words}. {kinds}",
                  {JSON: ref("tileset")}, (ONLY_JSON, *passed)),
        Operation(f"{root}/map/tiles/{tile}", f"Map tile of a layer, {words}. {kinds}", IMAGES,
                  (IMAGE_FORMAT, *passed, VERSION)),
    )  # fmt: skip


def _others() -> tuple[Operation, ...]:
    styles, style = _both(JSON, "styles"), {MAPLIBRE: ref("style")}
    return (
        Operation("/styles", "Styles of the map of all layers", styles, PAGE),
        Operation("/styles/{styleId}", "A MapLibre style of all layers", style, ("lang",)),
        Operation(f"{FEATURES}/styles", "Styles of a layer", styles, PAGE),
        Operation(f"{FEATURES}/styles/{{styleId}}", "A MapLibre style of a layer", style, ("lang",)),
        Operation(f"{COLLECTION}/points.copc.laz", "Point cloud (COPC), byte ranges",
                  {"application/vnd.laszip+copc": BINARY}, (ASSET,), answers={206: "A range of bytes"}),
        Operation(f"{COLLECTION}/raster.tif", "Raster (COG), byte ranges", {"image/tiff": BINARY}, (EPOCH, ASSET),
                  answers={206: "A range of bytes"}),
        Operation("/qgis/city.qgs", "QGIS project with every layer", {"application/x-qgis-project": WORD}, ("lang",)),
        Operation("/health", "Is the server up", {JSON: ref("health")}),
    )  # fmt: skip


def operations(items: tuple[str, ...], item: tuple[str, ...]) -> tuple[Operation, ...]:
    """All of them; `items` and `item` name the query parameters of features."""
    return (*_common(items, item), *_sets_3d(), *_terrain(), *_tiles(), *_others())
