"""Storage curves: units by hand, curves that do not rise, a real one against pandas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ingest.table import csv_reader as table
from layers.errors import InvalidInput
from layers.source import Hints

ACRE_FOOT_M3 = 1233.48183754752  # 66 ft × 660 ft × 1 ft of 0.3048 m


def read(path, hints=None):
    [layer] = table.read(path, hints or Hints()).layers
    batches = list(layer.batches())
    assert layer.n_read == sum(map(len, batches)) + len(layer.rejects)
    return layer, pa.concat_tables([batch.attributes for batch in batches]) if batches else None


def write(folder, *rows, header="Elevation (ft),Acre-Ft"):
    path = folder / "lake.csv"
    path.write_text("\n".join([header, *rows]) + "\n", "utf8")
    return path


def test_feet_and_acre_feet(tmp_path):
    layer, rows = read(write(tmp_path, "100,0", "110,50", "120,1000"))
    assert layer.layer_type == "reservoir_curve"
    assert rows.column("level_m").to_pylist() == pytest.approx([30.48, 33.528, 36.576], abs=1e-9)
    assert rows.column("storage_1e4m3").to_pylist() == pytest.approx([0, 6.1674091877376, 123.348183754752], rel=1e-12)
    assert set(rows.column("reservoir_code").to_pylist()) == {"lake"}


def test_chinese_units_without_a_name_of_the_reservoir(tmp_path):
    _, rows = read(write(tmp_path, "29.0,0", "30.0,1.5", "31.0,4", header="水位(m),库容(万m3)"))
    assert rows.column("storage_1e4m3").to_pylist() == [0, 1.5, 4]


@pytest.mark.parametrize(
    "rows",
    [
        ("100,0", "110,50", "120,40"),  # storage falls
        ("100,0", "120,50", "110,60"),  # levels out of order
        ("100,0", "100,50", "110,60"),  # a level twice
    ],
)
def test_a_curve_that_does_not_rise_is_refused(tmp_path, rows):
    with pytest.raises(InvalidInput, match=r"'lake' .* does not rise: after") as caught:
        read(write(tmp_path, *rows))
    assert caught.value.code == "RESERVOIR_CURVE_NOT_MONOTONE"


def test_a_good_curve_beside_a_bad_one_is_kept(tmp_path):
    rows = ["A,1,0", "A,2,5", "B,1,3", "B,2,2"]
    layer, kept = read(write(tmp_path, *rows, header="水库代码,水位(m),库容(万m3)"))
    assert kept.column("reservoir_code").to_pylist() == ["A", "A"]
    assert [reject.code for reject in layer.rejects] == ["RESERVOIR_CURVE_NOT_MONOTONE"] * 2
    assert [issue.severity for issue in layer.issues if issue.code == "RESERVOIR_CURVE_NOT_MONOTONE"] == ["error"]


def test_a_list_of_reservoirs_is_no_curve(tmp_path):
    path = write(tmp_path, "东湖,30,500", "西湖,20,100", "南湖,25,900", header="名称,高程(m),库容(万m3)")
    try:
        layers = table.read(path, Hints()).layers
    except InvalidInput as error:
        assert error.code == "CSV_NOT_UNDERSTOOD"  # noqa: PT017
        return
    assert [layer.layer_type for layer in layers] != ["reservoir_curve"]


def test_the_real_curve_against_pandas(realdata):
    path = realdata / "sensor" / "reservoir_storage_curve_beltzville.csv"
    oracle = pd.read_csv(path, encoding="utf-8-sig")
    layer, rows = read(path)
    assert layer.n_read == len(oracle) == 184
    assert np.allclose(rows.column("level_m").to_numpy(), oracle["Elevation (ft)"] * 0.3048, rtol=0, atol=1e-9)
    assert np.allclose(rows.column("storage_1e4m3").to_numpy(), oracle["Acre-Ft"] * ACRE_FOOT_M3 / 1e4, rtol=1e-12)
