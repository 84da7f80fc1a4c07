"""Opens WMS and WMTS layers and the same features by OAPIF in QGIS and draws each. Runs under Debian's python3.

Arguments: address of the server, CRS, west, south, east, north, folder for the pictures, names of the WMTS grids,
place to ask about.
"""

import json
import os
import sys

from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFillSymbol,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsPointXY,
    QgsRaster,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QEventLoop, QSize, QTimer
from qgis.PyQt.QtGui import QColor


def drawn(layer, crs, box, png):
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(QgsCoordinateReferenceSystem(crs))
    settings.setOutputSize(QSize(400, 400))
    settings.setBackgroundColor(QColor("white"))
    settings.setExtent(QgsRectangle(*box))
    job = QgsMapRendererParallelJob(settings)
    loop = QEventLoop()
    job.finished.connect(loop.quit)
    QTimer.singleShot(120_000, loop.quit)
    job.start()
    loop.exec_()
    job.renderedImage().save(png)
    return [error.message for error in job.errors()]


def main():
    address, crs, *numbers, folder, grids, point = sys.argv[1:]
    box = tuple(map(float, numbers))
    application = QgsApplication([], False)
    application.initQgis()
    found = {}

    def add(name, layer):
        errors = drawn(layer, crs, box, f"{folder}/{name}.png")
        found[name] = {"valid": layer.isValid(), "said": layer.error().summary(), "errors": errors}
        found[name]["crs"] = layer.crs().authid()

    source = f"crs={crs}&dpiMode=7&format=image/png&layers=building&styles=default&url={address}wms"
    layer = QgsRasterLayer(source, "wms", "wms")
    add("wms", layer)
    place = QgsPointXY(*map(float, point.split(",")))
    said = layer.dataProvider().identify(place, QgsRaster.IdentifyFormatText, QgsRectangle(*box), 400, 400)
    found["wms"]["identified"] = [str(each) for each in said.results().values()]
    for grid in grids.split(","):
        source = (
            f"crs={crs}&format=image/png&layers=building&styles=default&tileMatrixSet={grid}"
            f"&url={address}wmts/1.0.0/WMTSCapabilities.xml"
        )
        add(f"wmts-{grid}", QgsRasterLayer(source, "wmts", "wms"))
    vector = QgsVectorLayer(f"typename='building' url='{address}' srsname='{crs}'", "oapif", "OAPIF")
    symbol = QgsFillSymbol.createSimple({"color": "#d8cfc0", "outline_color": "#6b6b6b", "outline_width": "0.26"})
    vector.renderer().setSymbol(symbol)
    add("oapif", vector)
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)  # PyQGIS crashes now and then while Python takes its objects apart


main()
