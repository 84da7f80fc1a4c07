"""One vector source into the store: read, fused, put, counted, reported."""

import pickle
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import shapely

import ingest
from ingest.scan import SourceFile
from layers import catalogue
from layers.catalogue import LayerType
from layers.certificate import Certificate
from layers.errors import CityTwinError, InvalidInput
from layers.frame import CityFrame
from layers.issue import Issue, Reject
from layers.report import LayerCount, Report
from layers.source import FeatureBatch, Hints, Reading, VectorLayer
from server import build_edits, build_join
from server.build_plan import FAILED, Item
from server.build_progress import Progress
from server.build_rejects import RejectKeeper
from twin.config import TwinConfig
from twin.fuse import source_row
from twin.fuse.columns import with_constant
from twin.fuse.layer import Fused, LayerFuser, content
from twin.fuse.roof import RoofSampler
from twin.store.interface import Rows, WriteBatch
from twin.terrain import Terrain


class ReaderFailed(CityTwinError):
    """A reader fell over something it does not know; `trace` is for whoever mends it."""

    CODE = "READER_FAILED"

    def __init__(self, path: Path, error: BaseException) -> None:
        said = str(error).strip().splitlines()
        words = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
        super().__init__(
            f"{path.name} could not be read: {words}", "See it with --verbose; please report it.", code=self.CODE
        )
        self.trace = "".join(traceback.format_exception(error))


@dataclass(frozen=True)
class Place:
    """The city that features are put into."""

    config: TwinConfig
    frame: CityFrame
    terrain: Terrain
    ground: str
    roofs: RoofSampler


def read(file: SourceFile, hints: Hints) -> Reading:
    """The reader's Reading; anything unexpected becomes ReaderFailed."""
    path = file.path
    file.check()
    try:
        return ingest.read(path, hints)
    except CityTwinError:
        raise
    except OSError as error:
        raise _lost_while_read(path, error) from error
    except Exception as error:
        raise ReaderFailed(path, error) from error


def batches(path: Path, layer: VectorLayer) -> Iterator[FeatureBatch]:
    """The reader's batches; anything unexpected becomes ReaderFailed, our own errors beyond stay what they are."""
    stream = iter(layer.batches())
    while True:
        try:
            batch = next(stream)
        except StopIteration:
            return
        except CityTwinError:
            raise
        except OSError as error:
            raise _lost_while_read(path, error) from error
        except Exception as error:
            raise ReaderFailed(path, error) from error
        yield batch


def _lost_while_read(path: Path, error: OSError) -> InvalidInput:
    """The disk or the file fails, not the reader: it went away, or shrank, after it was found."""
    problem = f"{path.name} cannot be read any further: {error.strerror or error}."
    return InvalidInput(problem, "See that nothing changes it, and build again.", code="FILE_UNREADABLE")


def layer_type_of(layer: VectorLayer) -> LayerType:
    """The catalogue's type, or one made of the file's own columns."""
    if not layer.fields and layer.layer_type in catalogue.load():
        return catalogue.layer_type(layer.layer_type)
    return catalogue.from_fields(layer.layer_type, layer.name, layer.geometry_type or "none", layer.fields)


def store_source(batch: WriteBatch, item: Item, place: Place, progress: Progress, scratch: Path) -> Report:
    """Read one source into the open transaction. A CityTwinError leaves what the store held of it untouched.

    A source that the store knows already is read to its end before anything of it is put, so that a file that has
    become unreadable does not take its good features away.
    """
    start = time.perf_counter()
    reading = read(item.file, build_join.with_lookup(item.hints, batch))
    placed, issues = _placed(reading, place, item.hints)
    report = Report(item.name, reading.format, item.file.sha256, "stored", certificate=_certificate(reading, placed))
    with RejectKeeper(report, scratch / "reports") as keeper, tempfile.TemporaryFile(dir=scratch) as spool:
        source = _Source(batch, item, progress, report, keeper)
        try:
            if item.known is None:
                source.begin()
            for layer, fuser in placed:
                source.layer(layer, fuser, None if item.known is None else spool)
        except CityTwinError:
            if item.known is None:
                batch.remove_source(item.name)
            raise
        if item.known is not None:
            source.begin()
            source.unspool(spool)
    report.issues = [*reading.issues, *issues, *source.issues]
    report.seconds = time.perf_counter() - start
    used = any(fuser.used_terrain for _, fuser in placed)
    source.finish(place.ground if used else None)
    return report


def _placed(reading: Reading, place: Place, hints: Hints) -> tuple[list[tuple[VectorLayer, LayerFuser]], list[Issue]]:
    """Every layer that can be placed, and an issue for each other; the refusal itself where there is no layer left."""
    placed: list[tuple[VectorLayer, LayerFuser]] = []
    refusals: list[tuple[VectorLayer, CityTwinError]] = []
    for layer in reading.layers:
        if not isinstance(layer, VectorLayer):
            continue
        try:
            fuser = LayerFuser(
                layer,
                layer_type_of(layer),
                frame=place.frame,
                city_vertical=place.config.vertical_crs,
                terrain=place.terrain,
                roofs=place.roofs,
                read=reading.certificate,
                drape=hints.for_table(layer.name).drape,
            )
        except CityTwinError as error:
            refusals.append((layer, error))
        else:
            placed.append((layer, fuser))
    if refusals and not placed:
        raise refusals[0][1]
    return placed, [
        Issue(error.code, layer.name, f"This layer is parked: {error.problem}", error.hint or "Correct it.", "error")
        for layer, error in refusals
    ]


