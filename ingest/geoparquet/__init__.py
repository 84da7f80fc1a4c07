"""GeoParquet and Parquet -> features, row groups as Arrow."""
