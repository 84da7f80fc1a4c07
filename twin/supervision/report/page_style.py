"""The style of the page: for wide screens, for phones (rows become cards), for paper."""

STYLE = """
:root { --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --paper: #fff; --band: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  "Noto Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Micro Hei", sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.7em; line-height: 1.2; margin: .3em 0; }
h2 { font-size: 1.3em; margin: 1.8em 0 .5em; border-bottom: 2px solid var(--line); padding-bottom: .2em; }
h3 { font-size: 1.05em; margin: 1.4em 0 .4em; }
p.facts, p.note { color: var(--soft); margin: .2em 0; }
.counts { display: flex; flex-wrap: wrap; gap: 8px; margin: .8em 0; padding: 0; list-style: none; }
.counts li { border-left: 5px solid var(--c); background: var(--band); padding: 6px 14px; min-width: 6.5em; }
.counts b { display: block; font-size: 1.5em; line-height: 1.2; color: var(--c); }
table { width: 100%; border-collapse: collapse; font-size: .93em; }
th, td { text-align: left; vertical-align: top; padding: 5px 8px; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { background: var(--band); font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td small { color: var(--soft); display: block; }
.tag { display: inline-block; color: #fff; background: var(--c); border-radius: 3px; padding: 0 7px; font-size: .9em;
  white-space: nowrap; }
figure { margin: .8em 0; }
figure svg { width: 100%; height: auto; display: block; border: 1px solid var(--line); }
svg text { font-family: inherit; }
.bar { display: block; width: 160px; height: 14px; }
@media (max-width: 720px) {
  main { padding: 10px; }
  table.rows thead { display: none; }
  table.rows tr { display: block; border-bottom: 2px solid var(--line); padding: 6px 0; }
  table.rows td { display: flex; gap: 10px; border: 0; padding: 2px 0; text-align: left; white-space: normal; }
  table.rows td > div { flex: 1; min-width: 0; }
  table.rows td::before { content: attr(data-label); flex: 0 0 6.5em; color: var(--soft); }
  table.rows td:empty { display: none; }
}
@media print {
  main { max-width: none; padding: 0; }
  body { font-size: 10pt; }
  h2 { break-before: page; }
  h2.first { break-before: auto; }
  tr, figure { break-inside: avoid; }
  thead { display: table-header-group; }
  .tag, th, .counts li { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
