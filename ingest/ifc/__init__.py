"""IFC -> elements, spaces, structure, alignments: facts, placement and geometry, native code in forks of its own."""
