"""Latency charts as SVG for light and dark pages: one band per client, one dot per call, time from left to right."""

from __future__ import annotations

import math
from typing import Any

WIDTH, BAND, LEFT, TOP = 720, 96, 150, 10
LEAST_S, MOST_S = 0.001, 10.0
STYLE = (
    "<style>text{fill:#555}.dot{fill:#d9581c}.line{stroke:#8884}"
    "@media(prefers-color-scheme:dark){text{fill:#bbb}.dot{fill:#ff9b63}}</style>"
)


def chart(figures: dict[str, Any], says: dict[str, str]) -> str:
    """Render the chart of a scenario.

    Args:
        figures: The results of each client, by its name; `timeline` has the due time and latency of calls, in seconds.
        says: The title of each client, by its name.
    """
    height = TOP + BAND * len(figures) + 30
    end_s = max((due for row in figures.values() for due, _ in row["timeline"]), default=1.0)
    box = f'viewBox="0 0 {WIDTH} {height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12">', STYLE]
    for at, (name, row) in enumerate(figures.items()):
        top = TOP + BAND * at
        parts.append(f'<text x="0" y="{top + 20}" font-weight="bold">{says[name]}</text>')
        parts.append(f'<text x="0" y="{top + 38}">{row["lost"]} of {row["calls"]} lost</text>')
        for tick_s, label in ((0.01, "10 ms"), (0.1, "100 ms"), (1.0, "1 s")):
            y = _y(top, tick_s)
            parts.append(f'<line class="line" x1="{LEFT}" x2="{WIDTH}" y1="{y}" y2="{y}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end" font-size="9">{label}</text>')
        scale = (WIDTH - LEFT - 6) / end_s
        dots = "".join(f"M{LEFT + due * scale:.1f} {_y(top, took)}h1.4v1.4h-1.4z" for due, took in row["timeline"])
        parts.append(f'<path class="dot" fill-opacity=".7" d="{dots}"/>')
    for second in range(0, math.ceil(end_s) + 1, 2):
        x = LEFT + (WIDTH - LEFT - 6) * second / end_s
        if x <= WIDTH:
            parts.append(f'<text x="{x:.0f}" y="{height - 8}" text-anchor="middle">{second} s</text>')
    return "".join([*parts, "</svg>"])


def _y(top: float, took_s: float) -> float:
    share = math.log(max(took_s, LEAST_S) / LEAST_S) / math.log(MOST_S / LEAST_S)
    return round(top + BAND - 12 - (BAND - 18) * min(share, 1.0), 1)
