"""Ends of pipes against their nodes: within a millimetre silent, to 2 cm listed, beyond a finding."""

import pytest
import shapely

from layers import catalogue
from layers.report import Report
from tests.twin.fuse.test_attach import line, rows
from twin.fuse import ends
from twin.store.geopackage import GeoPackageStore
from twin.store.interface import SourceRecord


@pytest.mark.parametrize("with_nodes", [True, False])
def test_gaps_between_ends_and_nodes(tmp_path, with_nodes):
    nodes = [shapely.Point(0, 0, 1), shapely.Point(10, 0, 1), shapely.Point(20, 0, 1)]
    pipes = [
        line((0, 0.0004, 1), (10, 0.015, 1)),
        shapely.MultiLineString([[(10, 0, 1), (12, 0, 1)], [(13, 0, 1), (19, 0, 1)]]),
    ]
    pipes.append(line((20, 0, 1), (30, 0, 1)))
    given = {"pipe_water": rows("pipe_water", pipes, start_node=["a", "b", "c"], end_node=["b", "c", "gone"])}
    if with_nodes:
        given["pipe_node"] = rows("pipe_node", nodes, node_code=["a", "b", "c"])
    store = GeoPackageStore(tmp_path / "city.gpkg", create=True, city_crs="EPSG:4549")
    with store.writing() as batch:
        for layer_id, some in given.items():
            record = SourceRecord(layer_id, "0", 1, 1, "{}")
            batch.ensure_layer(catalogue.layer_type(layer_id))
            batch.begin_source(record)
            batch.put(layer_id, layer_id, some)
            batch.finish_source(record, Report(layer_id, "GPKG", "0", "stored"))
        assert ends.is_needed(batch.touched())
        found = {(issue.code, issue.where, issue.severity) for issue in ends.check(batch)}
    store.close()
    expected = {
        ("PIPE_END_NEAR_NODE", "pipe_water-0", "info"),
        ("PIPE_END_OFF_NODE", "pipe_water-1", "warning"),
        ("PIPE_NODE_MISSING", "pipe_water-2", "info"),
    }
    assert found == (expected if with_nodes else set())