class _Source:
    """The counting side of one source."""

    def __init__(self, batch: WriteBatch, item: Item, progress: Progress, report: Report, keeper: RejectKeeper) -> None:
        self._batch, self._item, self._progress, self._report = batch, item, progress, report
        self._keeper = keeper
        self._counts: dict[tuple[str, str], LayerCount] = {}
        self.issues: list[Issue] = []

    def begin(self) -> None:
        self._batch.begin_source(self._item.record("reading", None))

    def layer(self, layer: VectorLayer, fuser: LayerFuser, spool: IO[bytes] | None) -> None:
        """Put all batches of a layer, or write them to `spool` to be put later."""
        kind = layer_type_of(layer)
        count = LayerCount(kind.id, layer.name, certificate=fuser.certificate)
        self._counts[kind.id, layer.name] = count
        self._report.layers.append(count)
        if spool is None:
            self._batch.ensure_layer(kind)
        for features in batches(self._item.file.path, layer):
            fused = self._named(fuser.fuse(features))
            self._reject(count, [*_drained(layer), *fused.rejects])
            if spool is None:
                self._reject(count, self._put(kind.id, count, fused))
            else:
                pickle.dump((kind, layer.name, replace(fused, rejects=[])), spool, protocol=5)
            self._progress.advance(len(features))
        self._reject(count, _drained(layer))
        count.n_read = layer.n_read
        self.issues += [*layer.issues, *fuser.issues()]

    def unspool(self, spool: IO[bytes]) -> None:
        """Put what `layer` wrote. The file is ours and unlinked: nobody else can have written to it."""
        spool.seek(0)
        while True:
            try:
                kind, name, fused = pickle.load(spool)  # noqa: S301
            except EOFError:
                return
            count = self._counts[kind.id, name]
            self._batch.ensure_layer(kind)
            self._reject(count, self._put(kind.id, count, fused))

    def _reject(self, count: LayerCount, rejects: list[Reject]) -> None:
        count.n_rejected += self._keeper.add(rejects)

    def finish(self, ground: str | None) -> None:
        """Status, conservation of features, and the record for the next build."""
        for count in self._counts.values():
            count.n_stored = count.n_inserted + count.n_updated + count.n_unchanged
            if count.n_read != count.n_stored + count.n_rejected + count.n_withheld:
                self.issues.append(_lost(count))
                self._report.issues.append(self.issues[-1])
        self._report.issues += build_edits.conflicts(self._batch, self._item.name)
        is_bad = self._report.rejects or any(issue.severity == "error" for issue in self._report.issues)
        self._report.status = "partly" if is_bad else "stored"
        source_row.put(self._batch, self._report, self._item.hints.epoch)
        self._batch.finish_source(self._item.record(self._report.status, ground), self._report)

    def _named(self, fused: Fused) -> Fused:
        """With the source's name where the file does not say where a feature comes from."""
        kind = fused.rows.attributes.schema
        if "source" not in kind.names:
            return fused
        table = with_constant(fused.rows.attributes, "source", self._item.name, kind.field("source").type)
        return replace(fused, rows=replace(fused.rows, attributes=table))

    def _put(self, layer_id: str, count: LayerCount, fused: Fused) -> list[Reject]:
        rows: Rows = fused.rows
        if not len(rows.ids):
            return []
        outcome = self._batch.put(layer_id, self._item.name, rows).outcome
        count.widen(shapely.bounds(rows.geometry[outcome != "duplicate"]))
        count.n_inserted += int((outcome == "inserted").sum())
        count.n_updated += int((outcome == "updated").sum())
        count.n_unchanged += int(((outcome == "unchanged") | (outcome == "edited")).sum())
        count.n_withheld += int((outcome == "deleted").sum())
        return [
            Reject("DUPLICATE_ID", rows.ids[i], f"Layer {layer_id} already has a feature {rows.ids[i]!r}, from another "
                   "source or earlier in this one. Remove the copy, or name a column of ids of its own as id_column in "
                   "city.toml.", content(fused.batch, i))
            for i in (outcome == "duplicate").nonzero()[0].tolist()
        ]  # fmt: skip


def _drained(layer: VectorLayer) -> list[Reject]:
    """What the reader has rejected since the last time; its list stays short."""
    rejects = list(layer.rejects)
    layer.rejects.clear()
    return rejects


def _lost(count: LayerCount) -> Issue:
    return Issue(
        "COUNT_MISMATCH",
        count.name,
        f"{count.n_read} features read, but {count.n_stored} stored, {count.n_rejected} rejected, {count.n_withheld} "
        "deleted by hand.",
        "Please report it with the file.",
        "error",
    )


def _certificate(reading: Reading, placed: list[tuple[VectorLayer, LayerFuser]]) -> Certificate:
    return placed[0][1].certificate if placed else reading.certificate


def parked(item: Item, error: CityTwinError) -> Report:
    """The report of a source nothing of which could be used."""
    issue = Issue(error.code, item.name, error.problem, error.hint or "Correct the file and build again.", "error")
    issues = [issue]
    if _holds_features(item):
        issues.append(
            Issue("OLD_FEATURES_KEPT", item.name, "What was read from the file before is still served.",
                  "It is replaced as soon as the file can be read again; delete the file to remove it.", "warning")
        )  # fmt: skip
    suffix = item.file.path.suffix.lstrip(".")
    return Report(item.name, suffix, item.file.sha256, "parked", issues=issues)


def _holds_features(item: Item) -> bool:
    return item.known is not None and item.known.status not in {"parked", FAILED}


def remember_parked(batch: WriteBatch, item: Item, report: Report) -> None:
    """Keep the report of a parked source; what the store held of it is left as it is, and it is tried again."""
    if not _holds_features(item):
        record = item.record(FAILED if report.issues[0].code == ReaderFailed.CODE else "parked", None)
        batch.begin_source(record)
        source_row.put(batch, report, item.hints.epoch)
        batch.finish_source(record, report)
