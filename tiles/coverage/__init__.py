"""Rasters of a layer as one coverage (OGC API Coverages, draft 19-087): a grid, its fields, its values in any frame."""
