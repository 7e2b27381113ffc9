"""A picture of a table: bars in an SVG of its own colours, which reads on white as on black."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 44, 40
_GAP = 0.3
"""Of the room of a group, between it and the next."""

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .line { stroke: #d0d7de; } .base { stroke: #57606a; }
  .a { fill: #0969da; } .b { fill: #8c959f; } .c { fill: #bf8700; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .line { stroke: #30363d; } .base { stroke: #8b949e; }
    .a { fill: #4493f8; } .b { fill: #7d8590; } .c { fill: #d29922; }
  }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """``series`` has a value for each of ``groups``, by its name; at most three of them."""

    title: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[float]]

    def svg(self) -> str:
        high, step = _scale(max(value for values in self.series.values() for value in values))
        parts = [f'<text x="{_LEFT}" y="22">{escape(self.title)}</text>']
        for n in range(round(high / step) + 1):
            y = self._y(n * step, high)
            parts.append(
                f'<line class="{"line" if n else "base"}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>'
            )
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{n * step:,.0f}</text>')
        room = (_WIDTH - _LEFT - _RIGHT) / len(self.groups)
        wide = room * (1 - _GAP) / len(self.series)
        for n, group in enumerate(self.groups):
            middle = _LEFT + room * (n + 0.5)
            parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 16}" text-anchor="middle">{escape(group)}</text>')
            for k, values in enumerate(self.series.values()):
                x = middle - wide * len(self.series) / 2 + wide * k
                parts.append(self._bar(x, wide, values[n], high, "abc"[k]))
        parts += self._legend()
        inside = "\n".join(parts)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        return f"{head}\n<title>{escape(self.title)}</title>\n<style>{_STYLE}</style>\n{inside}\n</svg>\n"

    def _bar(self, x: float, wide: float, value: float, high: float, kind: str) -> str:
        y = self._y(value, high)
        high_px = f"{_HEIGHT - _BOTTOM - y:.1f}"
        bar = f'<rect class="{kind}" x="{x + 1:.1f}" y="{y}" width="{wide - 2:.1f}" height="{high_px}"/>'
        return f'{bar}<text x="{x + wide / 2:.1f}" y="{y - 4:.1f}" text-anchor="middle">{value:,.0f}</text>'

    def _legend(self) -> list[str]:
        parts, x = [], _WIDTH - _RIGHT - sum(40 + 7 * len(name) for name in self.series)
        for k, name in enumerate(self.series):
            parts.append(f'<rect class="{"abc"[k]}" x="{x}" y="11" width="12" height="12"/>')
            parts.append(f'<text x="{x + 18}" y="22">{escape(name)}</text>')
            x += 40 + 7 * len(name)
        return parts

    @staticmethod
    def _y(value: float, high: float) -> float:
        return round(_TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - value / high), 1)


def _scale(most: float) -> tuple[float, float]:
    """Return where the scale ends, and the step of its lines: 1, 2 or 5 with zeros, some five of them."""
    step = 10.0 ** len(str(int(most)))
    for smaller in (2, 2.5, 2) * 8:
        if most / step >= 3:
            break
        step /= smaller
    return step * -(-most * 1.05 // step), step
