"""Small broken files, made by scripts; nothing of them is kept."""
