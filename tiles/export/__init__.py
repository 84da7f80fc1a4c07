"""A city's tiles as static files: what the server would answer, written to a folder or an object store.

`run.export` takes stages (a layer's 3D Tiles, the terrain, …), has worker processes make what is not there yet, writes
what refers to it afterwards and then removes what is gone. See docs/tiles/export.md.
"""
