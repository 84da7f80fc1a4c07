// The line at the foot: where the pointer is, how high the ground is there, how high the eye is; and what is still loading.
import { Cartesian2, Cartographic, type CesiumWidget, Math as CesiumMath, ScreenSpaceEventHandler, ScreenSpaceEventType } from "@cesium/engine";
import type { ViewerConfig } from "./config";
import { h } from "./dom";
import type { Texts } from "./language";

export class Status {
  readonly element: HTMLElement;
  readonly credits = h("span", { className: "credits" });
  private readonly position = h("output", { className: "position" });
  private readonly eye = h("span", { className: "eye" });
  private readonly notice = h("span", { className: "notice", attrs: { role: "status" } });
  private readonly bar = h("progress", { className: "progress" });
  private readonly undulation: number | undefined;
  private readonly datum: string | undefined;
  private pointer: Cartesian2 | undefined;
  private queued = false;
  private most = 0;

  constructor(
    config: ViewerConfig,
    private readonly texts: Texts,
  ) {
    this.undulation = config.origin.undulation_m ?? undefined;
    this.datum = config.vertical_crs;
    this.element = h("footer", { className: "panel status" }, this.bar, this.position, this.eye, this.notice, this.credits);
  }

  attach(viewer: CesiumWidget): void {
    const handler = new ScreenSpaceEventHandler(viewer.scene.canvas);
    handler.setInputAction(({ endPosition }: { endPosition: Cartesian2 }) => {
      this.pointer = Cartesian2.clone(endPosition, this.pointer);
      if (this.queued) return;
      this.queued = true; // at most once a frame: a ray through the terrain is not free
      requestAnimationFrame(() => {
        this.queued = false;
        this.readPointer(viewer);
      });
    }, ScreenSpaceEventType.MOUSE_MOVE);
    viewer.camera.changed.addEventListener(() => this.readEye(viewer));
    viewer.camera.moveEnd.addEventListener(() => this.readEye(viewer));
    viewer.camera.percentageChanged = 0.05;
    this.texts.bind(() => {
      this.bar.setAttribute("aria-label", this.texts.word("loading"));
      this.readEye(viewer);
      this.readPointer(viewer);
    });
  }

  /** How many tiles are still missing; 0 hides the bar. */
  pending(tiles: number): void {
    this.most = tiles === 0 ? 0 : Math.max(this.most, tiles);
    this.bar.hidden = tiles === 0;
    this.bar.max = Math.max(this.most, 1);
    this.bar.value = this.most - tiles;
  }

  /** Words for people and for screen readers; an error stays until the next message. */
  say(message: string, isError = false): void {
    this.notice.textContent = message;
    this.notice.classList.toggle("error", isError);
  }

  private readPointer(viewer: CesiumWidget): void {
    const ray = this.pointer && viewer.camera.getPickRay(this.pointer);
    const hit = ray && viewer.scene.globe.pick(ray, viewer.scene);
    if (!hit) {
      this.position.textContent = "";
      return;
    }
    const at = Cartographic.fromCartesian(hit);
    const lon = CesiumMath.toDegrees(at.longitude);
    const lat = CesiumMath.toDegrees(at.latitude);
    const words = [`${Math.abs(lon).toFixed(6)}° ${lon < 0 ? "W" : "E"}`, `${Math.abs(lat).toFixed(6)}° ${lat < 0 ? "S" : "N"}`];
    const heights = [`${at.height.toFixed(1)} m (${this.texts.word("ellipsoidal")})`];
    if (this.undulation !== undefined) heights.unshift(`${(at.height - this.undulation).toFixed(1)} m (${this.normal()})`);
    this.position.textContent = `${words.join("  ")}  ·  ${this.texts.word("groundHeight")} ${heights.join(" · ")}`;
  }

  /** What the heights count from: by name where it is the 1985 datum, else by its code. */
  private normal(): string {
    return this.datum && this.datum !== "EPSG:5737" ? this.datum : this.texts.word("normal");
  }

  private readEye(viewer: CesiumWidget): void {
    const { height } = viewer.camera.positionCartographic;
    this.eye.textContent = `${this.texts.word("eye")} ${height > 10_000 ? `${(height / 1000).toFixed(1)} km` : `${height.toFixed(0)} m`}`;
  }
}
