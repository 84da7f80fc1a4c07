// Findings as marks on the ground: some tens of thousands stay usable, because only what the view needs is asked for.
// The city is cut into quarters, and quarters of them, as finely as the eye is near. A quarter with few findings shows
// each of them; one with many shows their exact number, coloured by the worst, until the eye is near enough for its own
// quarters. An answer holds at most `LIMIT` findings, and stays known until findings change.
import {
  type Billboard,
  BillboardCollection,
  type CesiumWidget,
  Cartesian3,
  Color,
  ConstantProperty,
  GeoJsonDataSource,
  HeightReference,
  Math as CesiumMath,
  type PolygonHierarchy,
} from "@cesium/engine";
import type { Bounds } from "./details";
import type { Feature, Finding, Geometry, Page, Source } from "./findings";
import { type Paint, paintMark } from "./mark";

/** Findings of a quarter that are shown one by one. */
export const LIMIT = 24;
/** A quarter is cut again where its side is seen under a larger angle (radians). */
const WIDEST = 0.28;
const AT_ONCE = 6;
const SMALLEST_DEG = 2e-5;
/** What lies in a box this small is listed by a click: flying there would bring the eye no nearer. */
const LISTED_DEG = 3e-4;
const METRES_DEG = 111_320;

interface Tile {
  key: string;
  box: Bounds;
  level: number;
}

/** What a mark stands for: one finding, or the many of a quarter. */
export interface Mark {
  key: string;
  at: [lon: number, lat: number];
  finding: Finding | undefined;
  many: { count: number; box: Bounds; isListed: boolean } | undefined;
  paint: Paint;
}

export class Marks {
  problem: string | undefined;
  private readonly billboards: BillboardCollection;
  private readonly drawn = new Map<string, Billboard>();
  private readonly pages = new Map<string, Page>();
  private readonly asking = new Set<string>();
  private readonly outline = new GeoJsonDataSource("finding-shape");
  private readonly root: Tile;
  private source: Source;
  private wanted: Tile[] = [];
  private marks: Mark[] = [];
  private turn = 0;
  private on = true;
  private selected: string | undefined;
  private isQueued = false;

  constructor(
    private readonly viewer: CesiumWidget,
    private readonly extent: Bounds,
    private readonly groundHeight: number,
    private readonly colors: Readonly<Record<string, string>>,
    source: Source,
    private readonly changed: () => void,
  ) {
    const [west, south, east, north] = extent;
    const pad = Math.max(east - west, north - south, 1e-4) / 100; // what lies on the very edge of the city is in it
    this.root = { key: "0", box: [west - pad, south - pad, east + pad, north + pad], level: 0 };
    this.source = source;
    this.billboards = viewer.scene.primitives.add(new BillboardCollection({ scene: viewer.scene })) as BillboardCollection;
    void viewer.dataSources.add(this.outline);
    viewer.camera.changed.addEventListener(() => this.refresh());
    viewer.camera.moveEnd.addEventListener(() => this.refresh());
    this.refresh();
  }

  /** True when everything that the present view needs is drawn. */
  get settled(): boolean {
    return !this.isQueued && this.asking.size === 0 && this.wanted.length === 0;
  }

  /** What is drawn, for scripts. */
  get told(): { finding: string | undefined; count: number; verdict: string; status: string; lon: number; lat: number }[] {
    return this.marks.map(({ finding, many, paint, at }) => ({
      finding: finding?.id,
      count: many?.count ?? 1,
      verdict: paint.verdict,
      status: paint.status,
      lon: at[0],
      lat: at[1],
    }));
  }

  show(on: boolean): void {
    this.on = on;
    this.billboards.show = on;
    this.outline.show = on;
    this.refresh();
  }

  /** Show findings from elsewhere, or those of the same source anew. */
  use(source: Source): void {
    this.source = source;
    this.turn += 1; // answers that are still to come belong to what was
    this.pages.clear();
    this.asking.clear();
    this.wanted = [];
    this.refresh();
  }

  markOf(key: unknown): Mark | undefined {
    return typeof key === "string" ? this.marks.find((mark) => mark.key === key) : undefined;
  }

