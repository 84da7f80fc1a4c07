"""`POST /transactions`: several changes of several layers, all of them or nothing, or each for itself.

OGC API Features part 11 (26-018 draft): `{"semantic": "atomic", "transaction": [{"action": "insert", …}, …]}`.
Beyond the draft an action may say on which `version` of a feature it was made; Conflict (409) where that is another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers import catalogue
from layers.errors import CityTwinError, InvalidInput
from server import answer, changes, editing, editing_body, editing_features, filters, parameters, problems
from server.editing_body import WrongMember, kind, object_of
from server.serving import Snapshot, base, snapshot
from twin.edit import Edited, Editing
from twin.store.interface import LayerInfo, Query

MAX_ACTIONS = 1000
SEMANTICS = ("atomic", "batch")
METHODS = ("OPTIONS", "POST")
MEMBERS = {
    "insert": {"items"},
    "replace": {"properties", "filter", "filter-lang", "filter-crs", "version"},
    "update": {"properties", "filter", "filter-lang", "filter-crs", "version"},
    "delete": {"filter", "filter-lang", "filter-crs", "version"},
}
ALWAYS = {"action", "collection", "id", "title", "description"}
SUMMARY = {"insert": "totalInserted", "update": "totalUpdated", "replace": "totalReplaced", "delete": "totalDeleted"}


@dataclass(frozen=True)
class Action:
    """One change of a transaction, its features read; `given` are those of an insert or the one of a replace."""

    where: str
    name: str
    layer: LayerInfo
    document: dict[str, Any]
    given: tuple[editing_features.Given, ...] = ()


@dataclass
class Outcome:
    """What a transaction did."""

    semantic: str
    done: list[tuple[Action, Edited]] = field(default_factory=list)
    exceptions: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, str]] = field(default_factory=list)


async def transactions(request: Request) -> Response:
    """POST and OPTIONS."""
    if request.method == "OPTIONS":
        return await editing.in_thread(request, _options)
    editing.require_editor(request)
    body = await request.body()
    return await editing.in_thread(request, _post, body)


def _options(request: Request) -> Response:
    may = editing.allowed(request, METHODS)
    allow = may if "POST" in may else "OPTIONS"
    headers = {"Allow": allow, "Accept-Post": ", ".join(editing_body.TRANSACTION_TYPES), "Cache-Control": "no-store"}
    return Response(status_code=200, headers=headers)


def _post(request: Request, body: bytes) -> Response:
    parameters.once(request.query_params, ())
    editing_body.media_type(request, body, editing_body.TRANSACTION_TYPES)
    city = snapshot(request)
    document = object_of(editing_body.parsed(body, city.settings.max_edit_points))
    semantic = document.get("semantic", "atomic")
    if semantic not in SEMANTICS:
        raise WrongMember("semantic", f"{str(semantic)[:40]!r} is not offered.", "Use atomic or batch.")
    listed = document.get("transaction")
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_ACTIONS:
        raise WrongMember("transaction", f"a list of 1 to {MAX_ACTIONS:,} actions is expected.")
    source = editing_features.content_crs(request.headers.get("content-crs"), city)
    run = _atomic if semantic == "atomic" else _batch
    return _response(request, run(request, city, listed, source))


def _atomic(request: Request, city: Snapshot, listed: list[Any], source: str) -> Outcome:
    """All or nothing. Everything that can be seen to be wrong is found before the store is locked."""
    outcome = Outcome("atomic")
    actions = [_action(each, f"transaction[{i}]", city, source) for i, each in enumerate(listed)]
    with editing.editing(request, city) as edit:
        for action in actions:
            outcome.done.append((action, _run(request, city, edit, action, source)))
        _finish(edit, outcome)
    return outcome


def _batch(request: Request, city: Snapshot, listed: list[Any], source: str) -> Outcome:
    """Each action is a transaction of its own; those that fail are told."""
    outcome = Outcome("batch")
    for i, each in enumerate(listed):
        try:
            action = _action(each, f"transaction[{i}]", city, source)
            with editing.editing(request, city) as edit:
                step = Outcome("batch", [(action, _run(request, city, edit, action, source))])
                _finish(edit, step)
            outcome.done += step.done
            outcome.issues += step.issues
        except (CityTwinError, HTTPException) as error:
            outcome.exceptions.append(_exception(error, i))
    return outcome


def _exception(error: CityTwinError | HTTPException, i: int) -> dict[str, Any]:
    if isinstance(error, HTTPException):
        return {"action": i, "status": error.status_code, "detail": error.detail}
    status = problems.status_of(error)
    if status >= 500 and status != 503:
        raise error
    return {"action": i, "status": status, "detail": str(error), "code": error.code}


def _finish(edit: Editing, outcome: Outcome) -> None:
    """What follows from the changes, and the versions in which they leave their features."""
    edit.finish()
    outcome.issues += changes.issues_told([*(i for _, done in outcome.done for i in done.issues), *edit.issues])
    for at, (action, done) in enumerate(outcome.done):
        now = changes.held(edit, done.layer, done.ids)
        versions = [now[name].version if name in now else 0 for name in done.ids]
        outcome.done[at] = action, replace(done, versions=versions)


def _response(request: Request, outcome: Outcome) -> Response:
    address = base(request)
    results: dict[str, list[str]] = {}
    total = dict.fromkeys(SUMMARY.values(), 0)
    for action, done in outcome.done:
        total[SUMMARY[action.name]] += len(done.ids)
        results.setdefault(f"{action.name}Results", []).extend(
            changes.address(address, done.layer, name) for name in done.ids
        )
    document: dict[str, Any] = {"semantic": outcome.semantic, "summary": total, **results}
    document |= {"exceptions": outcome.exceptions} if outcome.exceptions else {}
    document["results"] = [
        {
            "action": action.name,
            **({"id": action.document["id"]} if "id" in action.document else {}),
            "collection": done.layer,
            "features": changes.told(done, address),
        }
        for action, done in outcome.done
    ]
    document["issues"] = outcome.issues[: changes.MOST_ISSUES]
    prefer = request.headers.get("prefer", "").replace(" ", "")
    if prefer == "return=none":
        return Response(status_code=204, headers={"Cache-Control": "no-store"})
    if prefer == "return=minimal":
        document = {name: document[name] for name in ("semantic", "summary", "exceptions") if name in document}
    return Response(answer.json_bytes(document), 200, {"Cache-Control": "no-store"}, answer.JSON)


def _action(document: Any, where: str, city: Snapshot, source: str) -> Action:
    document = object_of(document, where)
    name = document.get("action")
    if name not in MEMBERS:
        raise WrongMember(f"{where}.action", f"{str(name)[:40]!r} is none.", f"Use {', '.join(MEMBERS)}.")
    wrong = sorted(document.keys() - ALWAYS - MEMBERS[name])
    if wrong:
        raise WrongMember(f"{where}.{wrong[0]}", f"{name} has no such member.", f"Use {', '.join(MEMBERS[name])}.")
    layer_id = document.get("collection")
    if not isinstance(layer_id, str):
        raise WrongMember(f"{where}.collection", f"the id of a layer is expected, not {kind(layer_id)}.")
    layer = city.vector(layer_id)
    if layer_id == catalogue.SOURCE:
        raise WrongMember(f"{where}.collection", "'source' is written by the build.", "Correct the files instead.")
    return Action(where, name, layer, document, _features(document, name, layer, where, city, source))


def _features(  # noqa: PLR0917
    document: Mapping[str, Any], name: str, layer: LayerInfo, where: str, city: Snapshot, source: str
) -> tuple[editing_features.Given, ...]:
    if name == "insert":
        listed = document.get("items")
        if not isinstance(listed, list) or not listed:
            raise WrongMember(f"{where}.items", "a list of at least one feature is expected.")
        places = [f"{where}.items[{i}]" for i in range(len(listed))]
        return tuple(editing_features.features(listed, places, city, layer.type, source))
    if name == "replace":
        own = object_of(document.get("properties"), f"{where}.properties")
        place = f"{where}.properties.feature"
        return tuple(editing_features.features([own.get("feature")], [place], city, layer.type, source))
    return ()


def _run(request: Request, city: Snapshot, edit: Editing, action: Action, source: str) -> Edited:
    layer_id, where = action.layer.id, action.where
    if action.name == "insert":
        return _told(where, lambda: changes.insert(edit, layer_id, action.given))
    ids = _chosen(city, edit, action)
    now = changes.held(edit, layer_id, ids)
    for name in ids:
        if name not in now:
            raise changes.missing(layer_id, name, f"{where}.filter")
        changes.check_version(f"{where}.version", layer_id, name, _version(request, action, name), now[name])
    if action.name == "delete":
        return _told(where, lambda: edit[layer_id].delete(ids)) if ids else Edited(layer_id, [], [], [])
    if action.name == "replace":
        if len(ids) != 1:
            raise WrongMember(f"{where}.filter", f"{len(ids):,} features are chosen.", "Replace one at a time.")
        given = editing_features.named(action.given[0], ids[0])
        return _told(where, lambda: changes.replace(edit, layer_id, ids[0], given, now[ids[0]]))
    return _updated(city, edit, action, source, now)


def _told(where: str, make: Any) -> Edited:
    """A complaint of the edit itself, under the place of its action."""
    try:
        done: Edited = make()
    except WrongMember:
        raise
    except InvalidInput as error:
        raise WrongMember(where, error.problem, error.hint) from error
    return done


def _updated(city: Snapshot, edit: Editing, action: Action, source: str, now: Mapping[str, changes.Held]) -> Edited:
    """The same change of all features chosen; a geometry is that of one."""
    layer, place = action.layer, f"{action.where}.properties"
    merge = _as_patch(object_of(action.document.get("properties"), place), place)
    if "geometry" in merge and len(now) != 1:
        raise WrongMember(place, f"one geometry cannot be that of {len(now):,} features.", "Move them one by one.")
    if not now:
        return Edited(layer.id, [], [], [])
    first = next(iter(now.values()))
    given = editing_features.patch(merge, city, layer.type, source, current=first.geometry, where=place)
    own = editing_features.unwritable(given.properties, layer.type, first.own(), place)
    given = replace(given, properties=own)
    if len(now) == 1:
        return _told(place, lambda: changes.update(edit, layer.id, next(iter(now)), given, first))
    return _told(place, lambda: edit[layer.id].update(list(now), attributes=own))


def _as_patch(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`add`, `modify` and `delete` of the draft as a merge patch."""
    merge: dict[str, Any] = {"properties": {}}
    for member in ("add", "modify", "delete"):
        listed = given.get(member, [])
        if not isinstance(listed, list):
            raise WrongMember(f"{where}.{member}", f"a list is expected, not {kind(listed)}.")
        for i, each in enumerate(listed):
            place = f"{where}.{member}[{i}]"
            name = each if member == "delete" else object_of(each, place).get("name")
            if not isinstance(name, str) or not name:
                raise WrongMember(place, "the name of a property is expected.")
            value = None if member == "delete" else each.get("value")
            (merge if name == "geometry" else merge["properties"])[name] = value
    unknown = sorted(given.keys() - {"add", "modify", "delete"})
    if unknown:
        raise WrongMember(f"{where}.{unknown[0]}", "an update has add, modify and delete.")
    return merge


