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

  /** The value of one field; nothing for an empty one. */
  function valueOf(field) {
    const text = field.value.trim();
    if (text === "") return undefined;
    if (field.dataset.kind === "text") return text;
    try {
      return JSON.parse(text);
    } catch (error) {
      if (field.dataset.kind === "loose") return text;
      field.setCustomValidity(String(error.message));
      field.reportValidity();
      field.addEventListener("input", () => field.setCustomValidity(""), { once: true });
      throw error;
    }
  }

  /** The first GeoJSON in an answer. */
  function geojsonIn(node, depth = 0) {
    if (!node || typeof node !== "object" || depth > 4) return undefined;
    if (node.type === "FeatureCollection" && Array.isArray(node.features)) return node;
    if (node.type === "Feature") return node;
    if (typeof node.type === "string" && Array.isArray(node.coordinates)) return { type: "Feature", properties: {}, geometry: node };
    for (const each of Object.values(node)) {
      const found = geojsonIn(each, depth + 1);
      if (found) return found;
    }
    return undefined;
  }

  function show(document_) {
    const text = typeof document_ === "string" ? document_ : JSON.stringify(document_, null, 2).replace(POSITION, (each) => each.replace(/\s+/g, " "));
    result.textContent = text.length > LONGEST ? `${text.slice(0, LONGEST)}\n…` : text;
    result.hidden = false;
    const found = geojsonIn(document_);
    if (mapBox) mapBox.hidden = !found;
    if (mapBox && found && window.citytwinMap) window.citytwinMap(mapBox, { ...JSON.parse(mapBox.dataset.resultMap), data: found });
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
    const inputs = {};
    try {
      for (const field of form.querySelectorAll("[data-kind]")) {
        const value = valueOf(field);
        if (value !== undefined) inputs[field.name] = value;
      }
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
      const answer = await fetch(form.dataset.process, { method: "POST", headers, body: JSON.stringify({ inputs }) });
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
