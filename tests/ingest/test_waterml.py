"""WaterML as JSON: the real gauges by a plain reading of the document, broken ones in words."""

import json

import pyarrow as pa
import pytest
import shapely

import ingest
from layers.errors import InvalidInput
from layers.source import Hints


def test_the_real_gauges(realdata):
    path = realdata / "sensor" / "usgs_gauge_iv.json"
    document = json.loads(path.read_text())["value"]["timeSeries"]
    reading = ingest.read(path, Hints(root=realdata))
    [layer] = reading.layers
    batches = list(layer.batches())
    rows = pa.concat_tables([batch.attributes for batch in batches]).to_pylist()
    wanted = [
        (each["sourceInfo"]["siteCode"][0]["value"], float(one["value"]), each["variable"]["unit"]["unitCode"])
        for each in document for group in each["values"] for one in group["value"]
    ]  # fmt: skip
    assert layer.n_read == len(rows) == 20  # MANIFEST: values=20
    assert [(row["device_id"], row["value"], row["unit"]) for row in rows] == wanted
    assert rows[0]["time"].isoformat() == "2019-02-14T05:00:00+00:00"  # midnight at -05:00
    assert {row["quantity"] for row in rows} == {"Streamflow", "Gage height"}
    assert (layer.crs, layer.rejects) == ("EPSG:4326", [])
    assert shapely.get_coordinates(batches[0].geometry[0]).tolist() == [[-75.7858056, 38.99719444]]


def place_of(document):
    return document["value"]["timeSeries"][0]["sourceInfo"]["geoLocation"]["geogLocation"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d["value"].update(timeSeries=[]), "FILE_EMPTY"),
        (lambda d: d["value"]["timeSeries"][0].pop("variable"), "WATERML_INVALID"),
        (lambda d: d["value"]["timeSeries"][0]["sourceInfo"].update(geoLocation=3), "WATERML_INVALID"),
        (lambda d: place_of(d).update(srs="EPSG:4269"), "CRS_MIXED"),
        (lambda d: d.update(value=5), "WATERML_INVALID"),
    ],
)  # fmt: skip
def test_broken_documents_are_refused(realdata, tmp_path, change, code):
    document = json.loads((realdata / "sensor" / "usgs_gauge_iv.json").read_text())
    change(document)
    path = tmp_path / "gauge.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput) as caught:
        ingest.read(path, Hints())
    assert caught.value.code == code
