// One imagery epoch at a time on the terrain.
import { type CesiumWidget, ImageryLayer, Rectangle, UrlTemplateImageryProvider } from "@cesium/engine";
import { resolve, type ImageryConfig } from "./config";

export class Imagery {
  current: string | undefined;

  constructor(
    private readonly epochs: ImageryConfig[],
    private readonly viewer: CesiumWidget,
    private readonly failed: () => void,
  ) {}

  /** Show the epoch with this id; none if there is no such epoch. */
  use(id: string | undefined): void {
    const layers = this.viewer.imageryLayers;
    layers.removeAll();
    const epoch = this.epochs.find((one) => one.id === id);
    this.current = epoch?.id;
    if (epoch) {
      const provider = new UrlTemplateImageryProvider({
        url: resolve(epoch.url),
        rectangle: Rectangle.fromDegrees(...epoch.extent),
        minimumLevel: epoch.minzoom, // where the picture fills about one tile: from further away it is not asked for more
        maximumLevel: epoch.maxzoom,
      });
      provider.errorEvent.addEventListener(() => this.failed());
      layers.add(new ImageryLayer(provider));
    }
    this.viewer.scene.requestRender();
  }
}
