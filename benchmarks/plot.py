"""A picture of one case: a bar for each server from zero, with the least and the most of its rounds as a whisker."""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.report import Row
from benchmarks.servers import FLOOR, GATEWAYS, LOOP

WIDTH, BAR, GAP, LEFT, TOP, RIGHT, BOTTOM = 760, 20, 10, 150, 44, 90, 52
TICKS_N = 10  # at most: more numbers than that run into each other
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 14px }
  .soft { fill: #59636e }
  .ours { fill: #1a7f37 } .floor { fill: #818b98 } .peer { fill: #0969da }
  .line { stroke: #1f2328; stroke-width: 1.5 } .axis { stroke: #818b98 } .grid { stroke: #d1d9e0; stroke-width: 0.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .soft { fill: #9198a1 } .line { stroke: #f0f6fc } .axis { stroke: #656c76 }
    .grid { stroke: #3d444d }
    .ours { fill: #3fb950 } .peer { fill: #4493f8 }
  }"""


def draw(title: str, rows: Sequence[Row]) -> str:
    """An SVG. Raises ValueError when there is nothing to draw."""
    if not rows:
        raise ValueError("there are no rows to draw")
    ordered = sorted(rows, key=lambda row: -row.per_second[0])
    most = max(row.per_second[2] for row in ordered)
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + len(ordered) * (BAR + GAP) + BOTTOM
    foot = height - BOTTOM
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
            f'role="img" aria-label="{escape(title)}">'
        ),
        f"<style>{STYLE}\n</style>",
        f'<text class="title" x="8" y="22">{escape(title)}</text>',
        *[_tick(value, LEFT + value * scale, foot) for value in ticks(most)],
        f'<line class="axis" x1="{LEFT}" y1="{TOP - 6}" x2="{LEFT}" y2="{foot}"/>',
        f'<line class="axis" x1="{LEFT}" y1="{foot}" x2="{WIDTH - RIGHT}" y2="{foot}"/>',
        *[_bar(row, TOP + place * (BAR + GAP), scale) for place, row in enumerate(ordered)],
        (
            f'<text class="soft" x="{LEFT}" y="{height - 10}">requests a second: bars are medians of rounds, '
            "lines span least to most</text>"
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def ticks(most: float) -> list[int]:
    """Round numbers from 0 up to `most`, between four and ten of them; fewer where they would be no whole numbers."""
    step = 10.0 ** math.floor(math.log10(most))
    step *= next(part for part in (0.2, 0.5, 1.0) if most / (part * step) < TICKS_N)
    step = max(1, round(step))
    return [step * number for number in range(int(most // step) + 1)]


def _tick(value: int, x: float, foot: int) -> str:
    return (
        f'<line class="grid" x1="{x:.1f}" y1="{TOP - 6}" x2="{x:.1f}" y2="{foot + 4}"/>'
        f'<text class="tick soft" x="{x:.1f}" y="{foot + 18}" text-anchor="middle">{value:,}</text>'
    )


def _bar(row: Row, y: int, scale: float) -> str:
    middle, least, most = (figure * scale for figure in row.per_second)
    kind = "floor" if row.server in (FLOOR, LOOP) else "ours" if row.server in GATEWAYS else "peer"
    name = f"turnout, {row.server}" if row.server in GATEWAYS else row.server
    half = y + BAR / 2
    return (
        f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{middle:.1f}" height="{BAR}" rx="2"/>'
        f'<line class="line" x1="{LEFT + least:.1f}" y1="{half}" x2="{LEFT + most:.1f}" y2="{half}"/>'
        f'<text x="{LEFT + max(middle, most) + 8:.1f}" y="{y + 15}">{row.per_second[0]:,.0f}</text>'
    )
