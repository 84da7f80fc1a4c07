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

// The pages of the API use two libraries as they come: a map, and the reader of the OpenAPI document.
const LIBRARIES: [name: string, from: string, files: string[]][] = [
  ["maplibre-gl", "dist", ["maplibre-gl-csp.js", "maplibre-gl-csp-worker.js", "maplibre-gl.css", "LICENSE.txt"]],
  ["swagger-ui-dist", ".", ["swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt", "swagger-ui.css", "LICENSE", "NOTICE"]],
];

function libraryFiles(): Plugin {
  return {
    name: "library-files",
    apply: "build",
    writeBundle(options) {
      for (const [name, from, files] of LIBRARIES) {
        const home = join(here, "node_modules", name);
        const { version } = JSON.parse(readFileSync(join(home, "package.json"), "utf-8")) as { version: string };
        const out = join(options.dir ?? join(here, "dist"), `${name}-${version}`);
        for (const file of files) cpSync(join(home, from, file), join(out, file));
      }
    },
  };
}

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
  plugins: [cesiumFiles(), libraryFiles()],
});
