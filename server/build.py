"""Folder of files -> twin: what changed is read, placed and stored in one transaction.

Order: elevation rasters, because buildings stand on them; then features, while other rasters and point clouds are
written in threads; then the commit, which makes everything visible at once. A build that is killed leaves the old state
and files that nobody names, which the next build sweeps.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest import city_toml, scan, source_keys
from ingest.city_toml import CityToml
from ingest.scan import SourceFile
from layers import catalogue
from layers.errors import CityTwinError, InvalidInput
from layers.issue import Issue
from layers.report import Report
from layers.source import Hints
from server import build_city, build_edits, build_folder, build_plan
from server.build_plan import ADDED, Item
from server.build_progress import Progress, Silent
from twin import config as config_module
from twin.config import TwinConfig
from twin.fuse import source_row
from twin.scope import EVERYTHING
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import Asset, Store, WriteBatch

if TYPE_CHECKING:
    from server.build_assets import Written
    from server.build_features import Place
    from twin.city import City

STORE_FILE = "city.gpkg"


@dataclass
class BuildResult:
    """What a build did.

    Attributes
    ----------
    reports : of the sources that were read now; `unchanged` names those that were not
    standing : reports of unchanged sources, as JSON objects
    removed : sources whose files are gone, with the features closed by layer
    issues : about the folder as a whole
    """

    twin_dir: Path
    reports: list[Report] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    standing: list[dict[str, Any]] = field(default_factory=list)
    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0: everything is stored; 1: something is parked or rejected, and its report says what."""
        fresh = any(report.status in {"parked", "partly"} for report in self.reports)
        return int(fresh or any(report["status"] in {"parked", "partly"} for report in self.standing))


def build(source_dir: Path, twin_dir: Path, progress: Progress | None = None) -> BuildResult:
    """Bring the twin in `twin_dir` in step with the files below `source_dir`.

    Raises a CityTwinError where nothing can be done: no such folder, nothing in it, no CRS, another build running.
    """
    start = time.perf_counter()
    build_folder.check_target(source_dir, twin_dir)
    source_dir = source_dir.resolve()
    toml = city_toml.load(source_dir)
    everything = scan.everything(source_dir)
    files = [file for file in everything if not file.ignored and not toml.skipped(file.path)]
    if not files:
        raise InvalidInput(f"{source_dir} holds no source files.", "Put GeoTIFF, GPKG, IFC or other files there.")
    result = BuildResult(twin_dir, issues=[*toml.unmatched(), *_links(everything)])
    with build_folder.locked(twin_dir):
        config = _config(toml, files, twin_dir, result)
        _rules(source_dir, twin_dir)
        with _opened(twin_dir, config) as store:
            known = {record.path: record for record in store.sources()}
            items = [
                build_plan.item(
                    file.name, file, _hints(toml.hints_for(file.path), config), config, known.get(file.name)
                )
                for file in files
            ]
            gone = build_plan.gone(known, items)
            _Run(twin_dir, config, store, progress or Silent(), result).run(items, gone)
    result.seconds = time.perf_counter() - start
    return result


def _rules(source_dir: Path, twin_dir: Path) -> None:
    from server import build_rules

    build_rules.take(source_dir, twin_dir)


def _links(everything: Sequence[SourceFile]) -> list[Issue]:
    hint = "Put the files themselves there, or build from the folder that the link leads to."
    links = [file for file in everything if file.ignored in {scan.LINK_OUT, scan.LINK_TO_FOLDER}]
    return [Issue("LINK_NOT_FOLLOWED", file.name, f"It is {file.ignored}: passed over.", hint) for file in links]


def _config(toml: CityToml, files: Sequence[SourceFile], twin_dir: Path, result: BuildResult) -> TwinConfig:
    """Settings of the twin: those it has, under the name that city.toml gives it now, else newly decided ones."""
    if (twin_dir / config_module.FILE).exists():
        old = config_module.load(twin_dir)
        build_city.check_same(old, toml, twin_dir)
        config = replace(old, name=toml.name or old.name, title=dict(toml.title) or old.title)
        if config == old:
            return old
    else:
        config, issues = build_city.decide(toml, files)
        config = build_city.with_own_grid(config, twin_dir)
        result.issues += issues
    config_module.save(config, twin_dir)
    return config


