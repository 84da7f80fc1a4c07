"""Series of sensors: columns, times, quantities and quality flags."""
