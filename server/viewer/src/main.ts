// Start: read the city's description, build the scene, then the panels; keep `window.citytwin` for scripts and tests.
import "@cesium/engine/Source/Widget/CesiumWidget.css";
import "./style.css";
import {
  Cartesian2,
  Cartographic,
  Cesium3DTileFeature,
  Cesium3DTileset,
  type CesiumWidget,
  Entity,
  ScreenSpaceEventType,
} from "@cesium/engine";
import { loadConfig, type ImageryConfig, ServerProblem, type ViewerConfig } from "./config";
import { Details, type Picked, type Special } from "./details";
import { showFatal } from "./fatal";
import { boundsOf, type Finding, ofItem } from "./findings";
import { FindingView } from "./finding_view";
import { formatView, keep, parseFeature, parseView } from "./hash";
import { Imagery } from "./imagery";
import { addKeyboard } from "./keyboard";
import { preferredLanguage, Texts } from "./language";
import { Layer2d } from "./layers2d";
import { Layer3d } from "./layers3d";
import { type Mark, Marks } from "./marks";
import { Panel, START } from "./panel";
import * as scenery from "./scene";
import { Settling } from "./settling";
import { Status } from "./status";
import { Supervision } from "./supervision";

/** What a script in the page can do with the viewer. */
export interface CityTwin {
  viewer: CesiumWidget | undefined;
  config: ViewerConfig | undefined;
  /** Resolves when terrain and tilesets of the first view are there; rejects if nothing can be drawn. */
  ready: Promise<void>;
  /** What went wrong without stopping the viewer. */
  problems: string[];
  /** Resolves when everything that the present view needs is there. */
  settled(): Promise<void>;
  /** The feature drawn at these CSS pixels of the canvas. */
  pick(x: number, y: number): Picked | undefined;
  /** What the tile itself says of the feature drawn there: its typed metadata. */
  properties(x: number, y: number): Record<string, unknown> | undefined;
  /** Ellipsoidal height in metres of the ground as it is drawn now; undefined where no terrain is loaded. */
  groundHeight(lon: number, lat: number): number | undefined;
  /** Marks of findings as they are drawn: how many findings each stands for, its verdict, where it is. */
  marks(): { finding: string | undefined; count: number; verdict: string; status: string; lon: number; lat: number }[];
  setView(view: scenery.View): void;
  view(): scenery.View | undefined;
}

const COLORS_2D = ["#4dd0e1", "#ffb74d", "#aed581", "#f06292", "#9575cd", "#fff176", "#90a4ae", "#e57373"];

declare global {
  interface Window {
    citytwin: CityTwin;
  }
}

const texts = new Texts(preferredLanguage(location.search, navigator.languages));
texts.use(texts.language);

const twin: CityTwin = {
  viewer: undefined,
  config: undefined,
  ready: start(),
  problems: [],
  settled: () => Promise.reject(new Error("The viewer has not started.")),
  pick: () => undefined,
  properties: () => undefined,
  groundHeight: () => undefined,
  marks: () => [],
  setView: () => undefined,
  view: () => undefined,
};
window.citytwin = twin;
twin.ready.catch((error: unknown) => console.error(error));

async function start(): Promise<void> {
  await Promise.resolve(); // `twin` is complete from here on
  if (!scenery.hasWebgl2()) {
    showFatal(texts, "noWebgl", "noWebglHint");
    throw new Error("WebGL 2 is missing.");
  }
  try {
    twin.config = await loadConfig();
  } catch (error) {
    const detail = error instanceof ServerProblem ? `${error.address}\n${error.status || ""} ${error.message}` : String(error);
    showFatal(texts, "serverFailed", "serverFailedHint", detail);
    throw error;
  }
  try {
    await build(twin.config);
  } catch (error) {
    showFatal(texts, "renderFailed", "noWebglHint", String(error));
    throw error;
  }
}

