// What the server tells the viewer: one document, `config.json` beside the page.

export interface Bilingual {
  zh: string;
  en: string;
}

export interface ImageryConfig {
  id: string;
  title: Bilingual;
  epoch?: string;
  url: string;
  minzoom: number;
  maxzoom: number;
  extent: [number, number, number, number];
}

export interface Layer3dConfig {
  id: string;
  title: Bilingual;
  tileset: string;
  /** Absent where the tiles' features are none of the city's: an adopted set is looked at, not asked. */
  items?: string;
  count?: number;
  color?: string;
  category?: string | Bilingual;
  on?: boolean;
  /** A point cloud: drawn with points as large as their distance from one another. */
  points?: boolean;
}

export interface Layer2dConfig {
  id: string;
  title: Bilingual;
  items?: string;
  tilejson?: string;
  geometry?: string;
  category?: string | Bilingual;
  color?: string;
  count?: number;
}

export interface FindingsConfig {
  id: string;
  title: Bilingual;
  items: string;
  count: number;
  verdicts: Record<string, Bilingual & { color: string }>;
  statuses: Record<string, Bilingual>;
}

/** What can be supervised, and where findings are. */
export interface SupervisionConfig {
  processes: { id: string; title: Bilingual; execution: string }[];
  findings: FindingsConfig;
  /** Layer of the sites that one may choose from; null where the city has none. */
  sites: { id: string; items: string } | null;
}

export interface ViewerConfig {
  title: Bilingual;
  crs: string;
  /** Titles of the categories that layers name. */
  categories?: Record<string, Bilingual>;
  /** `undulation_m`, if given, turns the ellipsoidal heights of the terrain into heights above the geoid. */
  origin: { lon: number; lat: number; height_m: number; undulation_m?: number | null };
  /** Datum of the heights that the city keeps. */
  vertical_crs?: string;
  /** West, south, east, north in degrees. */
  extent: [number, number, number, number];
  terrain?: string;
  imagery: ImageryConfig[];
  layers3d: Layer3dConfig[];
  layers2d: Layer2dConfig[];
  supervision?: SupervisionConfig;
}

/** The city's root: the folder above the one this page is in. Holds below any path prefix. */
export const SITE = new URL("..", document.baseURI).href;

/** Turn a root-relative address of the server into an absolute one; `{z}` and the like stay as they are. */
export function resolve(address: string): string {
  if (/^[a-z][a-z0-9+.-]*:/i.test(address)) return address;
  return SITE + address.replace(/^\/+/, "");
}

export class ServerProblem extends Error {
  constructor(
    readonly address: string,
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

/** Fetch JSON. Throws `ServerProblem` with the server's own words (RFC 9457 `detail`) where it gives any. */
export async function getJson(address: string, language?: string): Promise<unknown> {
  const accept = "application/geo+json, application/schema+json, application/json;q=0.9";
  const headers: Record<string, string> = { Accept: accept };
  if (language) headers["Accept-Language"] = language;
  let response: Response;
  try {
    response = await fetch(address, { headers });
  } catch (error) {
    throw new ServerProblem(address, 0, error instanceof Error ? error.message : String(error));
  }
  if (!response.ok) throw new ServerProblem(address, response.status, await detailOf(response));
  try {
    return (await response.json()) as unknown;
  } catch {
    throw new ServerProblem(address, response.status, "The answer is not JSON.");
  }
}

/** The server's own words for what went wrong. */
export async function detailOf(response: Response): Promise<string> {
  try {
    const body = (await response.json()) as Record<string, unknown>;
    for (const key of ["detail", "description", "title"]) if (typeof body[key] === "string") return body[key];
  } catch {
    // no JSON: the status line has to do
  }
  return response.statusText;
}

/** Read `config.json` and check what the viewer cannot do without. */
export async function loadConfig(): Promise<ViewerConfig> {
  const address = new URL("config.json", document.baseURI).href;
  const config = (await getJson(address)) as Partial<ViewerConfig> | null;
  const wrong = (what: string): never => {
    throw new ServerProblem(address, 200, what);
  };
  if (typeof config !== "object" || config === null) return wrong("It is not an object.");
  const { extent, title, origin } = config;
  if (!Array.isArray(extent) || extent.length !== 4 || !extent.every(Number.isFinite)) {
    return wrong("`extent` must be [west, south, east, north] in degrees.");
  }
  if (!title) return wrong("`title` is missing.");
  if (!origin || !Number.isFinite(origin.lon) || !Number.isFinite(origin.lat)) return wrong("`origin` is missing.");
  return {
    ...config,
    title,
    origin,
    extent,
    crs: config.crs ?? "",
    imagery: config.imagery ?? [],
    layers3d: config.layers3d ?? [],
    layers2d: config.layers2d ?? [],
  };
}
