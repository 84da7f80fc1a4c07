"""city.toml of the town: what its files do not say themselves."""

from __future__ import annotations

from pathlib import Path

TEXT = """\
# What the files of this folder do not say themselves. Everything else is recognised from names, columns and geometry.
name = "qingwan"
title = {zh = "清湾市示例城区", en = "Qingwan sample town"}
crs = "EPSG:4549"
vertical_crs = "EPSG:5737"
origin = [121.0, 28.1]
height_model = "egm96"

[[source]]
path = "terrain/*.tif"
vertical_crs = "EPSG:5737"
epoch = "2026-04-18"

[[source]]
path = "imagery/dom_2024.tif"
epoch = "2024-04-20"

[[source]]
path = "imagery/dom_2026.tif"
epoch = "2026-04-18"

[[source]]
path = "land/地类图斑_2019.gpkg"
layer = "land_survey"
values = {code_system = "sd2017", survey_year = 2019}
epoch = "2019-12-31"

[[source]]
path = "land/地类图斑_2025.gpkg"
layer = "land_survey"
values = {code_system = "sd2017", survey_year = 2025}
epoch = "2025-12-31"

[[source]]
path = "pipes/industry_pipes.gpkg"
layer = "pipe_industry"
units = {dn_mm = "m"}

# What is known about the models, for tests.
[[source]]
path = "bim/bim_truths.json"
skip = true

# The same pipes as 给水管线.gpkg, for hydraulic models: not a second set of features.
[[source]]
path = "pipes/water.inp"
crs = "EPSG:4549"
skip = true

[[source]]
path = "vector/标准地址.csv"
layer = "address"
crs = "EPSG:4549"

[[source]]
path = "iot/建筑能耗_2025.csv"
encoding = "gb18030"
"""


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT, encoding="utf-8")
