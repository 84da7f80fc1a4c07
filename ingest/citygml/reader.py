"""CityGML 1.0, 2.0 and 3.0 -> a layer for each kind of city object, with meshes, textures and footprints.

Standards: OGC 12-019 (2.0), OGC 20-010 and 21-006r2 (3.0). Objects are streamed: memory holds one member and a batch.
The file is read once to see what is in it and once for each layer. The highest LoD of each object is kept and stated
in `lod`; axis order is the one its CRS has (see `citygml_crs`).
"""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from ingest import ids
from ingest.citygml.layers import ID, TALL, Z_MIN, LayerReader, made_columns, skipped_issues
from ingest.citygml.survey import Survey, System, place_all, survey
from ingest.mapping import Mapper
from ingest.stream import FeatureStream
from ingest.vector.reader import ids_name
from layers import catalogue, crs
from layers.certificate import Certificate
from layers.errors import InvalidInput
from layers.source import AssetLayer, Hints, Reading, VectorLayer

SUFFIXES = (".citygml", ".gml")


def read(path: Path, hints: Hints) -> Reading:
    """Layers by kind of city object and CRS.

    Raises InvalidInput with the place in the file (`XML_BROKEN`, `XML_ENTITIES`, `MEMBER_TOO_LARGE`,
    `CG_NOTHING_READ`), or CrsMissing.
    """
    name = ids_name(path, hints)
    found = survey(path, name)
    if not found.counts:
        what = f"; not read: {', '.join(found.skipped)}" if found.skipped else ""
        problem = f"{name} has no city objects{what}."
        raise InvalidInput(problem, "Export it again with cityObjectMember elements.", code="CG_NOTHING_READ")
    issues = place_all(found, hints)
    main = next(each for each in found.systems.values() if each.certificate is not None)
    certificate = _with_axes(main)
    groups = _groups(found, main)
    layers: list[VectorLayer | AssetLayer] = [
        _layer(found, layer_id, systems, _of(found, systems, main), hints=hints, n_layers=len(groups))
        for (layer_id, _, _), systems in groups.items()
    ]
    issues += skipped_issues(found)
    return Reading(path, f"CityGML {found.version or '(no version)'}", layers, certificate, issues)


def _groups(found: Survey, main: System) -> dict[tuple[str, str | None, str | None], set[str]]:
    """(layer, CRS, vertical CRS) -> the `srsName`s in it; what cannot be placed goes with the main one."""
    groups: dict[tuple[str, str | None, str | None], set[str]] = defaultdict(set)
    for layer_id, srs in found.counts:
        certificate = found.systems[srs].certificate or main.certificate
        if certificate is not None:
            groups[layer_id, certificate.source_crs, certificate.source_vertical_crs].add(srs)
    return groups


def _of(found: Survey, systems: set[str], main: System) -> System:
    return next((found.systems[srs] for srs in sorted(systems) if found.systems[srs].certificate is not None), main)


def _with_axes(system: System) -> Certificate:
    """The certificate with the axis order of the file in its parameters."""
    certificate = system.certificate or Certificate("none")
    order = "north, east" if system.swapped else "east, north"
    return replace(certificate, parameters={**certificate.parameters, "axis_order_of_file": order})


def _layer(
    found: Survey, layer_id: str, systems: set[str], system: System, *, hints: Hints, n_layers: int
) -> VectorLayer:
    layer_type = catalogue.layer_type(layer_id)
    columns = list(found.columns.get(layer_id, ()))
    certificate = _with_axes(system)
    own = Mapper(layer_type, columns, hints, found.name).matched
    measured = {"base_elev_m": Z_MIN, "height_m": TALL} if layer_id == "building" else {}
    measured = {key: column for key, column in measured.items() if key not in own and key not in hints.columns}
    told = replace(hints, columns={**measured, **hints.columns})
    all_columns = [*columns, *made_columns(layer_type, columns), *measured.values()]
    mapper = Mapper(layer_type, all_columns, told, found.name)
    stem = found.path.name.split(".")[0]
    name = stem if n_layers == 1 else layer_id
    if len({(each.source_crs, each.source_vertical_crs) for each in _certificates(found)}) > 1:
        parts = [each for each in (certificate.source_crs, certificate.source_vertical_crs) if each]
        name = " ".join([name, *(each if len(each) < 20 else crs.parse(each).name for each in parts)])
    layer = VectorLayer(
        name=name,
        layer_type=layer_id,
        crs=certificate.source_crs,
        batches=lambda: iter(()),
        vertical_crs=certificate.source_vertical_crs,
        geometry_type=layer_type.geometry,
        certificate=certificate,
    )
    plan = ids.IdPlan(ID, ids.prefix(found.path, hints.root), persistent=False)
    reader = LayerReader(found, layer, layer_type, systems, columns, hints=hints)
    layer.batches = FeatureStream(layer, mapper, plan, reader.chunks).batches
    return layer


def _certificates(found: Survey) -> list[Certificate]:
    return [each.certificate for each in found.systems.values() if each.certificate is not None]
