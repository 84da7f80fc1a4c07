"""Symbols, legends, labels and field names of a QGIS project, from the same colours as the MapLibre styles.

Checked in QGIS 3.40.6, which fills in whatever a project leaves out. Colours come from `tiles.styles.classes`, so that
a city looks alike in the viewer, in vector tiles and in QGIS.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from layers.catalogue import Attribute, LayerType
from tiles.styles import classes, document

SYMBOLS = {"polygon": ("fill", "SimpleFill"), "linestring": ("line", "SimpleLine"), "point": ("marker", "SimpleMarker")}
TILE_GEOMETRY = {"point": "0", "linestring": "1", "polygon": "2"}
"""How QGIS numbers the kinds of geometry in the styles of vector tiles."""
LABEL_SCALE = 35_000
"""Scale (1:n) from which names are drawn: zoom 14 of the MapLibre styles."""
SHOWN_CODES = 4


@dataclass(frozen=True)
class Legend:
    """What a layer is coloured by: an expression of QGIS, and (values, label, colour) of each class; `otherwise` for
    the rest. No classes: one colour.
    """

    expression: str
    entries: tuple[tuple[tuple[str, ...], str, str], ...]
    otherwise: str


def simple(geometry: str) -> str:
    """`point`, `linestring`, `polygon`, or nothing."""
    name = geometry.lower().removesuffix("z").strip().removeprefix("multi")
    return name if name in SYMBOLS else ""


def legend(layer_type: LayerType, code: str) -> Legend:
    """The classes of a layer, labelled in the language `code`."""
    found = classes.of_layer(layer_type)
    plain = next((each.colour for each in found if isinstance(each.colour, str)), None)
    matches = [each for each in found if not isinstance(each.colour, str)]
    if not matches:
        return Legend("", (), plain or classes.DEFAULT)
    if len(found) == 1:
        _, (_, by), *parts, otherwise = matches[0].colour
        attribute = layer_type.attribute(by)
        entries = tuple(_entries(parts, "", attribute, code))
        return Legend(quoted(by), entries, otherwise)
    cases, listed = [], []
    for each in matches:  # each has a filter on the code system: the same digits mean different things
        system = (each.filter or ["", "", ""])[2]
        _, (_, by), *parts, _ = each.colour
        cases.append(f"WHEN {quoted(classes.SYSTEM)} = '{system}' THEN '{system} ' || {quoted(by)}")
        listed += _entries(parts, f"{system} ", layer_type.attribute(by), code)
    return Legend(f"CASE {' '.join(cases)} END", tuple(listed), plain or classes.DEFAULT)


def _entries(
    parts: list[Any], prefix: str, attribute: Attribute | None, code: str
) -> list[tuple[tuple[str, ...], str, str]]:
    codes = {} if attribute is None else attribute.codes
    entries = []
    for values, colour in zip(parts[::2], parts[1::2], strict=True):
        named = [getattr(codes[str(v)], code) if str(v) in codes else str(v) for v in values[:SHOWN_CODES]]
        label = prefix + ", ".join(named) + (" …" if len(values) > SHOWN_CODES else "")
        entries.append((tuple(prefix + str(v) for v in values), label, colour))
    return entries


def quoted(name: str) -> str:
    """A field in an expression of QGIS."""
    return '"' + name.replace('"', '""') + '"'


def renderer(layer: ET.Element, layer_type: LayerType, kind: str, code: str) -> None:
    """One symbol, or categories."""
    made = legend(layer_type, code)
    if not made.entries:
        drawn = ET.SubElement(layer, "renderer-v2", type="singleSymbol")
        _symbol(ET.SubElement(drawn, "symbols"), "0", layer_type, kind, made.otherwise)
        return
    drawn = ET.SubElement(layer, "renderer-v2", type="categorizedSymbol", attr=made.expression)
    categories, symbols = ET.SubElement(drawn, "categories"), ET.SubElement(drawn, "symbols")
    for number, (values, label, colour) in enumerate(made.entries):
        category = ET.SubElement(categories, "category", label=label, symbol=str(number), render="true")
        for value in values:
            ET.SubElement(category, "val", type="string", value=value)
        _symbol(symbols, str(number), layer_type, kind, colour)
    last = str(len(made.entries))
    rest = {"zh": "其他", "en": "other"}[code]
    ET.SubElement(categories, "category", label=rest, symbol=last, render="true", type="NULL", value="NULL")
    _symbol(symbols, last, layer_type, kind, made.otherwise)


def _symbol(parent: ET.Element, name: str, layer_type: LayerType, kind: str, colour: str) -> None:
    symbol_type, symbol_layer = SYMBOLS[kind]
    opacity = min(max(float(layer_type.style.get("opacity", 1)), 0.0), 1.0)
    symbol = ET.SubElement(parent, "symbol", name=name, type=symbol_type, alpha="1")
    inner = ET.SubElement(symbol, "layer", {"class": symbol_layer, "enabled": "1", "pass": "0"})
    options = ET.SubElement(inner, "Option", type="Map")
    solid = ",".join(str(each) for each in rgb(colour))
    width = float(layer_type.style.get("width", 1.0))
    properties = {
        "fill": {
            "color": f"{solid},{round(255 * opacity)}", "outline_color": "107,107,107,255", "outline_width": "0.15",
        },
        "line": {"line_color": f"{solid},255", "line_width": f"{0.5 * width:g}"},
        "marker": {"color": f"{solid},255", "outline_color": "255,255,255,255", "name": "circle", "size": "2.4"},
    }[symbol_type]  # fmt: skip
    for option, value in properties.items():
        ET.SubElement(options, "Option", name=option, value=value, type="QString")


def rgb(colour: str) -> tuple[int, int, int]:
    """`#rrggbb` as numbers; grey for anything else."""
    digits = colour.removeprefix("#")
    try:
        return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
    except ValueError:
        return 136, 136, 136


def labels(layer: ET.Element, layer_type: LayerType, kind: str, name: str = "name") -> None:
    """Names from 1:35,000, in the reader's own font; nothing where a layer has no names."""
    if layer_type.attribute(name) is None:
        return
    layer.set("labelsEnabled", "1")
    _label_settings(ET.SubElement(layer, "labeling", type="simple"), kind, name)


