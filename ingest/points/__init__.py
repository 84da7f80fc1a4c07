"""Point clouds: LAS, LAZ, E57, PTX, PLY -> COPC."""
