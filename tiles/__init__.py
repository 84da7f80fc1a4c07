"""City -> bytes that a viewer loads: 3D Tiles, quantized mesh, vector and image tiles. One encoding, one module."""
