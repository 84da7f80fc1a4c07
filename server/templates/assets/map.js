// Maps of the pages: MapLibre GL over the city's own vector tiles and imagery. What a map shows stands in `data-map`.
"use strict";
(() => {
  const ACCENT = "#e0442c";
  // what was held against a rule is coloured by what it came to
  const COLOUR = ["match", ["get", "verdict"], "fail", "#e53935", "review", "#fb8c00", "unknown", "#7d8790", "pass", "#43a047", ACCENT];

  function say(box, text) {
    const line = document.createElement("p");
    line.textContent = text;
    box.replaceChildren(line);
  }

  /** A label and a value for the popup; text only, never markup. */
  function popupContent(feature, asked) {
    const whole = document.createElement("div");
    const link = document.createElement(asked.item ? "a" : "strong");
    if (asked.item) link.href = asked.item.replace("ID", encodeURIComponent(feature.properties.$id));
    link.textContent = feature.properties.$id;
    whole.append(link);
    const list = document.createElement("div");
    for (const [name, title] of (asked.titles ?? []).slice(0, 40)) {
      const value = feature.properties[name];
      if (value === null || value === undefined || value === "" || list.childElementCount >= 6) continue;
      const line = document.createElement("div");
      line.textContent = `${title}: ${value}`;
      list.append(line);
    }
    whole.append(list);
    return whole;
  }

  function boundsOf(collection) {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    const walk = (part) => {
      if (typeof part[0] === "number") {
        box[0] = Math.min(box[0], part[0]);
        box[1] = Math.min(box[1], part[1]);
        box[2] = Math.max(box[2], part[0]);
        box[3] = Math.max(box[3], part[1]);
      } else for (const each of part) walk(each);
    };
    for (const { geometry } of collection.features) if (geometry?.coordinates?.length) walk(geometry.coordinates);
    return Number.isFinite(box[0]) ? [[box[0], box[1]], [box[2], box[3]]] : undefined;
  }

  const OVERLAY = (source, layer) => {
    const from = layer ? { source, "source-layer": layer } : { source };
    const hot = ["boolean", ["feature-state", "hot"], false];
    const kind = (name) => ["==", ["geometry-type"], name];
    return [
      { id: `${source}-fill`, type: "fill", ...from, filter: kind("Polygon"),
        paint: { "fill-color": COLOUR, "fill-opacity": ["case", hot, 0.75, 0.35] } },
      { id: `${source}-line`, type: "line", ...from, filter: ["!", kind("Point")],
        layout: { "line-cap": "round", "line-join": "round" },
        paint: { "line-color": COLOUR, "line-width": ["case", hot, 5, ["case", kind("Polygon"), 1.2, 3]] } },
      { id: `${source}-point`, type: "circle", ...from, filter: kind("Point"),
        paint: { "circle-color": COLOUR, "circle-radius": ["case", hot, 9, 5], "circle-stroke-color": "#fff", "circle-stroke-width": 1.5 } },
    ];
  };

  function rectangle([west, south, east, north]) {
    const ring = [[west, south], [east, south], [east, north], [west, north], [west, south]];
    return { type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: ring } };
  }

  /** GeoJSON of any shape as a collection whose features are numbered and carry their public id. */
  function numbered(document_) {
    const features = document_.type === "FeatureCollection" ? document_.features : [document_];
    return {
      type: "FeatureCollection",
      features: features.filter((each) => each.geometry).map((each, index) =>
        ({ type: "Feature", id: index, geometry: each.geometry, properties: { ...each.properties, $id: String(each.id ?? "") } })),
    };
  }

  /** Buttons for what lies under the features: the city's own map, or one of the images instead of it. */
  function baseSwitch(box, map, images, drawn, texts) {
    if (!images.length) return;
    const bar = document.createElement("div");
    bar.className = "map-tools";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", texts.base);
    const choose = (chosen) => {
      const show = (id, visible) => map.setLayoutProperty(id, "visibility", visible ? "visible" : "none");
      images.forEach((_, index) => show(`image-${index}`, index === chosen));
      for (const id of drawn) if (map.getLayer(id)) show(id, chosen < 0);
      [...bar.children].forEach((button, index) => button.setAttribute("aria-pressed", String(index - 1 === chosen)));
    };
    [texts.map, ...images.map((each) => each.title)].forEach((title, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title;
      button.addEventListener("click", () => choose(index - 1));
      bar.append(button);
    });
    box.append(bar);
    choose(-1);
  }

  /** Rows of the table and features on the map point at each other. */
  function linkRows(map, collection, asked) {
    const rows = new Map([...document.querySelectorAll("tr[data-id]")].map((row) => [row.dataset.id, row]));
    const byId = new Map(collection.features.map((each) => [each.properties.$id, each]));
    let hot;
    const mark = (id) => {
      if (hot !== undefined) {
        map.setFeatureState({ source: "shown", id: byId.get(hot).id }, { hot: false });
        rows.get(hot)?.classList.remove("is-marked");
      }
      hot = byId.has(id) ? id : undefined;
      if (hot === undefined) return;
      map.setFeatureState({ source: "shown", id: byId.get(hot).id }, { hot: true });
      rows.get(hot)?.classList.add("is-marked");
    };
    for (const [id, row] of rows) {
      for (const name of ["mouseenter", "focusin"]) row.addEventListener(name, () => mark(id));
      row.addEventListener("mouseleave", () => mark(undefined));
    }
    const layers = ["shown-fill", "shown-line", "shown-point"];
    map.on("click", layers, (event) => {
      const [feature] = event.features;
      const whole = byId.get(feature.properties.$id) ?? feature;
      mark(whole.properties.$id);
      rows.get(whole.properties.$id)?.scrollIntoView({ block: "nearest" });
      new maplibregl.Popup({ maxWidth: "20rem" }).setLngLat(event.lngLat).setDOMContent(popupContent(whole, asked)).addTo(map);
    });
    map.on("mousemove", layers, (event) => {
      map.getCanvas().style.cursor = "pointer";
      mark(event.features[0].properties.$id);
    });
    map.on("mouseleave", layers, () => {
      map.getCanvas().style.cursor = "";
      mark(undefined);
    });
  }

  async function json(address, type) {
    const answer = await fetch(address, { headers: { Accept: type } });
    if (!answer.ok) throw new Error(`${answer.status} ${address}`);
    return answer.json();
  }

  async function start(box, asked) {
    if (!window.maplibregl) return say(box, asked.texts.missing);
    maplibregl.setWorkerUrl(asked.worker);
    const [style, found] = await Promise.all([
      json(asked.style, "application/json"),
      asked.geojson ? json(asked.geojson, "application/geo+json") : undefined,
    ]);
    const collection = found || asked.data ? numbered(found ?? asked.data) : undefined;
    // trees and lamps by the thousand would hide the city from afar
    for (const each of style.layers) if (each.type === "circle") each.minzoom = Math.max(each.minzoom ?? 0, 15.5);
    const canvas = document.createElement("div");
    canvas.className = "canvas";
    box.replaceChildren(canvas);
    let map;
    try {
      map = new maplibregl.Map({
        container: canvas, style, attributionControl: false, cooperativeGestures: true, locale: asked.locale, maxZoom: 21,
        bounds: (collection && boundsOf(collection)) ?? [[asked.bounds[0], asked.bounds[1]], [asked.bounds[2], asked.bounds[3]]],
        fitBoundsOptions: { padding: 36, maxZoom: 18 }, maxPitch: 0, dragRotate: false,
      });
    } catch {
      return say(box, asked.texts.webgl);
    }
    box.citytwin = map;
    map.addControl(new maplibregl.NavigationControl({ showCompass: false }));
    map.addControl(new maplibregl.ScaleControl());
    await new Promise((done) => { map.once("style.load", done); });
    const first = map.getStyle().layers[1]?.id;
    (asked.images ?? []).forEach((each, index) => {
      map.addSource(`image-${index}`, { type: "raster", tiles: [each.tiles], tileSize: 256, minzoom: each.minzoom, maxzoom: each.maxzoom, bounds: each.bounds });
      map.addLayer({ id: `image-${index}`, type: "raster", source: `image-${index}`, layout: { visibility: "none" } }, first);
    });
    if (!asked.raster) {
      map.addSource("veil", { type: "geojson", data: { type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [[[-180, -85], [180, -85], [180, 85], [-180, 85], [-180, -85]]] } } });
      map.addLayer({ id: "veil", type: "fill", source: "veil", paint: { "fill-color": "#ffffff", "fill-opacity": collection || asked.layer ? 0.45 : 0 } });
    }
    if (asked.raster) {
      const { tiles, minzoom, maxzoom, bounds } = asked.raster;
      map.addSource("raster", { type: "raster", tiles: [tiles], tileSize: 256, minzoom, maxzoom, bounds });
      map.addLayer({ id: "raster", type: "raster", source: "raster" });
    }
    if (asked.layer) for (const each of OVERLAY("city", asked.layer)) map.addLayer({ ...each, id: `layer-${each.id}` });
    if (asked.outline) {
      map.addSource("outline", { type: "geojson", data: rectangle(asked.outline) });
      map.addLayer({ id: "outline", type: "line", source: "outline", paint: { "line-color": ACCENT, "line-width": 2, "line-dasharray": [3, 2] } });
    }
    if (collection) {
      map.addSource("shown", { type: "geojson", data: collection });
      for (const each of OVERLAY("shown")) map.addLayer(each);
      linkRows(map, collection, asked);
    }
    const drawn = [...style.layers.map((each) => each.id).filter((id) => id !== "background"), "veil"];
    baseSwitch(box, map, asked.images ?? [], drawn, asked.texts);
    map.once("idle", () => { box.dataset.ready = "true"; });
  }

  /** A map in a box; whatever goes wrong is said there. */
  function open(box, asked) {
    box.citytwin?.remove();
    start(box, asked).catch((error) => {
      say(box, asked.texts.failed);
      box.dataset.ready = "failed";
      console.warn(error);
    });
  }

  window.citytwinMap = open;
  for (const box of document.querySelectorAll("[data-map]")) open(box, JSON.parse(box.dataset.map));
})();