def _label_settings(parent: ET.Element, kind: str, name: str = "name") -> None:
    settings = ET.SubElement(parent, "settings", calloutType="simple")
    text = ET.SubElement(
        settings, "text-style", fieldName=name, isExpression="0", fontSize="9", fontSizeUnit="Point",
        textColor="34,34,34,255", textOpacity="1",
    )  # fmt: skip
    ET.SubElement(
        text, "text-buffer", bufferDraw="1", bufferSize="0.8", bufferSizeUnits="MM", bufferColor="255,255,255,255",
        bufferOpacity="1",
    )  # fmt: skip
    # 0 around the point, 1 over the centre, 2 parallel to the line
    placement = {"point": "0", "polygon": "1", "linestring": "2"}[kind]
    ET.SubElement(settings, "placement", placement=placement, dist="1", distUnits="MM")
    # obstacle 0: else land parcels keep the names of the buildings on them away
    ET.SubElement(
        settings,
        "rendering",
        scaleVisibility="1",
        scaleMin="0",
        scaleMax=str(LABEL_SCALE),
        drawLabels="1",
        obstacle="0",
    )


def field_names(layer: ET.Element, layer_type: LayerType, code: str) -> None:
    """Titles of the attributes, with units, as QGIS shows them in tables and forms."""
    aliases = ET.SubElement(layer, "aliases")
    for each in layer_type.attributes:
        title = getattr(each.title, code)
        shown = f"{title} ({each.unit})" if each.unit else title
        ET.SubElement(aliases, "alias", field=each.name, name=shown)


def chosen_values(layer: ET.Element, layer_type: LayerType, names: tuple[str, ...], code: str) -> None:
    """In forms and tables these attributes are chosen from their codes, by title."""
    fields = ET.SubElement(layer, "fieldConfiguration")
    for name in names:
        attribute = layer_type.attribute(name)
        if attribute is None or not attribute.codes:
            continue
        widget = ET.SubElement(ET.SubElement(fields, "field", name=name), "editWidget", type="ValueMap")
        config = ET.SubElement(ET.SubElement(widget, "config"), "Option", type="Map")
        listed = ET.SubElement(config, "Option", name="map", type="List")
        for value, title in attribute.codes.items():
            entry = ET.SubElement(listed, "Option", type="Map")
            ET.SubElement(entry, "Option", name=getattr(title, code), value=value, type="QString")


def editable(layer: ET.Element, names: Iterable[str], free: tuple[str, ...]) -> None:
    """Of these fields only `free` can be changed in forms and tables; the server has the last word anyway."""
    fields = ET.SubElement(layer, "editable")
    for name in names:
        ET.SubElement(fields, "field", name=name, editable=str(int(name in free)))


def tile_styles(layer: ET.Element, types: list[LayerType], code: str) -> None:
    """Renderer and labels of a layer of vector tiles that holds all these types."""
    ordered = [each for each in document.drawing_order(types) if simple(each.geometry)]
    styles = ET.SubElement(ET.SubElement(layer, "renderer", type="basic"), "styles")
    for each in ordered:
        for label, expression, colour in _tile_classes(legend(each, code)):
            kind = simple(each.geometry)
            name = f"{getattr(each.title, code)} {label}".strip()
            style = _tile_style(styles, name, each.id, kind, expression=expression)
            _symbol(ET.SubElement(style, "symbols"), "0", each, kind, colour)
    named = [each for each in ordered if each.attribute("name") is not None]
    labelling = ET.SubElement(layer, "labeling", type="basic", labelsEnabled="1")
    texts = ET.SubElement(labelling, "styles")
    for each in named:
        kind = simple(each.geometry)
        style = _tile_style(texts, getattr(each.title, code), each.id, kind, min_zoom=document.LABEL_ZOOM)
        _label_settings(style, kind)


def _tile_style(
    parent: ET.Element, name: str, layer_id: str, kind: str, *, expression: str = "", min_zoom: int = -1
) -> ET.Element:
    return ET.SubElement(
        parent, "style", {
            "name": name, "layer": layer_id, "geometry": TILE_GEOMETRY[kind], "expression": expression,
            "enabled": "1", "min-zoom": str(min_zoom), "max-zoom": "-1",
        },
    )  # fmt: skip


def _tile_classes(made: Legend) -> list[tuple[str, str, str]]:
    """(label, expression, colour) of each class; what is in none comes first, so that the others are drawn over it."""
    if not made.entries:
        return [("", "", made.otherwise)]
    drawn = [("", "", made.otherwise)]
    for values, label, colour in made.entries:
        listed = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
        drawn.append((label, f"{made.expression} IN ({listed})", colour))
    return drawn