async function build(config: ViewerConfig): Promise<void> {
  const app = document.getElementById("app") as HTMLElement;
  texts.categories = config.categories ?? {};
  const status = new Status(config, texts);
  const viewer = scenery.makeScene(document.getElementById("globe") as HTMLElement, status.credits);
  twin.viewer = viewer;
  watchFailures(viewer);

  const complain = (message: string): void => {
    twin.problems.push(message);
    status.say(message, true);
  };
  const layers3d = config.layers3d.map((one) => {
    const layer: Layer3d = new Layer3d(one, viewer, () => {
      panel.refresh();
      complain(`${texts.of(one.title)}: ${texts.word("layerFailed")}`);
    });
    return layer;
  });
  const layers2d = config.layers2d.map(
    (one, index) => new Layer2d(one, viewer, COLORS_2D[index % COLORS_2D.length] ?? "#4dd0e1", () => panel.refresh()),
  );
  let imageryFailed = false;
  const imagery = new Imagery(config.imagery, viewer, () => {
    if (!imageryFailed) complain(texts.word("imageryFailed"));
    imageryFailed = true;
  });
  imagery.use(newest(config.imagery)?.id);
  const watch = config.supervision && supervise(config, config.supervision, viewer, (picked, fly) => {
    highlight(picked);
    void details.show(picked, fly);
  }, (layer) => sources.has(layer));
  const panel = new Panel(config, layers3d, layers2d, imagery, texts, {
    home: () => scenery.setView(viewer, scenery.homeView(config, panel.coveredPx())),
    language: () => switchLanguage(),
    ground: (on, alpha) => scenery.setUnderground(viewer, on, alpha),
    light: (shadows, hour) => scenery.setSun(viewer, config.origin.lon, hour, shadows),
  }, watch ? [watch.section.element] : []);
  const sources = sourcesOf(layers3d, layers2d);
  if (config.supervision) sources.set(config.supervision.findings.id, config.supervision.findings);
  const highlight = (picked: Picked | undefined): void => {
    watch?.section.selected(picked);
    for (const layer of layers3d) layer.select(picked?.layer === layer.config.id ? picked.id : undefined);
    keep("feature", picked && `${picked.layer}/${picked.id}`);
  };
  const details = new Details(
    sources,
    texts,
    () => highlight(undefined),
    (bounds) => scenery.flyToBounds(viewer, bounds),
    {
      can: (id) => layers3d.some((layer) => layer.config.id === id),
      now: (id) => layers3d.find((layer) => layer.config.id === id)?.shownOnly,
      only: (id, kept) => layers3d.find((layer) => layer.config.id === id)?.only(kept),
    },
    watch && new Map([[watch.layer, watch.special]]),
  );
  app.append(panel.element, details.element, status.element);
  status.attach(viewer);

  const select = (x: number, y: number): void => {
    const mark = watch?.markAt(x, y);
    if (mark?.many) return mark.many.isListed ? watch?.section.only(mark.many.box) : scenery.flyToBounds(viewer, mark.many.box);
    const picked = twin.pick(x, y);
    if (!picked) return details.close();
    highlight(picked);
    void details.show(picked);
  };
  connect(viewer, layers3d, layers2d, watch);
  viewer.screenSpaceEventHandler.setInputAction(
    ({ position }: { position: Cartesian2 }) => select(position.x, position.y),
    ScreenSpaceEventType.LEFT_CLICK,
  );
  prepareCanvas(viewer, select);
  const hasCamera = parseView(location.hash) !== undefined;
  keepHash(viewer, scenery.homeView(config, panel.coveredPx()));
  scenery.setSun(viewer, config.origin.lon, START.hour, false);

  const terrain = config.terrain
    ? scenery.addTerrain(viewer, config.terrain).catch(() => complain(texts.word("terrainFailed")))
    : Promise.resolve();
  const tiles = layers3d.map((layer) => layer.load(layer.config.on ?? true));
  const settling = new Settling(viewer, watch ? [...layers3d, watch.marks] : layers3d, (pending) => status.pending(pending));
  twin.settled = () => settling.settled();
  status.say(`${texts.word("loading")} …`);
  await Promise.all([terrain, ...tiles]);
  panel.refresh();
  await settling.settled();
  app.setAttribute("aria-busy", "false");
  const asked = parseFeature(location.search);
  if (asked) {
    highlight(asked);
    void details.show(asked, !hasCamera); // a link that has a camera keeps it
  }
  if (!twin.problems.length) status.say(texts.word("loaded"));
}

/** Findings on the ground and the section that goes with them. */
interface Watch {
  layer: string;
  marks: Marks;
  section: Supervision;
  special: Special;
  markAt(x: number, y: number): Mark | undefined;
}

