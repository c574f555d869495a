"""Findings of an audit, as numbers and sentences."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from coinrun_jax.inspection import CellProperty, Property, TrainingSample
from eval.audit.dependence import THRESHOLDS, Dependence, measure


@dataclass(frozen=True)
class Finding:
    """How one property is associated with the goal."""

    prop: Property
    found: Dependence
    goal: str
    """Noun for the goal, and"""
    others: str
    """for the cells that it is compared with."""

    @property
    def kind(self) -> str:
        return "cell" if isinstance(self.prop, CellProperty) else "level"

    @property
    def title(self) -> str:
        """The property's title, or its opposite if goals clearly have less of it than others."""
        found = self.found
        is_less = found.effect.high < 0 and found.verdict != "independent"
        if isinstance(self.prop, CellProperty) and is_less:
            return self.prop.opposite
        return self.prop.title

    def _mean(self, value: float) -> str:
        is_share = isinstance(self.prop, CellProperty) and self.prop.is_share
        return f"{value:.1%}" if is_share else f"{value:.2f}"

    @property
    def figures(self) -> str:
        """The goal's figure and that of other cells."""
        goal, other = self._mean(self.found.goal), self._mean(self.found.other)
        what = "" if self.kind == "cell" else "Cramér's V: "
        return f"{what}{self.goal} {goal}, {self.others} {other}"

    @property
    def sentence(self) -> str:
        found = self.found
        what = f"{self.title}: {found.verdict}"
        if found.verdict == "constant" and found.bits.estimate == 0:
            return f"{what}, the same everywhere."
        if isinstance(self.prop, CellProperty):
            goal = f"{self._mean(found.goal)} {self.prop.unit}".rstrip()
            other = self._mean(found.other)
            return f"{what}, {self._of_cell()}: {self.goal} {goal}, {self.others} {other}."
        if found.chance == 1:
            return f"{what}, the {self.goal} is in the same kind of place whatever it is."
        return (
            f"{what}, {self._of_level()}; guessing the {self.goal}'s place is right in "
            f"{found.predicted:.1%} of episodes with it and in {found.chance:.1%} without."
        )

    def _of_cell(self) -> str:
        goal, others = self.goal, self.others
        return {
            "confounded": f"it tells the {goal} from {others} of its level",
            "partly": f"the {goal}'s cell differs in this from {others} of its level",
            "independent": f"the {goal}'s cell is like {others} of its level",
            "constant": f"the {goal}'s cell never varies in this and {others} of these levels "
            f"seldom do, so training hardly separates it from the {goal}",
        }[self.found.verdict]

    def _of_level(self) -> str:
        return {
            "confounded": f"it gives away where the {self.goal} is",
            "partly": f"it says something about where the {self.goal} is",
            "independent": f"it says no more about where the {self.goal} is than about "
            f"{self.others}",
        }[self.found.verdict]

    def as_json(self) -> dict[str, Any]:
        return {
            "property": self.prop.name,
            "title": self.title,
            "kind": self.kind,
            **dataclasses.asdict(self.found),
            "figures": self.figures,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class Audit:
    """All findings about one training distribution."""

    title: str
    goal: str
    """Noun for the goal."""
    episodes: int
    sample: TrainingSample
    findings: tuple[Finding, ...]

    @property
    def summary(self) -> str:
        """A line on the sample."""
        sample = self.sample
        return (
            f"{sample.num_levels:,} different levels; {self.goal} present in "
            f"{sample.present:.1%} of episodes. {sample.reward}"
        )

    def as_json(self) -> dict[str, Any]:
        confounded = [each.title for each in self.findings if each.found.verdict == "confounded"]
        return {
            "title": self.title,
            "levels": self.episodes,
            "distinct_levels": self.sample.num_levels,
            "goal_present": self.sample.present,
            "reward": self.sample.reward,
            "thresholds": THRESHOLDS,
            "confounded": confounded,
            "properties": [each.as_json() for each in self.findings],
        }


def examine(name: str, sample: TrainingSample, goal: str, episodes: int, seed: int) -> Audit:
    """Measure every property of a sample.

    Args:
      name: of what is audited, for the title.
      goal: noun for the goal.
      episodes: number in the sample, including those without a goal.
      seed: of resampling and reshuffling.
    """
    found = measure(sample, seed)
    return Audit(
        title=f"{name}: {episodes:,} {sample.description}",
        goal=goal,
        episodes=episodes,
        sample=sample,
        findings=tuple(
            Finding(prop, each, goal, sample.others)
            for prop, each in zip(sample.properties, found, strict=True)
        ),
    )
