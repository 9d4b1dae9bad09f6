"""The chart: CPU per request of each proxy, in both modes. Legible on light and on dark."""

from html import escape
from statistics import median

BAR, GAP, LEFT, WIDTH, PLOT = 11, 14, 200, 760, 490
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f; }
.small { font-size: 11px; fill: #57606a; }
.two { fill: #8c959f; } .one { fill: #c4ccd4; }
.ours.two { fill: #0969da; } .ours.one { fill: #80bdf5; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; }
  .two { fill: #8b949e; } .one { fill: #484f58; }
  .ours.two { fill: #4493f8; } .ours.one { fill: #265d9e; }
}
"""
NAMES = {
    "relay": "bare TCP relay",
    "nginx": "nginx",
    "nginx-map": "nginx, header by map",
    "haproxy": "HAProxy",
    "haproxy-map": "HAProxy, header by map",
    "envoy": "Envoy, injector",
    "cloakroom": "Cloakroom, header",
    "cloakroom-arguments": "Cloakroom, argument",
}
MODES = {"cpu": ("two", "proxy alone on a core"), "cpu-one-core": ("one", "everything on one core")}


def chart(figures, about):
    """An SVG document; None when nothing was measured that it shows."""
    values = {
        peer: {scenario: middle(figures.values(scenario, peer, "cpu_us_each")) for scenario in MODES}
        for peer in dict.fromkeys(peer for scenario in MODES for peer in figures.peers(scenario))
    }
    if not values:
        return None
    peers = sorted(values, key=lambda peer: max(filter(None, values[peer].values())))
    most = max(value for both in values.values() for value in both.values() if value)
    height = 70 + len(peers) * (2 * BAR + GAP) + 30
    lines = [text(10, 22, "CPU per request, µs (less is better): 32 connections, 350 bytes in, 300 out")]
    lines += legend()
    for index, peer in enumerate(peers):
        lines += bars(peer, values[peer], 64 + index * (2 * BAR + GAP), PLOT / most)
    machine = f"{about['date'][:10]}, {about['cores']} cores of {about['processor']}"
    lines.append(text(10, height - 10, machine, "small"))
    title = "CPU per request of Cloakroom and other proxies"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">\n'
            f"<style>{STYLE}</style>\n" + "\n".join(lines) + "\n</svg>\n")


def middle(values):
    return median(values.values()) if values else None


def legend():
    lines, left = [], LEFT
    for mode, words in MODES.values():
        lines.append(rectangle(mode, left, 38, BAR))
        lines.append(text(left + BAR + 5, 48, words, "small"))
        left += 160
    return lines


def bars(peer, values, top, scale):
    base, _, label = peer.partition("@")
    name = NAMES.get(base, base) + (f" ({label})" if label else "")
    ours = "ours " if base.startswith("cloakroom") else ""
    lines = [text(LEFT - 10, top + BAR + 4, name, anchor="end")]
    for scenario, (mode, _) in MODES.items():
        value = values[scenario]
        if value:
            length = value * scale
            lines.append(rectangle(ours + mode, LEFT, top, length))
            lines.append(text(LEFT + length + 6, top + BAR - 2, f"{value:.1f}", "small"))
        top += BAR
    return lines


def rectangle(kind, left, top, width):
    return f'<rect class="{kind}" x="{left}" y="{top}" width="{width:.1f}" height="{BAR - 1}"/>'


def text(left, top, words, kind="", anchor="start"):
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{left:.1f}" y="{top}" text-anchor="{anchor}"{kind}>{escape(words)}</text>'
