// Runs an analysis from its page: the form becomes an execute request, the answer is shown as it came.
"use strict";
(() => {
  const LONGEST = 200_000;
  const POSITION = /\[\s+-?[\d.eE+-]+(?:,\s+-?[\d.eE+-]+){1,5}\s+\]/g; // coordinates stay on one line
  const form = document.querySelector("form[data-process]");
  if (!form) return;
  form.hidden = false;
  const say = form.querySelector("[data-say]");
  const bar = form.querySelector("progress");
  const result = document.querySelector("[data-result]");
  const mapBox = document.querySelector("[data-result-map]");

  const words = JSON.parse(form.dataset.words);

  /** Text in a field that is wrong: said at the field, and the run ends there. */
  function refuse(field, text) {
    field.setCustomValidity(text);
    field.reportValidity();
    for (const name of ["input", "change"]) field.addEventListener(name, () => field.setCustomValidity(""), { once: true });
    throw new Error(text);
  }

  function numbers(field, text) {
    return text.split(/[,，;；\s]+/).filter(Boolean).map((each) => (Number.isFinite(Number(each)) ? Number(each) : refuse(field, words.$number + each)));
  }

  function parsed(field, text) {
    try {
      return JSON.parse(text);
    } catch (error) {
      return refuse(field, words.$notjson + error.message);
    }
  }

  /** The value of one field; nothing for an empty one. */
  function valueOf(field) {
    const { kind } = field.dataset;
    if (kind === "some") {
      const chosen = [...field.selectedOptions].map((each) => each.value);
      return chosen.length ? chosen : undefined;
    }
    const text = field.value.trim();
    if (text === "") return undefined;
    if (kind === "text") return text;
    if (kind === "numbers" && !text.startsWith("[")) return numbers(field, text);
    if (kind === "words" && !text.startsWith("[")) return text.split(/[,，;；]/).map((each) => each.trim()).filter(Boolean);
    if (kind === "loose") {
      try {
        return JSON.parse(text);
      } catch {
        return text;
      }
    }
    return parsed(field, text);
  }

  /** Features: a layer with filter and box, or GeoJSON; a raster: a layer and one of its files. */
  function valueOfParts(one, isRequired) {
    const part = (name) => one.querySelector(`[data-part=${name}]`);
    const from = part("from")?.value ?? "layer";
    if (from === "") return undefined;
    if (from === "json") {
      const text = part("json").value.trim();
      return text === "" ? refuse(part("json"), `${words.$notjson}…`) : parsed(part("json"), text);
    }
    const collection = part("collection").value;
    if (!collection) return isRequired || part("from") ? refuse(part("collection"), words.$layer) : undefined;
    const made = { collection };
    for (const name of ["filter", "asset"]) if (part(name)?.value.trim()) made[name] = part(name).value.trim();
    if (part("bbox")?.value.trim()) {
      made.bbox = numbers(part("bbox"), part("bbox").value);
      if (made.bbox.length !== 4) refuse(part("bbox"), words.$box);
    }
    return made;
  }

  /** Only the fields of what was chosen are seen. */
  function arrange(one) {
    const from = one.querySelector("[data-part=from]");
    const now = from ? from.value : "layer";
    for (const each of one.querySelectorAll("[data-when]")) each.hidden = each.dataset.when !== now;
  }

  for (const set of form.querySelectorAll("[data-field]")) {
    set.addEventListener("change", () => set.querySelectorAll(".one").forEach(arrange));
    set.querySelectorAll(".one").forEach(arrange);
    const add = set.querySelector("[data-add]");
    add?.addEventListener("click", () => {
      const all = set.querySelectorAll(".one");
      const one = all[0].cloneNode(true);
      for (const each of one.querySelectorAll("input, textarea")) each.value = "";
      const from = one.querySelector("[data-part=from]");
      if (from) from.value = "layer";
      all[all.length - 1].after(one);
      arrange(one);
      one.querySelector("[data-part=collection]").focus();
      add.hidden = all.length + 1 >= Number(set.dataset.most);
    });
  }

  function inputsOf() {
    const inputs = {};
    for (const field of form.querySelectorAll("[data-kind]")) {
      const value = valueOf(field);
      if (value !== undefined) inputs[field.name] = value;
    }
    for (const set of form.querySelectorAll("[data-field]")) {
      const values = [...set.querySelectorAll(".one")].map((one) => valueOfParts(one, "required" in set.dataset)).filter((each) => each !== undefined);
      if (values.length) inputs[set.dataset.name] = set.dataset.most === "1" || values.length === 1 ? values[0] : values;
    }
    return inputs;
  }

  /** Files are asked for as links, the rest as it is. */
  function outputsOf() {
    const files = JSON.parse(form.dataset.files);
    if (!files.length) return {};
    const names = Object.keys(JSON.parse(form.dataset.outputs));
    return { outputs: Object.fromEntries(names.map((name) => [name, files.includes(name) ? { transmissionMode: "reference" } : {}])) };
  }

  function show(document_) {
    const text = typeof document_ === "string" ? document_ : JSON.stringify(document_, null, 2).replace(POSITION, (each) => each.replace(/\s+/g, " "));
    result.textContent = text.length > LONGEST ? `${text.slice(0, LONGEST)}\n…` : text;
    result.hidden = false;
    const box = document.querySelector("[data-tables]");
    const { tables, features } = window.citytwinResults(document_, { words, root: form.dataset.root, lang: form.dataset.lang,
      titles: JSON.parse(form.dataset.outputs), keeps: "keeps" in form.dataset });
    box.replaceChildren(...tables);
    box.hidden = tables.length === 0;
    if (mapBox) mapBox.hidden = !features;
    if (mapBox && features && window.citytwinMap) window.citytwinMap(mapBox, { ...JSON.parse(mapBox.dataset.resultMap), data: features });
  }

  async function read(answer) {
    const type = answer.headers.get("Content-Type") ?? "";
    if (type.includes("json")) return answer.json();
    if (type.startsWith("text/")) return answer.text();
    const body = await answer.blob();
    return `${type}: ${body.size} bytes`;
  }

  async function follow(address) {
    for (;;) {
      const job = await (await fetch(address, { headers: { Accept: "application/json" } })).json();
      bar.hidden = false;
      if (Number.isFinite(job.progress)) bar.value = job.progress;
      say.replaceChildren(Object.assign(document.createElement("a"), { href: address, textContent: job.jobID ?? address }), ` ${job.status} ${job.message ?? ""}`);
      if (job.status !== "accepted" && job.status !== "running") {
        bar.hidden = true;
        const wanted = job.status === "successful" ? await fetch(`${address}/results`) : undefined;
        return wanted ? read(wanted) : job;
      }
      await new Promise((done) => { setTimeout(done, 1000); });
    }
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let inputs;
    try {
      inputs = inputsOf();
    } catch {
      return;
    }
    say.className = "";
    say.textContent = say.dataset.running;
    result.hidden = true;
    delete result.dataset.ready;
    const headers = { "Content-Type": "application/json", Accept: "application/json", "Accept-Language": form.dataset.lang };
    if (event.submitter?.name === "$async") headers.Prefer = "respond-async";
    try {
      const answer = await fetch(form.dataset.process, { method: "POST", headers, body: JSON.stringify({ inputs, ...outputsOf() }) });
      const location_ = answer.headers.get("Location");
      const said = answer.status === 201 && location_ ? await follow(new URL(location_, form.dataset.process).href) : await read(answer);
      if (answer.status !== 201) say.textContent = answer.ok ? say.dataset.done : said.detail ?? said.title ?? String(answer.status);
      say.className = answer.ok ? "" : "bad";
      show(said);
    } catch (error) {
      say.className = "bad";
      say.textContent = String(error);
    }
    result.dataset.ready = "true";
  });
})();
