"""The style document: layers in drawing order, areas below lines below points, buildings raised by their height."""

from collections.abc import Sequence
from typing import Any

from layers.catalogue import LayerType, category_titles
from tiles.styles import classes

STYLE_TYPE = "application/vnd.mapbox.style+json"
SOURCE = "city"
LABEL_ZOOM = 14
_KINDS = {"point": 2, "multipoint": 2, "linestring": 1, "multilinestring": 1, "polygon": 0, "multipolygon": 0}


def style(
    name: str, types: Sequence[LayerType], source: dict[str, Any], *, language: str = "zh", labels: bool = False
) -> dict[str, Any]:
    """A style of some layers over one vector source.

    Parameters
    ----------
    source : the entry in `sources`: `{"type": "vector", "tiles": […], …}`, addresses absolute
    language : of the layers' names, `zh` or `en`
    labels : names of features as text, in the reader's own fonts
    """
    ordered = drawing_order(types)
    drawn = [entry for each in ordered for entry in _layers(each, language)]
    raised = [_extrusion(each, language) for each in ordered if _is_raised(each)]
    texts = [_label(each, language) for each in ordered if labels and each.attribute("name") is not None]
    return {
        "version": 8,
        "name": name,
        "sources": {SOURCE: source},
        "layers": [
            {"id": "background", "type": "background", "paint": {"background-color": "#f6f5f1"}},
            *drawn,
            *raised,
            *texts,
        ],
    }


def kind(layer_type: LayerType) -> int | None:
    """0 areas, 1 lines, 2 points; None where the type does not say."""
    return _KINDS.get(layer_type.geometry.lower().removesuffix("z").strip())


def _is_raised(layer_type: LayerType) -> bool:
    return kind(layer_type) == 0 and layer_type.attribute("height_m") is not None and layer_type.category != "plan"


def drawing_order(types: Sequence[LayerType]) -> list[LayerType]:
    """From what is drawn first, and so lies below, to what is drawn last."""
    return sorted(types, key=_drawing_order)


def _drawing_order(layer_type: LayerType) -> tuple[Any, ...]:
    """Areas, lines, points; see-through areas first, what stands up last; then by category and id."""
    categories = list(category_titles())
    at = categories.index(layer_type.category) if layer_type.category in categories else len(categories)
    which = kind(layer_type)
    opacity = float(layer_type.style.get("opacity", 1))
    return (0 if which is None else which, _is_raised(layer_type), opacity == 1, at, layer_type.id)


def _layers(layer_type: LayerType, language: str) -> list[dict[str, Any]]:
    makers = {0: (_fill,), 1: (_line,), 2: (_circle,), None: (_fill, _line, _circle)}[kind(layer_type)]
    return [
        _entry(
            layer_type,
            language,
            make(layer_type, colours.colour),
            colours.suffix,
            _only(colours.filter, make, layer_type),
        )
        for colours in classes.of_layer(layer_type)
        for make in makers
    ]


def _only(own: list[Any] | None, make: Any, layer_type: LayerType) -> list[Any] | None:
    """The colours' filter; where geometries are mixed, bound to those that the maker draws."""
    if kind(layer_type) is not None:
        return own
    names = {_fill: "Polygon", _line: "LineString", _circle: "Point"}
    fits = ["==", ["geometry-type"], names[make]]
    return fits if own is None else ["all", own, fits]


def _entry(
    layer_type: LayerType, language: str, drawn: dict[str, Any], suffix: str, only: list[Any] | None
) -> dict[str, Any]:
    mixed = f"-{drawn['type']}" if kind(layer_type) is None or drawn["type"] in {"symbol", "fill-extrusion"} else ""
    head = {"id": f"{layer_type.id}{suffix}{mixed}", "source": SOURCE, "source-layer": layer_type.id}
    title = {"metadata": {"title": getattr(layer_type.title, language)}}
    return head | title | ({} if only is None else {"filter": only}) | drawn


def _fill(layer_type: LayerType, colour: Any) -> dict[str, Any]:
    opacity = min(max(float(layer_type.style.get("opacity", 1)), 0.0), 1.0)
    return {"type": "fill", "paint": {"fill-color": colour, "fill-opacity": opacity, "fill-outline-color": "#6b6b6b"}}


def _line(layer_type: LayerType, colour: Any) -> dict[str, Any]:
    width = float(layer_type.style.get("width", 1.0))
    growing = ["interpolate", ["linear"], ["zoom"], 10, 0.6 * width, 14, 1.2 * width, 18, 3.0 * width]
    return {
        "type": "line",
        "layout": {"line-cap": "round", "line-join": "round"},
        "paint": {"line-color": colour, "line-width": growing},
    }


def _circle(_: LayerType, colour: Any) -> dict[str, Any]:
    growing = ["interpolate", ["linear"], ["zoom"], 10, 1.2, 14, 2.5, 18, 6]
    return {
        "type": "circle",
        "paint": {
            "circle-color": colour, "circle-radius": growing,
            "circle-stroke-color": "#ffffff", "circle-stroke-width": 0.6,
        },
    }  # fmt: skip


def _extrusion(layer_type: LayerType, language: str) -> dict[str, Any]:
    colour = classes.of_layer(layer_type)[0].colour
    drawn = {
        "type": "fill-extrusion",
        "minzoom": LABEL_ZOOM,
        "paint": {
            "fill-extrusion-color": colour, "fill-extrusion-height": ["get", "height_m"],
            "fill-extrusion-opacity": 0.85,
        },
    }  # fmt: skip
    return _entry(layer_type, language, drawn, "", ["has", "height_m"])


def _label(layer_type: LayerType, language: str) -> dict[str, Any]:
    placement = "line" if kind(layer_type) == 1 else "point"
    drawn = {
        "type": "symbol",
        "minzoom": LABEL_ZOOM,
        "layout": {
            "text-field": ["get", "name"], "text-font": ["sans-serif"], "text-size": 12,
            "symbol-placement": placement, **({"text-offset": [0, 0.9]} if kind(layer_type) == 2 else {}),
        },
        "paint": {"text-color": "#222222", "text-halo-color": "#ffffff", "text-halo-width": 1.2},
    }  # fmt: skip
    return _entry(layer_type, language, drawn, "", ["has", "name"])
