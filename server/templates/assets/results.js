// Results of an analysis as tables that people can read, and as one collection of features for the map.
"use strict";
(() => {
  const MOST_ROWS = 200;
  const FIRST = ["verdict", "title", "name", "rule_id", "measured", "limit", "unit", "objects", "note", "clause", "source", "confidence"];
  const VERDICTS = ["fail", "review", "unknown", "pass"];

  function make(tag, ...content) {
    const node = document.createElement(tag);
    node.append(...content.filter((each) => each !== undefined));
    return node;
  }

  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const isRows = (value) => Array.isArray(value) && value.length > 0 && value.every(isObject);
  const isGeometry = (value) => isObject(value) && typeof value.type === "string" && (Array.isArray(value.coordinates) || Array.isArray(value.geometries));

  /** Whatever GeoJSON a value is, as features; nothing for what is none. */
  function featuresOf(value) {
    if (!isObject(value)) return undefined;
    if (value.type === "FeatureCollection" && Array.isArray(value.features)) return value.features;
    if (value.type === "Feature") return [value];
    return isGeometry(value) ? [{ type: "Feature", properties: {}, geometry: value }] : undefined;
  }

  /** @param asked words, root, lang, titles of the outputs, and whether the analysis can keep a raster as a layer */
  window.citytwinResults = (document_, asked) => {
    const { words, root, lang } = asked;
    const found = [];
    const tables = [];
    const title = (name) => words[name] ?? name;

    function link(href, text, type) {
      const node = make("a", text);
      node.href = href;
      if (type) node.type = type;
      return node;
    }

    /** `layer/id` as a link to its item. */
    function object(text) {
      const cut = text.indexOf("/");
      if (cut < 1 || cut === text.length - 1) return make("span", text);
      return link(`${root}/collections/${encodeURIComponent(text.slice(0, cut))}/items/${encodeURIComponent(text.slice(cut + 1))}`, text);
    }

    function number(value) {
      return value.toLocaleString(lang, { maximumSignificantDigits: 8, useGrouping: false });
    }

    function verdict(value) {
      const mark = make("span", words[`verdict:${value}`] ?? value);
      mark.className = "verdict";
      mark.dataset.verdict = value;
      return mark;
    }

    /** How many have which verdict, on one line. */
    function counts(value) {
      const known = VERDICTS.filter((each) => each in value);
      return make("span", ...known.flatMap((each) => [verdict(each), ` ${value[each]}  `]));
    }

    const areCounts = (value) => isObject(value) && Object.keys(value).length > 0 && Object.entries(value).every(([name, each]) => VERDICTS.includes(name) && Number.isInteger(each));

    /** A value for the eye. */
    function shown(name, value, depth = 0) {
      if (value === null || value === undefined || value === "") return make("span");
      if (name === "verdict" && VERDICTS.includes(value)) return verdict(value);
      if (name === "objects" && Array.isArray(value)) {
        return make("div", ...value.map((each) => make("div", object(String(each)))));
      }
      if (Array.isArray(value) && !value.length) return Object.assign(make("span", words.$none), { className: "muted" });
      if (typeof value === "boolean") return make("span", value ? "✓" : "✗");
      if (typeof value === "number") return make("span", number(value));
      if (typeof value === "string") {
        if (/^https?:\/\/\S+$/.test(value)) return link(value, value);
        if (name === "evidence" && /^\/[^/]/.test(value)) return link(root + value, value);
        return make("span", value);
      }
      if (typeof value.href === "string") return file(name, value);
      if (typeof value.zh === "string" && typeof value.en === "string") return make("span", value[lang] || value.en);
      if (Array.isArray(value) && !value.some((each) => typeof each === "object")) return make("span", value.map((each) => (typeof each === "number" ? number(each) : String(each))).join(", "));
      if (areCounts(value)) return counts(value);
      if (isRows(value) && depth < 2) return table(value, depth + 1);
      if (isObject(value) && depth < 2 && !isGeometry(value)) return facts(value, depth + 1);
      return make("code", JSON.stringify(value).slice(0, 300));
    }

    /** A file: its link, and how it becomes a layer. */
    function file(name, value) {
      const node = make("div", link(value.href, `${words.$file}: ${title(name)}`, value.type), " ");
      if (value.type) node.append(Object.assign(make("span", value.type.split(";")[0]), { className: "tag" }));
      if (asked.keeps && /tiff/.test(value.type ?? "")) node.append(Object.assign(make("p", words.$keep), { className: "muted" }));
      return node;
    }

    function facts(value, depth) {
      const rows = Object.entries(value).map(([name, each]) => {
        const head = make("th", title(name));
        head.scope = "row";
        return make("tr", head, make("td", shown(name, each, depth)));
      });
      const node = make("table", ...rows);
      node.className = "facts";
      return node;
    }

    function table(rows, depth = 0) {
      const names = [...new Set(rows.slice(0, MOST_ROWS).flatMap(Object.keys))];
      const place = (name) => (FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length);
      names.sort((a, b) => place(a) - place(b));
      const head = make("tr", ...names.map((name) => Object.assign(make("th", title(name)), { scope: "col" })));
      const body = rows.slice(0, MOST_ROWS).map((row) => make("tr", ...names.map((name) => {
        const cell = make("td", shown(name, row[name], depth));
        if (typeof row[name] === "number") cell.className = "number";
        else if (cell.textContent.length > 16) cell.className = "text";
        return cell;
      })));
      const node = make("table", make("thead", head), make("tbody", ...body));
      node.className = "data";
      const box = make("div", node);
      box.className = "wide";
      box.tabIndex = 0;
      if (rows.length <= MOST_ROWS) return box;
      const more = make("p", words.$more.replace("{}", rows.length - MOST_ROWS));
      more.className = "muted";
      return make("div", box, more);
    }

    function put(name, ...content) {
      tables.push(make("h3", asked.titles[name] ?? title(name)), ...content);
    }

    const whole = featuresOf(document_);
    const outputs = whole ? { "": document_ } : isObject(document_) ? document_ : isRows(document_) ? { "": document_ } : {};
    const plain = {};
    for (const [name, value] of Object.entries(outputs)) {
      const features = featuresOf(value);
      if (features) {
        found.push(...features);
        const rows = features.map((each) => ({ ...(each.id === undefined ? {} : { id: each.id }), ...each.properties }));
        put(name || "$features", rows.some((row) => Object.keys(row).length) ? table(rows) : make("p", words.$features.replace("{}", features.length)));
      } else if (isRows(value)) put(name, table(value));
      else if (areCounts(value)) put(name, make("p", counts(value)));
      else if (isObject(value) && !value.href && typeof value.value !== "string") put(name, facts(value, 0));
      else plain[asked.titles[name] ?? name] = value;
    }
    const isProblem = isObject(document_) && typeof document_.status === "number" && typeof document_.title === "string";
    if (isProblem) return { tables: [], features: undefined };
    if (Object.keys(plain).length) tables.unshift(facts(plain, 0));
    // the worst is drawn last, over all others
    found.sort((a, b) => VERDICTS.indexOf(b.properties?.verdict) - VERDICTS.indexOf(a.properties?.verdict));
    return { tables, features: found.length ? { type: "FeatureCollection", features: found } : undefined };
  };
})();
