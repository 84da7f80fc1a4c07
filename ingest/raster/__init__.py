"""Rasters -> COG: where their cells lie, what they show, what their values say."""
