"""The rules that tiles are checked against: code, severity, what must hold and what to do where it does not.

`error`: a client that follows the standard may fail or show wrong things. `warning`: the standard or a known client
advises otherwise. `info`: worth knowing. The same table is in docs/tiles/verify.md.
"""

from typing import NamedTuple

from layers.issue import Severity


class Rule(NamedTuple):
    """One rule; `says` is what must hold."""

    severity: Severity
    says: str
    hint: str = ""


_E: Severity = "error"
_W: Severity = "warning"
_I: Severity = "info"

READING = {
    "MISSING": Rule(_E, "Every address that is named answers.", "Write the file, or do not name it."),
    "OUTSIDE": Rule(_E, "Addresses stay in the folder or on the host that was given.", "Give the folder above."),
    "TOO_LARGE": Rule(_E, "A file has at most 256 MiB after decompression.", "Split it."),
    "ENCODING": Rule(_E, "The body fits its Content-Encoding.", "Compare the header with the bytes."),
    "JSON_INVALID": Rule(_E, "JSON is UTF-8, finite, nested at most 256 deep and an object.", "Write it anew."),
    "CONTENT_UNKNOWN": Rule(_W, "The format of a content is known.", "Use glTF 2.0 binary."),
    "CONTENT_LEGACY": Rule(_I, "Contents are glTF; i3dm, pnts and cmpt of 3D Tiles 1.0 are only looked at."),
    "LIMIT_REACHED": Rule(_I, "Everything was read.", "Give a higher --limit, or a part of the tiles."),
    "NOTHING_FOUND": Rule(_E, "There are tiles at the target.", "Name a tileset.json, layer.json, TileJSON or tile."),
}

TILESET = {
    "TILESET_STRUCTURE": Rule(_E, "Objects, arrays, numbers and strings are where OGC 22-025r4 wants them."),
    "TILESET_VERSION": Rule(_E, "asset.version is 1.0 or 1.1."),
    "TILESET_EXTENSIONS": Rule(_E, "extensionsRequired is part of extensionsUsed, both list names once."),
    "TILESET_EXTENSION_UNKNOWN": Rule(_W, "Required extensions are ones that clients know."),
    "TILESET_EXTENSION_UNDECLARED": Rule(_E, "Extensions that are used are declared in extensionsUsed."),
    "TILESET_LOOP": Rule(_E, "External tilesets do not lead back to themselves."),
    "TILESET_METADATA": Rule(_E, "Metadata fit their class: known class, known and required properties, types."),
    "TILE_VOLUME": Rule(_E, "A bounding volume is exactly one of box (12), region (6) and sphere (4), and sound."),
    "TILE_ERROR": Rule(_E, "A geometric error is a number not below 0."),
    "TILE_ERROR_GROWS": Rule(_E, "Geometric errors do not grow from a tile to its children."),
    "TILE_REFINE": Rule(_E, "refine is ADD or REPLACE, and the root has one."),
    "TILE_TRANSFORM": Rule(_E, "A transform is 16 numbers of an invertible affine matrix."),
    "TILE_CONTENT": Rule(_E, "A tile has content or contents, each with a uri."),
    "TILE_OUTSIDE_PARENT": Rule(
        _W, "A tile's volume lies in that of its parent (1 mm + 1e-6 of its size; implicit roots apart)."
    ),
    "TILE_CONTENT_VOLUME": Rule(_W, "A content's volume lies in that of its tile (1 mm + 1e-6 of its size)."),
    "TILE_CONTENT_OUTSIDE": Rule(
        _E, "Vertices lie in the volumes of content, tile and the tile above an implicit root (1 mm + 1e-5)."
    ),
    "TILE_DEPTH": Rule(_E, "Tiles and external tilesets are nested at most 256 and 32 deep."),
    "FEATURE_REPEATED": Rule(_E, "With ADD, a feature (semantic ID) is in one tile, once."),
    "IMPLICIT_STRUCTURE": Rule(
        _E, "implicitTiling has subdivisionScheme, subtreeLevels, availableLevels, subtrees.uri."
    ),
    "IMPLICIT_TEMPLATE": Rule(_E, "Template addresses name {level}, {x}, {y}, and {z} in an octree; nothing else."),
    "IMPLICIT_ROOT": Rule(_E, "The root of implicit tiling has a box or region, no children, no metadata."),
    "IMPLICIT_LEVELS": Rule(_E, "Nothing is available at or below level availableLevels."),
    "SUBTREE_HEADER": Rule(_E, "A subtree starts with magic subt, version 1, and its lengths add up."),
    "SUBTREE_PADDING": Rule(_E, "JSON and binary of a subtree end at multiples of 8 bytes, with blanks and zeros."),
    "SUBTREE_STRUCTURE": Rule(_E, "A subtree has tile, content and child subtree availability over known views."),
    "SUBTREE_BITSTREAM": Rule(_E, "A bitstream has one bit a tile, rounded up to bytes; bits beyond are 0."),
    "SUBTREE_COUNT": Rule(_E, "availableCount is the number of bits that are set."),
    "SUBTREE_EMPTY": Rule(_E, "A subtree has its root tile."),
    "SUBTREE_PARENT": Rule(_E, "A tile is available only where its parent is; a child subtree likewise."),
    "SUBTREE_CONTENT": Rule(_E, "Content is available only where the tile is."),
    "SUBTREE_METADATA": Rule(_E, "Tables of a subtree have one row an available tile or content, and sound values."),
}

