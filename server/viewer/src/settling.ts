// When is everything there that the present view needs?
import type { CesiumWidget } from "@cesium/engine";

// A new tile asks for its children one frame later, so one quiet frame proves nothing.
const QUIET_FRAMES = 5;

export class Settling {
  private waiting: (() => void)[] = [];
  private quiet = 0;
  private terrainTiles = 0;

  constructor(
    private readonly viewer: CesiumWidget,
    private readonly layers: readonly { readonly settled: boolean }[],
    private readonly progress: (pendingTiles: number) => void,
  ) {
    viewer.scene.globe.tileLoadProgressEvent.addEventListener((tiles: number) => (this.terrainTiles = tiles));
    viewer.scene.postRender.addEventListener(() => this.frame());
  }

  /** Resolves after some frames in which neither terrain nor a shown tileset waited for anything. */
  settled(): Promise<void> {
    this.quiet = 0;
    this.viewer.scene.requestRender();
    return new Promise((done) => this.waiting.push(done));
  }

  private frame(): void {
    const pending = this.terrainTiles + this.layers.filter((layer) => !layer.settled).length;
    this.progress(pending);
    this.quiet = this.viewer.scene.globe.tilesLoaded && pending === 0 ? this.quiet + 1 : 0;
    if (!this.waiting.length) return;
    if (this.quiet < QUIET_FRAMES) {
      this.viewer.scene.requestRender(); // the scene draws on request only: keep it going until it is done
      return;
    }
    for (const done of this.waiting.splice(0)) done();
  }
}
