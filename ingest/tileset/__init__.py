"""3D Tiles sets, adopted as they are: read, checked, copied."""
