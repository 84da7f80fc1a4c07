"""Edits by hand: values and geometries checked against the layer, fused like a file's, stored in one transaction."""

from twin.edit.session import Edited, Editing, LayerEdit

__all__ = ["Edited", "Editing", "LayerEdit"]
