"""`/processes`: the analyses of `twin.analysis` as OGC API Processes (18-062r2), executed at once."""

from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import InvalidInput, NotFound
from server import answer
from server.serving import base, language, snapshot
from twin import analysis


def listing(request: Request) -> Response:
    """Every process in short."""
    address, code = base(request), language(request)
    processes = [_summary(each, address, code) for each in analysis.registry().values()]
    links = [{"rel": "self", "type": answer.JSON, "href": f"{address}/processes"}]
    return _json(request, {"processes": processes, "links": links})


def description(request: Request) -> Response:
    """One process with the JSON Schemas of its inputs and outputs."""
    return _json(request, _described(_find(request), base(request), language(request)))


async def execution(request: Request) -> Response:
    """Run it and answer with the result, as a JSON object."""
    process = _find(request)
    body = await request.body()
    try:
        document = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"The body is not JSON: {error}.", 'Send {"inputs": {…}}.') from error
    inputs = document.get("inputs", {}) if isinstance(document, dict) else None
    if not isinstance(inputs, dict):
        raise InvalidInput('The body is not an object with "inputs".', 'Send {"inputs": {…}}.')
    city = (await run_in_threadpool(snapshot, request)).city
    result = await run_in_threadpool(analysis.run, process.id, city, inputs)
    return Response(answer.json_bytes(result), media_type=answer.JSON, headers={"Cache-Control": "no-store"})


def _find(request: Request) -> Any:
    known = analysis.registry()
    name = request.path_params["process"]
    if name not in known:
        raise NotFound(f"There is no process {name[:60]!r}.", f"There is: {', '.join(sorted(known)) or 'none'}.")
    return known[name]


def _json(request: Request, document: dict[str, Any]) -> Response:
    body = answer.json_bytes(document)
    return answer.conditional(request, body, answer.JSON, answer.etag(body))


def routes() -> list[Route]:
    """List, describe, execute."""
    return [
        Route("/processes", listing, methods=["GET"]),
        Route("/processes/{process}", description, methods=["GET"]),
        Route("/processes/{process}/execution", execution, methods=["POST"]),
    ]
