// Flat features laid on the terrain: those in view, a bounded number of them, read again when the camera rests.
import {
  type CesiumWidget,
  Color,
  ConstantProperty,
  type Entity,
  GeoJsonDataSource,
  HeightReference,
  Math as CesiumMath,
  PointGraphics,
} from "@cesium/engine";
import { getJson, resolve, SITE, type Layer2dConfig } from "./config";

const LIMIT = 1000;

interface Page {
  features: unknown[];
  numberMatched?: number;
}

export class Layer2d {
  problem: string | undefined;
  /** How many are drawn, and how many the view holds, while the layer is on. */
  shown: { drawn: number; matched: number } | undefined;
  readonly items: string;
  readonly color: string;
  private readonly source: GeoJsonDataSource;
  private readonly paint: Color;
  private wanted = false;
  private turn = 0;

  constructor(
    readonly config: Layer2dConfig,
    private readonly viewer: CesiumWidget,
    fallbackColor: string,
    private readonly changed: () => void,
  ) {
    this.items = resolve(config.items ?? `${SITE}collections/${encodeURIComponent(config.id)}/items`);
    this.color = config.color ?? fallbackColor;
    this.paint = Color.fromCssColorString(this.color) ?? Color.CYAN;
    this.source = new GeoJsonDataSource(config.id);
    void viewer.dataSources.add(this.source);
    viewer.camera.moveEnd.addEventListener(() => void this.refresh());
  }

  get on(): boolean {
    return this.wanted;
  }

  holds(entity: Entity): boolean {
    return this.source.entities.contains(entity);
  }

  show(on: boolean): void {
    this.wanted = on;
    this.source.show = on;
    if (on) void this.refresh();
    this.viewer.scene.requestRender();
  }

  private async refresh(): Promise<void> {
    if (!this.wanted) return;
    const turn = ++this.turn; // an answer that a later one has overtaken is dropped
    const view = this.viewer.camera.computeViewRectangle();
    const query = new URLSearchParams({ limit: `${LIMIT}` });
    if (view) {
      const degrees = [view.west, view.south, view.east, view.north].map(CesiumMath.toDegrees);
      query.set("bbox", degrees.map((value) => value.toFixed(6)).join(","));
    }
    try {
      const page = (await getJson(`${this.items}?${query}`)) as Page;
      if (turn !== this.turn) return;
      const color = this.paint;
      await this.source.load(page, { clampToGround: true, stroke: color, strokeWidth: 3, fill: color.withAlpha(0.35) });
      for (const entity of this.source.entities.values) {
        if (!entity.billboard) continue;
        entity.billboard = undefined as never;
        entity.point = new PointGraphics({
          pixelSize: 9,
          color,
          outlineColor: Color.BLACK,
          outlineWidth: 1,
          heightReference: new ConstantProperty(HeightReference.CLAMP_TO_GROUND),
          disableDepthTestDistance: 2000,
        });
      }
      this.shown = { drawn: page.features.length, matched: page.numberMatched ?? page.features.length };
      this.problem = undefined;
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
    }
    this.viewer.scene.requestRender();
    this.changed();
  }
}
