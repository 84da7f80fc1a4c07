// Bundles src/ into dist/ and puts beside it the files CesiumJS asks for at run time: its workers, its WebAssembly
// decoders and three data files. The folder carries the engine's version, so that it may be cached for ever.
import { cpSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const here = dirname(fileURLToPath(import.meta.url));
const engine = join(here, "node_modules/@cesium/engine");
const version = (JSON.parse(readFileSync(join(engine, "package.json"), "utf-8")) as { version: string }).version;
const folder = `cesium-${version}`;

// Left out: star and moon textures, NaturalEarth, pins (the viewer draws none of them): 2.5 MB.
const NEEDED: [from: string, to: string][] = [
  ["Build/Workers", "Workers"],
  ["Source/ThirdParty/draco_decoder.wasm", "ThirdParty/draco_decoder.wasm"],
  ["Source/ThirdParty/basis_transcoder.wasm", "ThirdParty/basis_transcoder.wasm"],
  ["Source/Assets/IAU2006_XYS", "Assets/IAU2006_XYS"],
  ["Source/Assets/approximateTerrainHeights.json", "Assets/approximateTerrainHeights.json"],
  ["Source/Assets/Textures/waterNormalsSmall.jpg", "Assets/Textures/waterNormalsSmall.jpg"],
  ["LICENSE.md", "LICENSE.md"],
];

function cesiumFiles(): Plugin {
  return {
    name: "cesium-files",
    apply: "build",
    writeBundle(options) {
      const out = join(options.dir ?? join(here, "dist"), folder);
      rmSync(out, { recursive: true, force: true });
      for (const [from, to] of NEEDED) cpSync(join(engine, from), join(out, to), { recursive: true });
    },
  };
}

export default defineConfig({
  base: "./", // every address is relative to the page, so that the viewer works below any path prefix
  define: { CESIUM_BASE_URL: JSON.stringify(`./${folder}/`) },
  build: { target: "es2022", chunkSizeWarningLimit: 6000, modulePreload: { polyfill: false } },
  plugins: [cesiumFiles()],
});
