"""Which files of a folder belong to a model: its materials, buffers, textures, and a delivery's metadata.xml.

What belongs to a source is part of its hash: a changed texture is a changed model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ingest.mesh.place import LEVELS_UP, METADATA

MESHES = (".obj", ".gltf", ".glb", ".ply")
COMPANIONS = (".mtl", ".bin", ".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tga", ".ktx2")
WORLD_FILES = (".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".wld")
"""An image with one of these is a map of its own."""
CITY_MODELS = (".gml", ".citygml", ".city.json", ".city.jsonl", ".cityjson")
IMAGES = tuple(each for each in COMPANIONS if each not in {".mtl", ".bin"})
TEXTURE_FOLDERS = ("appearance", "tex", "image", "map", "material", "贴图", "纹理", "材质")
"""Beginnings of the names of folders in which textures lie; one named like the model is another."""


def companions(by_folder: Mapping[Path, Sequence[Path]]) -> dict[Path, list[Path]]:
    """Mesh file -> files that belong to it. One file may belong to several."""
    meshes = {folder: [path for path in paths if _is(path, MESHES)] for folder, paths in by_folder.items()}
    found: dict[Path, list[Path]] = {path: [] for paths in meshes.values() for path in paths}
    for folder, paths in by_folder.items():
        owners = meshes[folder] or _above(folder, meshes)
        stems = {path.stem.lower() for path in paths if _is(path, WORLD_FILES)}
        beside = [path for path in paths if _is(path, COMPANIONS) and path.stem.lower() not in stems]
        for owner in owners:
            found[owner] += beside
        images = [path for path in beside if _is(path, IMAGES)]
        for model in _city_models(folder, by_folder) if images and not owners else ():
            found.setdefault(model, []).extend(images)
    made = {
        path: sorted([*parts, *(_metadata(path, by_folder) if _is(path, MESHES) else ())])
        for path, parts in found.items()
    }
    return {path: parts for path, parts in made.items() if parts}


def _city_models(folder: Path, by_folder: Mapping[Path, Sequence[Path]]) -> list[Path]:
    """City models that a folder's images belong to: by its name, or because there is only one beside it."""
    here = [path for path in by_folder[folder] if _is(path, CITY_MODELS)]
    if here:
        return here if len(here) == 1 else []
    above = [path for path in by_folder.get(folder.parent, ()) if _is(path, CITY_MODELS)]
    name = folder.name.lower()
    named = [path for path in above if name.startswith(path.name.lower().split(".")[0])]
    return named or (above if len(above) == 1 and name.startswith(TEXTURE_FOLDERS) else [])


def _metadata(path: Path, by_folder: Mapping[Path, Sequence[Path]]) -> list[Path]:
    """The nearest metadata.xml, beside the mesh or above it."""
    for folder in path.parents[: LEVELS_UP + 1]:
        if metadata := [each for each in by_folder.get(folder, ()) if each.name == METADATA]:
            return metadata
    return []


def _above(folder: Path, meshes: Mapping[Path, list[Path]]) -> list[Path]:
    """Meshes of the folder above a folder of textures."""
    name = folder.name.lower()
    owners = meshes.get(folder.parent, [])
    named = [path for path in owners if name.startswith(path.stem.lower())]
    return named or (owners if name.startswith(TEXTURE_FOLDERS) else [])


def _is(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.name.lower().endswith(suffixes)
