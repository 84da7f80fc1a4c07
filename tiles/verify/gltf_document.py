"""The JSON of a glTF: version, extensions, references, images."""

import io
import warnings
from typing import Any

from tiles.verify.gltf_buffers import Buffers
from tiles.verify.json_text import child, extensions_in, is_count, objects, pick
from tiles.verify.limits import MAX_PIXELS
from tiles.verify.source import Unread

KNOWN = {
    "CESIUM_primitive_outline", "EXT_feature_metadata", "EXT_instance_features", "EXT_mesh_features",
    "EXT_mesh_gpu_instancing", "EXT_meshopt_compression", "EXT_structural_metadata", "EXT_texture_webp",
    "KHR_draco_mesh_compression", "KHR_lights_punctual", "KHR_materials_clearcoat", "KHR_materials_emissive_strength",
    "KHR_materials_ior", "KHR_materials_pbrSpecularGlossiness", "KHR_materials_sheen", "KHR_materials_specular",
    "KHR_materials_transmission", "KHR_materials_unlit", "KHR_materials_variants", "KHR_materials_volume",
    "KHR_mesh_quantization", "KHR_texture_basisu", "KHR_texture_transform", "KHR_meshopt_compression",
    "CESIUM_RTC", "EXT_implicit_cylinder_region", "EXT_implicit_ellipsoid_region", "EXT_primitive_voxels",
}  # fmt: skip
"""Extensions that a client of 3D Tiles reads."""
LISTS = (
    "accessors", "buffers", "bufferViews", "images", "materials", "meshes", "nodes", "samplers", "scenes", "textures",
)  # fmt: skip
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}


def check_document(buffers: Buffers) -> bool:
    """False where the document is too broken to go on."""
    document = buffers.document
    version = child(document, "asset").get("version")
    if not isinstance(version, str) or not version.startswith("2."):
        buffers.bad("GLTF_VERSION", "/asset", f"version is {version!r}.")
        return False
    for name in LISTS:
        value = document.get(name, [{}])
        if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
            buffers.bad("GLTF_STRUCTURE", f"/{name}", f"{name} is not a list of objects, or empty.")
            return False
    _check_extensions(buffers)
    _check_materials(buffers)
    _check_images(buffers)
    return True


def _check_extensions(buffers: Buffers) -> None:
    document = buffers.document
    used, required = document.get("extensionsUsed", []), document.get("extensionsRequired", [])
    for name, value in (("extensionsUsed", used), ("extensionsRequired", required)):
        strings = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if not strings or len(set(value)) != len(value) or (name in document and not value):
            buffers.bad("GLTF_EXTENSIONS", f"/{name}", f"{str(value)[:100]} is not a list of different names.")
            return
    for name in sorted(set(required) - set(used)):
        buffers.bad("GLTF_EXTENSIONS", "/extensionsRequired", f"{name} is required but not in extensionsUsed.")
    for name in sorted(extensions_in(document) - set(used)):
        buffers.bad("GLTF_EXTENSIONS", "/extensionsUsed", f"{name} is used but not declared.")
    for name in sorted(set(required) - KNOWN):
        buffers.bad("GLTF_EXTENSION_UNKNOWN", "/extensionsRequired", f"{name} is required.")


def _check_materials(buffers: Buffers) -> None:
    """Texture, sampler and image numbers, wherever a material names one."""
    document = buffers.document
    counts = {name: len(objects(document.get(name))) for name in LISTS}
    waiting: list[tuple[str, Any]] = [
        (f"/materials/{i}", each) for i, each in enumerate(objects(document.get("materials")))
    ]
    while waiting:
        at, value = waiting.pop()
        for key, each in value.items():
            if not isinstance(each, dict) or key == "extras":
                continue
            if key.endswith("Texture") and not (is_count(each.get("index")) and each["index"] < counts["textures"]):
                buffers.bad("GLTF_REFERENCE", f"{at}/{key}", f"There is no texture {each.get('index')!r}.")
            waiting.append((f"{at}/{key}", each))
    for i, texture in enumerate(objects(document.get("textures"))):
        sources = [texture, *(each for each in child(texture, "extensions").values() if isinstance(each, dict))]
        for one in sources:
            for key, name in (("source", "images"), ("sampler", "samplers")):
                if key in one and not (is_count(one[key]) and one[key] < counts[name]):
                    buffers.bad("GLTF_REFERENCE", f"/textures/{i}", f"There is no {key} {one[key]!r}.")


def _check_images(buffers: Buffers) -> None:
    for i, image in enumerate(objects(buffers.document.get("images"))):
        at = f"/images/{i}"
        if "bufferView" in image:
            data = buffers.view(image["bufferView"]) if is_count(image["bufferView"]) else None
        else:
            try:
                data = buffers._of_uri(str(image.get("uri")))  # noqa: SLF001 - the same rules as for buffers
            except Unread as error:
                buffers.bad(error.code, at, str(error))
                continue
        if data is not None and (words := image_fault(data, image.get("mimeType"))):
            buffers.bad("GLTF_IMAGE", at, words)


def image_fault(data: bytes, media_type: Any = None) -> str:
    """What is wrong with an image, "" where it decodes. KTX2 is only recognised."""
    from PIL import Image

    if data[:12] == b"\xabKTX 20\xbb\r\n\x1a\n":
        return "" if media_type in (None, "image/ktx2") else f"KTX2 is declared as {media_type}."
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    return f"{image.width} x {image.height} pixels."
                if media_type is not None and image.format != pick(_FORMATS, media_type):
                    return f"{image.format} is declared as {media_type}."
                image.load()
    except Exception as error:  # noqa: BLE001 - Pillow's decoders have no common class
        return f"It does not decode: {type(error).__name__} {error}."
    return ""
