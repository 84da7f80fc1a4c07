"""IFC2X3, IFC4 and IFC4X3_ADD2 -> layers `bim_element` (meshes, footprints) and `bim_assembly`.

Which products count: `bim_element` holds every IfcElement that has a body, except IfcFeatureElement (openings and
other features are already cut into their hosts) and IfcVirtualElement. `bim_assembly` holds the spatial structure
(sites, buildings, storeys, facilities and parts, spaces) and the elements without a body of their own, such as an
IfcStair made of flights; it has no meshes, its geometry is the plan hull of its parts or of its own shape. Alignments,
grids, ports and annotations are counted in an Issue. The public id is the GlobalId.

Everything native runs in worker processes (`ingest.ifc.geometry`): a kernel that crashes costs at most one element.
Spec: ISO 16739-1:2024.
"""

from functools import cache
from pathlib import Path
from typing import Any

from ingest.ifc import escapes as ifc_escapes
from ingest.ifc import file as ifc_file
from ingest.ifc import georef as ifc_georef
from ingest.ifc import ports as ifc_ports
from ingest.ifc import schema as ifc_schema
from ingest.ifc import text as ifc_text
from ingest.ifc.alignment_layers import Alignments
from ingest.ifc.geometry import Chunk
from ingest.ifc.layers import Model, Products, Run
from ingest.ifc.process import Limits, Worker, WorkerLost, ask
from layers.errors import InvalidInput
from layers.issue import Issue
from layers.source import Hints, Reading

SUFFIXES = (".ifc", ".ifczip")
_N_PROBES = 64


def read(path: Path, hints: Hints) -> Reading:
    """Read one model. Raises InvalidInput when it cannot be parsed whole, Unplaceable when it has no place.

    Geometry is made while the batches are consumed. Vertices are east, north, height in the CRS of the certificate.
    """
    unpacked = ifc_file.unpack(path)
    ifc_file.check_head_and_tail(unpacked.path, path.name)
    unpacked, issues = ifc_text.to_escapes(unpacked, path.name, hints.encoding)
    unpacked, more = ifc_escapes.to_unicode(unpacked, path.name, hints.encoding)
    issues += more
    unpacked, drafts = ifc_schema.to_known(unpacked, path.name)
    issues += drafts
    facts, log, reader, n_instances = _survey(unpacked.path, path.name)
    try:
        if drafts:
            gone = _missing(unpacked.path) if n_instances != facts["n_instances"] else set[int]()
            issues += ifc_schema.lost(unpacked.path, path.name, gone, log)
            n_instances = facts["n_instances"] + (0 if gone else n_instances - facts["n_instances"])
        else:
            issues += ifc_file.dangling(unpacked.path, path.name, log)
        _check_whole(unpacked.path, path.name, facts, log, n_instances)
        run = Run(unpacked, Products.of(facts), reader)
    except BaseException:
        reader.close()
        raise
    try:
        placement = ifc_georef.place(facts | {"probes": cache(lambda: _middles(run.first()))}, hints)
    except BaseException:
        run.close()
        raise
    model = Model(path, unpacked, facts, placement, hints, run)
    issues += [
        Issue("IFC_CONTRADICTION", path.name, sentence, "Correct the model's georeference, or accept this.")
        for sentence in placement.certificate.contradictions
    ]
    layers = [model.elements, model.assemblies, *Alignments(path.name, facts, placement).layers()]
    layers += ifc_ports.layers(path.name, facts, placement)
    return Reading(path, f"IFC {facts['schema']}", list(layers), placement.certificate, issues)


def _survey(plain: Path, name: str) -> tuple[dict[str, Any], str, Worker, int]:
    """What the file says, the parser's log, the worker that has parsed it, and the instances in the text."""
    worker = None
    try:
        worker = Worker(plain)
        worker.send(("survey",))
        n_instances = ifc_file.n_instances(plain)  # meanwhile
        answer = worker.receive(Limits().to_parse_s(plain))
    except WorkerLost as lost:
        if worker is not None:
            worker.close()
        raise InvalidInput(
            f"{name} cannot be parsed: {lost.reason}.", "Check it with another IFC program.", code="IFC_PARSER_LOST"
        ) from lost
    if answer[0] == "failed":
        worker.close()
        raise ifc_file.parse_failed(plain, name, *answer[1:])
    return answer[1], answer[2], worker, n_instances


def _middles(chunk: Chunk | None) -> list[list[float]]:
    """Middles of the first shapes, metres in the model's frame.

    Placements alone do not tell where a model lies: its coordinates may stand in the shapes, or along an alignment.
    """
    shapes = [] if chunk is None else list(chunk.shapes.values())
    return [((each.vertices.min(axis=0) + each.vertices.max(axis=0)) / 2).tolist() for each in shapes[:_N_PROBES]]


def _missing(plain: Path) -> set[int]:
    """Instances of the text that the parser did not keep."""
    ids = [each for each, _ in ifc_file.instance_ids(plain)]
    try:
        return set(ask(plain, [("survey",), ("missing", ids)])[1][1])
    except WorkerLost as lost:
        raise InvalidInput(f"{plain.name} cannot be parsed a second time: {lost.reason}.", "Try again.") from lost


def _check_whole(plain: Path, name: str, facts: dict[str, Any], log: str, n_instances: int) -> None:
    """Every instance of the text must have been parsed, and there must be a project with products."""
    if n_instances != facts["n_instances"]:
        _refuse_partial(plain, name, facts, log)
    if facts["n_projects"] == 0:
        raise InvalidInput(f"{name} has no IfcProject.", "Export the whole model.", code="IFC_EMPTY")
    if not facts["elements"] and not facts["spatial"] and not facts["alignments"]:
        raise InvalidInput(
            f"{name} has neither elements nor a spatial structure nor alignments.",
            "Export it again.",
            code="IFC_EMPTY",
        )


def _refuse_partial(plain: Path, name: str, facts: dict[str, Any], log: str) -> None:
    offsets: dict[int, int] = {}
    repeated: tuple[int, int] | None = None
    for each, offset in ifc_file.instance_ids(plain):
        if each in offsets and repeated is None:
            repeated = (each, offset)
        offsets.setdefault(each, offset)
    missing = _missing(plain)
    lost = [each for each in offsets if each in missing]
    first = (lost[0], offsets[lost[0]]) if lost else repeated
    before = max((offset for offset in offsets.values() if first and offset < first[1]), default=0)
    said = ifc_file.first_error_line(plain, log)
    words = f"; the parser says at line {said[0]}: {said[1]}" if said else ""
    if first is None:
        return
    what = f"is lost; the error is there or in line {ifc_file.line_of(plain, before)}" if lost else "is defined twice"
    raise InvalidInput(
        f"{name}: of {len(offsets)} instances only {facts['n_instances']} could be read; "
        f"#{first[0]} at line {ifc_file.line_of(plain, first[1])} {what}{words}.",
        "Correct that line or export the file again.",
        code="IFC_SYNTAX",
    )
