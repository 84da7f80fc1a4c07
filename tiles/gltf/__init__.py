"""glTF 2.0 contents: stored meshes -> surfaces -> vertex data in one of two encodings -> glb."""
