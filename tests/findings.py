"""Findings of a run that is made up, kept in a city's layer `finding`: for what shows findings."""

import datetime as dt
from types import SimpleNamespace

import numpy as np
import shapely

from layers.catalogue import Title
from twin.supervision import finding as findings
from twin.supervision.check import Finding
from twin.supervision.engine import CheckResult, Run

VERDICTS = ("fail", "review", "unknown")


def made_up(places, verdicts, objects=None):
    """One finding a place (x, y in the city's CRS) about a feature of its own; its shape is a box of 16 x 10 m."""
    told = []
    for row, ((x, y), verdict) in enumerate(zip(places, verdicts, strict=True)):
        is_known = verdict != "unknown"
        note = Title("按道路红线量测", "Measured from the road line") if is_known else Title("缺数据", "No data")
        about = (f"building/X{row:05d}",) if objects is None else objects[row]
        told.append(
            Finding(
                "setback-road", about, verdict, 5.25 if is_known else None, 6.0, "m",
                shapely.box(x - 8, y - 5, x + 8, y + 5), Title("建筑退让不足", "Setback too small"), "第 4.2.1 条",
                "本市规划管理技术规定", "high", note,
            )
        )  # fmt: skip
    return told


def keep(city, told):
    """The made-up run is kept; the ids of its findings, in order."""
    result = CheckResult(SimpleNamespace(id="setback"), told, {}, 0.1)
    findings.store(city, Run("one-map", [result], None, None, None, dt.datetime.now(dt.UTC)))
    return [findings.finding_id("one-map", each) for each in told]


def spread(city, n, seed=6):
    """N findings over the city: 15 % fail, 25 % are to be looked at. (places, verdicts)"""
    rng = np.random.default_rng(seed)
    boxes = np.array([info.bounds for info in city.layers if info.bounds])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return rng.uniform(low, high, (n, 2)), rng.choice(VERDICTS, n, p=[0.15, 0.25, 0.6]).tolist()
