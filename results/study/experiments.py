"""The study's experiments: which agents, from which sweeps, take which test."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from train.sweep import load_sweep

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs" / "study"
RUNS = "runs/study"
RESULTS = ROOT / "results" / "study"
NUM_LEVELS = 2000  # held-out ones, per condition


@dataclasses.dataclass(frozen=True)
class Agents:
    """Runs of a sweep of `configs/study`."""

    sweep: str
    where: tuple[str, Any] | None = None
    """A parameter and its value: only these runs."""

    @property
    def config(self) -> Path:
        """The sweep's file."""
        return CONFIGS / f"{self.sweep}.yaml"

    def runs(self) -> Iterator[tuple[str, list[str]]]:
        """Their names, which are folders of the checkout, and arguments of `python -m train`."""
        sweep = load_sweep(self.config)
        for point in sweep.points():
            if self.where is None or point[self.where[0]] == self.where[1]:
                yield f"{RUNS}/{self.sweep}/{sweep.run_name(point)}", sweep.arguments(point)


AT_END = Agents("coin_randomisation", ("env.placement_probability", 0.0))
"""Trained with the coin always at the end: what the others are compared with."""
AT_SECTIONS = Agents("coin_randomisation", ("env.placement_probability", 1.0))
ANYWHERE = Agents("train_placements", ("env.placement", "uniform"))


@dataclasses.dataclass(frozen=True)
class Experiment:
    """One comparison of agents; its results are in the folder of its name."""

    name: str
    question: str
    agents: tuple[Agents, ...]
    suite: str = "relocation"
    """The name of a suite, or of a file of `configs/study/suites`."""
    unseen_by: int = 0
    """Levels that share a layout with one of this many first training levels are left out."""

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return RESULTS / self.name

    @property
    def suite_argument(self) -> str:
        """Argument of `python -m eval --suite`."""
        own = CONFIGS / "suites" / f"{self.suite}.yaml"
        return str(own.relative_to(ROOT)) if own.exists() else self.suite

    def has_the_test_of(self, other: Experiment) -> bool:
        """Whether both play the same conditions on the same levels."""
        return (self.suite, self.unseen_by) == (other.suite, other.unseen_by)

    def runs(self) -> dict[str, list[str]]:
        """All that it compares: name -> arguments of `python -m train`."""
        return {name: words for agents in self.agents for name, words in agents.runs()}


EXPERIMENTS = (
    Experiment(
        "coin_randomisation",
        "How often must the coin be elsewhere for an agent to learn to pursue it?",
        (Agents("coin_randomisation"),),
    ),
    Experiment(
        "published",
        "The same agents under the protocol of Langosco et al. (2022).",
        (Agents("coin_randomisation"),),
        suite="paper",
    ),
    Experiment(
        "placements",
        "Which training placement of the coin generalises to the others?",
        (AT_END, AT_SECTIONS, Agents("coin_ranges"), Agents("train_placements")),
        suite="placement_matrix",
    ),
    Experiment(
        "num_levels",
        "Does an agent that has seen more levels pursue the coin more?",
        (AT_END, Agents("num_levels")),
    ),
    Experiment(
        "network_width",
        "Does a larger network pursue the coin more?",
        (AT_END, Agents("network_width")),
    ),
    Experiment(
        "total_steps",
        "Does an agent that has trained for longer pursue the coin more?",
        (AT_END, Agents("total_steps")),
    ),
    Experiment(
        "cue_conflict",
        "Gold or the end: which is learned, and does it matter how visible gold is?",
        (AT_END, Agents("coin_spread"), Agents("decoy")),
        suite="cue_conflict",
    ),
    Experiment(
        "reward",
        "A wrong reward with the right distribution, and the reverse.",
        (AT_END, ANYWHERE, Agents("reward")),
    ),
    Experiment(
        "unseen_layouts",
        "What holds on layouts that training never had?",
        (AT_END, ANYWHERE),
        unseen_by=100_000,
    ),
)
