// The camera from the keyboard, while the 3D view has the focus.
import { Cartesian2, type CesiumWidget } from "@cesium/engine";

const TURN = 0.06; // radians a key press

export function addKeyboard(viewer: CesiumWidget, pick: (x: number, y: number) => void): void {
  const { canvas, camera, scene } = viewer;
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const step = stepMetres(viewer);
    const moves: Record<string, () => void> = event.shiftKey
      ? {
          ArrowLeft: () => camera.lookLeft(TURN),
          ArrowRight: () => camera.lookRight(TURN),
          ArrowUp: () => camera.lookUp(TURN),
          ArrowDown: () => camera.lookDown(TURN),
          "+": () => camera.moveForward(step * 2),
        }
      : {
          ArrowLeft: () => camera.moveLeft(step),
          ArrowRight: () => camera.moveRight(step),
          ArrowUp: () => camera.moveUp(step),
          ArrowDown: () => camera.moveDown(step),
          "+": () => camera.moveForward(step * 2),
          "=": () => camera.moveForward(step * 2),
          "-": () => camera.moveBackward(step * 2),
          Enter: () => pick(canvas.clientWidth / 2, canvas.clientHeight / 2),
        };
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    move();
    scene.requestRender();
  });
}

/** A twentieth of the distance to the ground in the middle of the screen. */
function stepMetres({ camera, scene, canvas }: CesiumWidget): number {
  const ray = camera.getPickRay(new Cartesian2(canvas.clientWidth / 2, canvas.clientHeight / 2));
  const hit = ray && scene.globe.pick(ray, scene);
  const distance = hit ? Math.hypot(hit.x - camera.positionWC.x, hit.y - camera.positionWC.y, hit.z - camera.positionWC.z) : 1000;
  return Math.max(distance / 20, 1);
}
