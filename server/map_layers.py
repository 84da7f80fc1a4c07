"""What can be drawn as a map: layers, their styles, their order; shared by OGC API Maps, WMS and WMTS."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from layers.catalogue import LayerType, Title, category_titles
from layers.crs import Bounds
from layers.errors import InvalidInput, NotFound
from server.serving import KIND_NAMES, Snapshot
from twin.store.interface import Asset

LOG = logging.getLogger("citytwin.server")
DEFAULT = "default"
LABELLED = "default-labelled"
CITY, CITY_LABELLED = "city", "city-labelled"
"""Styles of the whole city, as `/styles` lists them."""
TITLES = {
    DEFAULT: Title("默认样式", "Default style"),
    LABELLED: Title("默认样式，带注记", "Default style with labels"),
    CITY: Title("默认样式", "Default style"),
    CITY_LABELLED: Title("默认样式，带注记", "Default style with labels"),
    "relief": Title("分层设色", "Coloured by height"),
    "hillshade": Title("山体阴影", "Shaded relief"),
    "slope": Title("坡度", "Slope"),
}


@dataclass(frozen=True)
class MapLayer:
    """A layer that can be drawn. `styles` are names, the default first; `bounds` are in the city's CRS."""

    id: str
    type: LayerType
    bounds: Bounds
    styles: tuple[str, ...]
    assets: tuple[Asset, ...] = ()

    @property
    def is_raster(self) -> bool:
        """True for images, false for features."""
        return bool(self.assets)

    @property
    def epochs(self) -> tuple[str, ...]:
        """Dates of its images, oldest first."""
        return tuple(sorted({each.epoch for each in self.assets if each.epoch}))


def readable(city: Snapshot, assets: Sequence[Asset]) -> list[Asset]:
    """Those that can be opened: a damaged raster must not take documents that list many with it. The log names it."""
    return [each for each in assets if each.kind != "raster" or _opens(city, each)]


def _opens(city: Snapshot, asset: Asset) -> bool:
    from tiles import imagery

    def opens() -> bool:
        try:
            imagery.sheets.header(city.city.folder, asset)
        except InvalidInput as error:
            LOG.warning("left out of the lists: %s", error)
            return False
        return True

    return bool(city.make(("opens", asset.path), opens))


def every(city: Snapshot) -> dict[str, MapLayer]:
    """All layers that can be drawn, lowest first: images, then features in the order of the style."""
    return city.make("map layers", lambda: _every(city))


def _every(city: Snapshot) -> dict[str, MapLayer]:
    from tiles import imagery, styles

    found: dict[str, MapLayer] = {}
    for layer in city.files.values():
        bounds = city.bounds_of(layer.id)
        assets = tuple(each for each in layer.assets if each.kind == "raster")
        if assets and bounds:
            try:
                names = imagery.styles(city.city, readable(city, assets) or assets)
            except InvalidInput as error:  # one damaged file must not take all other layers with it
                LOG.warning("%s is not drawn: %s", layer.id, error)
                continue
            found[layer.id] = MapLayer(layer.id, layer.type, bounds, names, assets)
    drawable = {key: info for key, info in city.vectors.items() if info.type.geometry != "none" and info.bounds}
    ordered = styles.style("", [info.type for info in drawable.values()], {})["layers"]
    for name in dict.fromkeys(each["source-layer"] for each in ordered if "source-layer" in each):
        info = drawable[name]
        labelled = (LABELLED,) if info.type.attribute("name") is not None else ()
        assert info.bounds is not None
        found[name] = MapLayer(name, info.type, info.bounds, (DEFAULT, *labelled))
    return found


def one(city: Snapshot, layer_id: str) -> MapLayer:
    """A layer that can be drawn; LayerNotFound for an unknown one, NotFound where there is nothing to draw."""
    known = every(city)
    if layer_id not in known:
        city.type_of(layer_id)
        if layer_id in city.files:
            kind = KIND_NAMES[city.files[layer_id].assets[0].kind]
            raise NotFound(f"{layer_id} is a {kind}: it has no map.", f"See /collections/{layer_id}.")
        raise NotFound(f"{layer_id} has nothing that could be drawn.", f"See /collections/{layer_id}.")
    return known[layer_id]


def features(city: Snapshot) -> list[MapLayer]:
    """The feature layers, lowest first: what a map of the whole city shows."""
    return [each for each in every(city).values() if not each.is_raster]


def some_features(city: Snapshot) -> list[MapLayer]:
    """The feature layers; NotFound where there are none."""
    found = features(city)
    if not found:
        raise NotFound("There is nothing to draw in this city yet.", "Build or add data first.")
    return found


def style_of(layer: MapLayer, name: str | None) -> str:
    """A style of a layer by its name; `default` always means the first. NotFound says which there are."""
    if not name or name == DEFAULT:
        return layer.styles[0]
    if name not in layer.styles:
        raise NotFound(f"{layer.id} has no style {name[:60]!r}.", f"Use {', '.join(layer.styles)}.")
    return name


def item(layer: MapLayer, style: str | None = None, at: datetime | None = None) -> Any:
    """A layer in a style as something to draw; of images those taken until the moment."""
    from tiles import drawing
    from tiles.imagery import Wanted

    name = style_of(layer, style)
    if not layer.is_raster:
        return drawing.VectorItem(layer.id, name == LABELLED)
    return drawing.RasterItem(layer.id, until(layer.assets, at), Wanted(style=name))


def until(assets: Sequence[Asset], at: datetime | None) -> tuple[Asset, ...]:
    """The images of an epoch that had begun by then; those without an epoch always."""
    if at is None:
        return tuple(assets)
    moment = at.isoformat()
    return tuple(each for each in assets if each.epoch is None or each.epoch <= moment[: len(each.epoch)])


def by_category(layers: Sequence[MapLayer]) -> list[tuple[str, Title, list[MapLayer]]]:
    """Layers under the catalogue's categories: id, title, layers; unknown ones count as public."""
    titles = category_titles()
    groups: dict[str, list[MapLayer]] = {key: [] for key in titles}
    for each in layers:
        key = each.type.category if each.type.category in groups else "public"
        groups.setdefault(key, []).append(each)
    public = Title("公共", "Public")
    return [(key, titles.get(key, public), found) for key, found in groups.items() if found]
