"""Families of analyses, as people look for them. An analysis that is in none of them is listed under the last one."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from layers.catalogue import Title


@dataclass(frozen=True)
class Family:
    """Analyses that answer questions of one kind.

    Attributes
    ----------
    ids : of the analyses, in the order in which they are listed; one that ends with `-*` means all that begin like it
    """

    title: Title
    ids: tuple[str, ...]

    def position(self, name: str) -> int | None:
        """Where an analysis stands in the family; None where it is not of it."""
        for at, each in enumerate(self.ids):
            if each == name or (each.endswith("-*") and name.startswith(each[:-1])):
                return at
        return None


FAMILIES = (
    Family(Title("监管", "Supervision"), ("supervise-*", "supervision-report")),
    Family(
        Title("用地与规划", "Land and planning"),
        ("control-line-check", "plan-compliance", "landuse-transition", "parcel-intensity", "setback-height-check",
         "illegal-building-screen", "topology-check", "overlay-stats", "cadastral-lookup"),
    ),
    Family(
        Title("工地与模型", "Sites and models"),
        ("model-diff", "bim-clash", "cut-fill", "pit-impact", "crane-conflict", "sensor-exceedance"),
    ),
    Family(
        Title("地形、通视与日照", "Terrain, sight and sun"),
        ("terrain", "sunlight-hours", "viewshed", "line-of-sight", "view-corridor", "skyline"),
    ),
    Family(
        Title("水务", "Water"),
        ("flood-inundation", "watershed", "areal-rainfall", "runoff-peak", "reservoir-storage", "idw"),
    ),
    Family(
        Title("管网", "Networks"), ("pipe-clearance", "pipe-cover-slope", "network-trace", "burst-isolation")
    ),
    Family(
        Title("全市指标", "The whole city"), ("plan-indicators", "coverage-indicators", "building-energy", "crs-audit")
    ),
    Family(Title("其他", "Others"), ("buffer-query",)),
)  # fmt: skip


def grouped(processes: Iterable[dict[str, Any]], code: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Processes (with `id`) by family, titled in the language `code`; none is lost, and no family is empty."""
    found: list[list[tuple[int, dict[str, Any]]]] = [[] for _ in FAMILIES]
    for process in processes:
        places = [(at, family.position(process["id"])) for at, family in enumerate(FAMILIES)]
        at, position = next(((at, place) for at, place in places if place is not None), (len(FAMILIES) - 1, 10_000))
        found[at].append((position, process))
    return [
        (getattr(family.title, code), [process for _, process in sorted(members, key=lambda each: each[0])])
        for family, members in zip(FAMILIES, found, strict=True)
        if members
    ]
