"""The tables, in Markdown that reads well in a terminal."""

from statistics import median

from .figures import COLUMNS, SHOWN, USUAL
from .goals import GOALS, NOT_HERE
from .measure import DISTURBED

AGAINST = ("nginx-map", "relay", "envoy")


def report(figures, scenarios, measurements, builds, about):
    """All of it, as one text."""
    parts = [preamble(about)]
    parts += [section(figures, scenario) for scenario in scenarios if figures.peers(scenario.name)]
    parts += [verdicts(figures, build) for build in builds]
    parts.append(f"Not measured here: {NOT_HERE}")
    parts += warnings(measurements)
    return "\n\n".join(parts) + "\n"


def preamble(about):
    versions = "\n".join(f"- {name}: {version}" for name, version in about["versions"].items())
    return (f"Measured on {about['date']}: {about['cores']} cores of {about['processor']}, "
            f"{about['memory_gib']} GiB, Linux {about['kernel']}, TCP {about['tcp']}; "
            f"{about['rounds']} rounds of {about['seconds']} s, medians (least to most).\n\n"
            f"{versions}")


def section(figures, scenario):
    """A scenario's table: figures, and CPU as ratios."""
    columns = SHOWN.get(scenario.name, USUAL)
    present = figures.peers(scenario.name)
    others = [other for other in AGAINST if other in present] if "cpu_us_each" in columns else []
    head = ["proxy", *(COLUMNS[column][0] for column in columns), *(f"CPU / {other}" for other in others)]
    rows = []
    for peer in present:
        cells = [cell(figures.values(scenario.name, peer, column).values(), COLUMNS[column][1]) for column in columns]
        ratios = [cell(cpu_ratios(figures, scenario.name, peer, other), 2) for other in others]
        rows.append([peer, *cells, *ratios])
    return f"## {scenario.name}: {scenario.about}\n\n{table(head, rows)}{threads(figures, scenario, present)}"


def threads(figures, scenario, peers):
    """Where the CPU time of Cloakroom goes, by thread."""
    lines = []
    for peer in peers:
        named = figures.threads(scenario.name, peer) if peer.startswith("cloakroom") else []
        if named:
            lines.append(f"{peer}, CPU µs by thread: " + ", ".join(f"{name} {each:.2f}" for name, each in named))
    return "".join(f"\n\n{line}" for line in lines)


def cpu_ratios(figures, scenario, peer, other):
    return figures.quotients((scenario, peer, "cpu_us_each"), (scenario, other, "cpu_us_each")).values()


def cell(values, digits):
    """The median of all rounds, and the least and the most."""
    if not values:
        return "–"
    middle = f"{median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def verdicts(figures, build):
    rows = []
    for goal in GOALS:
        values, verdict = goal.judge(figures, build)
        bound = f"{'≥' if goal.at_least else '≤'} {goal.limit:g}"
        rows.append([goal.number, goal.text, bound, cell(values, 2), verdict])
    return f"## Goals: {build.header}\n\n" + table(["goal", "what", "bound", "measured", "verdict"], rows)


def warnings(measurements):
    """What was left out, and what makes figures doubtful."""
    lines, disturbed = [], []
    for one in measurements:
        where = f"{one['scenario']} of {one['peer']}, round {one['round']}"
        if "invalid" in one:
            lines.append(f"INVALID: {where}: {one['invalid']}")
        elif "others" in one["found"]:
            disturbed.append((one["found"]["others"], where))
    doubtful = [share for share, _ in disturbed if share > DISTURBED]
    if doubtful:
        share, where = max(disturbed)
        lines.append(f"DISTURBED: in {len(doubtful)} of {len(disturbed)} measurements others used more than "
                     f"{DISTURBED:.0%} of a core; most, {share:.0%}, in {where}")
    return lines


def table(head, rows):
    widths = [max(len(row[index]) for row in [head, *rows]) for index in range(len(head))]
    def line(cells):
        return "| " + " | ".join(text.ljust(width) for text, width in zip(cells, widths)) + " |"
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])