  /** Make one finding stand out and draw the whole of it on the ground. */
  select(finding: { id: string; verdict: string; shape: Geometry | undefined } | undefined): void {
    this.selected = finding?.id;
    this.draw();
    this.outline.entities.removeAll();
    const shape = finding?.shape;
    if (!shape || /Point$/.test(shape.type)) return this.viewer.scene.requestRender();
    const color = Color.fromCssColorString(this.colors[finding.verdict] ?? "#ffd166");
    const drawing: Feature & { type: string } = { type: "Feature", properties: {}, geometry: shape };
    void this.outline.load(drawing, { clampToGround: true, stroke: color, strokeWidth: 4, fill: color.withAlpha(0.4) }).then(
      () => this.edge(color),
      () => undefined, // a shape that is none is not drawn
    );
  }

  /** Areas laid on the ground have no outline of their own: lines along their rings. Then frames until all is drawn. */
  private edge(color: Color): void {
    for (const { polygon } of [...this.outline.entities.values]) {
      if (!polygon) continue;
      polygon.outline = new ConstantProperty(false);
      const whole = polygon.hierarchy?.getValue() as PolygonHierarchy | undefined;
      for (const ring of whole ? [whole, ...whole.holes] : []) {
        const positions = [...ring.positions, ...ring.positions.slice(0, 1)];
        this.outline.entities.add({ polyline: { positions, width: 4, material: color, clampToGround: true } });
      }
    }
    let frames = 60; // shapes on the ground are cut to the terrain beside the drawing, which happens on request only
    const stop = this.viewer.scene.postRender.addEventListener(() => {
      if (--frames <= 0 || this.viewer.dataSourceDisplay.ready) stop();
      this.viewer.scene.requestRender();
    });
    this.viewer.scene.requestRender();
  }

  /** How many entities draw the selected finding. */
  get outlined(): number {
    return this.outline.entities.values.length;
  }

  private refresh(): void {
    if (this.isQueued) return;
    this.isQueued = true;
    requestAnimationFrame(() => {
      this.isQueued = false;
      this.look();
    });
  }

  private look(): void {
    this.wanted = [];
    this.marks = [];
    if (this.on) {
      const view = this.view();
      if (view) this.visit(this.root, view);
    }
    this.wanted.sort((a, b) => a.level - b.level);
    this.ask();
    this.draw();
    this.changed();
  }

  /** The part of the city that is seen. */
  view(): Bounds | undefined {
    const seen = this.viewer.camera.computeViewRectangle();
    if (!seen) return this.root.box;
    const box = [seen.west, seen.south, seen.east, seen.north].map(CesiumMath.toDegrees) as Bounds;
    const [west, south, east, north] = this.extent;
    const both: Bounds = [Math.max(box[0], west), Math.max(box[1], south), Math.min(box[2], east), Math.min(box[3], north)];
    return both[0] <= both[2] && both[1] <= both[3] ? both : undefined;
  }

  /** Collect the marks of a quarter; false where its answer is still to come. */
  private visit(tile: Tile, view: Bounds): boolean {
    const { box } = tile;
    if (box[0] > view[2] || box[2] < view[0] || box[1] > view[3] || box[3] < view[1]) return true;
    const page = this.pages.get(tile.key);
    if (!page) {
      if (!this.asking.has(tile.key)) this.wanted.push(tile);
      return false;
    }
    if (page.matched <= page.found.length) {
      for (const finding of page.found) this.add(single(finding));
      return true;
    }
    const isSmallest = box[2] - box[0] < SMALLEST_DEG;
    if (!isSmallest && this.isNear(tile)) {
      const before = this.marks.length;
      const known = quarters(tile).map((quarter) => this.visit(quarter, view));
      if (known.every(Boolean)) return true;
      this.marks.length = before; // until all its quarters are known it stays one mark
    }
    this.add(cluster(tile, page));
    return true;
  }

  private add(mark: Mark | undefined): void {
    if (mark) this.marks.push(mark);
  }

