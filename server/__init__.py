"""The outer ring: OGC API, tiles, QGIS project, viewer, command line. The only folder that joins readers and city."""
