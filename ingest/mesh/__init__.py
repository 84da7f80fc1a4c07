"""OBJ, PLY, STL, glTF -> models with materials and textures."""
