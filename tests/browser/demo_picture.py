"""Write the animated picture of the demo: `python -m tests.browser.demo_picture docs/pictures/demo.svg`.

Run `python -m simulator demo`, which takes about 25 s, and draw each of its tables as a frame of an SVG. The last
frame is shown by viewers without animation, and to users who have disabled animation.
"""

from __future__ import annotations

import subprocess
import sys
from html import escape
from pathlib import Path

COMMAND = ("python", "-m", "simulator", "demo")
FRAME_S = 2.2
COLUMN, LINE, MARGIN = 8.0, 18, 16
COLOURS = {"crashed": "#ff7b72", "hung": "#e3b341", "draining": "#a99bff", "running": "#7ee787"}
STYLE = """
text { font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #c9d1d9; white-space: pre }
.prompt { fill: #8b949e } .step { fill: #ffffff; font-weight: 700 } .sum { fill: #79c0ff }
.frame { animation: shown %(total).1fs step-end infinite both }
.frame:not(.last) { visibility: hidden }
@keyframes shown { 0%% { visibility: visible } %(share).3f%% { visibility: hidden } }
@media (prefers-reduced-motion: reduce) { .frame { animation: none } }
"""
TITLE = "The demo: instances crash and hang, discovery fails, and no call is lost"


def main() -> None:
    """Run the demo, and write its picture to the path of the first argument."""
    ended = subprocess.run([sys.executable, *COMMAND[1:]], capture_output=True, text=True, check=True)  # noqa: S603
    Path(sys.argv[1]).write_text(picture(ended.stdout), "utf-8")


def picture(output: str) -> str:
    """Return the SVG for the output of a demo."""
    shown = frames(output)
    width = MARGIN * 2 + round(COLUMN * max(len(line) for lines in shown for line in lines))
    height = MARGIN * 2 + LINE * (1 + max(map(len, shown)))
    style = STYLE % {"total": FRAME_S * len(shown), "share": 100 / len(shown)}
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{TITLE}</title>",
        f"<style>{style}</style>",
        f'<rect width="{width}" height="{height}" rx="10" fill="#0d1117"/>',
        _text(0, f"$ {' '.join(COMMAND)}"),
    ]
    for number, lines in enumerate(shown):
        last = " last" if number == len(shown) - 1 else ""
        drawn.append(f'<g class="frame{last}" style="animation-delay: {FRAME_S * number:.1f}s">')
        drawn += [_text(row, line) for row, line in enumerate(lines, 1)]
        drawn.append("</g>")
    return "\n".join([*drawn, "</svg>"]) + "\n"


def frames(output: str) -> list[list[str]]:
    """Return the lines of each table, with the name of its step first; the last frame ends with the result."""
    blocks = [block.splitlines() for block in output.strip().split("\n\n")]
    found = [block for block in blocks if any(line.startswith("instance ") for line in block)]
    return [*found[:-1], [*found[-1], blocks[-1][0]]]


def _text(row: int, line: str) -> str:
    y = MARGIN + round(LINE * (row + 0.7))
    return f'<text xml:space="preserve" x="{MARGIN}" y="{y}"{_colour(line)}>{escape(line)}</text>'


def _colour(line: str) -> str:
    state = line.rpartition("  ")[2].partition(",")[0]
    if state in COLOURS:
        return f' style="fill: {COLOURS[state]}"'
    if line.startswith("calls ") or " calls, " in line:
        return ' class="sum"'
    return ' class="prompt"' if line.startswith(("$", "instance ")) else ' class="step"'


if __name__ == "__main__":
    main()
