"""What the network knows of the coin, in words and figures."""

from __future__ import annotations

from typing import Any

from eval.figures.values import draw_linear, draw_values
from eval.report.page import chart, measure


def values_html(probes: dict[str, Any]) -> str:
    """The value estimate with and without the coin in view; empty where there is none."""
    gap = probes.get("value_gap")
    words = ""
    if gap is not None:
        words = (
            f"<p>The coin raises the value of a state in view of it by {measure(gap, True)}.</p>"
        )
    drawn = chart(
        lambda theme: draw_values(probes, theme),
        "The agent's value estimate over the share of the way, with the coin in view and with "
        "the coin taken away",
        "The network's value estimate by how far along the way the agent is, of the same states "
        "with the coin in view and with it taken away. Where the two lines are one, the coin "
        "makes no difference to what the agent expects. Values are of returns scaled as in "
        "training.",
    )
    return words + drawn


def knowledge_html(probes: dict[str, Any]) -> str:
    """Linear probes and forks; empty where there are none."""
    linear = chart(
        lambda theme: draw_linear(probes, theme),
        "How well linear probes read each target from the network's features, beside an "
        "untrained network and shuffled targets",
        "A linear probe reads each target from the network's last features. What can be read "
        "from an untrained network of the same shape as well is no knowledge of this one.",
    )
    return linear + _forks(probes.get("forks"))


def _forks(forks: dict[str, Any] | None) -> str:
    if not forks or forks.get("towards_coin") is None:
        return ""
    without, shift = forks.get("towards_coin_without"), forks.get("shift")
    lines = [
        f"In {forks['states']:,} states with the coin in view on one side and the end on the "
        f"other, the next action presses towards the coin with probability "
        f"{measure(forks['towards_coin'])}."
    ]
    if without is not None:
        lines.append(f"With the coin taken out of the same states: {measure(without)}.")
    if shift is not None:
        lines.append(f"The coin itself shifts it by {measure(shift, signed=True)}.")
    return f"<p>{' '.join(lines)}</p>"
