"""DXF drawings -> features: entities, blocks, GEODATA."""