  private isNear({ box: [west, south, east, north] }: Tile): boolean {
    const lat = (south + north) / 2;
    const side = Math.max((east - west) * Math.cos(CesiumMath.toRadians(lat)), north - south) * METRES_DEG;
    const { camera } = this.viewer;
    const eye = camera.positionCartographic;
    const lon = CesiumMath.clamp(CesiumMath.toDegrees(eye.longitude), west, east);
    const near = Cartesian3.fromDegrees(lon, CesiumMath.clamp(CesiumMath.toDegrees(eye.latitude), south, north), this.groundHeight);
    const middle = Cartesian3.fromDegrees((west + east) / 2, lat, this.groundHeight);
    const away = (Cartesian3.distance(camera.positionWC, near) + Cartesian3.distance(camera.positionWC, middle)) / 2;
    return side > WIDEST * Math.max(away, 1);
  }

  private ask(): void {
    while (this.asking.size < AT_ONCE) {
      const tile = this.wanted.shift();
      if (!tile) return;
      const { turn } = this;
      this.asking.add(tile.key);
      this.source.page(tile.box, LIMIT).then(
        (page) => this.answered(tile, turn, page),
        (error: unknown) => this.answered(tile, turn, undefined, error instanceof Error ? error.message : String(error)),
      );
    }
  }

  private answered(tile: Tile, turn: number, page: Page | undefined, problem?: string): void {
    if (turn !== this.turn) return;
    this.asking.delete(tile.key);
    this.problem = problem;
    if (page) this.pages.set(tile.key, page);
    else this.wanted = []; // asked again when the camera moves, not over and over
    if (page) this.refresh();
    else this.changed();
  }

  /** Only what has changed is made or taken away. */
  private draw(): void {
    const keep = new Set(this.marks.map(({ key }) => key));
    for (const [key, billboard] of this.drawn) {
      if (keep.has(key)) continue;
      this.billboards.remove(billboard);
      this.drawn.delete(key);
    }
    for (const mark of this.marks) {
      const isSelected = mark.finding !== undefined && mark.finding.id === this.selected;
      const paint = isSelected ? { ...mark.paint, isSelected } : mark.paint;
      const { name, canvas } = paintMark(paint, this.colors[mark.paint.verdict] ?? "#90a4ae");
      let billboard = this.drawn.get(mark.key);
      if (!billboard) {
        billboard = this.billboards.add({
          position: Cartesian3.fromDegrees(...mark.at),
          heightReference: HeightReference.CLAMP_TO_TERRAIN,
          disableDepthTestDistance: Number.POSITIVE_INFINITY,
          scale: 0.5, // drawn twice as large, so that it is sharp on fine screens
          id: mark.key,
        }) as Billboard;
        this.drawn.set(mark.key, billboard);
      }
      if ((billboard as { painted?: string }).painted !== name) {
        (billboard as { painted?: string }).painted = name;
        billboard.setImage(name, canvas());
      }
    }
    this.viewer.scene.requestRender();
  }
}

function single(finding: Finding): Mark | undefined {
  if (!finding.at) return undefined;
  const { id, at, verdict, status } = finding;
  return { key: `one/${id}`, at, finding, many: undefined, paint: { verdict, status, count: 1, isSelected: false } };
}

/** The many of a quarter, where those are that came with the answer. */
function cluster({ key, box }: Tile, { matched, found }: Page): Mark {
  const places = found.flatMap(({ at }) => (at ? [at] : []));
  const mean = (axis: 0 | 1): number => places.reduce((sum, at) => sum + at[axis], 0) / Math.max(places.length, 1);
  const at: [number, number] = places.length ? [mean(0), mean(1)] : [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
  const paint = { verdict: found[0]?.verdict ?? "", status: "", count: matched, isSelected: false };
  return { key: `many/${key}`, at, finding: undefined, many: { count: matched, box, isListed: box[3] - box[1] < LISTED_DEG }, paint };
}

/** Each finding lies in one of them: a quarter ends a hair's breadth before the next one begins. */
function quarters({ key, box: [west, south, east, north], level }: Tile): Tile[] {
  const [lon, lat] = [(west + east) / 2, (south + north) / 2];
  const less = (value: number): number => value - 2e-12;
  const boxes: Bounds[] = [
    [west, south, less(lon), less(lat)],
    [lon, south, east, less(lat)],
    [west, lat, less(lon), north],
    [lon, lat, east, north],
  ];
  return boxes.map((box, index) => ({ key: `${key}${index}`, box, level: level + 1 }));
}
