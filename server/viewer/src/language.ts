// The two languages of the interface. Text that is on the page follows the switch: see `Texts`.
import type { Bilingual } from "./config";

export type Language = keyof Bilingual;

const WORDS = {
  layers: { en: "3D layers", zh: "三维图层" },
  mapLayers: { en: "Map layers", zh: "二维图层" },
  imagery: { en: "Imagery", zh: "影像" },
  findLayer: { en: "Find a layer", zh: "查找图层" },
  noImagery: { en: "None", zh: "无" },
  ground: { en: "Ground", zh: "地面" },
  underground: { en: "See underground", zh: "地下透视" },
  groundOpacity: { en: "Ground opacity", zh: "地面不透明度" },
  light: { en: "Light", zh: "光照" },
  shadows: { en: "Sun and shadows", zh: "日照与阴影" },
  hour: { en: "Solar time", zh: "地方太阳时" },
  opacity: { en: "Opacity", zh: "不透明度" },
  flyTo: { en: "Fly to", zh: "飞到" },
  home: { en: "Whole city", zh: "全城视图" },
  hidePanel: { en: "Hide panel", zh: "收起面板" },
  showPanel: { en: "Show panel", zh: "展开面板" },
  otherLanguage: { en: "中文", zh: "English" },
  close: { en: "Close", zh: "关闭" },
  attributes: { en: "Attributes", zh: "属性" },
  openItem: { en: "Open this feature", zh: "打开该要素" },
  loadingItem: { en: "Loading attributes …", zh: "正在加载属性……" },
  itemFailed: { en: "The attributes could not be loaded", zh: "属性加载失败" },
  showOnly: { en: "Show only this", zh: "仅显示此项" },
  showAll: { en: "Show all", zh: "显示全部" },
  yes: { en: "yes", zh: "是" },
  no: { en: "no", zh: "否" },
  noValue: { en: "no value", zh: "空" },
  loading: { en: "Loading the city", zh: "正在加载城市" },
  loaded: { en: "The city is loaded", zh: "城市加载完成" },
  layerFailed: { en: "could not be loaded", zh: "加载失败" },
  shownOf: { en: "shown of", zh: "已显示，共" },
  groundHeight: { en: "Ground", zh: "地面" },
  ellipsoidal: { en: "ellipsoidal", zh: "椭球高" },
  normal: { en: "1985 height, approx.", zh: "1985高程（近似）" },
  eye: { en: "Eye", zh: "视点" },
  canvas: {
    en: "3D view of the city. Arrow keys move, Shift with arrow keys turns, plus and minus zoom, Enter reads the feature in the middle.",
    zh: "城市三维视图。方向键平移，Shift 加方向键旋转，加减号缩放，回车读取屏幕中心的要素。",
  },
  noWebgl: { en: "This browser cannot show 3D (WebGL 2 is missing).", zh: "此浏览器无法显示三维（缺少 WebGL 2）。" },
  noWebglHint: {
    en: "Turn on hardware acceleration in the browser's settings, or use a current Chrome, Edge or Firefox.",
    zh: "请在浏览器设置中启用硬件加速，或改用新版 Chrome、Edge 或 Firefox。",
  },
  contextLost: { en: "The graphics card stopped drawing.", zh: "显卡停止绘制。" },
  contextLostHint: { en: "Load the page again; close other 3D pages first.", zh: "请先关闭其他三维页面，再重新加载。" },
  renderFailed: { en: "Drawing stopped because of an error.", zh: "绘制因错误而停止。" },
  serverFailed: { en: "The server did not describe the city.", zh: "服务器未能提供城市描述。" },
  serverFailedHint: {
    en: "Check that the server is running and look at its log, then try again.",
    zh: "请确认服务器正在运行并查看其日志，然后重试。",
  },
  terrainFailed: { en: "The terrain could not be loaded; the ground is drawn flat.", zh: "地形加载失败，地面按平面显示。" },
  imageryFailed: { en: "Some imagery could not be loaded.", zh: "部分影像加载失败。" },
  supervision: { en: "Supervision", zh: "监管" },
  showFindings: { en: "Show findings", zh: "显示监管发现" },
  showClosed: { en: "Closed ones too", zh: "包括已关闭" },
  place: { en: "Where", zh: "范围" },
  thisSite: { en: "One site", zh: "单个工地" },
  thisView: { en: "Present view", zh: "当前视野" },
  wholeCity: { en: "Whole city", zh: "全市" },
  siteName: { en: "Id of the site, or layer/id", zh: "工地编号，或 图层/编号" },
  siteHint: { en: "Click a feature to choose it.", zh: "点击要素即可选定。" },
  keepFindings: { en: "Keep the findings", zh: "保存发现" },
  run: { en: "Run", zh: "运行" },
  stop: { en: "Stop", zh: "停止" },
  running: { en: "Running", zh: "正在运行" },
  stopped: { en: "Stopped.", zh: "已停止。" },
  looked: { en: "Done: {n} cases looked at.", zh: "完成：已核对 {n} 项。" },
  nothingLooked: { en: "There was nothing here that the rules speak of.", zh: "此范围内没有规则适用的对象。" },
  keptNow: { en: "Kept: {opened} opened, {again} found again, {reopened} opened again, {closed} closed.",
             zh: "已保存：新增 {opened}，仍存在 {again}，重新打开 {reopened}，已关闭 {closed}。" },
  noSite: { en: "Name a site, or click one in the scene.", zh: "请填写工地编号，或在场景中点选。" },
  noView: { en: "The city is not in view.", zh: "当前视野内没有城市。" },
  emptyCity: { en: "The city is empty: there is nothing to look at yet.", zh: "城市为空：尚无可核对的数据。" },
  refused: { en: "The server does not allow this", zh: "服务器不允许此操作" },
  busy: { en: "The server is busy; try again in a moment", zh: "服务器繁忙，请稍后再试" },
  unreached: { en: "The server could not be reached", zh: "无法连接服务器" },
  runFailed: { en: "The supervision could not be carried out", zh: "监管未能完成" },
  rules: { en: "Rules", zh: "规则" },
  ofRun: { en: "Findings of this run", zh: "本次运行的发现" },
  inView: { en: "Findings in view", zh: "视野内的发现" },
  findingsOf: { en: "Findings here", zh: "此处的发现" },
  back: { en: "Back to the kept ones", zh: "返回已保存的发现" },
  more: { en: "More", zh: "更多" },
  noFindings: { en: "None.", zh: "无。" },
  noPlace: { en: "without a place", zh: "无位置" },
  pass: { en: "pass", zh: "通过" },
  measured: { en: "Measured", zh: "实测值" },
  notMeasured: { en: "not measured", zh: "未测得" },
  limit: { en: "Limit", zh: "限值" },
  difference: { en: "Measured − limit", zh: "实测 − 限值" },
  status: { en: "Status", zh: "状态" },
  notKept: { en: "not kept", zh: "未保存" },
  bySupervision: { en: "by the supervision", zh: "由监管设定" },
  rule: { en: "Rule", zh: "规则" },
  clause: { en: "Clause", zh: "条款" },
  source: { en: "Document", zh: "依据" },
  confidence: { en: "Confidence of the rule", zh: "规则可信度" },
  sureHigh: { en: "high", zh: "高" },
  sureMedium: { en: "medium", zh: "中" },
  sureLow: { en: "low", zh: "低" },
  note: { en: "Note", zh: "备注" },
  objects: { en: "Objects", zh: "对象" },
  showObject: { en: "Show", zh: "显示" },
  evidence: { en: "Evidence", zh: "证据" },
  measuredAt: { en: "Measured at", zh: "测量时间" },
  firstSeen: { en: "First found", zh: "首次发现" },
  retry: { en: "Try again", zh: "重试" },
} satisfies Record<string, Bilingual>;

