"""GeoPackage, Shapefile, GeoJSON, FlatGeobuf, GML, KML, MapInfo and others, as GDAL reads them."""
