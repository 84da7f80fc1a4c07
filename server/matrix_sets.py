"""Routes of the tile matrix sets (OGC API Tiles, 20-057), and the place in one that an address names."""

import re
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import crs
from layers.errors import InvalidInput
from server import answer, negotiation, pages, parameters
from server.serving import base, language, snapshot
from tiles import matrix_set

SCHEME_REL = "http://www.opengis.net/def/rel/ogc/1.0/tiling-scheme"
FRESH_S = 3600
_WHOLE = re.compile(r"-?\d{1,12}")
_COLUMN = re.compile(r"(?P<column>-?\d{1,12})(?P<twice>@2x)?(?:\.(?P<extension>[A-Za-z0-9]{1,8}))?")


@dataclass(frozen=True)
class Position:
    """A tile of a set, and what its address says about the picture: file extension, twice the pixels (`@2x`)."""

    grid: matrix_set.MatrixSet
    z: int
    x: int
    y: int
    extension: str = ""
    twice: bool = False


def position(request: Request, city_crs: str) -> Position:
    """The tile that `{grid}/{z}/{row}/{col}` names, `col` as in `8`, `8.png` or `8@2x.webp`.

    InvalidInput where a part is no number, NotFound off the grid; both name the part.
    """
    parts = request.path_params
    grid = matrix_set.get(parts["grid"], city_crs)
    column = _COLUMN.fullmatch(parts["col"])
    for name in ("z", "row"):
        if not _WHOLE.fullmatch(parts[name]):
            raise InvalidInput(f"{name}={parts[name][:30]!r} is not a whole number.", "Use .../{z}/{row}/{column}.")
    if column is None:
        raise InvalidInput(f"column={parts['col'][:30]!r} is not a whole number.", "Use .../{z}/{row}/{column}.")
    z, x, y = int(parts["z"]), int(column["column"]), int(parts["row"])
    grid.require(z, x, y)
    return Position(grid, z, x, y, (column["extension"] or "").lower(), column["twice"] is not None)


def listing(request: Request) -> Response:
    """`/tileMatrixSets`: every set with the address of its definition."""
    city_crs, address = _asked(request), base(request)
    sets = [matrix_set.get(each, city_crs) for each in matrix_set.ids(city_crs)]
    here = {"rel": "self", "type": answer.JSON, "href": f"{address}/tileMatrixSets"}
    return _json(request, {"links": [here], "tileMatrixSets": [_item(each, address) for each in sets]})


def definition(request: Request) -> Response:
    """`/tileMatrixSets/{id}`: one definition."""
    city_crs = _asked(request)
    return _json(request, matrix_set.get(request.path_params["grid"], city_crs).document())


def _asked(request: Request) -> str:
    parameters.once(request.query_params, ("f", "lang"))
    return snapshot(request).city.config.crs


def _item(each: matrix_set.MatrixSet, address: str) -> dict[str, Any]:
    uri = dict(each.head).get("uri")
    href = f"{address}/tileMatrixSets/{each.id}"
    links = [{"rel": rel, "type": answer.JSON, "href": href, "title": each.title} for rel in ("self", SCHEME_REL)]
    return {"id": each.id, "title": each.title, "crs": crs.uri(each.crs), "links": links} | (
        {"uri": uri} if uri else {}
    )


def _json(request: Request, document: dict[str, Any]) -> Response:
    if negotiation.wants_html(request):
        own = str(document.get("title") or ("瓦片矩阵集" if language(request) == "zh" else "Tile matrix sets"))
        return pages.render(request, snapshot(request), "generic.html", own, document)
    body = answer.json_bytes(document)
    tag = answer.etag(body)
    headers = answer.headers_for(tag, fresh_s=FRESH_S)
    if answer.is_fresh(request, tag):
        return answer.not_modified(headers)
    return Response(body, headers=headers | {"Content-Type": answer.JSON})


def routes() -> list[Route]:
    """The list and each definition."""
    return [
        Route("/tileMatrixSets", listing, methods=["GET"]),
        Route("/tileMatrixSets/{grid}", definition, methods=["GET"]),
    ]
