"""The style sheet of the HTML page, for light and dark displays."""

STYLE = """
:root { color-scheme: light dark; --text: #1f2933; --quiet: #5b6770; --page: #ffffff; --panel: #f5f7f9;
  --line: #d5dbe1; --p50: #1d4ed8; --p99: #c2570c; --max: #74808b; --bad: #b42318; --note: #fdf3d8; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e8ec; --quiet: #a2adb7; --page: #14181c; --panel: #1e242a;
  --line: #37404a; --p50: #7aa7ff; --p99: #f0a35e; --max: #8d99a5; --bad: #ff8a7a; --note: #3b3212; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { margin: 0; font-size: 24px; overflow-wrap: anywhere; }
h2 { margin: 40px 0 12px; font-size: 19px; border-top: 1px solid var(--line); padding-top: 20px; }
p { margin: 4px 0 16px; }
.quiet { color: var(--quiet); font-weight: 400; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 16px 0; }
.tile { background: var(--panel); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 24px; font-variant-numeric: tabular-nums; }
.tile span { color: var(--quiet); font-size: 13px; }
.tile.bad b { color: var(--bad); }
.note { background: var(--note); border-radius: 8px; padding: 10px 14px; }
figure { margin: 30px 0 0; }
figure.drawn { padding-bottom: 26px; }
figcaption { display: flex; flex-wrap: wrap; gap: 4px 14px; font-weight: 600; margin-bottom: 8px; }
.legend { margin-left: auto; display: flex; flex-wrap: wrap; gap: 4px 14px; font-weight: 400; font-size: 13px; }
.key::before { content: ""; display: inline-block; width: 14px; height: 3px; margin-right: 6px; vertical-align: middle;
  background: var(--max); }
.key.p50::before { background: var(--p50); } .key.p99::before { background: var(--p99); }
.key.failed::before { background: var(--bad); height: 8px; }
.chart { position: relative; height: 240px; margin: 0 22px 0 58px; }
.chart svg { display: block; width: 100%; height: 100%; overflow: visible; }
.chart span { position: absolute; color: var(--quiet); font-size: 12px; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.chart .y { right: 100%; margin-right: 8px; transform: translateY(50%); }
.chart .x { top: 100%; margin-top: 6px; transform: translateX(-50%); }
.chart line, .chart polyline { fill: none; vector-effect: non-scaling-stroke; }
.grid { stroke: var(--line); stroke-width: 1; }
polyline { stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; stroke: var(--max); }
polyline.p50 { stroke: var(--p50); } polyline.p99 { stroke: var(--p99); }
polyline.max { stroke-width: 1.25; }
rect.failed { fill: var(--bad); }
rect.hover { fill: transparent; } rect.hover:hover { fill: var(--text); fill-opacity: 0.07; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 500; color: var(--quiet); font-size: 13px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th:nth-child(4):last-child, td:nth-child(4):last-child { text-align: left;
  white-space: normal; min-width: 260px; overflow-wrap: anywhere; }
.bar { display: block; width: 140px; height: 10px; }
.bar .p50 { fill: var(--p50); } .bar .p99 { fill: var(--p99); }
""".strip()
