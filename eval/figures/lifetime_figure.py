"""One agent over training: capability, attraction, misgeneralisation, and probes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from coinrun_jax.testbed import Testbed
from eval.figures.themes import SERIES, WIDTH, Theme, band, bare, dashed, share_ticks, themed
from eval.lifetime import SHOWN, Age, Lifetime
from eval.statistics import Estimate

_PANEL = 1.75  # inches
_LOWEST = -1.1  # limit of an axis; intervals of attraction may reach far below
_WIDE = 20  # ratio of the last to the first nonzero step count from which the axis is logarithmic

Read = Callable[[Age], Estimate | None]


def draw_lifetime(lifetime: Lifetime, testbed: Testbed, theme: str = "light") -> Figure:
    """Panels over the steps of training; those without data are left out.

    Args:
      theme: a name of `themes.THEMES`.
    """
    with themed(theme) as colours:
        panels = {
            title: known
            for title, lines in _panels(lifetime, testbed, colours).items()
            if (known := [line for line in lines if any(map(line[0], lifetime.ages))])
        }
        figure, all_axes = plt.subplots(
            max(len(panels), 1),
            figsize=(WIDTH, 0.6 + _PANEL * max(len(panels), 1)),
            layout="constrained",
            sharex=True,
            squeeze=False,
        )
        steps = [age.steps for age in lifetime.ages]
        for axes, (title, lines) in zip(all_axes.flat, panels.items(), strict=False):
            for read, style in lines:
                band(axes, steps, [read(age) for age in lifetime.ages], **style)
            _finish(axes, title, len(lines) > 1)
            for border in lifetime.borders:
                axes.axvline(border.steps, color=colours.quiet, lw=1, ls=":")
        _mark(all_axes.flat[0], lifetime)
        over_steps(all_axes.flat[-1], steps)
    return figure


def _panels(
    lifetime: Lifetime, testbed: Testbed, colours: Theme
) -> dict[str, list[tuple[Read, dict[str, Any]]]]:
    """By title: what each line reads from an age, and its style."""
    newest = lifetime.ages[-1]
    verdict, competence = newest.summary.verdict, newest.summary.competence
    words = testbed.words
    capability: list[tuple[Read, dict[str, Any]]] = [
        (
            lambda age: age.evidence["unaided_capability"],
            {
                "color": colours.text,
                "marker": "s",
                "label": f"{words.goal} or {words.proxy} first, unaided",
            },
        )
    ]
    if competence:
        at = [row.condition for row in newest.summary.agent].index(competence.condition)
        bar = newest.summary.rows[testbed.bar][at].first[testbed.goal]
        where = "as trained" if competence.as_trained else newest.summary.agent[at].title
        style = {"color": colours.goal, "marker": "o", "label": f"{words.goal} first, {where}"}
        capability = [
            (lambda age: age.summary.agent[at].first[testbed.goal], style),
            *capability,
            (lambda age: bar, dashed(colours) | {"label": competence.reference}),
        ]
    moved = verdict.object
    colour = colours.goal if moved == testbed.goal else colours.proxy
    found: dict[str, list[tuple[Read, dict[str, Any]]]] = {
        "capability": capability,
        f"{moved} attraction": [
            (lambda age: age.evidence.get(f"{moved}_attraction"), {"color": colour, "marker": "o"})
        ],
        "unaided goal misgeneralisation": [
            (
                lambda age: age.evidence["unaided_misgeneralisation"],
                {"color": colours.proxy, "marker": "o"},
            )
        ],
    }
    probed = [name for name in newest.evidence if name.startswith(SHOWN)]
    gap = f"{SHOWN}value_gap"  # in units of the return, unlike the others
    rest = [name for name in probed if name != gap]
    found["probes"] = [(_reads(name), _look(name, i, words.goal)) for i, name in enumerate(rest)]
    found[f"value gap of the {words.goal}"] = [(_reads(gap), _look(gap, 0, words.goal))]
    return found


def _reads(name: str) -> Read:
    return lambda age: age.evidence.get(name)


def _look(name: str, index: int, goal: str) -> dict[str, Any]:
    titles = {"towards": f"steps towards the {goal}", "shift": f"due to the {goal}"}
    name = name.removeprefix(SHOWN)
    label = titles.get(name, f"AUC: {name.replace('_', ' ')}")
    return {"color": SERIES[index % len(SERIES)], "marker": "osD^v"[index % 5], "label": label}


def _finish(axes: Axes, title: str, several: bool) -> None:
    axes.set_title(title)
    low, high = axes.get_ylim()
    if "value" not in title:
        axes.set_ylim(max(_LOWEST, min(low, -0.04)), 1.04)
        share_ticks(axes.yaxis, 0.25, low=max(_LOWEST, min(low, 0.0)))
    else:
        axes.axhline(0, color=axes.yaxis.label.get_color(), lw=0.5)
        axes.set_ylim(low, high)
    bare(axes, grid="y")
    if several:
        style: dict[str, Any] = {"ncols": 4, "fontsize": 7.5, "columnspacing": 1.2}
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.97), borderaxespad=0, **style)


def _mark(axes: Axes, lifetime: Lifetime) -> None:
    """Write the titles of stages."""
    for border in lifetime.borders:
        axes.annotate(
            border.title,
            (border.steps, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -2),
            textcoords="offset points",
            va="top",
            size=8,
        )


def over_steps(axes: Axes, steps: list[int]) -> None:
    """The axis of steps: logarithmic from the first nonzero one, if they span a wide range."""
    axes.set_xlabel("environment steps of training")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: in_steps(value)))
    some = [each for each in steps if each]
    if some and max(some) >= _WIDE * min(some):
        first, last = min(some), max(some)
        axes.set_xscale("symlog", linthresh=first, linscale=0.5)
        powers = (10.0**power for power in range(math.ceil(math.log10(last)) + 1))
        between = [power for power in powers if 2 * first <= power <= last / 2]
        axes.xaxis.set_major_locator(FixedLocator([0, first, *between, last]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(min(steps) - 0.1 * first, 1.15 * last)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: in_steps(value)))


def in_steps(number: float) -> str:
    """A number of steps, such as 300k or 1.5M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"