def add_sources(
    city: "City", paths: Sequence[Path], hints: Mapping[str, Any] | None = None, progress: Progress | None = None
) -> BuildResult:
    """Read files into a twin that exists. A file of the same name as one added before takes its place.

    Parameters
    ----------
    hints : `layer`, `crs`, `vertical_crs`, `encoding`, `columns`, `units`, `values`, `id_column`, `epoch`; used where
        the files are silent
    """
    start = time.perf_counter()
    given = _checked_hints(hints or {})
    twin_dir, config = Path(city.folder), city.config
    result = BuildResult(twin_dir)
    with build_folder.locked(twin_dir):
        known = {record.path: record for record in city.store.sources()}
        items = []
        for path in paths:
            file = build_plan.single_file(path)
            name = ADDED + file.path.name
            told = replace(_hints(given, config), root=file.path.parent)
            items.append(build_plan.item(name, file, told, config, known.get(name)))
        _Run(twin_dir, config, city.store, progress or Silent(), result).run(items, [])
        result.issues += _left_on_old_ground(city.store)
    result.seconds = time.perf_counter() - start
    return result


def _left_on_old_ground(store: Store) -> list[Issue]:
    """Sources of the folder that an added elevation raster concerns; their files are only at hand in a build."""
    ground = build_plan.ground_name(store.assets(EVERYTHING))
    names = [record.path for record in store.sources() if build_plan.stands_on_other(record, ground)]
    message = "The ground has changed; the features of this source still stand on the old one."
    return [Issue("GROUND_CHANGED", name, message, "Run citytwin build again.", "warning") for name in names]


def check(paths: Sequence[Path], hints: Mapping[str, Any] | None = None) -> list[Report]:
    """Read files from beginning to end and report; nothing is stored."""
    from server.build_check import check_file

    given = _checked_hints(hints or {})
    return [check_file(build_plan.single_file(path), given) for path in paths]


def _checked_hints(hints: Mapping[str, Any]) -> Hints:
    try:
        return Hints(**source_keys.checked(hints))
    except TypeError as error:
        known = [name for name in Hints.__dataclass_fields__ if name not in {"root", "city_crs", "lookup"}]
        raise InvalidInput(f"A hint is not known: {error}.", f"Hints are {', '.join(known)}.") from error


def _hints(hints: Hints, config: TwinConfig) -> Hints:
    return replace(hints, city_crs=config.crs)


@contextmanager
def _opened(twin_dir: Path, config: TwinConfig) -> Iterator[Store]:
    store = GeoPackageStore(twin_dir / STORE_FILE, create=True, city_crs=config.crs)
    try:
        yield store
    finally:
        store.close()


def _follow_up(batch: WriteBatch) -> list[Issue]:
    """What depends on several sources: links between their features, then what does not fit together."""
    from twin.checks import overlaps
    from twin.fuse import attach, crossings, ends, same_as_links

    steps = (
        (attach.is_needed, attach.attach), (same_as_links.is_needed, same_as_links.link), (ends.is_needed, ends.check),
        (crossings.is_needed, crossings.check), (overlaps.is_needed, overlaps.check),
    )  # fmt: skip
    return [issue for is_needed, step in steps if is_needed(batch.touched()) for issue in step(batch)]


