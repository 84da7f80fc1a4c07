"""Opens a CityTwin project in QGIS and says as JSON how findings stand in it; sets a status. For Debian's python3.

Arguments: address of the project file, id of the finding to close.
"""

import json
import os
import sys

from qgis.core import QgsApplication, QgsProject
from qgis.PyQt.QtGui import QColor  # noqa: F401  (colours of symbols need it loaded)

LAYER = "citytwin_finding"


def described(layer):
    fields = layer.fields()
    form = layer.editFormConfig()
    setup = layer.editorWidgetSetup(fields.indexOf("status"))
    return {
        "valid": layer.isValid(), "error": layer.error().summary(), "name": layer.name(),
        "count": layer.featureCount(), "by": layer.renderer().classAttribute().strip(chr(34)),
        "classes": {
            str(value): [each.label(), each.symbol().color().name()]
            for each in layer.renderer().categories()
            for value in (each.value() if isinstance(each.value(), list) else [each.value()])
        },
        "label": layer.labeling().settings().fieldName,
        "widget": setup.type(),
        "choices": {name: value for each in setup.config().get("map", []) for name, value in each.items()},
        "editable": sorted(n for at, n in enumerate(fields.names()) if not form.readOnly(at)),
    }  # fmt: skip


def closed(layer, name):
    """Sets the status as the form does; what QGIS says of it."""
    fid = next(each.id() for each in layer.getFeatures() if each["id"] == name)
    layer.startEditing()
    layer.changeAttributeValue(fid, layer.fields().indexOf("status"), "closed")
    done = layer.commitChanges()
    return {"done": done, "errors": layer.commitErrors() if not done else []}


def main():
    address, name = sys.argv[1:3]
    application = QgsApplication([], False)
    application.initQgis()
    project = QgsProject.instance()
    project.read(address)
    root = project.layerTreeRoot()
    layer = project.mapLayer(LAYER)
    group = root.findLayer(LAYER).parent()
    told = {
        "layer": described(layer), "group": group.name(), "in_group": [each.layerId() for each in group.findLayers()],
        "first": root.children()[0].name(), "shown": root.findLayer(LAYER).isVisible(), "closed": closed(layer, name),
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    os._exit(0)  # PyQGIS crashes now and then while Python takes its objects apart


main()