function supervise(
  config: ViewerConfig,
  supervision: NonNullable<ViewerConfig["supervision"]>,
  viewer: CesiumWidget,
  open: (picked: Picked, fly: boolean) => void,
  canOpen: (layer: string) => boolean,
): Watch {
  const layer = supervision.findings.id;
  const view = new FindingView(supervision.findings, texts, (object) => (canOpen(object.layer) ? () => open(object, true) : undefined));
  const isEmpty = config.extent[0] <= -180 && config.extent[2] >= 180; // a city without anything has no place
  const section = new Supervision(supervision, texts, view, {
    view: () => marks.view(),
    isEmpty,
    use: (source) => marks.use(source),
    show: (on) => marks.show(on),
    open: ({ id }) => open({ layer, id }, true),
  });
  const colors = Object.fromEntries(Object.keys(supervision.findings.verdicts).map((verdict) => [verdict, view.color(verdict)]));
  const marks: Marks = new Marks(viewer, config.extent, config.origin.height_m, colors, section.kept, () => section.failed(marks.problem));
  viewer.camera.moveEnd.addEventListener(() => section.moved());
  const special: Special = {
    local: (id) => section.local(id),
    title: (finding) => (finding as Finding).id,
    body: (finding) => view.body(finding as Finding),
    read: ofItem,
    shown: (finding) => {
      marks.select(finding as Finding | undefined);
      return boundsOf((finding as Finding | undefined)?.shape);
    },
  };
  const markAt = (x: number, y: number): Mark | undefined => {
    const hit = viewer.scene.pick(new Cartesian2(x, y)) as { id?: unknown } | undefined;
    return marks.markOf(hit?.id);
  };
  return { layer, marks, section, special, markAt };
}

/** The epoch with the last date; dates are ISO 8601, so their text sorts as they do. */
function newest(epochs: ImageryConfig[]): ImageryConfig | undefined {
  return [...epochs].sort((a, b) => (b.epoch ?? "").localeCompare(a.epoch ?? ""))[0];
}

function watchFailures(viewer: CesiumWidget): void {
  viewer.scene.renderError.addEventListener((_scene: unknown, error: unknown) => {
    showFatal(texts, "renderFailed", undefined, String(error));
  });
  viewer.canvas.addEventListener("webglcontextlost", () => showFatal(texts, "contextLost", "contextLostHint"));
}

function sourcesOf(layers3d: Layer3d[], layers2d: Layer2d[]): Map<string, { title: ViewerConfig["title"]; items: string }> {
  return new Map([
    ...layers2d.map((layer) => [layer.config.id, { title: layer.config.title, items: layer.items }] as const),
    ...layers3d.flatMap(({ config: { id, title, items } }) => (items === undefined ? [] : [[id, { title, items }] as const])),
  ]);
}

function connect(viewer: CesiumWidget, layers3d: Layer3d[], layers2d: Layer2d[], watch: Watch | undefined): void {
  twin.marks = () => watch?.marks.told ?? [];
  twin.pick = (x, y) => {
    const hit = viewer.scene.pick(new Cartesian2(x, y)) as unknown;
    if (hit instanceof Cesium3DTileFeature) {
      const layer = layers3d.find(({ tileset }) => tileset === (hit.tileset as Cesium3DTileset));
      const id = hit.getProperty("id") as unknown;
      return layer?.config.items !== undefined && id !== undefined && id !== null ? { layer: layer.config.id, id: String(id) } : undefined;
    }
    const entity = (hit as { id?: unknown } | undefined)?.id;
    const mark = watch?.marks.markOf(entity);
    if (mark) return mark.finding && watch ? { layer: watch.layer, id: mark.finding.id } : undefined;
    if (!(entity instanceof Entity)) return undefined;
    const layer = layers2d.find((one) => one.holds(entity));
    return layer ? { layer: layer.config.id, id: entity.id } : undefined;
  };
  twin.properties = (x, y) => {
    const hit = viewer.scene.pick(new Cartesian2(x, y)) as unknown;
    if (!(hit instanceof Cesium3DTileFeature)) return undefined;
    return Object.fromEntries(hit.getPropertyIds().map((name) => [name, hit.getProperty(name) as unknown]));
  };
  twin.groundHeight = (lon, lat) => viewer.scene.globe.getHeight(Cartographic.fromDegrees(lon, lat));
  twin.setView = (view) => scenery.setView(viewer, view);
  twin.view = () => scenery.viewOf(viewer);
}

function prepareCanvas(viewer: CesiumWidget, select: (x: number, y: number) => void): void {
  const { canvas } = viewer;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  texts.bind(() => canvas.setAttribute("aria-label", texts.word("canvas")));
  canvas.addEventListener("pointerdown", () => canvas.focus({ preventScroll: true }));
  addKeyboard(viewer, select);
}

function keepHash(viewer: CesiumWidget, home: scenery.View): void {
  scenery.setView(viewer, parseView(location.hash) ?? home);
  viewer.camera.moveEnd.addEventListener(() => history.replaceState(null, "", formatView(scenery.viewOf(viewer))));
  window.addEventListener("hashchange", () => {
    const view = parseView(location.hash);
    if (view) scenery.setView(viewer, view);
  });
}

function switchLanguage(): void {
  texts.use(texts.language === "zh" ? "en" : "zh");
  keep("lang", texts.language);
}
