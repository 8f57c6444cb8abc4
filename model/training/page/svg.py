"""Charts as SVG text: scales, axes, lines, bars and points. Nothing is loaded, the page stands by itself."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 520, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 26, 14, 44
TICKS = 5

Point = tuple[float, float]
Format = Callable[[float], str]


def percent(share: float) -> str:
    """Return a share as `4.95 %`, with no more digits than it needs."""
    return f"{100 * share:.3g} %"


def plain(number: float) -> str:
    """Return a number as people write it: 1 200 000 as `1.2M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.3g}"


@dataclass(frozen=True, slots=True)
class Scale:
    """Map values of one axis to pixels, evenly or by their logarithm."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value; what lies outside is drawn at the edge."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self) -> list[float]:
        """Return round values within the scale."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        step = _round_step((self.high - self.low) / TICKS)
        first = math.ceil(self.low / step - 1e-9)
        return [place * step for place in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * (1 - 1e-9))


@dataclass(slots=True)
class Chart:
    """One chart, put together part by part.

    Parameters
    ----------
    title
        Said by screen readers, and shown above the chart by the page.
    x, y
        Range of the axes, (low, high).
    """

    title: str
    x: Point
    y: Point
    x_name: str
    y_name: str
    x_format: Format = plain
    y_format: Format = plain
    x_logarithmic: bool = False
    y_logarithmic: bool = False
    height: int = HEIGHT
    _parts: list[str] = field(default_factory=list)

    @property
    def x_scale(self) -> Scale:
        """The scale from left to right."""
        return Scale(*self.x, LEFT, WIDTH - RIGHT, self.x_logarithmic)

    @property
    def y_scale(self) -> Scale:
        """The scale from bottom to top."""
        return Scale(*self.y, self.height - BOTTOM, TOP, self.y_logarithmic)

    def line(self, points: Iterable[Point], *, colour: str, dashed: bool = False) -> None:
        """Draw a line through points."""
        path = " ".join(f"{self.x_scale(x)},{self.y_scale(y)}" for x, y in points)
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self._parts.append(f'<polyline points="{path}" class="line {colour}"{dash}/>')

    def band(self, ends: Sequence[tuple[float, float, float]], *, colour: str) -> None:
        """Fill between low and high over x; each end is (x, low, high)."""
        upper = [f"{self.x_scale(x)},{self.y_scale(high)}" for x, _, high in ends]
        lower = [f"{self.x_scale(x)},{self.y_scale(low)}" for x, low, _ in reversed(ends)]
        self._parts.append(f'<polygon points="{" ".join(upper + lower)}" class="band {colour}"/>')

    def point(self, x: float, y: float, *, colour: str, words: str = "", radius: float = 4) -> None:
        """Draw one point; a pointer that rests on it shows the words."""
        at = f'cx="{self.x_scale(x)}" cy="{self.y_scale(y)}" r="{radius:g}"'
        self._parts.append(f'<circle {at} class="dot {colour}">{_hint(words)}</circle>')

    def bar(self, left: float, right: float, top: float, *, colour: str, words: str = "") -> None:
        """Draw an upright bar from the bottom of the chart."""
        x, end, y = self.x_scale(left), self.x_scale(right), self.y_scale(top)
        size = f'x="{x}" y="{y}" width="{max(end - x, 0.5):.2f}" height="{self.height - BOTTOM - y:.2f}"'
        self._parts.append(f'<rect {size} class="bar {colour}">{_hint(words)}</rect>')

    def level(self, y: float, words: str, *, colour: str = "grey") -> None:
        """Draw a level that something is held against."""
        at = self.y_scale(y)
        self._parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" class="level {colour}"/>')
        self._parts.append(f'<text x="{LEFT + 6}" y="{at - 4}" class="note start">{escape(words)}</text>')

    def upright(self, x: float, words: str, *, colour: str = "grey", row: int = 0) -> None:
        """Draw an upright level; rows keep the words of neighbours apart."""
        at = self.x_scale(x)
        side, shift = ("end", -4) if at > WIDTH / 2 else ("start", 4)
        self._parts.append(f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{self.height - BOTTOM}" class="level {colour}"/>')
        y = TOP + 11 + 14 * row
        self._parts.append(f'<text x="{at + shift}" y="{y}" class="note {side}">{escape(words)}</text>')

    def name_x(self, x: float, words: str) -> None:
        """Write a name below the axis, in the place of a number."""
        at = self.x_scale(x)
        self._parts.append(f'<text x="{at}" y="{self.height - BOTTOM + 16}" class="tick middle">{escape(words)}</text>')

    def text(self, *, numbers_x: bool = True) -> str:
        """Return the chart as an SVG element."""
        bottom = self.height - BOTTOM
        parts = [f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(self.title)}">']
        for value in self.y_scale.ticks():
            at = self.y_scale(value)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" class="grid"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" class="tick end">{escape(self.y_format(value))}</text>')
        for value in self.x_scale.ticks() if numbers_x else ():
            at, words = self.x_scale(value), escape(self.x_format(value))
            parts.append(f'<line x1="{at}" x2="{at}" y1="{TOP}" y2="{bottom}" class="grid"/>')
            parts.append(f'<text x="{at}" y="{bottom + 16}" class="tick middle">{words}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{self.height - 6}" class="axis middle">{escape(self.x_name)}</text>')
        at = (TOP + bottom) / 2
        turned = f'x="13" y="{at}" transform="rotate(-90 13 {at})"'
        parts.append(f'<text {turned} class="axis middle">{escape(self.y_name)}</text>')
        return "\n".join([*parts, *self._parts, "</svg>"])


def _hint(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""
