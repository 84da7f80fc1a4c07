"""Opens vector tiles with their style in QGIS and draws them. Runs under Debian's python3, which has PyQGIS.

Arguments: address of the server, west, south, east, north (EPSG:3857), PNG to write.
"""

import json
import os
import sys
from urllib.parse import quote

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsRectangle,
    QgsVectorTileLayer,
)
from qgis.PyQt.QtCore import QEventLoop, QSize, QTimer
from qgis.PyQt.QtGui import QColor


def main():
    address, png = sys.argv[1], sys.argv[6]
    application = QgsApplication([], False)
    application.initQgis()
    tiles = quote(f"{address}tiles/WebMercatorQuad/{{z}}/{{y}}/{{x}}", safe=":/{}")
    style = quote(f"{address}styles/city", safe=":/")
    layer = QgsVectorTileLayer(f"type=xyz&url={tiles}&zmin=0&zmax=18&styleUrl={style}", "city")
    said = layer.loadDefaultStyle()
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:3857"))
    settings.setOutputSize(QSize(600, 600))
    settings.setBackgroundColor(QColor("white"))
    settings.setExtent(QgsRectangle(*map(float, sys.argv[2:6])))
    job = QgsMapRendererParallelJob(settings)
    loop = QEventLoop()
    job.finished.connect(loop.quit)
    QTimer.singleShot(120_000, loop.quit)
    job.start()
    loop.exec_()
    job.renderedImage().save(png)
    rules = [(each.styleName(), each.layerName()) for each in layer.renderer().styles()]
    result = {"valid": layer.isValid(), "said": [str(each) for each in said], "rules": rules}
    sys.stdout.write(json.dumps(result | {"errors": [error.message for error in job.errors()]}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # PyQGIS crashes now and then while Python takes its objects apart


main()
