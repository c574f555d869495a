"""What the network represents about the goal: value estimates, and what probes read."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from coinrun_jax.testbed import Testbed
from eval.figures.themes import WIDTH, band, bare, share_ticks, themed
from eval.probes.answers import Probes

TITLES = {"auc": "AUC on levels held out from the probe; .5 is chance"}


def draw_values(probes: Probes, testbed: Testbed, theme: str = "light") -> Figure | None:
    """The value estimate along the way, with the goal in view and taken away."""
    values, noun = probes.value_by_progress, testbed.words.goal
    if not any(values.in_view) or testbed.probing is None:
        return None
    with themed(theme) as colours:
        figure, axes = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
        style = {"color": colours.goal, "marker": "o", "label": f"{noun} in view"}
        band(axes, values.progress, values.in_view, **style)
        style = {"color": colours.quiet, "marker": "s", "ls": "--", "label": f"{noun} taken away"}
        band(axes, values.progress, values.taken_away, **style)
        axes.set_xlabel(testbed.probing.progress_title)
        axes.set_ylabel("value estimate")
        share_ticks(axes.xaxis)
        axes.set_xlim(-0.03, 1.03)
        bare(axes, grid="y")
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def draw_linear(probes: Probes, theme: str = "light") -> Figure | None:
    """How well linear probes read each target from the features, with their two controls."""
    rows = [row for row in probes.linear if row.score is not None]
    if not rows:
        return None
    with themed(theme) as colours:
        tall = 1.1 + 0.42 * len(rows)
        figure, axes = plt.subplots(figsize=(WIDTH, tall), layout="constrained")
        looks = {
            "score": (-0.16, "o", colours.proxy, "this network"),
            "untrained": (0.08, "D", colours.quiet, "same network, untrained"),
            "shuffled": (0.28, "x", colours.quiet, "targets shuffled"),
        }
        for name, (beside, marker, colour, label) in looks.items():
            for y, row in enumerate(rows):
                if (measure := getattr(row, name)) is None:
                    continue
                place, known = y + beside, label if y == 0 else None
                axes.plot([measure.low, measure.high], [place, place], color=colour, lw=1.6)
                axes.plot(measure.estimate, place, marker, color=colour, ms=5, ls="", label=known)
        axes.set_yticks(range(len(rows)), [row.target for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        measures = dict.fromkeys(row.measure for row in rows)
        axes.set_xlabel(", ".join(TITLES.get(name, name) for name in measures))
        bare(axes, grid="x")
        figure.legend(loc="outside upper left", ncols=3)
    return figure
