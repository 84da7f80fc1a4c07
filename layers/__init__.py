"""What a city is made of: layer types, typed layers, coordinates and heights, issues and errors. No files, no HTTP."""
