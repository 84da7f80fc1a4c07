// The 3D Tiles of one collection: shown or not, how opaque, which feature stands out.
import {
  Cesium3DTileset,
  Cesium3DTileStyle,
  type CesiumWidget,
  type Cesium3DTileFeature,
  Color,
  HeadingPitchRange,
  PointCloudShading,
  Math as CesiumMath,
  type StyleExpression,
} from "@cesium/engine";
import { resolve, type Layer3dConfig } from "./config";
import { flightSeconds } from "./scene";

const SELECTED = Color.fromCssColorString("#ffd166");

/** A property and the value that is shown. */
export interface Kept {
  property: string;
  value: string;
}

export class Layer3d {
  tileset: Cesium3DTileset | undefined;
  /** Why the layer is not there, once that is known. */
  problem: string | undefined;
  private wanted = false;
  private asked = false;
  private opacity = 1;
  private selected: string | undefined;
  private kept: Kept | undefined;

  constructor(
    readonly config: Layer3dConfig,
    private readonly viewer: CesiumWidget,
    private readonly changed: () => void,
  ) {}

  get on(): boolean {
    return this.wanted && this.problem === undefined;
  }

  /** True once the tiles of the current view are there (or the layer is hidden or has failed). */
  get settled(): boolean {
    if (!this.wanted) return true;
    return this.problem !== undefined || (this.tileset !== undefined && (!this.tileset.show || this.tileset.tilesLoaded));
  }

  /** Asks for the tiles where the layer is to be shown; else when it first is. */
  async load(show: boolean): Promise<void> {
    this.wanted = show;
    if (!show || this.asked) return;
    this.asked = true;
    try {
      const tileset = await Cesium3DTileset.fromUrl(resolve(this.config.tileset), { maximumScreenSpaceError: 16 });
      tileset.show = this.wanted;
      if (this.config.points) tileset.pointCloudShading = new PointCloudShading({ attenuation: true, maximumAttenuation: 6 });
      tileset.tileFailed.addEventListener(({ message }: { message: string }) => this.fail(message));
      this.tileset = this.viewer.scene.primitives.add(tileset) as Cesium3DTileset;
      this.restyle();
    } catch (error) {
      this.fail(error instanceof Error ? error.message : String(error));
    }
  }

  show(on: boolean): void {
    void this.load(on);
    if (this.tileset) this.tileset.show = on;
    this.viewer.scene.requestRender();
  }

  setOpacity(opacity: number): void {
    this.opacity = opacity;
    this.restyle();
  }

  /** Make the features with this id stand out, in every tile, also in tiles that come later. */
  select(id: string | undefined): void {
    if (this.selected === id) return;
    this.selected = id;
    this.restyle();
  }

  /** Show only features whose property has this value (one storey, one system); all of them without it. */
  only(kept: Kept | undefined): void {
    this.kept = kept;
    this.restyle();
  }

  get shownOnly(): Kept | undefined {
    return this.kept;
  }

  fly(): void {
    if (!this.tileset) return;
    const sphere = this.tileset.boundingSphere;
    const range = Math.max(sphere.radius * 1.8, 60);
    this.viewer.camera.flyToBoundingSphere(sphere, {
      duration: flightSeconds(),
      offset: new HeadingPitchRange(this.viewer.camera.heading, CesiumMath.toRadians(-40), range),
    });
  }

  private restyle(): void {
    if (!this.tileset) return;
    const { opacity, selected, kept } = this;
    if (opacity === 1 && selected === undefined && kept === undefined) {
      this.tileset.style = undefined;
    } else {
      const style = new Cesium3DTileStyle();
      // A function instead of a text expression: no quoting of ids. CesiumJS passes no feature for a content without a table.
      const color: Pick<StyleExpression, "evaluateColor"> = {
        evaluateColor(feature: Cesium3DTileFeature | undefined, result = new Color()) {
          const isSelected = selected !== undefined && feature?.getProperty("id") === selected;
          return Color.clone(isSelected ? SELECTED : Color.fromAlpha(Color.WHITE, opacity, result), result);
        },
      };
      style.color = color as StyleExpression;
      if (kept) {
        const show: Pick<StyleExpression, "evaluate"> = {
          evaluate: (feature: Cesium3DTileFeature | undefined) => feature?.getProperty(kept.property) === kept.value,
        };
        style.show = show as StyleExpression;
      }
      this.tileset.style = style;
    }
    this.viewer.scene.requestRender();
  }

  private fail(message: string): void {
    this.problem ??= message;
    this.changed();
  }
}
