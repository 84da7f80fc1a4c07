// What a finding is to the viewer, and where findings come from: the layer that keeps them, or the answer of a run.
import { getJson, resolve, ServerProblem, SITE, type Bilingual, type FindingsConfig } from "./config";
import type { Bounds } from "./details";

/** GeoJSON, as far as the viewer looks into it. */
export interface Geometry {
  type: string;
  coordinates?: unknown;
  geometries?: Geometry[];
}

export interface Feature {
  id?: string | number;
  properties?: Record<string, unknown> | null;
  geometry?: Geometry | null;
}

/** A finding, whether kept in the layer or told by a run. */
export interface Finding {
  id: string;
  /** Longitude and latitude of its mark; nothing for one that has no place. */
  at: [lon: number, lat: number] | undefined;
  verdict: string;
  title: Bilingual | string;
  rule: string;
  check: string;
  measured: number | undefined;
  limit: number | undefined;
  unit: string;
  objects: string[];
  clause: string;
  source: string;
  confidence: string;
  note: Bilingual | string;
  evidence: string;
  time: string;
  /** Of one that is kept: its status, who set it, when, and when it was found first. */
  status: string;
  statusBy: string;
  statusAt: string;
  firstSeen: string;
  /** The whole of it. */
  shape: Geometry | undefined;
}

/** The worst findings of a box, and how many there are in all. */
export interface Page {
  matched: number;
  found: Finding[];
}

export interface Source {
  page(box: Bounds, limit: number, offset?: number): Promise<Page>;
}

export const WORST_FIRST = ["fail", "review", "unknown", "pass"];
/** Answers leave out everything that no mark and no list shows. */
const LISTED = "verdict,status,name,name_en,rule,check,measured,limit_value,unit,objects";

/** The layer `finding`, read box by box. */
export class KeptFindings implements Source {
  closedToo = false;
  /** Set once a run has kept findings: before, a city may have no such layer, and asking would be an error. */
  exists: boolean;

  constructor(private readonly config: FindingsConfig) {
    this.exists = config.count > 0;
  }

  async page(box: Bounds, limit: number, offset = 0): Promise<Page> {
    if (!this.exists) return { matched: 0, found: [] };
    const query = new URLSearchParams({
      bbox: box.map((value) => value.toFixed(12)).join(","),
      limit: `${limit}`,
      sortby: "verdict", // fail, review, unknown: the worst first
      properties: LISTED,
    });
    if (offset) query.set("offset", `${offset}`);
    if (!this.closedToo) query.set("filter", "status <> 'closed'");
    try {
      const page = (await getJson(`${resolve(this.config.items)}?${query}`)) as { features: Feature[]; numberMatched?: number };
      return { matched: page.numberMatched ?? page.features.length, found: page.features.map(ofItem) };
    } catch (error) {
      if (error instanceof ServerProblem && error.status === 404) return { matched: 0, found: [] };
      throw error;
    }
  }
}

/** The findings of an answer, which came worst first. What passes is no finding. */
export class RunFindings implements Source {
  readonly all: Finding[];

  constructor(features: Feature[]) {
    this.all = features.map(ofRow).filter(({ verdict }) => verdict !== "pass");
    this.all.sort((a, b) => rank(a) - rank(b));
  }

  page([west, south, east, north]: Bounds, limit: number, offset = 0): Promise<Page> {
    const inside = this.all.filter(({ at }) => at && at[0] >= west && at[0] <= east && at[1] >= south && at[1] <= north);
    return Promise.resolve({ matched: inside.length, found: inside.slice(offset, offset + limit) });
  }

  get(id: string): Finding | undefined {
    return this.all.find((one) => one.id === id);
  }
}

