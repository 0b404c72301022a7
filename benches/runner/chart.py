"""The backlog curve as an SVG: claim latency against backlog, both axes logarithmic."""

import math

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, TOP, BOTTOM = 84, 190, 56, 56
# Two sets of colours, each legible on its own ground; the drawing brings the ground with it.
LIGHT = ["#0550ae", "#cf222e", "#1a7f37", "#8250df", "#9a6700", "#0a7b83", "#bf3989", "#57606a"]
DARK = ["#79c0ff", "#ff7b72", "#56d364", "#d2a8ff", "#e3b341", "#56d4dd", "#f778ba", "#adbac7"]
DASHES = ["", "", "7 4", "2 4", "10 4 2 4", "4 3", "12 5", "1 3"]


def style() -> str:
    def colours(palette: list[str]) -> str:
        return "".join(f".s{i} {{ stroke: {c}; }} .f{i} {{ fill: {c}; }} " for i, c in enumerate(palette))

    return f"""
  .ground {{ fill: #ffffff; }} text {{ fill: #1f2328; font: 13px system-ui, sans-serif; }}
  .grid {{ stroke: #d0d7de; stroke-width: 1; }} .line {{ fill: none; stroke-width: 2; }}
  .first {{ stroke-width: 3.5; }} .title {{ font-size: 16px; font-weight: 600; }}
  {colours(LIGHT)}
  @media (prefers-color-scheme: dark) {{
    .ground {{ fill: #0d1117; }} text {{ fill: #e6edf3; }} .grid {{ stroke: #30363d; }}
    {colours(DARK)}
  }}"""


def duration(us: float) -> str:
    if us >= 1e6:
        return f"{us / 1e6:g} s"
    return f"{us / 1e3:g} ms" if us >= 1e3 else f"{us:g} µs"


def count(number: float) -> str:
    return f"{number / 1e6:g}M" if number >= 1e6 else f"{number / 1e3:g}k"


def spread(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """Places labels near where they are wanted, in their order, at least `gap` apart, within bounds."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    last = low - gap
    for i in order:
        placed[i] = last = max(wanted[i], last + gap)
    over = max(0.0, last - high)
    if over:
        ceiling = high + gap
        for i in reversed(order):
            placed[i] = ceiling = min(placed[i], ceiling - gap)
    return placed


def draw(curve: dict[str, list[tuple[int, float]]], caption: str) -> str:
    """One line a system, named at its right end; the first is the engine's own and is drawn heavier."""
    curve = {name: points for name, points in curve.items() if points}
    if not curve:
        raise RuntimeError("no system has a curve")
    sizes = [size for points in curve.values() for size, _ in points]
    times = [took for points in curve.values() for _, took in points]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    first, last = math.log10(min(sizes)), math.log10(max(sizes))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(size: float) -> float:
        return LEFT + (math.log10(size) - first) / max(last - first, 1e-9) * (right - LEFT)

    def y(us: float) -> float:
        return bottom - (math.log10(us) - low) / max(high - low, 1) * (bottom - TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
           f'aria-label="Claim latency against backlog">', f"<style>{style()}\n</style>",
           f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
           f'<text class="title" x="{LEFT}" y="24">Time to claim one task, by the length of the queue</text>',
           f'<text x="{LEFT}" y="43">{caption}</text>']
    for power in range(low, high + 1):
        at = y(10.0 ** power)
        out.append(f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}"/>')
        out.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{duration(10.0 ** power)}</text>')
    for size in sorted(set(sizes)):
        at = x(size)
        out.append(f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}"/>')
        out.append(f'<text x="{at:.1f}" y="{bottom + 20}" text-anchor="middle">{count(size)}</text>')
    out.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 12}" text-anchor="middle">tasks that are ready</text>')
    labels = spread([y(points[-1][1]) for points in curve.values()], 17, TOP, bottom)
    for i, (name, points) in enumerate(curve.items()):
        tone = i % len(LIGHT)
        path = " ".join(f"{x(size):.1f},{y(us):.1f}" for size, us in points)
        heavy = " first" if i == 0 else ""
        out.append(f'<polyline class="line s{tone}{heavy}" stroke-dasharray="{DASHES[tone]}" points="{path}"/>')
        out += [f'<circle class="f{tone}" cx="{x(size):.1f}" cy="{y(us):.1f}" r="{4 if i == 0 else 3}"/>'
                for size, us in points]
        end = y(points[-1][1])
        out.append(f'<line class="s{tone}" x1="{x(points[-1][0]) + 5:.1f}" y1="{end:.1f}" x2="{right + 20}" '
                   f'y2="{labels[i]:.1f}"/>')
        weight = ' font-weight="700"' if i == 0 else ""
        value = duration(float(f"{points[-1][1]:.2g}"))
        out.append(f'<text x="{right + 24}" y="{labels[i] + 4:.1f}"{weight}>{name} {value}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"
