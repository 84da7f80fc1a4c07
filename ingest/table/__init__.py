"""Tables: CSV, XLSX, coordinates in columns, joins by code, pipe surveys."""
