"""Charts as inline SVG, with labels in HTML.

The drawing is stretched to the width of the page (`preserveAspectRatio="none"`), so that it fits a telephone as well as
a large screen. The labels are HTML on top of the drawing, because stretched text would be hard to read.
"""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SIZE = 1000
"""Width and height of a drawing in SVG units; the page scales the drawing."""
_MARK_HEIGHT = 25
_LOG_FROM = 20
"""From this ratio of the greatest to the smallest value on, a scale is logarithmic."""
_MOST_TICKS = 5
_FEW_DECADES = 3
_MICROSECOND_MS = 0.001


@frozen
class Scale:
    """A scale of milliseconds, from the bottom (0) to the top (1) of a chart.

    Attributes:
        low: The value at the bottom.
        high: The value at the top.
        is_log: Whether the scale is logarithmic.
    """

    low: float
    high: float
    is_log: bool

    @classmethod
    def of(cls, values: Iterable[float]) -> Scale:
        """Return a scale for values: linear from 0 if they are of similar size, logarithmic otherwise."""
        found = [max(value, _MICROSECOND_MS) for value in values] or [1.0]
        low, high = min(found), max(found)
        if high / low >= _LOG_FROM:
            return cls(10.0 ** floor(log10(low)), 10.0 ** ceil(log10(high)), is_log=True)
        return cls(0.0, round_values(high)[-1], is_log=False)

    def place(self, value: float) -> float:
        """Return the position of a value, from 0 (bottom) to 1 (top)."""
        if not self.is_log:
            return value / self.high
        return (log10(max(value, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))

    def ticks(self) -> list[float]:
        """Return the values for the labels of the scale."""
        if not self.is_log:
            return round_values(self.high)
        first, last = round(log10(self.low)), round(log10(self.high))
        steps = (1.0,) if last - first > _FEW_DECADES else (1.0, 3.0)
        found = [step * 10.0**power for power in range(first, last) for step in steps]
        return [*found, 10.0**last]


@frozen
class Line:
    """A line of a chart.

    Attributes:
        name: The name in the legend.
        style: The CSS class, which determines the colour.
        points: Pairs of x, from 0 to 1, and y in milliseconds; `None` for a gap.
    """

    name: str
    style: str
    points: Sequence[tuple[float, float | None]]


def line_chart(
    title: str,
    lines: Sequence[Line],
    x_labels: Sequence[tuple[float, str]],
    hovers: Sequence[tuple[float, float, str]] = (),
    marks: Sequence[tuple[float, float]] = (),
) -> str:
    """Return a chart of lines.

    Args:
        title: The heading, which screen readers also use as the description.
        lines: The lines.
        x_labels: Pairs of x, from 0 to 1, and the text below it.
        hovers: Tuples of the start and the end of a part of the width, from 0 to 1, and the text that is shown when the
            pointer is over this part.
        marks: Pairs of the start and the end of a part of the width, from 0 to 1, that is marked at the bottom because
            calls failed in it.
    """
    scale = Scale.of(y for line in lines for _, y in line.points if y is not None)
    ticks = scale.ticks()
    grid = "".join(
        f'<line class="grid" x1="0" x2="{_SIZE}" y1="{_y(scale, tick)}" y2="{_y(scale, tick)}"/>' for tick in ticks
    )
    drawn = "".join(_polylines(line, scale) for line in lines)
    failed = "".join(_column("failed", begin, end, _MARK_HEIGHT) + "</rect>" for begin, end in marks)
    areas = "".join(
        f"{_column('hover', begin, end, _SIZE)}<title>{escape(text)}</title></rect>" for begin, end, text in hovers
    )
    y_texts = "".join(
        f'<span class="y" style="bottom:{scale.place(tick) * 100:.2f}%">{milliseconds(tick)}</span>' for tick in ticks
    )
    x_texts = "".join(f'<span class="x" style="left:{x * 100:.2f}%">{escape(text)}</span>' for x, text in x_labels)
    legend = "".join(f'<span class="key {line.style}">{escape(line.name)}</span>' for line in lines)
    if marks:
        legend += '<span class="key failed">calls failed</span>'
    note = ' <span class="quiet">logarithmic scale</span>' if scale.is_log else ""
    return (
        f'<figure class="drawn"><figcaption>{escape(title)}{note}<span class="legend">{legend}</span></figcaption>'
        f'<div class="chart"><svg viewBox="0 0 {_SIZE} {_SIZE}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(title)}">{grid}{failed}{drawn}{areas}</svg>{y_texts}{x_texts}</div></figure>'
    )


def bar(value: float, inner: float, most: float) -> str:
    """Return the SVG of two bars in a cell of a table, one in front of the other.

    Args:
        value: The length of the bar in the background, which has the colour of the 99th percentile.
        inner: The length of the bar in the foreground, which has the colour of the median.
        most: The length of a bar that fills its cell.
    """
    outer_width, inner_width = (_SIZE * number / most if most else 0.0 for number in (value, inner))
    return (
        f'<svg class="bar" viewBox="0 0 {_SIZE} 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="p99" width="{outer_width:.1f}" height="10"/>'
        f'<rect class="p50" width="{inner_width:.1f}" height="10"/></svg>'
    )


def milliseconds(value: float) -> str:
    """Return a time in milliseconds as text with a unit."""
    if value >= 1000:  # noqa: PLR2004  a second
        return f"{value / 1000:g} s"
    if value >= 1 or value == 0:
        return f"{value:g} ms"
    return f"{value * 1000:g} µs"


def _column(style: str, begin: float, end: float, height: int) -> str:
    """Return the start tag of a rectangle at the bottom of a chart."""
    x, width = f"{begin * _SIZE:.1f}", f"{(end - begin) * _SIZE:.1f}"
    return f'<rect class="{style}" x="{x}" y="{_SIZE - height}" width="{width}" height="{height}">'


def _y(scale: Scale, value: float) -> str:
    return f"{(1 - scale.place(value)) * _SIZE:.1f}"


def _polylines(line: Line, scale: Scale) -> str:
    """Return the SVG of a line, which is interrupted at gaps; a single point between gaps is drawn as a short dash."""
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in line.points:
        if y is not None:
            parts[-1].append((x, y))
        elif parts[-1]:
            parts.append([])
    drawn = []
    for part in filter(None, parts):
        points = part if len(part) > 1 else [part[0], (part[0][0] + 0.004, part[0][1])]
        text = " ".join(f"{x * _SIZE:.1f},{_y(scale, y)}" for x, y in points)
        drawn.append(f'<polyline class="{line.style}" points="{text}"/>')
    return "".join(drawn)


def round_values(high: float) -> list[float]:
    """Return about five round values at equal distances, from 0 to a value ≥ `high`."""
    rough = high / (_MOST_TICKS - 1)
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * number for number in range(ceil(high / step - 1e-9) + 1)]
