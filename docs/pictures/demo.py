"""Makes the moving picture of the demo: `python docs/pictures/demo.py docs/pictures/demo.svg`.

Runs `python -m simulator demo`, which takes about 25 s, and draws each of its tables as a frame of an SVG. A viewer without
animation, or whose user prefers none, shows the last frame.
"""

import subprocess
import sys
from html import escape
from pathlib import Path

COMMAND = ("python", "-m", "simulator", "demo")
FRAME_S = 2.2
COLUMN, LINE, MARGIN = 8.0, 18, 16
COLOURS = {
    "crashed": "#ff7b72",
    "hung": "#e3b341",
    "draining": "#a99bff",
    "running": "#7ee787",
}
STYLE = """
text { font: 13px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #c9d1d9; white-space: pre }
.prompt { fill: #8b949e } .step { fill: #ffffff; font-weight: 700 } .sum { fill: #79c0ff }
.frame { animation: shown %(total).1fs step-end infinite both }
.frame:not(.last) { visibility: hidden }
@keyframes shown { 0%% { visibility: visible } %(share).3f%% { visibility: hidden } }
@media (prefers-reduced-motion: reduce) { .frame { animation: none } }
"""


def frames(output):
    """Return the blocks of the demo's output that have a table, each as its lines; the last one has the result."""
    blocks = [block.splitlines() for block in output.strip().split("\n\n")]
    found = [
        block
        for block in blocks
        if any(line.startswith("instance ") for line in block)
    ]
    return [*found[:-1], [*found[-1], blocks[-1][0]]]


def colour(line):
    """Return the attribute that gives a line its colour."""
    state = line.rpartition("  ")[2].partition(",")[0]
    if state in COLOURS:
        return f' fill="{COLOURS[state]}" style="fill: {COLOURS[state]}"'
    if line.startswith("calls ") or " calls, " in line:
        return ' class="sum"'
    return (
        ' class="prompt"' if line.startswith(("$", "instance ")) else ' class="step"'
    )


def picture(output):
    """Return the SVG of a demo's output."""
    told = frames(output)
    width = MARGIN * 2 + COLUMN * max(len(line) for lines in told for line in lines)
    height = MARGIN * 2 + LINE * (1 + max(map(len, told)))
    style = STYLE % {"total": FRAME_S * len(told), "share": 100 / len(told)}
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img">',
        "<title>The demo: instances crash and hang, discovery fails, and no call is lost</title>",
        f"<style>{style}</style>",
        f'<rect width="{width:.0f}" height="{height}" rx="10" fill="#0d1117"/>',
        text(0, f"$ {' '.join(COMMAND)}"),
    ]
    for number, lines in enumerate(told):
        last = " last" if number == len(told) - 1 else ""
        drawn.append(
            f'<g class="frame{last}" style="animation-delay: {FRAME_S * number:.1f}s">'
        )
        drawn += [text(row, line) for row, line in enumerate(lines, 1)]
        drawn.append("</g>")
    return "\n".join([*drawn, "</svg>"]) + "\n"


def text(row, line):
    """Return one line of the terminal."""
    return f'<text xml:space="preserve" x="{MARGIN}" y="{MARGIN + LINE * (row + 0.7):.0f}"{colour(line)}>{escape(line)}</text>'


if __name__ == "__main__":
    ended = subprocess.run(
        [sys.executable, *COMMAND[1:]], capture_output=True, text=True, check=True
    )
    Path(sys.argv[1]).write_text(picture(ended.stdout), "utf-8")
