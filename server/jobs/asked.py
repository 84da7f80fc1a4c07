"""What an execute request asks for (18-062r2, 7.11): inputs, outputs, form of the answer, how it is waited for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import orjson

from layers.errors import InvalidInput
from twin.analysis.process import Process

FORMAT_KEYS = frozenset({"mediaType", "encoding", "schema", "format"})
LINK_KEYS = frozenset({"href", "rel", "type", "hreflang", "title"})
TEXT = "text/plain"
SCALARS = ("string", "number", "integer", "boolean")
_PREFERENCE = re.compile(r'^\s*([a-z-]+)(?:\s*=\s*"?([^";]*)"?)?', re.IGNORECASE)


@dataclass(frozen=True)
class Wish:
    """How one output is wanted: `mode` is value or reference, `media_type` None for the declared one."""

    mode: str = "value"
    media_type: str | None = None


@dataclass(frozen=True)
class Form:
    """How the answer is wanted.

    Attributes
    ----------
    response : raw, document, or empty where the request does not say
    outputs : those that are wanted; empty for all
    n_outputs : how many are wanted; an analysis may have no value for some of them
    """

    response: str = ""
    outputs: dict[str, Wish] = field(default_factory=dict)
    n_outputs: int = 0

    def wish(self, name: str) -> Wish:
        """For one output."""
        return self.outputs.get(name, Wish())

    @property
    def by_reference(self) -> bool:
        """Whether an output must have an address."""
        return any(each.mode == "reference" for each in self.outputs.values())


@dataclass(frozen=True)
class Preference:
    """The Prefer header (RFC 7240).

    Attributes
    ----------
    respond : async, sync, or empty
    wait_s : how long an answer is waited for before a job is told instead
    """

    respond: str = ""
    wait_s: float | None = None

    def applied(self, respond: str) -> dict[str, str]:
        """Header that says which preferences were followed when the answer came sync or async."""
        said = [f"respond-{respond}"] if respond == self.respond else []
        said += [f"wait={self.wait_s:g}"] if self.wait_s is not None else []
        return {"Preference-Applied": ", ".join(said)} if said else {}


def preference(headers: list[str]) -> Preference:
    """All Prefer headers; what is not known is ignored, as RFC 7240 says."""
    respond, wait_s = "", None
    for part in ",".join(headers)[:1000].split(","):
        found = _PREFERENCE.match(part)
        if found is None:
            continue
        name, value = found.group(1).lower(), (found.group(2) or "").strip()
        if name in {"respond-async", "respond-sync"}:
            respond = respond or name.removeprefix("respond-")
        elif name == "wait" and value.isascii() and value.isdigit() and wait_s is None:
            wait_s = float(value[:9])
    return Preference(respond, wait_s)


def _not_finite(body: bytes) -> str | None:
    """Where NaN or an infinity stands in what else is JSON, as inputs/name/0; None where there is none."""
    try:
        open_ = [("", json.loads(body))]
    except (ValueError, RecursionError):
        return None
    while open_:
        path, found = open_.pop()
        if isinstance(found, float) and not isfinite(found):
            return path.removeprefix("/")
        children = enumerate(found) if isinstance(found, list) else found.items() if isinstance(found, dict) else ()
        open_ += [(f"{path}/{key}", value) for key, value in children]
    return None


def document(body: bytes) -> dict[str, Any]:
    """The request's body as an object; InvalidInput for anything else."""
    try:
        found = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        where = _not_finite(body)
        if where is not None:
            raise InvalidInput(f"{where} is no finite number, which JSON has no word for.", "Leave it out.") from error
        raise InvalidInput(f"The body is not JSON: {error}.", 'Send {"inputs": {…}}.') from error
    if not isinstance(found, dict) or not isinstance(found.get("inputs", {}), dict):
        raise InvalidInput('The body is not an object with "inputs".', 'Send {"inputs": {…}}.')
    if "subscriber" in found:
        raise InvalidInput(
            "subscriber: this server calls nobody back.", "Leave it out; ask /jobs/{jobId} or use Prefer: wait=N."
        )
    return found


def form(asked: Mapping[str, Any], process: Process) -> Form:
    """`response` and `outputs` of an execute request."""
    response = asked.get("response", "")
    if response not in {"", "raw", "document"}:
        raise InvalidInput(f"response={str(response)[:40]!r} is not offered.", "Use raw or document.")
    outputs = asked.get("outputs", {})
    if not isinstance(outputs, dict):
        raise InvalidInput("outputs is not an object.", 'Write {"NAME": {"transmissionMode": "value"}}.')
    wishes = {name: _wish(name, wish, process) for name, wish in outputs.items()}
    return Form(response, wishes, len(wishes) or len(process.outputs))


def _wish(name: str, wish: Any, process: Process) -> Wish:
    if name not in process.outputs:
        raise InvalidInput(f"{process.id} has no output {name[:60]!r}.", f"It has {', '.join(process.outputs)}.")
    if not isinstance(wish, dict):
        raise InvalidInput(f"outputs/{name} is not an object.", 'Write {"transmissionMode": "value"}, or {}.')
    mode = wish.get("transmissionMode", "value")
    if mode not in {"value", "reference"}:
        raise InvalidInput(f"outputs/{name}/transmissionMode={str(mode)[:40]!r}.", "Use value or reference.")
    asked = wish.get("format", {})
    kind = asked.get("mediaType") if isinstance(asked, dict) else None
    if kind is None:
        return Wish(mode)
    offered = media_types(process, name)
    plain = str(kind).split(";")[0].strip().lower()
    for each in offered:
        if plain == each.split(";")[0]:
            return Wish(mode, each)
    raise InvalidInput(
        f"outputs/{name}/format/mediaType={str(kind)[:60]!r} is not offered.", f"Use {' or '.join(offered)}."
    )


def media_types(process: Process, name: str) -> tuple[str, ...]:
    """Media types in which an output is offered, the declared one first."""
    output = process.outputs[name]
    kinds = [output.media_type]
    if output.media_type.endswith("+json"):
        kinds.append("application/json")
    if output.schema.get("type") in SCALARS and output.media_type == "application/json":
        kinds.append(TEXT)
    return tuple(kinds)


def is_link(value: Any) -> bool:
    """Whether an input value is given by reference."""
    return isinstance(value, dict) and "href" in value and value.keys() <= LINK_KEYS


def plain(value: Any) -> Any:
    """An input value without its qualification: {"value": …, "mediaType": …} is the value."""
    if isinstance(value, dict) and "value" in value and value.keys() - {"value"} <= FORMAT_KEYS:
        return value["value"]
    return value