def _version(request: Request, action: Action, name: str) -> int | None:
    """The version that is expected of a feature: one number, or by id."""
    stated = action.document.get("version")
    if stated is None and editing.settings_of(request).demand_if_match:
        raise HTTPException(428, f"{action.where}: this server takes edits with the version they were made on alone.")
    found = stated.get(name) if isinstance(stated, dict) else stated
    if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
        raise WrongMember(f"{action.where}.version", f"a number is expected, not {kind(found)}.")
    return found


def _chosen(city: Snapshot, edit: Editing, action: Action) -> list[str]:
    """Ids of the features that `filter` chooses: `{"ids": [...]}`, CQL2 JSON or CQL2 text. There must be one."""
    given, where = action.document.get("filter"), f"{action.where}.filter"
    if given is None:
        raise WrongMember(where, f"{action.name} needs to know which features.", 'For example {"ids": ["B-17"]}.')
    most = city.settings.max_edit_features
    if isinstance(given, dict) and given.keys() == {"ids"}:
        ids = given["ids"]
        if not isinstance(ids, list) or not ids or not all(isinstance(each, str) for each in ids):
            raise WrongMember(f"{where}.ids", "a list of at least one id is expected.")
        found = list(dict.fromkeys(ids))
    else:
        expression = _expression(city, action, given, where)
        parts = edit.batch.query(
            action.layer.id, Query(filter=expression, properties=(), with_geometry=False, limit=most + 1)
        )
        found = [name for part in parts for name in part.ids]
    if len(found) > most:
        raise WrongMember(where, f"more than {most:,} features are chosen.", "Change fewer at once.")
    return found


def _expression(city: Snapshot, action: Action, given: Any, where: str) -> dict[str, Any]:
    language = action.document.get("filter-lang") or ("cql2-text" if isinstance(given, str) else "cql2-json")
    asked = {"filter": given if isinstance(given, str) else orjson.dumps(given).decode(), "filter-lang": str(language)}
    if "filter-crs" in action.document:
        asked["filter-crs"] = str(action.document["filter-crs"])
    try:
        return filters.parse(asked, city)
    except InvalidInput as error:
        raise WrongMember(where, error.problem, error.hint) from error


def routes() -> list[Route]:
    """One address for all layers."""
    return [Route("/transactions", transactions, methods=["POST", "OPTIONS"])]
