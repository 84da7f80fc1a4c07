"""Entity tags of single features, and preconditions on them (RFC 9110, 8.8.3 and 13.1).

A tag is `"<state>-<representation>"`. The state is made of the feature's whole stored content, so that it differs also
where another program has changed a row in place, and where a feature was deleted and made anew. Every representation
of one state (formats, CRSs, languages, packings) has a tag of its own, as a strong validator must; an edit names the
state, whichever representation it was made on.
"""

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import orjson
import shapely
from starlette.datastructures import Headers
from starlette.requests import Request

from layers.errors import InvalidInput
from twin.store.interface import Features

STATE_CHARACTERS = 20


def state(layer_id: str, features: Features, row: int = 0) -> str:
    """One feature's state as a short token."""
    shape = features.geometry[row]
    attributes = {name: features.attributes.column(name)[row].as_py() for name in features.attributes.column_names}
    content = (
        layer_id,
        features.ids[row],
        int(features.versions[row]),
        features.valid_from[row],
        features.valid_to[row],
        attributes,
        features.extra[row],
    )
    digest = hashlib.blake2b(orjson.dumps(content), digest_size=STATE_CHARACTERS // 2)
    if shape is not None:
        digest.update(shapely.to_wkb(shape))
    return digest.hexdigest()


def tag(of_state: str, *representation: object) -> str:
    """A strong entity tag of one representation of a state."""
    told = "\x1f".join(str(part) for part in representation).encode()
    return f'"{of_state}-{hashlib.blake2b(told, digest_size=4).hexdigest()}"'


def of_answer(request: Request, of_state: str, *representation: object) -> str:
    """The tag of an answer with a feature: whatever in the request changes its bytes is part of it."""
    return tag(of_state, *representation, request.headers.get("accept-encoding", ""))


def last_modified(valid_from: str) -> str:
    """The beginning of a version as an HTTP date, in whole seconds."""
    return format_datetime(_moment(valid_from), usegmt=True)


def _moment(valid_from: str) -> datetime:
    read = datetime.fromisoformat(valid_from)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)


def is_asked(headers: Headers) -> bool:
    """True if an edit says on which state it was made, or that there must be none."""
    return any(name in headers for name in ("if-match", "if-none-match", "if-unmodified-since"))


def failed(headers: Headers, now: str | None, valid_from: str | None) -> str | None:
    """Why an edit with these headers must not be made; None where nothing speaks against it.

    Parameters
    ----------
    now : state of the feature, None where there is none
    valid_from : since when it is like that
    """
    if "if-match" in headers:
        wanted = headers["if-match"]
        if now is None:
            return "If-Match: the feature does not exist."
        if wanted.strip() != "*" and now not in _states(wanted):
            return f"If-Match: the feature has changed since {wanted.strip()[:100]}: someone was faster."
    elif "if-unmodified-since" in headers and _is_newer(valid_from, headers["if-unmodified-since"]):
        return f"If-Unmodified-Since: the feature has changed since {headers['if-unmodified-since'][:40]}."
    if "if-none-match" in headers and now is not None:
        wanted = headers["if-none-match"]
        if wanted.strip() == "*" or now in _states(wanted):
            return "If-None-Match: the feature exists."
    return None


def _is_newer(valid_from: str | None, text: str) -> bool:
    moment = _date(text)
    return valid_from is not None and _moment(valid_from) > moment


def _states(header: str) -> set[str]:
    # a proxy that packs answers turns our strong tags into weak ones; the state they name is the same
    parts = (part.strip().removeprefix("W/").strip('"') for part in header[:10_000].split(","))
    return {part[:STATE_CHARACTERS] for part in parts if part[STATE_CHARACTERS : STATE_CHARACTERS + 1] == "-"}


def _date(text: str) -> datetime:
    try:
        read = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError) as error:
        raise InvalidInput(
            f"If-Unmodified-Since = {text[:60]!r} is no HTTP date.", "Give back what Last-Modified said."
        ) from error
    return read if read.tzinfo else read.replace(tzinfo=UTC)
