"""Formats of `/collections/{id}/items` beside GeoJSON and HTML; all honour the same selection."""

from starlette.requests import Request
from starlette.responses import Response

from layers.errors import InvalidInput
from server import answer
from server.face import Face, Link
from server.formats import cityjson, csv_text, download, flatgeobuf, geopackage, geoparquet, json_fg, models
from server.formats.form import Form
from server.ogc import BASE
from server.parameters import Page
from server.serving import Snapshot
from twin.store.interface import LayerInfo

_ALL = (
    Form(
        "jsonfg", json_fg.MEDIA_TYPE, "fg.json", "JSON-FG", json_fg.write, is_page=True, in_city_crs=True
    ),
    Form("fgb", "application/flatgeobuf", "fgb", "FlatGeobuf", flatgeobuf.write),
    Form("parquet", "application/vnd.apache.parquet", "parquet", "GeoParquet", geoparquet.write),
    Form("gpkg", "application/geopackage+sqlite3", "gpkg", "GeoPackage", geopackage.write, rel="enclosure"),
    Form("csv", "text/csv", "csv", "CSV", csv_text.write),
    Form(
        "cityjson", "application/city+json", "city.json", "CityJSON 2.0", cityjson.write,
        in_city_crs=True, fits=models.has_any, needs="3D models",
    ),
    Form(
        "cityjsonseq", "application/city+json-seq", "city.jsonl", "CityJSONSeq", cityjson.write_sequence,
        in_city_crs=True, fits=models.has_any, needs="3D models",
    ),
)  # fmt: skip
FORMS: dict[str, Form] = {each.name: each for each in _ALL}
"""Formats by name, in the order in which they are offered."""

FORMATS: dict[str, str] = {
    "json": answer.GEOJSON,
    "html": "text/html",
    **{each.name: each.media_type for each in FORMS.values()},
}
"""Name -> media type of everything that `/items` can be had in; the first is given where nothing else is asked for."""


def offered(city: Snapshot, info: LayerInfo) -> dict[str, str]:
    """Formats that a layer can be had in."""
    return {name: kind for name, kind in FORMATS.items() if name not in FORMS or FORMS[name].fits(city, info)}


def respond(name: str, request: Request, city: Snapshot, info: LayerInfo, asked: Page) -> Response:
    """A selection in one of the formats of `FORMS`."""
    form = FORMS[name]
    if not form.fits(city, info):
        names = " or ".join(offered(city, info))
        raise InvalidInput(f"f={name} is not offered for {info.id}: it has no {form.needs}.", f"Use {names}.")
    return download.respond(form, request, city, info, asked)


def _layer_links(city: Snapshot, layer_id: str) -> list[Link]:
    """The items of a layer in each format."""
    if layer_id not in city.vectors:
        return []
    info = city.vectors[layer_id]
    return [
        {"rel": form.rel, "type": form.media_type, "title": form.title,
         "href": f"{BASE}/collections/{layer_id}/items?f={form.name}"}
        for form in FORMS.values() if form.fits(city, info)
    ]  # fmt: skip


def face() -> Face:
    """Links to every format; the routes are those of the features."""
    return Face((), conformance=json_fg.CLASSES, layer_links=_layer_links)
