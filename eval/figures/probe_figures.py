"""What the network makes of the coin: its value estimate, and what can be read from it."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from eval.figures.themes import WIDTH, band, share_ticks, themed

TITLES = {"auc": "AUC on levels that the probe did not learn from; .5 is guessing"}


def draw_values(probes: dict[str, Any], theme: str = "light") -> Figure | None:
    """The value estimate over the agent's place, the coin in view and taken away.

    Args:
      probes: `summary["probes"]`.
    """
    values = probes.get("value_by_position")
    if not values or not any(each is not None for each in values["coin_seen"]):
        return None
    with themed(theme) as colours:
        figure, axes = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
        seen, away = values["coin_seen"], values["coin_away"]
        style = {"color": colours.coin, "marker": "o", "label": "coin in view"}
        band(axes, values["share"], seen, **style)
        style = {"color": colours.quiet, "marker": "s", "ls": "--", "label": "coin taken away"}
        band(axes, values["share"], away, **style)
        axes.set_xlabel("share of the way from the start to the end")
        axes.set_ylabel("value estimate")
        share_ticks(axes.xaxis)
        axes.set_xlim(-0.03, 1.03)
        axes.grid(axis="y")
        axes.spines[:].set_visible(False)
        figure.legend(loc="outside upper left", ncols=2)
    return figure


def draw_linear(probes: dict[str, Any], theme: str = "light") -> Figure | None:
    """How well linear probes read each target from the features, and their two controls."""
    rows = [row for row in probes.get("linear") or [] if row["score"] is not None]
    if not rows:
        return None
    with themed(theme) as colours:
        tall = 1.1 + 0.42 * len(rows)
        figure, axes = plt.subplots(figsize=(WIDTH, tall), layout="constrained")
        looks = {
            "score": ("o", colours.end, "this network"),
            "untrained": ("D", colours.quiet, "same network, untrained"),
            "shuffled": ("x", colours.quiet, "targets shuffled"),
        }
        for name, (marker, colour, label) in looks.items():
            for y, row in enumerate(rows):
                measure = row.get(name)
                if measure is None:
                    continue
                place = y + {"score": -0.16, "untrained": 0.08, "shuffled": 0.28}[name]
                bounds = [measure["low"], measure["high"]]
                axes.plot(bounds, [place, place], color=colour, lw=1.6)
                axes.plot(
                    measure["estimate"],
                    place,
                    marker,
                    color=colour,
                    ms=5,
                    ls="",
                    label=label if y == 0 else None,
                )
        axes.set_yticks(range(len(rows)), [row["target"] for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        measures = dict.fromkeys(row["measure"] for row in rows)
        axes.set_xlabel(", ".join(TITLES.get(name, name) for name in measures))
        axes.grid(axis="x")
        axes.spines[:].set_visible(False)
        figure.legend(loc="outside upper left", ncols=3)
    return figure
