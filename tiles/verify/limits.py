"""Limits against hostile tiles: nothing is allocated on the word of a header."""

MAX_FILE_BYTES = 256 * 2**20
"""After decompression."""
MAX_TILES = 100_000
"""Tiles (contents) that one run reads unless told otherwise."""
MAX_JSON_DEPTH = 256
MAX_TILE_DEPTH = 256
MAX_EXTERNAL_DEPTH = 32
MAX_LEVELS = 32
"""Of implicit tiling."""
MAX_SUBTREE_BITS = 2**24
MAX_PIXELS = 2**26
MAX_ELEMENTS = 2**24
"""Of an accessor without data of its own (all zeros)."""
MAX_WORK = 2**28
"""Array elements that the checks of one glTF touch."""
MAX_POINTS = 2**25
"""Placed vertices of one content that are compared with its bounds (instances times vertices)."""
MESHOPT_RATIO = 4096
"""The codecs reach about 1,000 to 1 on zeros; more is a lie."""
TIMEOUT_S = 30
MAX_REDIRECTS = 3
