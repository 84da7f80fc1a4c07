"""The model space of a drawing -> features by drawing layer; block references are taken apart with their attributes.

Format: Autodesk DXF Reference, «INSERT», «ATTRIB», «BLOCKS section». Parts on layer 0 of a block lie on its
reference's layer. References within themselves and endless repetitions are not followed.
"""

from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from ingest import wkb
from ingest.dxf import shapes as dxf_shapes
from ingest.dxf.place import DrawingPlace
from ingest.dxf.shapes import NotRead
from layers.errors import InvalidInput

MAX_FEATURES = 2_000_000
MAX_DEPTH = 16
TOLERANCE_M = 0.001
"""Chords leave their arc by no more than this, or a millionth of the entity's size."""


@dataclass(frozen=True)
class Feature:
    """One entity: what names it in the file, its place in the source's CRS, and its properties."""

    key: str
    value: bytes
    facts: dict[str, Any]


@dataclass
class Drawing:
    """Features by drawing layer, and what was not read."""

    features: dict[str, list[Feature]] = field(default_factory=lambda: defaultdict(list))
    not_read: Counter[str] = field(default_factory=Counter)
    outside: list[str] = field(default_factory=list)
    n_features: int = 0

    def add(self, layer: str, feature: Feature) -> None:
        """Keep a feature. Raises InvalidInput when there are too many."""
        self.n_features += 1
        if self.n_features > MAX_FEATURES:
            problem = f"The drawing has more than {MAX_FEATURES} entities once its blocks are taken apart."
            raise InvalidInput(problem, "Split it, or convert it to GeoPackage.", code="TOO_LARGE")
        self.features[layer].append(feature)


def features(doc: Any, where: DrawingPlace) -> Drawing:
    """Everything in model space. Raises InvalidInput for too much, and whatever ezdxf raises over broken entities."""
    drawing = Drawing()
    for entity in doc.modelspace():
        _walk(drawing, entity, where, _Reference())
    return drawing


@dataclass(frozen=True)
class _Reference:
    """The block references around an entity, from outside in."""

    key: str = ""
    layer: str = "0"
    blocks: tuple[str, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)


def _walk(drawing: Drawing, entity: Any, where: DrawingPlace, around: _Reference) -> None:
    """One entity and, for block references, everything in them."""
    kind = entity.dxftype()
    own = str(entity.dxf.get("layer", "0"))
    layer = around.layer if own == "0" and around.blocks else own
    key = around.key or str(entity.dxf.get("handle") or drawing.n_features)
    if kind == "INSERT":
        _insert(drawing, entity, where, _Reference(key, layer, around.blocks, around.facts))
        return
    try:
        value = _placed(dxf_shapes.shape(entity, TOLERANCE_M / where.unit_m), where)
    except NotRead as error:
        drawing.not_read[str(error)] += 1
        return
    except (ValueError, TypeError, ZeroDivisionError, AttributeError, IndexError, shapely.errors.ShapelyError):
        drawing.not_read[f"{kind} with broken values"] += 1
        return
    if kind == "IMAGE":
        with suppress(AttributeError):
            drawing.outside.append(str(entity.image_def.dxf.filename))
    suffix = f".{drawing.n_features}" if around.blocks else ""
    drawing.add(layer, Feature(key + suffix, value, around.facts | _facts(entity, around)))


def _insert(drawing: Drawing, entity: Any, where: DrawingPlace, at: _Reference) -> None:
    name = str(entity.dxf.get("name", ""))
    block = entity.block()
    if block is None or block.block.is_xref:
        drawing.not_read["INSERT of an external drawing" if block is not None else "INSERT without block"] += 1
        if block is not None:
            drawing.outside.append(str(block.block.dxf.get("xref_path", name)))
        return
    if len(at.blocks) >= MAX_DEPTH or name in at.blocks:
        drawing.not_read["INSERT within itself"] += 1
        return
    n_copies = max(1, int(entity.mcount))
    if n_copies > MAX_FEATURES:
        raise InvalidInput(f"A block reference repeats {n_copies} times.", "Split the drawing.", code="TOO_LARGE")
    for copy in entity.multi_insert() if n_copies > 1 else (entity,):
        tags = {str(each.dxf.tag): str(each.dxf.text) for each in (*copy.attribs, *entity.attribs)}
        facts = at.facts | tags
        blocks = (*at.blocks, name)
        reference = _Reference(at.key, at.layer, blocks, facts)
        point = shapely.Point(*copy.ocs().points_to_wcs([copy.dxf.insert]))
        suffix = f".{drawing.n_features}" if at.blocks or n_copies > 1 else ""
        own = facts | _facts(copy, reference) | {"rotation_deg": float(copy.dxf.get("rotation", 0.0))}
        drawing.add(at.layer, Feature(at.key + suffix, _placed(point, where), own))
        for part in copy.virtual_entities(skipped_entity_callback=lambda _, why: drawing.not_read.update([why])):
            if part.dxftype() != "ATTDEF":
                _walk(drawing, part, where, reference)


def _facts(entity: Any, around: _Reference) -> dict[str, Any]:
    dxf = entity.dxf
    true_color = dxf.get("true_color")
    color = f"#{true_color & 0xFFFFFF:06x}" if true_color is not None else str(dxf.get("color", 256))
    image = getattr(entity, "image_def", None) if entity.dxftype() == "IMAGE" else None
    facts = {
        "handle": dxf.get("handle") or around.key or None,
        "entity": entity.dxftype(),
        "color": color,
        "linetype": dxf.get("linetype", "BYLAYER"),
        "text": dxf_shapes.text(entity) if image is None else str(image.dxf.filename),
        "block": "/".join(around.blocks) or None,
    }
    if entity.dxftype() in dxf_shapes.LABELS:
        facts["rotation_deg"] = float(dxf.get("rotation", 0.0))
    return facts


def _placed(shape: Any, where: DrawingPlace) -> bytes:
    """WKB in the source's CRS; faces as a polyhedral surface."""
    if isinstance(shape, list):
        return wkb.polyhedral([where.apply(np.array(face, np.float64).reshape(-1, 3)) for face in shape])
    return bytes(shapely.to_wkb(shapely.transform(shape, where.apply, include_z=True)))
