"""Analyses: one question a module, each a pure function described once.

A module has `PROCESS`, a `Process` with id, titles, JSON schemas of inputs and outputs and the function. The OGC
process, the command and the viewer panel are thin faces of it. Put a new module's name into `_MODULES`.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from layers.errors import InvalidInput, NotFound
from twin.analysis.process import Process

if TYPE_CHECKING:
    from twin.city import City

__all__ = ["Process", "process", "registry", "run"]

_MODULES = ("buffer_query", "crs_audit")


@lru_cache(maxsize=1)
def registry() -> dict[str, Process]:
    """Every analysis by id."""
    processes = [import_module(f"twin.analysis.{name}").PROCESS for name in _MODULES]
    return {each.id: each for each in processes}


def process(process_id: str) -> Process:
    """One analysis; NotFound with the known ones otherwise."""
    known = registry()
    if process_id not in known:
        raise NotFound(f"There is no process {process_id[:60]!r}.", f"Known: {', '.join(sorted(known))}.")
    return known[process_id]


def run(process_id: str, city: "City", inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Check the inputs against the schema and run. InvalidInput names the input that is wrong."""
    from jsonschema import Draft202012Validator

    chosen = process(process_id)
    validator = Draft202012Validator(chosen.inputs_schema())
    given = dict(inputs)
    error = next(iter(sorted(validator.iter_errors(given), key=lambda each: list(map(str, each.path)))), None)
    if error is not None:
        where = "/".join(map(str, error.path)) or "inputs"
        raise InvalidInput(f"{chosen.id}: {where}: {error.message[:300]}.", f"It takes {', '.join(chosen.inputs)}.")
    return chosen.function(city, **given)
