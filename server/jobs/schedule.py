"""Supervisions that run by themselves: `supervision.toml` in the twin's folder, looked at by every server of it.

    [[schedule]]
    supervision = "construction"   # water, one-map
    every_h = 24
    at = "02:00"                   # of the zone, which is UTC+8 where it is not said
    zone = "+08:00"
    checks = ["crane-conflict"]    # all when absent
    site = "GD-01"                 # or bbox = [121.0, 28.1, 121.1, 28.2]; the whole city when absent

Which server does it is settled in the job store, so that several servers of a twin do it once. Findings are kept.
"""

import datetime as dt
import logging
import threading
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from layers.errors import CityTwinError, InvalidInput
from server.jobs.asked import Form
from server.jobs.store import JobStore
from twin import analysis

LOG = logging.getLogger("citytwin.schedule")
FILE = "supervision.toml"
LOOK_EVERY_S = 20.0
_KEYS = {"supervision", "every_h", "at", "zone", "checks", "site", "bbox"}
_DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Plan:
    """One line of the schedule.

    Attributes
    ----------
    at : minutes of the day from which `every` counts; None counts from the run before
    zone : of `at`
    inputs : of the process
    """

    process: str
    every: dt.timedelta
    at: dt.timedelta | None
    zone: dt.timezone
    inputs: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Name in the job store: another schedule is another name."""
        return orjson.dumps([self.process, self.every.total_seconds(), str(self.at), self.inputs]).decode()

    def is_due(self, last: dt.datetime | None, now: dt.datetime) -> bool:
        """Whether a run is to begin, `last` being when the one before began (or when the plan was first seen)."""
        if self.at is None:
            return last is None or now - last >= self.every
        if last is None:
            return False
        local = now.astimezone(self.zone)
        start = dt.datetime.combine(local.date(), dt.time(), self.zone) + self.at - _DAY
        turn = start + (local - start) // self.every * self.every
        return last < turn


def read(folder: Path) -> list[Plan]:
    """The schedule of a twin; empty where there is none. InvalidInput names the line that is wrong."""
    path = folder / FILE
    try:
        document = tomllib.loads(path.read_text("utf8"))
    except FileNotFoundError:
        return []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{FILE} cannot be read: {error}.", "Correct it.") from error
    rows = document.get("schedule", [])
    if not isinstance(rows, list) or set(document) - {"schedule"}:
        raise InvalidInput(f"{FILE} holds nothing but [[schedule]] tables.", "docs/supervision.md has an example.")
    return [_plan(at, row) for at, row in enumerate(rows)]


def _plan(at: int, row: dict[str, Any]) -> Plan:
    if unknown := set(row) - _KEYS:
        known = ", ".join(sorted(_KEYS))
        raise InvalidInput(f"{FILE}: schedule {at}: {min(unknown)} is not known.", f"Known: {known}.")
    try:
        every = dt.timedelta(hours=float(row["every_h"]))
        minutes = None if "at" not in row else _minutes(str(row["at"]))
        zone = dt.timezone(dt.timedelta(hours=8))
        if "zone" in row:
            zone = dt.timezone(_minutes(str(row["zone"]).lstrip("+-")) * (-1 if str(row["zone"])[0] == "-" else 1))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{FILE}: schedule {at} lacks or misstates {error}.", "It needs every_h.") from error
    if not dt.timedelta(minutes=1) <= every <= dt.timedelta(days=31):
        raise InvalidInput(f"{FILE}: schedule {at}: every_h = {row['every_h']} is not between 1/60 and 744.")
    process = analysis.process(f"supervise-{row.get('supervision')}")
    inputs = {key: row[key] for key in ("checks", "site", "bbox") if key in row} | {"keep": True}
    return Plan(process.id, every, minutes, zone, process.checked(inputs))


def _minutes(text: str) -> dt.timedelta:
    hours, _, minutes = text.partition(":")
    found = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
    if not dt.timedelta(0) <= found < _DAY:
        raise ValueError(text)
    return found


class Schedule:
    """Looks every 20 seconds whether a plan is due, in a thread of the server."""

    def __init__(self, folder: Path, store: JobStore, submit: Callable[[str, dict[str, Any]], object]) -> None:
        self._folder, self._store, self._submit = folder, store, submit
        self._is_ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._told = ""

    def start(self) -> None:
        """Begin to look; again does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="schedule", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._is_ending.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def _work(self) -> None:
        while not self._is_ending.wait(LOOK_EVERY_S):
            try:
                self.look(dt.datetime.now(dt.UTC))
                self._told = ""
            except CityTwinError as error:
                if str(error) != self._told:  # once, not every 20 seconds
                    LOG.error("%s", error)  # noqa: TRY400 the sentence says it
                self._told = str(error)
            except Exception:
                LOG.exception("The schedule failed; it goes on.")

    def look(self, now: dt.datetime) -> int:
        """Submit what is due; how many."""
        due = [plan for plan in read(self._folder) if self._is_ours(plan, now)]
        for plan in due:
            self._submit(plan.process, {"inputs": plan.inputs, "outputs": [], "form": asdict(Form())})
            LOG.info("%s begins by schedule", plan.process)
        return len(due)

    def _is_ours(self, plan: Plan, now: dt.datetime) -> bool:
        return self._store.take_turn(plan.key, now.timestamp(), lambda last: plan.is_due(_moment(last), now))


def _moment(stamp: float | None) -> dt.datetime | None:
    return None if stamp is None else dt.datetime.fromtimestamp(stamp, dt.UTC)