class _Run:
    """One build with the lock held and the store open."""

    def __init__(
        self, twin_dir: Path, config: TwinConfig, store: Store, progress: Progress, result: BuildResult
    ) -> None:
        self._dir, self._config, self._store = twin_dir, config, store
        self._progress, self._result = progress, result

    def run(self, items: list[Item], gone: list[str]) -> None:
        """Read what changed, drop what is gone, commit, bring the folder in step."""
        assets = self._store.assets(EVERYTHING)
        ground = build_plan.ground_name(assets)
        changed = [item for item in items if item.is_changed or item.stands_on_other(ground)]
        if changed or gone:
            build_folder.check_room(self._dir, sum(item.file.size for item in changed))
            self._read(items, changed, gone, assets)
            self._know_ground()
        fresh = {report.source: report.to_dict() for report in self._result.reports}
        kept = {each["source"]: each for each in self._store.reports()}
        self._follow_states((kept | fresh).values())
        unread = {item.name for item in items} - set(fresh)
        self._result.unchanged = sorted(unread)
        self._result.standing = [each for name, each in kept.items() if name in unread]
        build_folder.write_reports(self._dir, (kept | fresh).values())
        build_folder.sweep(self._dir, self._store.assets(EVERYTHING))  # also after a build that was killed at its end

    def _read(self, items: list[Item], changed: list[Item], gone: list[str], assets: list[Asset]) -> None:
        from server import build_join, build_place
        from server.build_assets import AssetWriter

        frame = self._config.frame(self._dir)
        writer = AssetWriter(self._dir, self._config, frame, assets)
        rasters = [item for item in changed if item.is_asset]
        try:
            writer.start(rasters)
            heights = writer.heights()
            replaced = {each.item.name for each in heights if each.error is None} | set(gone)
            standing = [asset for asset in assets if asset.source not in replaced]
            place = build_place.place(
                self._dir, self._config, frame, assets=standing, heights=heights, written=rasters, writer=writer
            )
            vectors = [
                item for item in items
                if not item.is_asset and (item in changed or item.stands_on_other(place.ground))
            ]  # fmt: skip
            joined = build_join.last(items)
            self._progress.begin(len(rasters) + len(vectors))
            with self._store.writing() as batch:
                self._drop(batch, gone)
                for written in heights:
                    self._register(batch, written)
                for item in vectors:
                    if item not in joined:
                        self._features(batch, item, place)
                for item in joined:
                    if item in vectors or build_join.layers(item.hints) & batch.touched():
                        self._features(batch, item, place)
                for written in writer.others():
                    self._register(batch, written)
                self._result.issues += _follow_up(batch)
            place.terrain.close()
            place.roofs.close()
        finally:
            writer.stop()

    def _know_ground(self) -> None:
        """Read new elevation rasters once for what all terrain tiles need; it is kept in cache/terrain."""
        from twin.terrain import from_assets

        terrain = from_assets(self._dir, self._store.assets(EVERYTHING, "dem"), self._config)
        if not terrain.is_empty:
            _ = terrain.facts
        terrain.close()

    def _follow_states(self, reports: Collection[dict[str, Any]]) -> None:
        """Tell of sources whose old features are kept while their file is parked, and of those that are whole again."""
        if source_row.is_behind(self._store, reports):
            with self._store.writing() as batch:
                source_row.follow(batch, reports)

    def _drop(self, batch: WriteBatch, gone: list[str]) -> None:
        for name in gone:
            self._result.issues += build_edits.conflicts(batch, name)
            closed = batch.remove_source(name)
            self._result.removed[name] = {layer: n for layer, n in closed.items() if layer != catalogue.SOURCE}

    def _features(self, batch: WriteBatch, item: Item, place: "Place") -> None:
        from server.build_features import store_source

        self._progress.source(item.name)
        try:
            report = store_source(batch, item, place, self._progress, self._dir)
        except CityTwinError as error:
            self._park(batch, item, error)
            return
        self._result.reports.append(report)
        self._progress.done(report)

    def _register(self, batch: WriteBatch, written: "Written") -> None:
        item = written.item
        self._progress.source(item.name)
        if written.error is not None or written.report is None:
            self._park(batch, item, written.error or CityTwinError(f"{item.name} gave nothing."))
            return
        record = item.record(written.report.status, None)
        batch.begin_source(record)
        for asset in written.assets:
            batch.put_asset(asset)
        epochs = [asset.epoch for asset in written.assets if asset.epoch]
        source_row.put(batch, written.report, epochs[0] if epochs else item.hints.epoch)
        batch.finish_source(record, written.report)
        self._result.reports.append(written.report)
        self._progress.done(written.report)

    def _park(self, batch: WriteBatch, item: Item, error: CityTwinError) -> None:
        from server.build_features import ReaderFailed, parked, remember_parked

        report = parked(item, error)
        remember_parked(batch, item, report)
        self._result.reports.append(report)
        self._progress.done(report, error.trace if isinstance(error, ReaderFailed) else "")
