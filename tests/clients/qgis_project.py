"""Opens a CityTwin project in QGIS and says as JSON what it found. Runs under Debian's python3, which has PyQGIS.

Arguments: address of the project, layer to read in full, PNG to write, ids of tiled-scene layers to draw (comma).
"""

import json
import os
import sys

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QEventLoop, QSize, QTimer
from qgis.PyQt.QtGui import QColor


def describe(layer):
    extent = layer.extent()
    return {
        "name": layer.name(),
        "valid": layer.isValid(),
        "error": layer.error().summary() if not layer.isValid() else "",
        "type": layer.type().name if hasattr(layer.type(), "name") else int(layer.type()),
        "crs": layer.crs().authid(),
        "extent": [extent.xMinimum(), extent.yMinimum(), extent.xMaximum(), extent.yMaximum()],
        "count": layer.featureCount() if isinstance(layer, QgsVectorLayer) else None,
        "colour": colour(layer),
        "classes": classes(layer),
        "labels": labels(layer),
        "aliases": aliases(layer),
    }


def classes(layer):
    """Values of each class -> its colour, where a layer is drawn in categories."""
    if not isinstance(layer, QgsVectorLayer) or not isinstance(layer.renderer(), QgsCategorizedSymbolRenderer):
        return None
    found = {}
    for category in layer.renderer().categories():
        values = category.value() if isinstance(category.value(), list) else [category.value()]
        found.update({str(value): category.symbol().color().name() for value in values})
    return found


def labels(layer):
    """Field that names the features."""
    if not isinstance(layer, QgsVectorLayer) or not layer.labelsEnabled():
        return None
    return layer.labeling().settings().fieldName


def aliases(layer):
    if not isinstance(layer, QgsVectorLayer):
        return {}
    return {name: layer.attributeAlias(at) for at, name in enumerate(layer.fields().names())}


def colour(layer):
    if not isinstance(layer, QgsVectorLayer) or layer.renderer() is None or not hasattr(layer.renderer(), "symbol"):
        return None
    symbol = layer.renderer().symbol()
    return symbol.color().name() if symbol else None


def read(layer):
    """Public id -> bounds of every feature, as QGIS sees them (east first)."""
    found = {}
    for feature in layer.getFeatures():
        box = feature.geometry().boundingBox()
        found[feature["id"]] = [box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()]
    return found


def within(extent):
    """The middle quarter of an extent: symbols have a fixed size and would cover everything."""
    west, south, east, north = extent
    x, y, half = (west + east) / 2, (south + north) / 2, (east - west) / 8
    return [x - half, y - half, x + half, y + half]


def draw(project, layers, extent, png):
    """Pixels that are not background. Tiles come late: the job ends when all are there, so it is simply waited for."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(project.crs())
    settings.setTransformContext(project.transformContext())
    settings.setEllipsoid(project.ellipsoid())
    settings.setOutputSize(QSize(600, 600))
    settings.setBackgroundColor(QColor("white"))
    settings.setExtent(QgsRectangle(*extent))
    job = QgsMapRendererParallelJob(settings)
    loop = QEventLoop()
    job.finished.connect(loop.quit)
    QTimer.singleShot(120_000, loop.quit)
    job.start()
    loop.exec_()
    image = job.renderedImage()
    image.save(png)
    white = QColor("white").rgb()
    drawn = {(x, y) for x in range(600) for y in range(600) if image.pixel(x, y) != white}
    seen = settings.visibleExtent()
    return {
        "png": png,
        "extent": [seen.xMinimum(), seen.yMinimum(), seen.xMaximum(), seen.yMaximum()],
        "drawn": len(drawn),
        "colours": len({image.pixel(x, y) for x, y in drawn}),
        "errors": [error.message for error in job.errors()],
    }


def main():
    address, layer_id, png, scenes = sys.argv[1:5]
    application = QgsApplication([], False)
    application.initQgis()
    project = QgsProject.instance()
    opened = project.read(address)
    layers = project.mapLayers()
    building = layers[layer_id]
    result = {
        "version": Qgis.QGIS_VERSION,
        "opened": opened,
        "crs": project.crs().authid(),
        "title": project.title(),
        "groups": [group.name() for group in project.layerTreeRoot().findGroups()],
        "in_tree": sorted(node.layerId() for node in project.layerTreeRoot().findLayers()),
        "layers": {key: describe(layer) for key, layer in layers.items()},
        "features": read(building),
        "fields": [field.name() for field in building.fields()],
    }
    extent = result["layers"][layer_id]["extent"]
    result["drawn"] = {
        key: draw(project, [layers[key]], within(extent) if key.endswith("_tiles") else extent, f"{png}-{key}.png")
        for key in scenes.split(",")
        if key
    }
    filtered = building.clone()
    filtered.setSubsetString('"height_m" > 30')
    result["filtered"] = sum(1 for _ in filtered.getFeatures())
    degrees = building.clone()
    degrees.setDataSource(building.source().replace("EPSG:4549", "EPSG:4490"), "degrees", "OAPIF")
    result["degrees"] = {"crs": degrees.crs().authid(), "features": read(degrees)}
    result["north_first"] = QgsCoordinateReferenceSystem("EPSG:4549").hasAxisInverted()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()
    os._exit(0)  # PyQGIS crashes now and then while Python takes its objects apart


main()
