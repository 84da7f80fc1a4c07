"""Make the sample town, or a big city of the same kind for benchmarks.

python sample_data/make_town.py [--out DIR] [--seed 0]          the town of sample_data/town
python sample_data/make_town.py --out DIR --buildings 1000000   terrain, buildings and water pipes of a big city
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script from anywhere


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "town", help="folder to write (default: sample_data/town)"
    )
    parser.add_argument(
        "--buildings", type=int, default=0, help="make a big city with this many buildings instead of the town"
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.buildings:
        from sample_data.maker import bigcity

        bigcity.write(given.out, given.buildings, given.seed)
    else:
        from sample_data.maker import folder

        folder.write(given.out, given.seed)


if __name__ == "__main__":
    main()
