// The globe: terrain, light, camera. No Ion, no base map, nothing from elsewhere.
import {
  BoundingSphere,
  Cartesian3,
  CesiumTerrainProvider,
  CesiumWidget,
  Color,
  Credit,
  CreditDisplay,
  HeadingPitchRange,
  JulianDate,
  Math as CesiumMath,
  Rectangle,
  ScreenSpaceEventType,
} from "@cesium/engine";
import { resolve, type ViewerConfig } from "./config";

/** Degrees and metres above the ellipsoid. */
export interface View {
  lon: number;
  lat: number;
  height: number;
  heading: number;
  pitch: number;
}

export function hasWebgl2(): boolean {
  return document.createElement("canvas").getContext("webgl2") !== null;
}

/** True where the processor draws instead of a graphics card: remote desktops, virtual machines. */
function drawsInSoftware(): boolean {
  const gl = document.createElement("canvas").getContext("webgl2");
  const info = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = String(info ? gl?.getParameter(info.UNMASKED_RENDERER_WEBGL) : "");
  return /swiftshader|llvmpipe|softpipe|basic render/i.test(name);
}

/** Make the widget. It draws only when something changed (`requestRender`), so that an idle page costs nothing. */
export function makeScene(container: HTMLElement, credits: HTMLElement): CesiumWidget {
  CreditDisplay.cesiumCredit = new Credit("CesiumJS", true); // plain text instead of a logo that links to a shop
  const isSlow = drawsInSoftware(); // then leave out what only looks nice: a frame takes less than half the time
  const viewer = new CesiumWidget(container, {
    baseLayer: false,
    skyBox: false,
    scene3DOnly: true,
    requestRenderMode: true,
    maximumRenderTimeChange: Number.POSITIVE_INFINITY,
    showRenderLoopErrors: false,
    creditContainer: credits,
    msaaSamples: isSlow ? 1 : 4,
  });
  const { scene } = viewer;
  if (isSlow) {
    scene.fog.enabled = false;
    scene.globe.showGroundAtmosphere = false;
    if (scene.skyAtmosphere) scene.skyAtmosphere.show = false;
  }
  scene.moon = undefined as never; // its texture is not shipped
  scene.backgroundColor = Color.fromCssColorString("#0b1118");
  scene.globe.baseColor = Color.fromCssColorString("#2f3b47");
  scene.globe.undergroundColor = Color.fromCssColorString("#4d5964");
  scene.globe.depthTestAgainstTerrain = true;
  scene.globe.translucency.frontFaceAlphaByDistance = undefined as never;
  scene.pickTranslucentDepth = true;
  scene.shadowMap.size = 4096;
  viewer.camera.changed.addEventListener(() => fitShadows(viewer));
  viewer.screenSpaceEventHandler.removeInputAction(ScreenSpaceEventType.LEFT_DOUBLE_CLICK);
  return viewer;
}

export async function addTerrain(viewer: CesiumWidget, address: string): Promise<void> {
  viewer.terrainProvider = await CesiumTerrainProvider.fromUrl(resolve(address), { requestVertexNormals: true });
  viewer.scene.requestRender();
}

/** See through the ground: `alpha` 1 is solid ground again. The camera may then also go below it. */
export function setUnderground(viewer: CesiumWidget, on: boolean, alpha: number): void {
  const { globe, screenSpaceCameraController } = viewer.scene;
  globe.translucency.enabled = on;
  globe.translucency.frontFaceAlpha = alpha;
  globe.translucency.backFaceAlpha = alpha;
  screenSpaceCameraController.enableCollisionDetection = !on;
  viewer.scene.requestRender();
}

/** Sun where it stands at `hour` of local solar time today. Without shadows the hour still shades the models. */
export function setSun(viewer: CesiumWidget, lon: number, hour: number, shadows: boolean): void {
  const noonUtc = new Date();
  noonUtc.setUTCHours(12, 0, 0, 0);
  const seconds = (hour - 12 - lon / 15) * 3600; // 15 degrees of longitude are one hour
  viewer.clock.currentTime = JulianDate.addSeconds(JulianDate.fromDate(noonUtc), seconds, new JulianDate());
  viewer.clock.shouldAnimate = false;
  viewer.scene.globe.enableLighting = shadows;
  viewer.scene.shadowMap.enabled = shadows;
  fitShadows(viewer);
  viewer.scene.requestRender();
}

/** A shadow map that reaches no further than the eye needs: spread over 5 km it is too coarse and stripes every wall. */
function fitShadows({ camera, scene }: CesiumWidget): void {
  const above = camera.positionCartographic.height - (scene.globe.getHeight(camera.positionCartographic) ?? 0);
  scene.shadowMap.maximumDistance = Math.min(Math.max(Math.abs(above) * 4, 400), 8000);
}

export function viewOf(viewer: CesiumWidget): View {
  const { positionCartographic: at, heading, pitch } = viewer.camera;
  return {
    lon: CesiumMath.toDegrees(at.longitude),
    lat: CesiumMath.toDegrees(at.latitude),
    height: at.height,
    heading: CesiumMath.toDegrees(heading),
    pitch: CesiumMath.toDegrees(pitch),
  };
}

export function setView(viewer: CesiumWidget, view: View): void {
  viewer.camera.setView({
    destination: Cartesian3.fromDegrees(view.lon, view.lat, view.height),
    orientation: {
      heading: CesiumMath.toRadians(view.heading),
      pitch: CesiumMath.toRadians(view.pitch),
      roll: 0,
    },
  });
  viewer.scene.requestRender();
}

/** The whole extent from the south, looking down at 40 degrees; `coveredPx` of the canvas lie under a panel at the left. */
export function homeView({ extent, origin }: ViewerConfig, coveredPx: number): View {
  const [west, south, east, north] = extent;
  const box = Rectangle.fromDegrees(west, south, east, north);
  const metres = Math.max(box.height, box.width * Math.cos(CesiumMath.toRadians((south + north) / 2))) * 6_371_000;
  const range = Math.max(metres * 1.15, 300);
  const pitch = 40;
  const back = (range * Math.cos(CesiumMath.toRadians(pitch))) / 111_000;
  const visible = Math.max(1 - coveredPx / window.innerWidth, 0.3);
  // The field of view is 60 degrees across: `range` metres away the canvas is `2 range tan 30°` wide.
  const aside = ((1 - visible) / 2) * 2 * range * Math.tan(CesiumMath.PI / 6);
  return {
    lon: (west + east) / 2 - aside / (111_320 * Math.cos(CesiumMath.toRadians((south + north) / 2))),
    lat: Math.max((south + north) / 2 - back, -89.9),
    height: (origin.height_m || 0) + range * Math.sin(CesiumMath.toRadians(pitch)),
    heading: 0,
    pitch: -pitch,
  };
}

/** Fly to a box in degrees, on the ground as it is drawn now. */
export function flyToBounds(viewer: CesiumWidget, [west, south, east, north]: [number, number, number, number]): void {
  const box = Rectangle.fromDegrees(west, south, east, north);
  const ground = viewer.scene.globe.getHeight(Rectangle.center(box)) ?? 0;
  const sphere = BoundingSphere.fromRectangle3D(box, viewer.scene.ellipsoid, ground);
  viewer.camera.flyToBoundingSphere(sphere, {
    duration: flightSeconds(),
    offset: new HeadingPitchRange(viewer.camera.heading, CesiumMath.toRadians(-40), Math.max(sphere.radius * 4, 80)),
  });
}

/** Seconds a flight takes; none for people who asked their system for less motion. */
export function flightSeconds(): number {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 1.6;
}