function rank({ verdict }: Finding): number {
  const at = WORST_FIRST.indexOf(verdict);
  return at < 0 ? WORST_FIRST.length : at;
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number | undefined => (typeof value === "number" && Number.isFinite(value) ? value : undefined);

/** A feature of the layer. */
export function ofItem({ id, properties, geometry }: Feature): Finding {
  const given = properties ?? {};
  const zh = text(given["name"]);
  const en = text(given["name_en"]);
  return {
    id: String(id),
    at: middle(geometry ?? undefined),
    verdict: text(given["verdict"]),
    title: { zh: zh || en, en: en || zh },
    rule: text(given["rule"]),
    check: text(given["check"]),
    measured: number(given["measured"]),
    limit: number(given["limit_value"]),
    unit: text(given["unit"]),
    objects: texts(given["objects"]),
    clause: text(given["clause"]),
    source: text(given["rule_source"]),
    confidence: text(given["confidence"]),
    note: bothLanguages(text(given["note"])),
    evidence: text(given["evidence"]),
    time: text(given["measured_at"]),
    status: text(given["status"]),
    statusBy: text(given["status_by"]),
    statusAt: text(given["status_at"]),
    firstSeen: text(given["first_seen"]),
    shape: (parsed(given["shape"]) as Geometry | undefined) ?? geometry ?? undefined,
  };
}

/** A feature of a run's answer. */
function ofRow({ id, properties, geometry }: Feature): Finding {
  const given = properties ?? {};
  return {
    id: String(id),
    at: middle(geometry ?? undefined),
    verdict: text(given["verdict"]),
    title: bilingual(given["title"]),
    rule: text(given["rule_id"]),
    check: text(given["check"]),
    measured: number(given["measured"]),
    limit: number(given["limit"]),
    unit: text(given["unit"]),
    objects: texts(given["objects"]),
    clause: text(given["clause"]),
    source: text(given["source"]),
    confidence: text(given["confidence"]),
    note: bilingual(given["note"]),
    evidence: text(given["evidence"]),
    time: text(given["time"]),
    status: "",
    statusBy: "",
    statusAt: "",
    firstSeen: "",
    shape: geometry ?? undefined,
  };
}

function bilingual(value: unknown): Bilingual | string {
  const both = value as Partial<Bilingual> | null;
  return typeof both === "object" && both !== null ? { zh: both.zh ?? both.en ?? "", en: both.en ?? both.zh ?? "" } : text(value);
}

/** A note of a run is kept as `中文 / English`; one that a person wrote is taken as it is. */
function bothLanguages(note: string): Bilingual | string {
  const cut = note.indexOf(" / ");
  if (cut < 0) return note;
  const [zh, en] = [note.slice(0, cut), note.slice(cut + 3)];
  return /[\u4e00-\u9fff]/.test(zh) && !/[\u4e00-\u9fff]/.test(en) ? { zh, en } : note;
}

function texts(value: unknown): string[] {
  const list = parsed(value);
  return Array.isArray(list) ? list.filter((one) => typeof one === "string") : [];
}

function parsed(value: unknown): unknown {
  if (typeof value !== "string") return value ?? undefined;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return undefined;
  }
}

/** West, south, east, north of a GeoJSON geometry; nothing for none, and for an empty one. */
export function boundsOf(geometry: Geometry | null | undefined): Bounds | undefined {
  const bounds: Bounds = [Infinity, Infinity, -Infinity, -Infinity];
  const visit = (part: unknown): void => {
    if (!Array.isArray(part)) return;
    const [lon, lat] = part as unknown[];
    if (typeof lon === "number" && typeof lat === "number") {
      bounds[0] = Math.min(bounds[0], lon);
      bounds[1] = Math.min(bounds[1], lat);
      bounds[2] = Math.max(bounds[2], lon);
      bounds[3] = Math.max(bounds[3], lat);
    } else {
      part.forEach(visit);
    }
  };
  visit(geometry?.coordinates);
  geometry?.geometries?.forEach((one) => visit(one.coordinates));
  return bounds.every(Number.isFinite) ? bounds : undefined;
}

/** The point itself; of anything larger the middle of its box. */
function middle(geometry: Geometry | undefined): [number, number] | undefined {
  const box = boundsOf(geometry);
  return box && [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
}

/** Address of an object's item, `layer/id`; nothing for what is none (a run over the whole city). */
export function itemOf(object: string): string | undefined {
  const [, layer, id] = /^([^/]+)\/(.+)$/.exec(object) ?? [];
  if (layer === undefined || id === undefined) return undefined;
  return `${SITE}collections/${encodeURIComponent(layer)}/items/${encodeURIComponent(id)}`;
}

/** Address of evidence: of this server, or of another one by http; anything else is only shown. */
export function evidenceOf(evidence: string): string | undefined {
  if (/^https?:\/\//i.test(evidence)) return evidence;
  return /^\/(?!\/)/.test(evidence) ? resolve(evidence) : undefined;
}
