"""Rows of a network file -> a layer: catalogue types by name, or a type made of the rows' own fields."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import batched
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import shapely

from ingest import geometry as shapes
from ingest import ids
from ingest.detect import slug
from ingest.geometry import Conformed
from ingest.mapping import Mapper
from ingest.network.inp import Point, Sections
from ingest.stream import BATCH_ROWS, Chunk, FeatureStream
from layers import catalogue
from layers.certificate import Certificate
from layers.issue import Issue
from layers.source import Hints, VectorLayer


@dataclass(frozen=True)
class Item:
    """One feature: its line, its values, its shape, and (code, sentence) where it cannot be stored."""

    line: int
    row: dict[str, Any]
    shape: shapely.Geometry | None
    bad: tuple[str, str] | None = None


@dataclass(frozen=True)
class Plan:
    """What a layer is to be.

    Attributes
    ----------
    word : ends its name and its made ids
    fields : columns of the rows
    id_column : one of them
    geometry_type : simple-features name
    layer_type : catalogue id; None for a type made of the fields, named after the file
    """

    word: str
    fields: dict[str, pa.DataType]
    id_column: str
    geometry_type: str
    layer_type: str | None = None


@dataclass(frozen=True)
class Source:
    """The file as all its layers know it; `name` is its name in messages."""

    path: Path
    hints: Hints
    certificate: Certificate
    name: str


def layer(source: Source, plan: Plan, items: Callable[[], Iterable[Item]]) -> VectorLayer:
    """The stream of one layer. `items` is called each time it is read."""
    path, hints, certificate, name = source.path, source.hints, source.certificate, source.name
    stem = path.name.split(".")[0]
    title = f"{stem}_{plan.word}"
    if plan.layer_type is None:
        made = catalogue.from_fields(slug(title), title.replace("_", " "), plan.geometry_type, plan.fields)
    else:
        made = catalogue.layer_type(plan.layer_type)
    values = {key: value for key, value in hints.values.items() if made.attribute(key) is not None}
    mapper = Mapper(made, list(plan.fields), Hints(values=values, epoch=hints.epoch), name)
    given = VectorLayer(
        title,
        made.id,
        certificate.source_crs,
        lambda: iter(()),
        certificate.source_vertical_crs,
        dict(plan.fields) if plan.layer_type is None else {},
        plan.geometry_type,
    )
    id_plan = ids.IdPlan(plan.id_column, ids.prefix(path, hints.root, plan.word), persistent=False)
    given.batches = FeatureStream(given, mapper, id_plan, lambda: _chunks(name, plan, items())).batches
    return given


def _chunks(name: str, plan: Plan, items: Iterable[Item]) -> Iterator[Chunk]:
    schema = pa.schema(list(plan.fields.items()))
    for some in batched(items, BATCH_ROWS):
        array = np.empty(len(some), dtype=object)
        array[:] = [item.shape for item in some]
        lines = [item.line for item in some]
        yield Chunk(
            pa.Table.from_pylist([item.row for item in some], schema=schema),
            shapes.check(Conformed(array)),
            [None if item.shape is None else bytes(shapely.to_wkb(item.shape)) for item in some],
            None,
            lambda row, lines=lines: f"{name}, line {lines[row]}",  # type: ignore[misc]
            bad={row: item.bad for row, item in enumerate(some) if item.bad is not None},
        )


class Network:
    """Where the nodes of a file are, and lines between them.

    Parameters
    ----------
    known : folded ids of all nodes that the file defines
    fold : how ids are compared
    """

    def __init__(self, sections: Sections, known: set[str], fold: Callable[[str], str]) -> None:
        self.known, self.fold = known, fold
        points = sections.points("COORDINATES", fold)
        self.points: dict[str, Point] = {node: xy[-1] for node, xy in points.items()}
        self.vertices = sections.points("VERTICES", fold)

    def node(self, line: int, name: str, row: dict[str, Any]) -> Item:
        """A node as a point; without coordinates it is not mapped."""
        at = self.points.get(self.fold(name))
        if at is None:
            return Item(line, row, None, ("INP_NOT_MAPPED", "It has no coordinates."))
        return Item(line, row, shapely.Point(at))

    def link(self, line: int, words: list[str], row: dict[str, Any]) -> Item:
        """A link as a line from its start over its vertices to its end."""
        ends = [self.fold(each) for each in words[1:3]]
        unknown = [each for each, folded in zip(words[1:3], ends, strict=True) if folded not in self.known]
        if unknown:
            sentence = f"Its node {unknown[0]!r} is not in the file."
            return Item(line, row, None, ("INP_NODE_UNKNOWN", sentence))
        bare = [each for each, folded in zip(words[1:3], ends, strict=True) if folded not in self.points]
        if bare:
            return Item(line, row, None, ("INP_NOT_MAPPED", f"Its node {bare[0]!r} has no coordinates."))
        start, end = (self.points[each] for each in ends)
        bends = self.vertices.get(self.fold(words[0]), [])
        return Item(line, row, shapely.LineString([start, *bends, end]))

    def bounds(self) -> tuple[float, float, float, float]:
        """Of all nodes with coordinates."""
        xy = np.array(list(self.points.values()))
        west, south = xy.min(axis=0).tolist()
        east, north = xy.max(axis=0).tolist()
        return west, south, east, north

    def issues(self, name: str, links: set[str]) -> list[Issue]:
        """Coordinates and vertices of things that the file does not define."""
        found = []
        for word, given, known in (("node", self.points, self.known), ("link", self.vertices, links)):
            lost = [each for each in given if each not in known]
            if lost:
                message = f"{len(lost)} {word}s have coordinates but no line of their own, the first is {lost[0]!r}."
                found.append(Issue("INP_COORDINATES_UNUSED", name, message, "Delete or define them.", "warning"))
        return found


def model_data(sections: Sections, stored: Iterable[str]) -> list[Issue]:
    """One issue that counts the lines that are for a simulation and are not stored."""
    kept = {*stored, "TITLE", "END"}
    rest = {key: n for key, n in sorted(sections.counts.items()) if key not in kept}
    if not rest:
        return []
    told = [
        f"{key} {len(sections.names[key])} in {n} lines" if key in sections.names else f"{key} {n} lines"
        for key, n in rest.items()
    ]
    message = f"Data of the hydraulic model stay in the file: {', '.join(told)}."
    return [Issue("INP_MODEL_DATA", sections.name, message, "", "info")]
