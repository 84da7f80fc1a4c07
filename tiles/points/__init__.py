"""Point clouds as 3D Tiles 1.1, made on demand: each tile is one node of the cloud's COPC octree."""
