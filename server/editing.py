"""Editing over HTTP: create, replace, update and delete features (OGC API Features part 4, 20-002r1 draft).

Every request is one transaction of the store: it holds as a whole and is seen by the next reader of any process, or
nothing of it is stored. `/transactions` (part 11) is in `server.transactions`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import anyio
from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import catalogue
from layers.errors import InvalidInput
from server import access, answer, changes, editing_body, editing_features, editing_search, feature_tags, parameters
from server.editing_body import WrongMember
from server.serving import Serving, Snapshot, base, snapshot
from server.settings import Settings
from twin.edit import Edited, Editing
from twin.store.interface import LayerInfo

EDITORS_AT_ONCE = 4
"""Threads for edits: one writes, the others wait for it, and readers have theirs."""
ITEMS_METHODS = ("GET", "HEAD", "OPTIONS", "POST")
ITEM_METHODS = ("GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE")
READING = ("GET", "HEAD", "OPTIONS")


class _AsWritten(bytes):
    """A header's name that stays as it is written. QGIS 3.40 looks for `Location` in this spelling alone; uvicorn's
    fast protocol writes every name in lower case.
    """

    __slots__ = ()

    def lower(self) -> bytes:
        """The name itself."""
        return self


def settings_of(request: Request) -> Settings:
    """Settings of the server that the request came to."""
    return cast(Serving, request.app.state.serving).settings


async def in_thread(request: Request, make: Callable[..., Response], *args: Any) -> Response:
    """Run what edits in a thread of its own kind."""
    limiter = getattr(request.app.state, "editors", None)
    if limiter is None:
        limiter = request.app.state.editors = anyio.CapacityLimiter(EDITORS_AT_ONCE)
    return await run_sync(make, request, *args, limiter=limiter)


def require_editor(request: Request) -> None:
    """403 for who may not edit; the sentence says what would allow it."""
    reason = access.refusal(request, settings_of(request))
    if reason:
        raise HTTPException(403, reason)


@contextmanager
def editing(request: Request, city: Snapshot) -> Iterator[Editing]:
    """One transaction, under the name of who asks."""
    with city.city.editing(access.editor(request)) as edit:
        yield edit


async def items(request: Request) -> Response:
    """Everything that is sent to `/items`: new features, or a CQL2 filter as the body."""
    if request.method == "OPTIONS":
        return await in_thread(request, options, ITEMS_METHODS)
    if request.method != "POST":
        return await in_thread(request, not_allowed, ITEMS_METHODS)
    body = await request.body()
    kind = editing_body.media_type(request, body, editing_body.POST_TYPES)
    if kind in editing_body.CQL2 or editing_search.is_filter(body):
        return await in_thread(request, editing_search.answer, body)
    return await in_thread(request, create, body)


async def item(request: Request) -> Response:
    """Everything that is sent to `/items/{id}` but GET and HEAD."""
    if request.method == "OPTIONS":
        return await in_thread(request, options, ITEM_METHODS)
    made = {"PUT": replace_one, "PATCH": update_one, "DELETE": delete_one}.get(request.method)
    if made is None:
        return await in_thread(request, not_allowed, ITEM_METHODS)
    require_editor(request)
    return await in_thread(request, made, await request.body())


def allowed(request: Request, methods: tuple[str, ...]) -> str:
    """What who asks may do at this address, for `Allow`. NotFound for an unknown layer."""
    city = snapshot(request)
    layer = request.path_params.get("layer")
    if layer is not None:
        city.vector(layer)
    may = layer != catalogue.SOURCE and access.may_edit(request, city.settings)
    return ", ".join(methods if may else READING)


def options(request: Request, methods: tuple[str, ...]) -> Response:
    """What who asks may do here. QGIS offers to edit what it finds in `Allow`, so a filter's POST is not told there."""
    parameters.once(request.query_params, ())
    headers = {"Allow": allowed(request, methods), "Cache-Control": "no-store"}
    headers |= {"Accept-Post": ", ".join(editing_body.POST_TYPES)} if "POST" in methods else {}
    headers |= {"Accept-Patch": ", ".join(editing_body.PATCH_TYPES)} if "PATCH" in methods else {}
    return Response(status_code=200, headers=headers)


def not_allowed(request: Request, methods: tuple[str, ...]) -> Response:
    """405 with what is possible."""
    raise HTTPException(405, headers={"Allow": allowed(request, methods)})


def _layer(request: Request, city: Snapshot) -> LayerInfo:
    parameters.once(request.query_params, ())
    info = city.vector(request.path_params["layer"])
    if info.id == catalogue.SOURCE:
        said = "The layer 'source' is written by the build. Correct the files instead."
        raise HTTPException(405, said, {"Allow": ", ".join(READING)})
    return info


def _parsed(request: Request, body: bytes) -> Any:
    return editing_body.parsed(body, settings_of(request).max_edit_points)


