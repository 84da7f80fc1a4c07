"""E57 scans -> COPC: each with its pose, colour and intensity; points marked as invalid are counted and left out.

Format: ASTM E2807-11, read by libE57 (pye57) in a process of its own (`ingest.points.e57_worker`), block by block.
Intensity and colour are stretched from the limits that the scan states to 0 … 65535; `source_id` is the number of the
scan.
"""

import json
import os
import selectors
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ingest import place
from ingest.points import layer as point_layer
from ingest.points.e57_worker import BLOCK, CARTESIAN, COLOURS, SPHERICAL
from ingest.points.layer import PointChunk
from ingest.vector.reader import ids_name
from layers import crs
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading

SUFFIXES = (".e57",)

SILENCE_S = 60.0
"""So long the reading process may take for one block."""
MAX_FRAME_BYTES = 400_000_000


def read(path: Path, hints: Hints) -> Reading:
    """All scans as one cloud. Raises InvalidInput for a damaged or empty file, CrsMissing without CRS."""
    name = ids_name(path, hints)
    with path.open("rb") as file:
        if file.read(8) != b"ASTM-E57":
            problem = f"{name} does not begin like an E57 file."
            raise InvalidInput(problem, "Export it again.", code="FILE_UNREADABLE")
    [(_, said)] = list(_frames(path, name, "facts"))
    facts = json.loads(said)
    scans = facts["scans"]
    used = [each for each in scans if each["points"]]
    _check_scans(used, name)
    stated, issues = _crs(facts["crs"], name)
    if stated is None and hints.crs is None:
        raise place.missing(name)
    counts = Counter[str]()
    has_color = any(set(COLOURS) <= set(each["fields"]) for each in used)
    meta = {
        "scans": len(scans),
        "images": facts["images"],
        "created": min((each["day"] for each in used if each["day"]), default=None),
    }
    made = point_layer.copc_from_chunks(
        path, hints, lambda: _chunks(path, name, counts), stated, meta=meta, has_color=has_color
    )
    made.layer.meta["points_invalid"] = counts["invalid"]
    issues += [*made.issues, *_doubts(facts, used, counts["invalid"], name)]
    return Reading(path, "E57", [made.layer], made.certificate, issues)


def _check_scans(used: list[dict[str, Any]], name: str) -> None:
    if not used:
        raise InvalidInput(f"{name} has no points.", "Export it again.", code="FILE_EMPTY")
    for each in used:
        if not (set(CARTESIAN) <= set(each["fields"]) or set(SPHERICAL) <= set(each["fields"])):
            problem = f"A scan of {name} has no coordinates, only {', '.join(each['fields'])}."
            raise InvalidInput(problem, "Export it with cartesian coordinates.", code="E57_NO_COORDINATES")


def _crs(text: str, name: str) -> tuple[str | None, list[Issue]]:
    if not text.strip():
        return None, []
    try:
        return crs.parse(text).to_wkt(), []
    except InvalidInput as error:
        message = f"Its coordinateMetadata is not a CRS: {error}"
        return None, [Issue("CRS_UNREADABLE", name, message, "Give crs in city.toml.", "warning")]


def _doubts(facts: dict[str, Any], used: list[dict[str, Any]], n_invalid: int, name: str) -> list[Issue]:
    issues = []
    if n_invalid:
        message = f"{n_invalid} points are marked as invalid, or are no numbers, and are left out."
        issues.append(Issue("POINTS_INVALID", name, message, "Nothing to do: the scanner saw nothing there.", "info"))
    if facts["images"]:
        message = f"{facts['images']} images are not carried over."
        issues.append(Issue("E57_IMAGES_DROPPED", name, message, "Keep the source file.", "info"))
    if unread := sorted({field for each in used for field in each["unread"]}):
        message = f"The fields {', '.join(unread)} are not carried over."
        issues.append(Issue("E57_FIELDS_DROPPED", name, message, "Keep the source file.", "info"))
    without = sum(not each["has_pose"] for each in used)
    if without and len(used) > 1:
        message = f"{without} of {len(used)} scans have no pose and are taken to be in the system of the file."
        issues.append(Issue("E57_POSE_MISSING", name, message, "Register the scans first if they are not.", "warning"))
    return issues


def _chunks(path: Path, name: str, counts: Counter[str]) -> Iterator[PointChunk]:
    is_whole = False
    for letter, payload in _frames(path, name, "points"):
        if letter == b"E":
            counts.update(invalid=json.loads(payload)["invalid"] - counts["invalid"])
            is_whole = True
            continue
        block = np.frombuffer(payload, BLOCK)
        yield PointChunk(block["xyz"], {each: block[each] for each in (BLOCK.names or ())[1:]})
    if not is_whole:
        raise InvalidInput(f"{name} ends too early.", "Export it again.", code="TRUNCATED")


def _frames(path: Path, name: str, what: str) -> Iterator[tuple[bytes, bytes]]:
    """Frames of the reading process; InvalidInput if it refuses, crashes or goes silent. It never outlives this."""
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.getenv("PYTHONPATH")])])}
    process = subprocess.Popen(
        [sys.executable, "-m", "ingest.points.e57_worker", str(path.resolve()), what],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while head := _exactly(process.stdout, 9, name):
            letter, length = head[:1], struct.unpack("<Q", head[1:])[0]
            if length > MAX_FRAME_BYTES:
                raise InvalidInput(f"{name} cannot be read.", "Export it again.", code="FILE_UNREADABLE")
            payload = _exactly(process.stdout, length, name)
            if letter == b"X" or len(payload) < length:
                said = payload.decode("utf8", "replace") if letter == b"X" else "reading it ended unexpectedly"
                raise InvalidInput(f"{name} cannot be read: {said}.", "Export it again.", code="FILE_UNREADABLE")
            yield letter, payload
            if letter in b"FE":
                return
        problem = f"{name} cannot be read: the library that reads it crashed."
        raise InvalidInput(problem, "It is damaged: export it again.", code="FILE_UNREADABLE")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.stdout.close()
        process.wait()


def _exactly(pipe: Any, n: int, name: str) -> bytes:
    """Up to `n` bytes, fewer only at the end. Raises InvalidInput after `SILENCE_S` without any."""
    parts, left = [], n
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        end = time.monotonic() + SILENCE_S
        while left:
            if not selector.select(max(0.0, end - time.monotonic())):
                problem = f"{name} was given up: no points came for {SILENCE_S:g} s."
                raise InvalidInput(problem, "It is damaged: export it again.", code="READ_TIMEOUT")
            part = os.read(pipe.fileno(), min(left, 1 << 20))
            if not part:
                break
            parts.append(part)
            left -= len(part)
            end = time.monotonic() + SILENCE_S
    return b"".join(parts)
