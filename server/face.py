"""A face: one surface of the server (Features, Coverages, WMS …) with its routes and what documents say of it.

`/api`, `/conformance`, the landing page and the collections are put together from the faces that `server.app` lists,
so that what a face serves is declared where it is served.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

if TYPE_CHECKING:
    from server.serving import Snapshot

SPEC = "http://www.opengis.net/spec/"
Link = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One method of one path, as OpenAPI 3.0 says it.

    Attributes
    ----------
    path : with placeholders that are named in `components.parameters` (`/collections/{featuresId}/items`)
    summary : what it gives, in English
    media : media types of the answer, or media type -> JSON Schema of the answer
    parameters : names in `components.parameters`, or whole parameter objects (see `query`)
    method : lower case
    body : media type -> JSON Schema of what is sent; None where nothing is
    status : of success
    answers : further statuses that mean something here -> description
    tag : heading in the API page
    errors : media types of errors where they are no problem documents (services older than OGC API)
    """

    path: str
    summary: str
    media: Sequence[str] | Mapping[str, dict[str, Any]]
    parameters: tuple[str | dict[str, Any], ...] = ()
    method: str = "get"
    body: Mapping[str, dict[str, Any]] | None = None
    status: int = 200
    answers: Mapping[int, str] = field(default_factory=dict)
    tag: str = ""
    errors: tuple[str, ...] = ()


def query(name: str, description: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    """A query parameter of one operation; those that several share stand in `server.openapi`."""
    return {
        "name": name, "in": "query", "required": required, "description": description, "schema": schema,
        "style": "form", "explode": False,
    }  # fmt: skip


def _no_links(*_: Any) -> list[Link]:
    return []


def _no_members(*_: Any) -> dict[str, Any]:
    return {}


def merged(document: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """A document with further members; objects in objects are joined, anything else is replaced."""
    made = dict(document)
    for name, value in more.items():
        both = isinstance(made.get(name), dict) and isinstance(value, dict)
        made[name] = merged(made[name], value) if both else value
    return made


@dataclass(frozen=True)
class Face:
    """Routes and declarations of one surface.

    Attributes
    ----------
    schemas : JSON Schemas by name, for `components.schemas`; operations refer to them as `#/components/schemas/name`
    conformance : classes that are implemented and tested, without `SPEC` in front. Clients compare them literally
    landing_links : links of the landing page; addresses begin with `server.ogc.BASE`
    layer_links : links of one layer's collection, given its id
    layer_members : further members of one layer's collection, given its id; see `merged`
    collections : documents of collections that are no layers, given the language
    """

    routes: Sequence[BaseRoute]
    operations: tuple[Operation, ...] = ()
    conformance: tuple[str, ...] = ()
    landing_links: Callable[[Snapshot], list[Link]] = _no_links
    layer_links: Callable[[Snapshot, str], list[Link]] = _no_links
    layer_members: Callable[[Snapshot, str], dict[str, Any]] = _no_members
    collections: Callable[[Snapshot, str], list[dict[str, Any]]] = _no_links
    schemas: Mapping[str, dict[str, Any]] = field(default_factory=dict)
