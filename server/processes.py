"""`/processes`: the analyses of `twin.analysis` as OGC API Processes (18-062r2), executed at once."""

from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from layers.errors import InvalidInput
from server import answer
from server.serving import base, language, snapshot
from twin import analysis
from twin.analysis.process import Parameter, Process

EXECUTE = "http://www.opengis.net/def/rel/ogc/1.0/execute"


def listing(request: Request) -> Response:
    """Every process in short."""
    address, code = base(request), language(request)
    processes = [_summary(each, address, code) for each in analysis.registry().values()]
    links = [{"rel": "self", "type": answer.JSON, "href": f"{address}/processes"}]
    return _json(request, {"processes": processes, "links": links})


def description(request: Request) -> Response:
    """One process with the JSON Schemas of its inputs and outputs."""
    return _json(
        request, _described(analysis.process(request.path_params["process"]), base(request), language(request))
    )


async def execution(request: Request) -> Response:
    """Run it and answer with the result, as a JSON object."""
    process = analysis.process(request.path_params["process"])
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


def _summary(process: Process, address: str, code: str) -> dict[str, Any]:
    own = f"{address}/processes/{process.id}"
    return {
        "id": process.id,
        "title": getattr(process.title, code),
        "description": getattr(process.description, code),
        "version": process.version,
        "keywords": list(process.keywords),
        "jobControlOptions": ["sync-execute"],
        "outputTransmission": ["value"],
        "links": [
            {"rel": "self", "type": answer.JSON, "href": own},
            {"rel": EXECUTE, "type": answer.JSON, "href": f"{own}/execution"},
        ],
    }


def _described(process: Process, address: str, code: str) -> dict[str, Any]:
    inputs = {name: _parameter(each, code) | {"minOccurs": int(each.required)} for name, each in process.inputs.items()}
    outputs = {name: _parameter(each, code) for name, each in process.outputs.items()}
    return _summary(process, address, code) | {"inputs": inputs, "outputs": outputs}


def _parameter(parameter: Parameter, code: str) -> dict[str, Any]:
    return {"title": getattr(parameter.title, code), "schema": parameter.schema}


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
