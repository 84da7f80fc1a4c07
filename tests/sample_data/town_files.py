"""Where the committed town lies, and what it is said to hold."""

import json
from pathlib import Path

TOWN = Path(__file__).parents[2] / "sample_data" / "town"
EXPECTED = json.loads((TOWN / "expected.json").read_text(encoding="utf-8"))
