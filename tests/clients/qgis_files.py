"""Opens files of features in QGIS and says what it sees. Runs under Debian's python3, which has PyQGIS.

Arguments: files.
"""

import json
import os
import sys

from qgis.core import QgsApplication, QgsVectorLayer, QgsWkbTypes


def main():
    application = QgsApplication([], False)
    application.initQgis()
    said = {}
    for path in sys.argv[1:]:
        layer = QgsVectorLayer(path, "x", "ogr")
        box = layer.extent()
        said[path] = {
            "valid": layer.isValid(),
            "count": layer.featureCount(),
            "crs": layer.crs().authid(),
            "type": QgsWkbTypes.displayString(layer.wkbType()),
            "extent": [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()],
            "fields": {field.name(): field.typeName() for field in layer.fields()},
            "names": sorted({str(feature["id"]) for feature in layer.getFeatures()}),
        }
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
    os._exit(0)  # QGIS crashes now and then when it is left in order


main()
