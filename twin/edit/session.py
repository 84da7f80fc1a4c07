"""Several edits as one transaction: all of them are stored, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from layers import catalogue
from layers.catalogue import LayerType
from layers.errors import Conflict, InvalidInput, LayerNotFound, NotFound
from layers.issue import Issue
from layers.mesh import Mesh, StoredMesh
from twin.edit import follow, fusing, restate, shapes, values
from twin.edit.features import Feature, features_of
from twin.edit.fusing import Batch, Surroundings
from twin.scope import EVERYTHING
from twin.store.interface import Features, LayerInfo, Query, Rows, WriteBatch

if TYPE_CHECKING:
    from twin.city import City

EDITOR = "edit"
MOST_IDS_TOLD = 5

Versions = int | Mapping[str, int] | None


@dataclass(frozen=True)
class Edited:
    """What an edit did.

    Attributes
    ----------
    ids : of the features, in the order given
    outcome : of each: `inserted`, `updated`, `unchanged`, `deleted` or `reverted`
    versions : of each now; 0 where it is gone
    issues : what was noticed: heights that were estimated, models that stay or go, names that the schema lacks
    """

    layer: str
    ids: list[str]
    outcome: list[str]
    versions: list[int]
    issues: list[Issue] = field(default_factory=list)


class Editing:
    """An open transaction. `edit["building"].update("B-17", height_m=42.0)`; `results` has what each call did."""

    def __init__(self, city: City, batch: WriteBatch, place: Surroundings, editor: str = EDITOR) -> None:
        if not editor.strip() or len(editor) > 200:
            raise InvalidInput(f"editor = {editor[:40]!r} is no name.", "Give 1 to 200 characters.")
        self.city, self.batch, self.place, self.editor = city, batch, place, editor
        self.results: list[Edited] = []
        self.issues: list[Issue] = []
        self._is_finished = False

    def __getitem__(self, layer_id: str) -> LayerEdit:
        """One layer; a layer of the catalogue that the city does not have yet is made by the first `put`."""
        self.city.scope.require(layer_id)
        if layer_id == catalogue.SOURCE:
            raise InvalidInput("The layer 'source' is written by the build.", "Correct the files instead.")
        return LayerEdit(self, layer_id)

    def finish(self) -> None:
        """What follows for other features; called before the commit, or earlier by who reads what came of it."""
        if not self._is_finished:
            self._is_finished = True
            self.issues += follow.links(self.batch)

    def told(self, done: Edited) -> Edited:
        """The result of a single call, with what the whole transaction noticed."""
        return replace(done, issues=[*done.issues, *self.issues])


class LayerEdit:
    """The edits of one layer in an open transaction."""

    def __init__(self, editing: Editing, layer_id: str) -> None:
        self._editing, self.id = editing, layer_id
        self._batch = editing.batch

    def update(
        self,
        ids: str | Iterable[str],
        *,
        geometry: Any = None,
        crs: str | None = None,
        mesh: Mesh | None = None,
        version: Versions = None,
        as_read: bool = False,
        attributes: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> Edited:
        """Change some attributes, the geometry or the model of features; everything else of them stays.

        Parameters
        ----------
        ids : one or several
        geometry : shapely or GeoJSON, in `crs` (the city's when absent), east first; for a single feature
        mesh : a model that replaces the one it has, vertices east, north, height in the city's CRS; single feature
        version : the version that is expected, of one or by id; Conflict where it is another by now
        as_read : z of a pipe is where it is read, on its axis, not on what its `z_ref` names as in a file
        attributes, named : new values; None empties. What the schema does not know is kept in `extra`
        """
        names = _ids(ids)
        info = self._info()
        kind = _fusable(info.type)
        given = values.checked(kind, {**(attributes or {}), **named}, self._where(names))
        was = self._current(names, info)
        self._check_versions(was, version)
        if (geometry is not None or mesh is not None) and len(names) != 1:
            raise InvalidInput("One geometry or model cannot be that of several features.", "Update them one by one.")
        moved, read = self._moved(kind, was, geometry, crs)
        shape = read
        changed = frozenset(given.attributes) - {"extra"}
        old = self._fused_as_it_was(kind, was)
        stated, table = restate.restated(
            kind, was.geometry, was.attributes, was.extra, changed=changed, moved=moved, terrain=self._place.terrain
        )
        if mesh is not None:  # what brings its own model is not laid, so its line stays as it is
            stated = was.geometry
        table = restate.with_values(table, kind, given.attributes)
        extra = [values.merged_extra(each, given.extra) for each in was.extra]
        if as_read and mesh is None:
            shape = restate.off_axis(kind, read, was.attributes, was.extra)
        new = Batch(names, np.where(moved, shape, stated), table, extra)
        made, issues = fusing.fused(kind, new, self._place, None if mesh is None else [mesh])
        if as_read and moved.any():
            issues += restate.not_taken(kind, read, made.geometry, names)
        before, replaced = self._batch.meshes(self.id, was.fids), np.full(len(names), mesh is not None)
        kept, noted = fusing.kept_meshes(before, old, made, moved=moved, replaced=replaced)
        odd = [name for name in given.extra if name not in _extra_names(was) and not _is_extra(attributes, named)]
        issues = [*values.unknown(kind, odd, names[0]), *issues, *noted]
        same = fusing.with_same_geometry(was.geometry, kept)
        return self._store(kind, same, issues, _unchanged(was, before, same))

    def put(
        self,
        features: Any,
        *,
        crs: str | None = None,
        meshes: Mapping[str, Mesh] | None = None,
        version: Versions = None,
        as_read: bool = False,
    ) -> Edited:
        """Insert features, or replace those of the same id as a whole.

        Parameters
        ----------
        features : a GeoDataFrame (ids in its index, or in a column `id`), a GeoJSON Feature or FeatureCollection, or a
            sequence of GeoJSON Features. A feature without id gets one
        crs : of the geometries, east first; that of the GeoDataFrame, else the city's when absent
        meshes : models by id, vertices east, north, height in the city's CRS
        version : as in `update`; 0 expects that there is no such feature
        as_read : as in `update`
        """
        kind = _fusable(self._type_for_put())
        given, stated_crs = features_of(features)
        named = [replace(each, id=each.id or f"{self.id}-{uuid4().hex}") for each in given]
        names = _ids([str(each.id) for each in named])
        where = [f"{self.id} {name!r}" for name in names]
        checked = [values.checked(kind, each.properties, place) for each, place in zip(named, where, strict=True)]
        geometry = shapes.checked(
            kind, [each.geometry for each in named], crs or stated_crs, self._editing.city.crs, where
        )
        was = self._held(names)
        self._check_versions(was, version, names)
        unknown_models = sorted(set(meshes or {}) - set(names))
        if unknown_models:
            raise InvalidInput(f"There is a model for {unknown_models[0]!r}, but no such feature.")
        table = _table(kind, checked, self._editing.editor)
        extra = [values.merged_extra(None, each.extra) for each in checked]
        stated = self._as_stated(kind, was, names, geometry)
        if as_read:
            same = _is_identical(stated, geometry)
            stated[same] = restate.off_axis(kind, geometry, table, extra)[same]
        for i, name in enumerate(names):
            if name in (meshes or {}):  # what brings its own model is not laid, so its line stays as it is
                stated[i] = geometry[i]
        batch = Batch(names, stated, table, extra)
        models = None if not meshes else [meshes.get(name) for name in names]
        made, issues = fusing.fused(kind, batch, self._place, models)
        if as_read:
            issues += restate.not_taken(kind, geometry, made.geometry, names)
        kept, noted = self._with_brought(kind, was, made, models, geometry)
        odd = [(name, each) for name, each in zip(names, checked, strict=True) if each.extra]
        told = [issue for name, each in odd[:MOST_IDS_TOLD] for issue in values.unknown(kind, each.extra, name)]
        return self._store(kind, kept, [*told, *issues, *noted])

    def delete(self, ids: str | Iterable[str], *, version: Versions = None) -> Edited:
        """Close features. Their sources do not bring them again; `revert` does."""
        names = _ids(ids)
        self._check_versions(self._current(names, self._info()), version)
        self._batch.delete(self.id, names, self._editing.editor)
        return self._note(Edited(self.id, names, ["deleted"] * len(names), [0] * len(names)))

    def revert(self, ids: str | Iterable[str]) -> Edited:
        """Withdraw edits: a feature is again what its source said before; one that was added by hand goes.

        The next build reads the source again, in case it has changed meanwhile.
        """
        names = _ids(ids)
        said = ("An edit of a feature of it was withdrawn.", "The next build reads it again.")
        issues = [Issue("EDIT_REVERTED", path, *said, "info") for path in self._batch.revert(self.id, names)]
        return self._note(Edited(self.id, names, ["reverted"] * len(names), self._versions(names), issues))

    @property
    def _place(self) -> Surroundings:
        return self._editing.place

    def _where(self, names: Sequence[str]) -> str:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{self.id} {names[0]!r}{more}"

    def _info(self) -> LayerInfo:
        return self._editing.city.store.layer(self.id, EVERYTHING)

    def _type_for_put(self) -> LayerType:
        try:
            return self._info().type
        except LayerNotFound:
            kind = catalogue.layer_type(self.id)
            self._batch.ensure_layer(kind)
            return kind

    def _held(self, names: Sequence[str]) -> Features | None:
        """Those of some ids that are there, as this transaction sees them."""
        parts = list(self._batch.query(self.id, Query(ids=tuple(names)), max(len(names), 1)))
        return parts[0] if parts else None

    def _current(self, names: Sequence[str], info: LayerInfo) -> Features:
        """The features of these ids, in this order; NotFound names the first that is not there."""
        from twin.store import read

        found = self._held(names)
        at = {} if found is None else {name: row for row, name in enumerate(found.ids)}
        missing = [name for name in names if name not in at]
        if missing or found is None:
            raise self._unknown(missing[0], info)
        return read.part_of(found, np.array([at[name] for name in names]))

    def _unknown(self, name: str, info: LayerInfo) -> NotFound:
        query = Query(ids=(name,), properties=(), with_geometry=False)
        for other in self._editing.city.layers:
            if other.id != info.id and next(iter(self._batch.query(other.id, query)), None) is not None:
                return NotFound(f"Layer {self.id!r} has no feature {name!r}.", f"Layer {other.id!r} has one.")
        return NotFound(f"Layer {self.id!r} has no feature {name!r}.", "Check the id; `put` makes a new feature.")

    def _check_versions(self, was: Features | None, version: Versions, names: Sequence[str] = ()) -> None:
        if version is None:
            return
        now = {} if was is None else dict(zip(was.ids, was.versions.tolist(), strict=True))
        for name in names or now:
            expected = version.get(name) if isinstance(version, Mapping) else version
            if expected is not None and expected != now.get(name, 0):
                state = f"version {now[name]}" if name in now else "not there"
                raise Conflict(
                    f"{self.id} {name!r} is {state} by now, not version {expected}: someone was faster.",
                    "Read it again and repeat the edit.",
                )

    def _moved(
        self, kind: LayerType, was: Features, geometry: Any, crs: str | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.object_]]:
        if geometry is None:
            return np.zeros(len(was), bool), was.geometry
        shape = shapes.checked(kind, [geometry], crs, self._editing.city.crs, [self._where(was.ids)])
        return ~_is_identical(was.geometry, shape), shape

    def _fused_as_it_was(self, kind: LayerType, was: Features) -> Batch:
        nothing: frozenset[str] = frozenset()
        stated, table = restate.restated(
            kind, was.geometry, was.attributes, was.extra,
            changed=nothing, moved=np.zeros(len(was), bool), terrain=self._place.terrain,
        )  # fmt: skip
        return fusing.fused(kind, Batch(was.ids, stated, table, was.extra), self._place)[0]

    def _as_stated(
        self, kind: LayerType, was: Features | None, names: Sequence[str], geometry: NDArray[np.object_]
    ) -> NDArray[np.object_]:
        """A geometry that is handed back as it was read is what the source once stated, not what was made of it."""
        if was is None:
            return np.array(geometry, dtype=object)
        stated, _ = restate.restated(
            kind, was.geometry, was.attributes, was.extra,
            changed=frozenset(), moved=np.zeros(len(was), bool), terrain=self._place.terrain,
        )  # fmt: skip
        row_of = {name: row for row, name in enumerate(was.ids)}
        out = np.array(geometry, dtype=object)
        for i, name in enumerate(names):
            row = row_of.get(name)
            if row is not None and _is_identical(was.geometry[[row]], geometry[[i]])[0]:
                out[i] = stated[row]
        return out

    def _with_brought(
        self,
        kind: LayerType,
        was: Features | None,
        made: Batch,
        models: list[Mesh | None] | None,
        given: NDArray[np.object_],
    ) -> tuple[Batch, list[Issue]]:
        """Features that replace others keep the models that came with those, where the geometry is the same."""
        if was is None:
            return made, []
        row_of = {name: row for row, name in enumerate(was.ids)}
        rows = np.array([row_of.get(name, -1) for name in made.ids])
        held = np.flatnonzero(rows >= 0)
        before: list[StoredMesh | None] = [None] * len(made)
        for i, mesh in zip(held.tolist(), self._batch.meshes(self.id, was.fids[rows[held]]), strict=True):
            before[i] = mesh
        moved = np.ones(len(made), bool)
        moved[held] = ~_is_identical(was.geometry[rows[held]], given[held])
        old = self._fused_as_it_was(kind, was)
        meshes: list[StoredMesh | None] = [None if row < 0 else old.meshes[row] for row in rows.tolist()]
        as_it_was = Batch(made.ids, made.geometry, made.attributes, made.extra, meshes)
        replaced = np.array([model is not None for model in models] if models else [False] * len(made))
        return fusing.kept_meshes(before, as_it_was, made, moved=moved, replaced=replaced)

    def _store(
        self, kind: LayerType, made: Batch, issues: list[Issue], unchanged: NDArray[np.bool_] | None = None
    ) -> Edited:
        known = {each.name for each in kind.attributes}
        table = made.attributes.select([name for name in made.attributes.column_names if name in known])
        outcome = np.full(len(made), "unchanged", dtype="<U9")
        rows = np.arange(len(made)) if unchanged is None else np.flatnonzero(~unchanged)
        if rows.size:
            chosen = rows.tolist()
            stored = Rows(
                [made.ids[i] for i in chosen], made.geometry[rows], table.take(pa.array(rows)),
                [made.extra[i] for i in chosen], [made.meshes[i] for i in chosen],
            )  # fmt: skip
            outcome[rows] = self._batch.edit(self.id, stored, self._editing.editor).outcome
        return self._note(Edited(self.id, made.ids, outcome.tolist(), self._versions(made.ids), issues))

    def _versions(self, names: Sequence[str]) -> list[int]:
        query = Query(ids=tuple(names), properties=(), with_geometry=False)
        now: dict[str, int] = {}
        for part in self._batch.query(self.id, query):
            now |= dict(zip(part.ids, part.versions.tolist(), strict=True))
        return [now.get(name, 0) for name in names]

    def _note(self, done: Edited) -> Edited:
        self._editing.results.append(done)
        return done


def _ids(given: str | Iterable[str]) -> list[str]:
    names = [given] if isinstance(given, str) else list(given)
    if not names:
        raise InvalidInput("No id is given.", "Give one, or several.")
    for name in names:
        if not isinstance(name, str) or not name.strip() or len(name) > 1000 or "\0" in name:
            raise InvalidInput(f"{str(name)[:60]!r} is no id.", "An id is text of 1 to 1,000 characters.")
    if len(set(names)) != len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise InvalidInput(f"The id {twice!r} is given twice.", "Give each feature once.")
    return names


def _fusable(stored: LayerType) -> LayerType:
    """The layer's type as it is stored, with the way in which the catalogue of now makes its meshes."""
    known = catalogue.load().get(stored.id)
    return stored if known is None else replace(stored, solid=known.solid, style=stored.style | known.style)


def _table(kind: LayerType, given: Sequence[values.Given], editor: str) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for each in kind.attributes:
        columns[each.name] = pa.array([row.attributes.get(each.name) for row in given], each.arrow_type)
    if "source" in columns:
        columns["source"] = pa.array([row.attributes.get("source") or editor for row in given], pa.string())
    return pa.table(columns)


def _unchanged(was: Features, meshes: Sequence[StoredMesh | None], made: Batch) -> NDArray[np.bool_]:
    """(n,) True where nothing of a stored feature would be another."""
    same = _is_identical(was.geometry, made.geometry)
    same &= np.array([a == b for a, b in zip(was.extra, made.extra, strict=True)], bool)
    same &= np.array([_blob(a) == _blob(b) for a, b in zip(meshes, made.meshes, strict=True)], bool)
    for name in made.attributes.column_names:
        now = made.attributes.column(name).to_pylist()
        before = was.attributes.column(name).to_pylist() if name in was.attributes.column_names else [None] * len(now)
        same &= np.array([a == b for a, b in zip(before, now, strict=True)], bool)
    return same


def _blob(mesh: StoredMesh | None) -> bytes | None:
    return None if mesh is None else mesh.blob


def _is_identical(a: NDArray[np.object_], b: NDArray[np.object_]) -> NDArray[np.bool_]:
    """(n,) True where both are the same, z included; None is like None."""
    both_none = shapely.is_missing(a) & shapely.is_missing(b)
    return np.asarray(shapely.equals_identical(a, b) | both_none)


def _extra_names(was: Features) -> set[str]:
    import orjson

    return {name for each in was.extra if each for name in orjson.loads(each)}


def _is_extra(attributes: Mapping[str, Any] | None, named: Mapping[str, Any]) -> bool:
    return "extra" in named or "extra" in (attributes or {})


__all__ = ["EDITOR", "Edited", "Editing", "Feature", "LayerEdit"]
