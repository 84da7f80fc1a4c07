"""The process that touches one IFC file: it parses the file and answers questions about it over a connection.

A fork of `ingest.ifc.zygote`. Parser and kernels are native code that may crash, loop or print to standard output;
here they can do all three without harm. Requests and answers are tuples:

    ("survey",)             -> ("survey", facts, log)
    ("missing", ids)        -> ("missing", ids that the parser did not keep)
    ("rows", ids)           -> ("rows", [row, ...])
    ("group", rows, ids)    -> ("rows", [row, ...]), some ("made", shapes), at the end ("done",): the quick way
    ("shapes", ids, kernel) -> for each id ("start", id) then ("made", shapes) or ("miss", id, reason); then ("done",)
    ("fork",) + descriptor  -> process id of a copy of this process that serves the descriptor
    ("fate", pid, wait)     -> how that copy ended (`os.waitpid`), None while it runs
    a failure               -> ("failed", kind, message, log)

`shapes` is (geometries, places): {key: arrays} of shapes not sent before in this answer, and (id, key, 4 x 4, kernel).
"""

import resource
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ifcopenshell

from ingest.ifc import facts as ifc_facts
from ingest.ifc import kernels as ifc_kernels
from ingest.ifc import zygote as ifc_zygote

MEMORY_HEADROOM = 4 << 30
"""Bytes that meshing may need on top of the parsed model; beyond it one element fails, not the machine."""


def serve(connection: Connection, path: str) -> None:
    """Parse one file and answer until the other end hangs up."""
    try:
        model = ifc_facts.open_model(path)
    except (ifcopenshell.Error, ifcopenshell.SchemaError, OSError, ValueError, RuntimeError) as error:
        connection.send(("failed", type(error).__name__, str(error), ifcopenshell.get_log()))
        return
    _limit_memory()
    _answer(connection, model)


def _answer(connection: Connection, model: Any) -> None:
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        if request[0] == "survey":
            connection.send(("survey", ifc_facts.survey(model), ifcopenshell.get_log()))
        elif request[0] == "rows":
            connection.send(("rows", ifc_facts.rows(model, request[1])))
        elif request[0] == "missing":
            connection.send(("missing", ifc_facts.missing(model, request[1])))
        elif request[0] == "fork":
            connection.send(ifc_zygote.adopt(connection, lambda each: _answer(each, model)))
        elif request[0] == "fate":
            connection.send(ifc_zygote.fate(*request[1:]))
        elif request[0] == "group":
            connection.send(("rows", ifc_facts.rows(model, request[1])))
            for made in ifc_kernels.group(model, request[2]):
                connection.send(("made", *made))
            connection.send(("done",))
        else:
            _one_by_one(connection, model, *request[1:])


def _one_by_one(connection: Connection, model: Any, ids: list[int], kernel: str) -> None:
    for each in ids:
        connection.send(("start", each))
        made, reason = ifc_kernels.single(model, each, kernel)
        connection.send(("miss", each, reason) if made is None else ("made", *made))
    connection.send(("done",))


def _limit_memory() -> None:
    statm = Path("/proc/self/statm")
    if sys.platform == "linux" and statm.exists():
        used = int(statm.read_text().split()[5]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = used + MEMORY_HEADROOM
        resource.setrlimit(
            resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