GLTF = {
    "GLB_HEADER": Rule(_E, "A glb starts with glTF, version 2 and its own length."),
    "GLB_CHUNK": Rule(_E, "Chunks lie in the file at multiples of 4, JSON first, then BIN."),
    "GLTF_STRUCTURE": Rule(_E, "Objects, arrays, numbers and strings are where glTF 2.0 wants them."),
    "GLTF_VERSION": Rule(_E, "asset.version is 2.x."),
    "GLTF_EXTENSIONS": Rule(_E, "extensionsRequired is part of extensionsUsed; what is used is declared."),
    "GLTF_EXTENSION_UNKNOWN": Rule(_W, "Required extensions are ones that clients of 3D Tiles know."),
    "GLTF_REFERENCE": Rule(_E, "Indices of accessors, views, meshes, nodes, materials, textures exist."),
    "GLTF_NODE_LOOP": Rule(_E, "Nodes form trees: no loop, one parent each."),
    "GLTF_TRANSFORM": Rule(_E, "Node transforms are finite; rotations have length 1."),
    "GLTF_VIEW_RANGE": Rule(_E, "A buffer view lies in its buffer, a buffer in its chunk."),
    "GLTF_ACCESSOR_RANGE": Rule(_E, "An accessor lies in its buffer view."),
    "GLTF_ALIGNMENT": Rule(_E, "Accessors start at multiples of their component, vertex strides at multiples of 4."),
    "GLTF_MESHOPT": Rule(_E, "EXT_meshopt_compression decodes to the length that its view declares."),
    "GLTF_ATTRIBUTE": Rule(_E, "Attributes of a primitive have the types of glTF and one count."),
    "GLTF_QUANTIZATION": Rule(_E, "Integer positions and normals need KHR_mesh_quantization as required."),
    "GLTF_MINMAX": Rule(_E, "min and max of POSITION are there and true."),
    "GLTF_NOT_FINITE": Rule(_E, "Vertex data are finite."),
    "GLTF_INDEX_RANGE": Rule(_E, "Vertex indices are below the vertex count and not the restart value."),
    "GLTF_INDEX_COUNT": Rule(_E, "The number of indices or vertices fits the mode (threes for triangles)."),
    "GLTF_DEGENERATE": Rule(_I, "Triangles have an area."),
    "GLTF_NORMAL_LENGTH": Rule(_E, "Normals have length 1 (0.7 %; 2 % in 8 bits)."),
    "GLTF_IMAGE": Rule(_E, "Images decode, have at most 2^26 pixels and the declared type."),
    "GLTF_DRACO": Rule(_I, "Geometry is readable here; Draco is not decoded."),
    "GLTF_INSTANCING": Rule(_E, "Instance attributes have one count and the types of EXT_mesh_gpu_instancing."),
    "FEATURES_STRUCTURE": Rule(_E, "A feature id set has featureCount and one source that exists."),
    "FEATURES_RANGE": Rule(_E, "Feature ids are whole, at most featureCount different, below the table's count."),
    "FEATURES_COUNT": Rule(_W, "featureCount is the number of different feature ids."),
    "METADATA_SCHEMA": Rule(_E, "A schema has an id, classes, properties and enums with legal names and types."),
    "METADATA_NODATA": Rule(_E, "noData fits the type of its property; BOOLEAN and required ones have none."),
    "METADATA_TABLE": Rule(_E, "A property table has a known class, a count, known properties, the required ones."),
    "METADATA_SIZE": Rule(_E, "Values and offsets have the size that count and type say, and their views exist."),
    "METADATA_ALIGNMENT": Rule(_W, "Views of property tables start at multiples of 8 bytes."),
    "METADATA_OFFSETS": Rule(_E, "Offsets start at 0, never fall and end at the values' end."),
    "METADATA_UTF8": Rule(_E, "Strings are UTF-8."),
    "METADATA_ENUM": Rule(_E, "Enum values are among those of the enum, or noData."),
    "METADATA_RANGE": Rule(_E, "Values lie between the property's min and max."),
    "METADATA_ATTRIBUTE": Rule(_E, "A property attribute fits the vertex attribute that it names."),
}

