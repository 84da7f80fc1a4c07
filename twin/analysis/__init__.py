"""Analyses: one question a module, each a pure function described once.

A module has `PROCESS`, a `Process` (or several, `PROCESSES`): id, titles, JSON schemas, the function. The OGC
process, the command and the viewer panel are thin faces of it. Put a new module's name into `_MODULES`; a package of
one's own adds processes by the entry point group `citytwin.processes`, each entry a `Process`.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import TYPE_CHECKING, Any

from layers.errors import NotFound
from twin.analysis.process import Process
from twin.analysis.progress import SILENT, Progress

if TYPE_CHECKING:
    from twin.city import City

__all__ = ["ENTRY_POINTS", "Process", "Progress", "process", "registry", "run"]

ENTRY_POINTS = "citytwin.processes"
_MODULES = (
    "areal_rainfall",
    "bim_clash",
    "buffer_query",
    "building_energy",
    "burst_isolation",
    "cadastral_lookup",
    "control_line_check",
    "coverage_indicators",
    "crane_conflict",
    "crs_audit",
    "cut_fill",
    "echo",
    "flood_inundation",
    "idw",
    "illegal_building_screen",
    "landuse_transition",
    "line_of_sight",
    "model_diff",
    "network_trace",
    "overlay_stats",
    "parcel_intensity",
    "pipe_clearance",
    "pipe_cover_slope",
    "pit_impact",
    "plan_compliance",
    "plan_indicators",
    "report",
    "reservoir_storage",
    "runoff_peak",
    "sensor_exceedance",
    "setback_height_check",
    "skyline",
    "sunlight_hours",
    "supervise",
    "terrain_measures",
    "topology_check",
    "view_corridor",
    "viewshed",
    "watershed",
)


@lru_cache(maxsize=1)
def registry() -> dict[str, Process]:
    """Every analysis by id; ours first, so that none of another package takes the place of one of ours."""
    processes = [each for name in _MODULES for each in _of(import_module(f"twin.analysis.{name}"))]
    known = {each.id: each for each in processes}
    for entry in entry_points(group=ENTRY_POINTS):
        found = entry.load()
        if isinstance(found, Process):
            known.setdefault(found.id, found)
    return known


def _of(module: ModuleType) -> tuple[Process, ...]:
    return tuple(getattr(module, "PROCESSES", ())) or (module.PROCESS,)


def process(process_id: str) -> Process:
    """One analysis; NotFound with the known ones otherwise."""
    known = registry()
    if process_id not in known:
        raise NotFound(
            f"There is no process {process_id[:60]!r}.", f"Known: {', '.join(sorted(known))}.", code="NO_SUCH_PROCESS"
        )
    return known[process_id]


def run(process_id: str, city: "City", inputs: Mapping[str, Any], *, progress: Progress = SILENT) -> dict[str, Any]:
    """Check the inputs against the schema and run. InvalidInput names the input that is wrong."""
    return process(process_id).run(city, inputs, progress=progress)
