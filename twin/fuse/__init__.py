"""Fusion: features of one source, in its own CRS -> rows of the city, with meshes in its ENU frame."""