TERRAIN = {
    "TERRAIN_TRUNCATED": Rule(_E, "Header, vertices, triangles and edges lie in the file."),
    "TERRAIN_HEADER": Rule(_E, "Header numbers are finite and the radius is not negative."),
    "TERRAIN_HEIGHTS": Rule(_E, "The lowest height is not above the highest."),
    "TERRAIN_QUANTIZED": Rule(_E, "Decoded u, v and height lie in 0..32767."),
    "TERRAIN_SPHERE": Rule(_E, "The bounding sphere contains all vertices (1 m + two quantisation steps)."),
    "TERRAIN_HORIZON": Rule(_E, "The horizon occlusion point lies as far out as the vertices need."),
    "TERRAIN_HIGH_WATER": Rule(
        _E, "High-water-mark codes never lead below vertex 0 (QGIS crashes).", "Number the vertices by first use."
    ),
    "TERRAIN_INDEX_RANGE": Rule(_E, "Triangle and edge indices are below the vertex count."),
    "TERRAIN_UNUSED": Rule(_W, "Every vertex is used by a triangle."),
    "TERRAIN_WINDING": Rule(_E, "Triangles turn counter-clockwise seen from above."),
    "TERRAIN_AREA": Rule(_W, "The triangles cover the tile once."),
    "TERRAIN_EDGE_OFF": Rule(_E, "Vertices of an edge list lie on that edge."),
    "TERRAIN_EDGE_MISSING": Rule(_E, "All vertices on an edge are in its list."),
    "TERRAIN_EDGE_REPEATED": Rule(_E, "A vertex is in an edge list once."),
    "TERRAIN_EXTENSION": Rule(_E, "Extensions are framed by id and length, and 1, 2 and 4 have their own form."),
    "TERRAIN_EDGE_CRACK": Rule(_E, "Neighbours' shared edges have the same vertices, heights within the quantisation."),
    "TERRAIN_EDGE_INEXACT": Rule(_W, "Neighbours' shared edges decode to the same heights (1 µm)."),
    "LAYER_JSON_STRUCTURE": Rule(_E, "layer.json has tiles, bounds, minzoom, maxzoom in the form of its standard."),
    "LAYER_JSON_FORMAT": Rule(_E, "format is quantized-mesh-1.0 (CesiumJS fails without, QGIS compares exactly)."),
    "LAYER_JSON_QGIS": Rule(_E, "projection, scheme and version are there, as QGIS needs."),
    "LAYER_JSON_AVAILABLE": Rule(_E, "available has one list of sound ranges a level, up to maxzoom (QGIS trusts it)."),
    "LAYER_JSON_METADATA": Rule(_W, "No metadataAvailability: CesiumJS ignores `available` where it is."),
    "LAYER_JSON_PARENT": Rule(_E, "Every available tile below level 0 has its parent available."),
    "LAYER_JSON_FOUR": Rule(_E, "Children of a tile are available all four or none."),
    "LAYER_JSON_ROOT": Rule(_E, "EPSG:4326 has 0/0/0 and 0/1/0, EPSG:3857 has 0/0/0."),
    "TERRAIN_MISSING": Rule(_E, "Every tile in `available` answers."),
}

MVT = {
    "MVT_PROTOBUF": Rule(_E, "A tile is well-formed protobuf with the fields of MVT."),
    "MVT_VERSION": Rule(_E, "The version of a layer is 2."),
    "MVT_NAME": Rule(_E, "Layers have names, each once in a tile."),
    "MVT_EXTENT": Rule(_E, "extent is above 0."),
    "MVT_EMPTY_LAYER": Rule(_W, "A layer has features."),
    "MVT_TAGS": Rule(_E, "Tags come in pairs, inside keys and values, no key twice a feature."),
    "MVT_UNUSED": Rule(_W, "Every key is used, and there once."),
    "MVT_UNUSED_VALUE": Rule(_I, "Every value is used."),
    "MVT_VALUE_REPEATED": Rule(_I, "A value is in the list of values once."),
    "MVT_VALUE": Rule(_E, "A value has exactly one field of its type; strings are UTF-8."),
    "MVT_TYPE": Rule(_E, "The geometry type is point, line or polygon."),
    "MVT_COMMAND": Rule(_E, "Geometry commands are those that the type allows, with counts that fit."),
    "MVT_RING": Rule(_E, "Rings have three vertices or more and are closed by ClosePath."),
    "MVT_ZERO_AREA": Rule(_W, "Rings have an area."),
    "MVT_WINDING": Rule(_E, "A polygon starts with an exterior ring (positive area)."),
    "MVT_FEATURE_ID": Rule(_W, "Feature ids are unique in a layer of a tile."),
    "MVT_BUFFER": Rule(_W, "Coordinates reach at most 1/16 of the extent beyond the tile."),
    "TILEJSON_STRUCTURE": Rule(_E, "tilejson, tiles, bounds and zooms have the form of TileJSON."),
    "TILEJSON_VERSION": Rule(_W, "tilejson is 3.x.x."),
    "TILEJSON_LAYERS": Rule(_E, "vector_layers has each layer once, with an id and fields."),
    "TILEJSON_UNDECLARED": Rule(_W, "Layers and keys of tiles are in vector_layers."),
    "TILEJSON_NO_TILES": Rule(_W, "Some tile of a TileJSON answers."),
    "RASTER_TILE": Rule(_E, "Raster tiles decode and are square."),
}

RULES: dict[str, Rule] = READING | TILESET | GLTF | TERRAIN | MVT
