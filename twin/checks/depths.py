"""Depths of pipes and wells that are no metres: centimetres or millimetres in a column of metres."""

import numpy as np

from layers.catalogue import LayerType
from layers.source import FeatureBatch
from twin.fuse.columns import numbers
from twin.fuse.notes import Notes

COLUMNS = ("start_depth_m", "end_depth_m", "depth_m")
DEEPEST_M = 30.0
"""City pipes are laid in trenches or jacked; deep sewage tunnels reach about 60 m, and are told too."""


def check(layer_type: LayerType, batch: FeatureBatch, notes: Notes) -> None:
    """Note every depth beyond what a trench has; it is kept."""
    if layer_type.solid not in {"tube", "well"}:
        return
    for column in COLUMNS:
        if layer_type.attribute(column) is None:
            continue
        depth = numbers(batch.attributes, column)
        deep = np.flatnonzero(depth > DEEPEST_M)
        told = [f"{column} is {depth[i]:g} m." for i in deep.tolist()]
        hint = f'If it is in centimetres, write into city.toml: units = {{ {column} = "cm" }}.'
        notes.add("DEPTH_UNLIKELY", [batch.ids[i] for i in deep.tolist()], told, hint, "warning")
