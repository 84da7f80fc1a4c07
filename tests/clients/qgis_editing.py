"""Edits layers of a served city in QGIS and says as JSON what QGIS says. Runs under Debian's python3, which has PyQGIS.

Arguments: address of the server, and a JSON list of {layer, crs, change, move, remove, add} (see `edit`).
"""

import json
import os
import sys

from qgis.core import QgsApplication, QgsFeature, QgsGeometry, QgsPoint, QgsVectorDataProvider, QgsVectorLayer

CAPABILITIES = ("AddFeatures", "DeleteFeatures", "ChangeAttributeValues", "ChangeGeometries")


def opened(address, layer, crs):
    return QgsVectorLayer(f"url='{address}' typename='{layer}' srsname='{crs}'", layer, "OAPIF")


def committed(layer, errors):
    done = layer.commitChanges()
    errors += [] if done else layer.commitErrors()
    return done


def edit(address, asked):
    """One attribute of one feature, one vertex of another, one gone, one new; each committed for itself."""
    layer = opened(address, asked["layer"], asked["crs"])
    told = {"valid": layer.isValid(), "crs": layer.crs().authid(), "errors": []}
    if not layer.isValid():
        return told
    may = layer.dataProvider().capabilities()
    told["may"] = [name for name in CAPABILITIES if may & getattr(QgsVectorDataProvider, name)]
    told["fields"] = [field.name() for field in layer.fields()]
    if len(told["may"]) < len(CAPABILITIES):
        return told
    fids = {feature["id"]: feature.id() for feature in layer.getFeatures()}
    errors = told["errors"]

    layer.startEditing()
    for name, value in asked["change"]["values"].items():
        layer.changeAttributeValue(fids[asked["change"]["id"]], layer.fields().indexOf(name), value)
    told["changed"] = committed(layer, errors)

    layer.startEditing()
    fid, vertex = fids[asked["move"]["id"]], asked["move"]["vertex"]
    point = layer.getFeature(fid).geometry().vertexAt(vertex)
    east, north, *up = asked["move"]["by"]
    told["from"] = [point.x(), point.y(), point.z()] if point.is3D() else [point.x(), point.y()]
    target = QgsPoint(point.x() + east, point.y() + north, *[point.z() + each for each in up])
    layer.moveVertexV2(target, fid, vertex)
    told["moved"] = committed(layer, errors)

    layer.startEditing()
    layer.deleteFeature(fids[asked["remove"]])
    told["removed"] = committed(layer, errors)

    layer.startEditing()
    feature = QgsFeature(layer.fields())
    for name, value in asked["add"]["values"].items():
        feature[name] = value
    feature.setGeometry(QgsGeometry.fromWkt(asked["add"]["wkt"]))
    layer.addFeature(feature)
    told["added"] = committed(layer, errors)

    again = opened(address, asked["layer"], asked["crs"])
    told["count"] = again.featureCount()
    told["new"] = sorted({each["id"] for each in again.getFeatures()} - set(fids))
    return told


def main():
    address, asked = sys.argv[1:3]
    application = QgsApplication([], False)
    application.initQgis()
    sys.stdout.write(json.dumps([edit(address, each) for each in json.loads(asked)]) + "\n")
    sys.stdout.flush()
    os._exit(0)  # PyQGIS crashes now and then while Python takes its objects apart


main()
