"""`citytwin check`: one file read from beginning to end, with nothing stored."""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ingest.scan import SourceFile
from layers.errors import CityTwinError
from layers.issue import Issue
from layers.report import LayerCount, Report
from layers.source import AssetLayer, Hints, Reading, VectorLayer
from server.build_features import batches, layer_type_of, read
from server.build_rejects import KEPT


def check_file(file: SourceFile, hints: Hints) -> Report:
    """A report as the build would write it, but for what only a city can tell (placement, the ground)."""
    start = time.perf_counter()
    try:
        reading = read(file, replace(hints, root=file.path.parent))
        report = _read_all(file, reading)
    except CityTwinError as error:
        issue = Issue(error.code, file.path.name, error.problem, error.hint, "error")
        report = Report(file.path.name, file.path.suffix.lstrip("."), file.sha256, "parked", issues=[issue])
    report.seconds = time.perf_counter() - start
    return report


def _read_all(file: SourceFile, reading: Reading) -> Report:
    report = Report(file.path.name, reading.format, file.sha256, "stored", certificate=reading.certificate)
    report.issues += reading.issues
    for layer in reading.layers:
        if isinstance(layer, AssetLayer):
            report.layers.append(LayerCount(layer.layer_type, layer.name, n_read=1, n_stored=1))
            with tempfile.TemporaryDirectory(prefix="citytwin-check-") as folder:
                report.issues += layer.write(Path(folder) / f"checked{layer.suffix}")
            continue
        count = LayerCount(layer_type_of(layer).id, layer.name)
        report.layers.append(count)
        for batch in batches(file.path, layer):
            count.n_stored += len(batch)
            _keep(report, count, layer)
        _keep(report, count, layer)
        count.n_read = layer.n_read
        report.issues += layer.issues
    if report.rejects or any(issue.severity == "error" for issue in report.issues):
        report.status = "partly"
    return report


def _keep(report: Report, count: LayerCount, layer: VectorLayer) -> None:
    """Count what was rejected; the first ones are told."""
    count.n_rejected += len(layer.rejects)
    report.rejects += layer.rejects[: max(0, KEPT - len(report.rejects))]
    layer.rejects.clear()
