// Style and script of the report page, as text that goes into it unchanged.
#pragma once

namespace hone::optimize {

inline constexpr const char* kReportStyle = R"css(
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #1d2126; --soft: #5c6670; --line: #dfdcd4;
  --accent: #0b6e6e; --chosen: #c2410c; --dot: #8b949e; --good: #e7f3f1; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1c2024; --ink: #e7e5df; --soft: #9aa4ae;
  --line: #343a40; --accent: #5cc4bd; --chosen: #fb923c; --dot: #79828b; --good: #17302f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 40px 20px 80px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 44px 0 12px; }
p { margin: 8px 0; } .soft, .legend, caption { color: var(--soft); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 24px 0 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 1.45rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--accent); }
th[aria-sort=ascending] button::after { content: " \2191"; } th[aria-sort=descending] button::after { content: " \2193"; }
code, pre { font: .86rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; overflow-x: auto; }
details summary { cursor: pointer; color: var(--accent); margin: 8px 0; }
svg { width: 100%; height: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; } svg .label { fill: var(--chosen); font-weight: 650; font-size: 13px;
  paint-order: stroke; stroke: var(--card); stroke-width: 5px; }
svg .grid { stroke: var(--line); } svg .front-line { fill: none; stroke: var(--accent); stroke-width: 2; }
svg .dot { fill: var(--dot); } svg .front .dot { fill: var(--accent); } svg .chosen .dot { fill: var(--chosen); }
svg .ring { fill: none; stroke: var(--chosen); stroke-width: 2; } svg .hit { fill: transparent; }
svg g:hover .dot, svg g:focus .dot { stroke: var(--ink); stroke-width: 2; } svg g:focus { outline: none; }
.key { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin: 0 6px 0 12px; background: var(--dot); }
.key:first-child { margin-left: 0; } .key.front { background: var(--accent); } .key.chosen { background: var(--chosen); }
.bar { display: flex; height: 22px; border-radius: 6px; overflow: hidden; margin: 0 0 10px; }
.bar i { display: block; background: var(--accent); border-right: 1px solid var(--card); }
)css";

// Click on a column's head sorts the table by it; a second click turns the order round. Cells may carry
// the number behind their text in data-v.
inline constexpr const char* kReportScript = R"js(
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    const key = row => { const c = row.cells[column]; return c.dataset.v === undefined ? c.textContent : Number(c.dataset.v); };
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = key(a), y = key(b);
      return typeof x === 'number' ? x - y : x.localeCompare(y, 'en', {numeric: true});
    });
    if (down) rows.reverse();
    table.tBodies[0].append(...rows);
    heads.forEach(h => h.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  }));
}
)js";

}  // namespace hone::optimize
