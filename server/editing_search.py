"""A CQL2 filter as the body of a POST to `/items`: the same answer as GET with `filter` (OWSLib asks like that)."""

from urllib.parse import urlencode

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server import editing_body, features
from server.serving import Serving
from twin.store import cql2_parse


def is_filter(body: bytes) -> bool:
    """True for a JSON object with `op` that is no feature."""
    if b'"op"' not in body[:200]:
        return False
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and "op" in document and "type" not in document


def answer(request: Request, body: bytes) -> Response:
    """The page that GET with this filter gives, with links that carry the filter."""
    expression = orjson.dumps(cql2_parse.from_json(editing_body.parsed(body))).decode()
    asked = urlencode([*request.query_params.multi_items(), ("filter", expression), ("filter-lang", "cql2-json")])
    serving: Serving = request.app.state.serving
    most = serving.settings.max_url_bytes
    if len(asked) > most:  # its links could not be followed
        raise HTTPException(413, f"The filter has {len(asked):,} bytes in an address; at most {most:,} are read.")
    scope = {**request.scope, "method": "GET", "query_string": asked.encode("ascii")}
    return features.items(Request(scope))
