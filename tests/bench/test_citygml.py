"""CityGML: buildings a second through the reader, in a process of its own; lxml that only counts them as peer."""

import subprocess
import sys

import pytest

from tests.ingest.test_citygml import corners, document, house

pytestmark = pytest.mark.bench
SIZES = [2_000, 20_000]

READ = """
import sys
from pathlib import Path
from ingest.citygml import reader as citygml
from layers.source import Hints
reading = citygml.read(Path(sys.argv[1]), Hints())
print(sum(len(batch) for layer in reading.layers for batch in layer.batches()))
"""
COUNT = """
import sys
from lxml import etree
n = 0
for _, element in etree.iterparse(sys.argv[1], tag="{*}Building"):
    n += 1
    element.clear()
    while element.getparent().getprevious() is not None:
        del element.getparent().getparent()[0]
print(n)
"""
PEAK = """
lines = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
print(lines["VmHWM"].split()[0])
"""


def write(path, n):
    members = (house(f"b{i}", points=corners(i % 200 * 20.0, i // 200 * 20.0)) for i in range(n))
    with path.open("w", encoding="utf8") as file:
        head, tail = document(["@@"]).split("<cityObjectMember>\n@@\n</cityObjectMember>")
        file.write(head)
        file.writelines(f"<cityObjectMember>\n{member}\n</cityObjectMember>\n" for member in members)
        file.write(tail)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("script", [READ, COUNT], ids=["citygml", "lxml"])
def test_buildings(benchmark, tmp_path, script, n):
    path = tmp_path / "b.gml"
    write(path, n)

    def run():
        done = subprocess.run(
            [sys.executable, "-c", script + PEAK, path], capture_output=True, text=True, check=True, timeout=3600
        )
        return [int(word) for word in done.stdout.split()]

    count, peak_kib = benchmark.pedantic(run, rounds=1)
    assert count == n
    benchmark.extra_info |= {
        "objects_per_s": round(n / benchmark.stats.stats.mean),
        "peak_mib": round(peak_kib / 1024),
        "file_mib": round(path.stat().st_size / 2**20, 1),
    }
