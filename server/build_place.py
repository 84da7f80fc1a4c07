"""What features are put into: the ground they stand on and the roofs they reach, from the rasters and clouds of now."""

from collections.abc import Sequence
from pathlib import Path

from layers.frame import CityFrame
from server import build_plan
from server.build_assets import AssetWriter, Written
from server.build_features import Place
from server.build_plan import Item
from twin import terrain
from twin.config import TwinConfig
from twin.fuse import roof
from twin.store.interface import Asset
from twin.store.registry import on_top_first


def place(
    folder: Path,
    config: TwinConfig,
    frame: CityFrame,
    *,
    assets: Sequence[Asset],
    heights: Sequence[Written],
    written: Sequence[Item],
    writer: AssetWriter,
) -> Place:
    """The surroundings of a build.

    Parameters
    ----------
    assets : of the store that stay
    heights : elevation rasters and surface models of this build, written already
    written : all rasters and clouds of this build; clouds may still be in writing, only who needs them waits
    """
    names = {item.name for item in written}
    standing = [asset for asset in assets if asset.kind != "points" or asset.source not in names]
    now = on_top_first([*standing, *(asset for each in heights for asset in each.assets)])
    ground, surface = (
        terrain.from_assets(folder, [asset for asset in now if asset.layer == layer], config)
        for layer in ("dem", "dsm")
    )

    def clouds() -> list[roof.Cloud]:
        made = [asset for each in writer.points() for asset in each.assets]
        return roof.clouds(folder, on_top_first([*now, *made]), config)

    name = build_plan.ground_name(now, written)
    return Place(config, frame, ground, name, roof.RoofSampler(surface, clouds, config.crs))
