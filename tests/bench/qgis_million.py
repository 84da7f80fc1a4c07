"""Works on a large layer of a served city in QGIS and says as JSON what it found and how long it took.

Runs under Debian's python3, which has PyQGIS. Arguments: address, layer, box of the middle (EPSG:4549, east first).
"""

import json
import os
import sys
import time

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsFeatureRequest,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)


def opened(address, layer, crs, name="layer"):
    source = f"url='{address}' typename='{layer}' srsname='{crs}' restrictToRequestBBOX='1' pagingEnabled='true'"
    return QgsVectorLayer(source, name, "OAPIF")


def within(layer, box):
    found = {}
    for feature in layer.getFeatures(QgsFeatureRequest().setFilterRect(box)):
        centre = feature.geometry().centroid().asPoint()
        found[feature["id"]] = [centre.x(), centre.y()]
    return found


def main():
    address, name, *box = sys.argv[1:]
    application = QgsApplication([], False)
    application.initQgis()
    told, rect = {}, QgsRectangle(*map(float, box))

    def timed(what, run):
        begin = time.perf_counter()
        told[what] = run()
        told[what + "_s"] = time.perf_counter() - begin

    layer = opened(address, name, "EPSG:4549")
    told["valid"] = layer.isValid()
    timed("count", layer.featureCount)
    timed("box", lambda: within(layer, rect))
    for code in (4490, 3857):
        other = opened(address, name, f"EPSG:{code}")
        target = QgsCoordinateReferenceSystem(f"EPSG:{code}")
        way = QgsCoordinateTransform(layer.crs(), target, QgsProject.instance())
        timed(f"box_{code}", lambda other=other, way=way: within(other, way.transformBoundingBox(rect)))
        told[f"places_{code}"] = {
            key: [way.transform(*place).x(), way.transform(*place).y()] for key, place in told["box"].items()
        }
    filtered = opened(address, name, "EPSG:4549")
    filtered.setSubsetString('"area_m2" > 499.9 AND "right_type" = \'宅基地使用权\'')
    timed("filtered", lambda: len([1 for _ in filtered.getFeatures()]))

    edited = opened(address, name, "EPSG:4549")
    (first, *others) = edited.getFeatures(QgsFeatureRequest().setFilterRect(rect))
    edited.startEditing()
    edited.changeAttributeValue(first.id(), edited.fields().indexOf("name"), "改名")
    timed("changed", edited.commitChanges)
    edited.startEditing()
    vertex = others[0].geometry().vertexAt(0)
    edited.moveVertex(vertex.x() + 0.25, vertex.y(), others[0].id(), 0)
    timed("moved", edited.commitChanges)
    edited.startEditing()
    edited.deleteFeature(others[1].id())
    timed("removed", edited.commitChanges)
    told["ids"] = [first["id"], others[0]["id"], others[1]["id"]]
    told["vertex"] = [vertex.x(), vertex.y()]
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    os._exit(0)  # PyQGIS crashes now and then while Python takes its objects apart


main()