def create(request: Request, body: bytes) -> Response:
    """201 for new features, all of them or none; `Location` where it is one."""
    require_editor(request)
    city = snapshot(request)
    info = _layer(request, city)
    source = editing_features.content_crs(request.headers.get("content-crs"), city)
    document = _parsed(request, body)
    given = editing_features.several(document, city, info.type, source)
    with editing(request, city) as edit:
        done = _named(given[0] if len(given) == 1 else None, info.id, lambda: changes.insert(edit, info.id, given))
        return _answer(request, edit, done, 201)


def replace_one(request: Request, body: bytes) -> Response:
    """PUT: 200 for a feature that was replaced as a whole, 201 for one that is new."""
    city = snapshot(request)
    info = _layer(request, city)
    editing_body.media_type(request, body, editing_body.FEATURE_TYPES, default=editing_body.GEOJSON)
    source = editing_features.content_crs(request.headers.get("content-crs"), city)
    name = request.path_params["feature"]
    document = editing_body.object_of(_parsed(request, body))
    (given,) = editing_features.features([document], [""], city, info.type, source)
    given = editing_features.named(given, name)
    with editing(request, city) as edit:
        now = _expected(request, edit, info.id, name)
        done = _named(given, info.id, lambda: changes.replace(edit, info.id, name, given, now))
        return _answer(request, edit, done, 200 if now else 201)


def update_one(request: Request, body: bytes) -> Response:
    """PATCH: 200 for a feature of which some attributes or the geometry are others now."""
    city = snapshot(request)
    info = _layer(request, city)
    editing_body.media_type(request, body, editing_body.PATCH_TYPES)
    source = editing_features.content_crs(request.headers.get("content-crs"), city)
    name = request.path_params["feature"]
    document = _parsed(request, body)
    with editing(request, city) as edit:
        now = _expected(request, edit, info.id, name)
        if now is None:
            raise changes.missing(info.id, name)
        given = editing_features.patch(document, city, info.type, source, current=now.geometry)
        given = editing_features.named(given, name)
        own = editing_features.unwritable(given.properties, info.type, now.own(), "properties")
        given = replace(given, properties=own)
        done = _named(given, info.id, lambda: changes.update(edit, info.id, name, given, now))
        return _answer(request, edit, done, 200)


def delete_one(request: Request, _: bytes) -> Response:
    """DELETE: 204 for a feature that is gone; its versions stay in the history."""
    city = snapshot(request)
    info = _layer(request, city)
    name = request.path_params["feature"]
    with editing(request, city) as edit:
        if _expected(request, edit, info.id, name) is None:
            raise changes.missing(info.id, name)
        edit[info.id].delete(name)
    return Response(status_code=204)


def _expected(request: Request, edit: Editing, layer_id: str, name: str) -> changes.Held | None:
    """The feature as it is now, if it is the state on which the edit was made: else 412, or 428 where none is said."""
    now = changes.held(edit, layer_id, [name]).get(name)
    if settings_of(request).demand_if_match and not feature_tags.is_asked(request.headers):
        raise HTTPException(428, "This server takes edits with If-Match alone. Give back the ETag that you read.")
    reason = feature_tags.failed(request.headers, now.state if now else None, now.valid_from if now else None)
    if reason:
        raise HTTPException(412, f"{reason} Read it again and repeat the edit.")
    return now


def _named(given: editing_features.Given | None, layer_id: str, make: Callable[[], Edited]) -> Edited:
    """Run an edit; a complaint about its only feature is told by the place in the body."""
    try:
        return make()
    except WrongMember:
        raise
    except InvalidInput as error:
        if given is None or given.id is None:
            raise
        raise changes.renamed(error, given.where, layer_id, given.id) from error


def _answer(request: Request, edit: Editing, done: Edited, status: int) -> Response:
    """What became of the features; with one of them also where it is, and its tag."""
    edit.finish()
    address = base(request)
    now = changes.held(edit, done.layer, done.ids)
    done = replace(edit.told(done), versions=[now[name].version if name in now else 0 for name in done.ids])
    headers = {"Cache-Control": "no-store"}
    if len(done.ids) == 1 and done.ids[0] in now:
        held = now[done.ids[0]]
        headers["ETag"] = feature_tags.of_answer(request, held.state)
        headers["Last-Modified"] = feature_tags.last_modified(held.valid_from)
    document = {
        "collection": done.layer,
        "features": changes.told(done, address),
        "issues": changes.issues_told(done.issues),
    }
    if request.headers.get("prefer", "").replace(" ", "") == "return=minimal":
        response = Response(status_code=204 if status == 200 else status, headers=headers)
    else:
        response = Response(answer.json_bytes(document), status, headers, answer.JSON)
    if status == 201 and len(done.ids) == 1:
        # QGIS 3.40 finds it under exactly this spelling; Starlette would write it in lower case
        response.raw_headers.append(
            (_AsWritten(b"Location"), changes.address(address, done.layer, done.ids[0]).encode("ascii"))
        )
    return response


def routes() -> list[Route]:
    """Beside the GET routes of `server.features`, which come before or after."""
    return [
        Route("/collections/{layer}/items", items, methods=["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        Route("/collections/{layer}/items/{feature:path}", item, methods=["PUT", "PATCH", "DELETE", "POST", "OPTIONS"]),
    ]