/** The seven CIM categories of the layer catalogue; a category that is not here is shown as it is written. */
export type Word = keyof typeof WORDS;

/** `?lang=` wins, then the browser's first language; anything that is not Chinese gets English. */
export function preferredLanguage(search: string, browser: readonly string[]): Language {
  const asked = new URLSearchParams(search).get("lang") ?? browser[0] ?? "en";
  return asked.toLowerCase().startsWith("zh") ? "zh" : "en";
}

/** Every text on the page that depends on the language, so that the switch needs no reload. */
export class Texts {
  /** Titles of the categories of layers, as the server names them. */
  categories: Record<string, Bilingual> = {};
  private readonly bound = new Set<() => void>();

  constructor(public language: Language) {}

  word(word: Word): string {
    return WORDS[word][this.language];
  }

  of(title: Bilingual | string | undefined): string {
    if (title === undefined) return "";
    return typeof title === "string" ? title : title[this.language] || title.en || title.zh;
  }

  category(category: Bilingual | string | undefined): string {
    return this.of(typeof category === "string" ? (this.categories[category] ?? category) : category);
  }

  /** Run `render` now and after each change of language. */
  bind(render: () => void): void {
    this.bound.add(render);
    render();
  }

  use(language: Language): void {
    this.language = language;
    document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
    for (const render of this.bound) render();
  }
}
