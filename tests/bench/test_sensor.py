"""Sensor series: observations a second and peak memory of a child process at two sizes, in order and with repeats.

The peer in the same run is `pandas.read_csv` with times parsed, which makes one table in memory: no ids, no flags, no
zone, no quality of any kind.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import re, sys, time
from pathlib import Path
from ingest.table import csv_reader as table
from layers.source import Hints
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak()  # not ru_maxrss, which begins with what the parent had
start = time.perf_counter()
[layer] = table.read(Path(sys.argv[1]), Hints()).layers
n = 0
for batch in layer.batches():
    n += len(batch)
    layer.rejects.clear()
used = peak() - before
print(layer.n_read, n, time.perf_counter() - start, used / 1024)
"""


def write(path, n, *, repeats):
    """Twenty devices, one observation a minute each; one row in fifty twice where asked for."""
    random = np.random.default_rng(1)
    start = np.datetime64("2020-01-01T00:00:00")
    with path.open("w") as file:
        file.write("device,time,quantity,value,unit\n")
        for first in range(0, n, 100_000):
            at = np.arange(first, min(first + 100_000, n))
            times = np.datetime_as_string(start + at // 20 * np.timedelta64(60, "s"))
            values = random.normal(60, 9, len(at)).round(2)
            lines = [f"S{i % 20:02d},{t}Z,PM10,{v},ug/m3\n" for i, t, v in zip(at, times, values, strict=True)]
            if repeats:
                lines[::50] = [line + line for line in lines[::50]]
            file.writelines(lines)


def peer_s(path):
    start = time.perf_counter()
    frame = pd.read_csv(path)
    frame["time"] = pd.to_datetime(frame["time"], format="ISO8601", utc=True)
    return time.perf_counter() - start, int(frame.memory_usage(deep=True).sum())


def measured(path):
    command = [sys.executable, "-c", CHILD, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    n_read, n_good, seconds, mib = done.stdout.split()
    return int(n_read), int(n_good), float(seconds), float(mib)


def told(path, n):
    n_read, n_good, seconds, mib = measured(path)
    peer, held = peer_s(path)
    print(  # noqa: T201
        f"\n{path.name}: {n_read:,} observations, {path.stat().st_size / 2**20:.0f} MiB: {seconds:.1f} s, "
        f"{n_read / seconds:,.0f}/s, peak +{mib:.0f} MiB; pandas.read_csv {peer:.1f} s ({n_read / peer:,.0f}/s), "
        f"table of {held / 2**20:.0f} MiB; {os.cpu_count()} cores"
    )
    assert n_good == n
    return mib


@pytest.mark.bench
def test_a_series_in_order_takes_the_same_memory_at_ten_times_the_size(tmp_path):
    peaks = {}
    for n in (200_000, 2_000_000):
        path = tmp_path / f"series{n}.csv"
        write(path, n, repeats=False)
        peaks[n] = told(path, n)
    assert peaks[2_000_000] < peaks[200_000] + 64


@pytest.mark.bench
def test_a_series_with_repeats_takes_bytes_an_observation(tmp_path):
    for n in (200_000, 2_000_000):
        path = tmp_path / f"repeats{n}.csv"
        write(path, n, repeats=True)
        mib = told(path, n)
    assert mib < 200 + n * 64 / 2**20
