"""The layer `source`: one feature for each source, with its placement certificate, kept by the build itself.

A source owns its row, so that the row goes when the source goes, and old rows tell how it was placed before. What
changes at each reading (seconds, features inserted) is left out: an unchanged source leaves its row alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import shapely

from layers import catalogue
from layers.report import Report
from twin.scope import EVERYTHING
from twin.store.interface import Features, Query, Rows, Store, WriteBatch

LEAST_M = 0.01
"""A box is at least so wide: that of a single point would be no polygon."""


def put(batch: WriteBatch, report: Report, epoch: str | None) -> None:
    """Put the row of a source that was begun in this transaction; call it before `finish_source`."""
    kind = catalogue.layer_type(catalogue.SOURCE)
    batch.ensure_layer(kind)
    values = _attributes(report, epoch)
    table = pa.table({each.name: pa.array([values.get(each.name)], each.arrow_type) for each in kind.attributes})
    geometry = np.array([_box(report), None], dtype=object)[:1]
    extra = orjson.dumps(_extra(report), default=str, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    batch.put(catalogue.SOURCE, report.source, Rows([report.source], geometry, table, [extra.decode()]))


def _attributes(report: Report, epoch: str | None) -> dict[str, Any]:
    kind = catalogue.layer_type(catalogue.SOURCE)
    placed = report.certificate
    said: dict[str, Any] = {
        "name": report.source.rpartition("/")[2], "source": report.source, "cim_category": kind.category,
        "cim_level": kind.level[0], "access": kind.access, "format": report.format, "status": report.status,
        "reason": reason(report.to_dict()), "layers": layers_of(report), "sha256": report.sha256, "epoch": epoch,
        "n_read": sum(each.n_read for each in report.layers),
        "n_stored": sum(each.n_stored for each in report.layers),
        "n_rejected": sum(each.n_rejected for each in report.layers),
        "n_warnings": sum(issue.severity != "info" for issue in report.issues),
    }  # fmt: skip
    if placed is None:
        return said
    fit = placed.parameters.get("control_points")
    return said | {
        "method": placed.method, "source_crs": placed.source_crs, "source_vertical_crs": placed.source_vertical_crs,
        "city_crs": placed.city_crs, "city_vertical_crs": placed.city_vertical_crs,
        "transformation": placed.transformation or None, "accuracy_m": placed.accuracy_m,
        "residual_m": fit.get("rms_m") if isinstance(fit, Mapping) else None,
        "contradictions": "\n".join(placed.contradictions) or None,
    }  # fmt: skip


def layers_of(report: Report) -> str:
    """Ids of the layers that a source gives something to, as a JSON array."""
    return orjson.dumps(sorted({each.layer for each in report.layers})).decode()


def reason(report: Mapping[str, Any]) -> str | None:
    """Why a source is parked and what to do; None for one that is not."""
    errors = [each for each in report["issues"] if each["severity"] == "error"]
    if report["status"] != "parked" or not errors:
        return None
    return f"{errors[0]['code']}: {errors[0]['message']} {errors[0]['hint']}".strip()


def _extra(report: Report) -> dict[str, Any]:
    layers = [
        {
            "layer": each.layer, "name": each.name, "n_read": each.n_read, "n_stored": each.n_stored,
            "n_rejected": each.n_rejected, "bounds": each.bounds,
            "certificate": each.certificate.to_dict() if each.certificate else None,
        }
        for each in report.layers
    ]  # fmt: skip
    return {"certificate": report.certificate.to_dict() if report.certificate else None, "layers": layers}


def _box(report: Report) -> shapely.Geometry | None:
    boxes = [each.bounds for each in report.layers if each.bounds is not None]
    if not boxes:
        return None
    table = np.array(boxes, np.float64)
    low, high = table[:, :2].min(axis=0), table[:, 2:].max(axis=0)
    grow = np.where(high - low < LEAST_M, LEAST_M / 2, 0.0)
    return shapely.box(*(low - grow), *(high + grow))


class _Reads(Protocol):
    def __call__(self, layer_id: str, query: Query) -> Iterator[Features]: ...


def is_behind(store: Store, reports: Iterable[Mapping[str, Any]]) -> bool:
    """True if a row's status is not that of its report: a file that became unreadable, or is whole again."""
    if catalogue.SOURCE not in {info.id for info in store.layers(EVERYTHING)}:
        return False
    return bool(_behind(lambda layer_id, query: store.query(layer_id, query, EVERYTHING), reports))


def follow(batch: WriteBatch, reports: Iterable[Mapping[str, Any]]) -> None:
    """Give such rows the status and reason of their reports; the rest tells of the features that are still served."""
    late = _behind(batch.query, reports)
    values = pa.table(
        {
            "status": pa.array([status for status, _ in late.values()], pa.string()),
            "reason": pa.array([why for _, why in late.values()], pa.string()),
        }
    )
    batch.set_derived(catalogue.SOURCE, np.array(list(late), np.int64), values)


def _behind(read: _Reads, reports: Iterable[Mapping[str, Any]]) -> dict[int, tuple[str, str | None]]:
    wanted = {each["source"]: (str(each["status"]), reason(each)) for each in reports}
    late: dict[int, tuple[str, str | None]] = {}
    for rows in read(catalogue.SOURCE, Query(properties=("status", "reason"), with_geometry=False)):
        has = zip(rows.attributes["status"].to_pylist(), rows.attributes["reason"].to_pylist(), strict=True)
        for fid, name, own in zip(rows.fids.tolist(), rows.ids, has, strict=True):
            if name in wanted and own != wanted[name]:
                late[fid] = wanted[name]
    return late
