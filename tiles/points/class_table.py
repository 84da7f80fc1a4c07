"""The classes of points as features, so that a viewer can pick and style points: feature id = class, one row a class.

CesiumJS (26.3) picks and styles features; property attributes of points it neither picks, nor styles without stumbling
over a style that was written for features. Row i is class i, from 0 to the highest class of the tile.

Spec: EXT_mesh_features, EXT_structural_metadata (binary table format of 3D Metadata).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tiles.points import classes

CLASS = "point_class"


@dataclass(frozen=True)
class ClassTable:
    """`schema_class` and `enums` go into the schema; `properties` name buffers by their place in `buffers`."""

    schema_class: dict[str, Any]
    enums: dict[str, Any]
    n_rows: int
    properties: dict[str, dict[str, int]]
    buffers: list[bytes]

    def table(self, first_view: int) -> dict[str, Any]:
        """The property table; its first buffer is the buffer view with this number."""
        shifted: dict[str, dict[str, Any]] = {
            name: {role: at + first_view for role, at in entry.items()} for name, entry in self.properties.items()
        }
        for entry in shifted.values():
            if "stringOffsets" in entry:
                entry["stringOffsetType"] = "UINT16"
        return {"name": CLASS, "class": CLASS, "count": self.n_rows, "properties": shifted}


def class_table(highest: int, about: dict[str, str]) -> ClassTable:
    """Rows for the classes 0 … highest of the cloud that `about` names by `layer` and `asset`."""
    n_rows = highest + 1
    number = {"type": "SCALAR", "componentType": "UINT8", "required": True}
    schema: dict[str, Any] = {"classification": {**number, "description": "Class of ASPRS LAS 1.4"}}
    buffers, entries = [np.arange(n_rows, dtype=np.uint8).tobytes()], {"classification": {"values": 0}}
    titles = [classes.class_title(i) for i in range(n_rows)]
    for language in ("zh", "en"):
        texts = [getattr(title, language).encode() for title in titles]
        offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype("<u2")
        entries[f"name_{language}"] = {"values": len(buffers), "stringOffsets": len(buffers) + 1}
        buffers += [b"".join(texts), offsets.tobytes()]
        schema[f"name_{language}"] = {"type": "STRING", "required": True}
    enums = {}
    for name in ("layer", "asset"):
        enums[name] = {"valueType": "UINT8", "values": [{"name": about[name], "value": 0}]}
        entries[name] = {"values": len(buffers)}
        buffers.append(bytes(n_rows))
        schema[name] = {"type": "ENUM", "enumType": name, "required": True}
    return ClassTable({"properties": schema}, enums, n_rows, entries, buffers)
