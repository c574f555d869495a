"""The values passed through an evaluation, from episodes to a verdict; JSON only at the edges.

Each `as_json` gives what `summary.json` holds. An estimate is `{"estimate", "low", "high"}`, or
None if it is not identifiable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from coinrun_jax.record import Record
from coinrun_jax.suites import Suite
from coinrun_jax.testbed import Testbed
from eval.statistics import Estimate
from train.config import TrainConfig

AGENT, GREEDY = "agent", "greedy"
AGENT_TITLES = {AGENT: "agent", GREEDY: "agent, likeliest action"}

GOAL, PROXY, LOST = "after_goal", "after_proxy", "lost"
INCOMPETENT, UNDECIDED, UNKNOWN = "not_competent", "undecided", "not_identifiable"
KINDS = (GOAL, PROXY, LOST, INCOMPETENT, UNDECIDED, UNKNOWN)


@dataclass(frozen=True)
class Played:
    """All episodes of one policy; C conditions x N levels x S samples."""

    record: Record  # numpy, [C, N, S]
    outcome: np.ndarray  # int8 [C, N, S], index into the testbed's outcomes
    first_step: np.ndarray  # int32 [C, N, S], the step that decided


@dataclass(frozen=True)
class Evaluation:
    """What was played: policies by name, the agent first."""

    testbed: Testbed
    suite: Suite
    played: Mapping[str, Played]
    titles: Mapping[str, str]
    """Titles of the policies, by name."""
    events: tuple[str, ...]
    """Events of the environment."""
    level_seeds: np.ndarray  # uint32 [C, N]
    run: str
    """Name of the agent's run."""
    config: TrainConfig
    """What the agent was trained with."""
    seed: int = 0
    """Seed of the evaluation."""

    @property
    def agents(self) -> tuple[str, ...]:
        """The policies that are the agent's."""
        return tuple(policy for policy in self.played if policy in AGENT_TITLES)

    def came_to(self, policy: str, condition: int, *columns: str) -> np.ndarray:
        """Whether each episode's outcome is in one of these columns; bool [N, S]."""
        codes = [i for i, each in enumerate(self.testbed.outcomes) if each.column in columns]
        return np.isin(self.played[policy].outcome[condition], codes)

    def touched(self, policy: str, condition: int, event: str) -> np.ndarray:
        """Whether each episode touched an object before it was decided; bool [N, S]."""
        record = self.played[policy].record
        return np.asarray(record.events)[condition, ..., self.events.index(event)] > 0


def came_to(
    evaluations: Sequence[Evaluation], policy: str, condition: int, *columns: str
) -> np.ndarray:
    """`Evaluation.came_to` of R training runs; bool [R, N, S]."""
    return np.stack([each.came_to(policy, condition, *columns) for each in evaluations])


@dataclass(frozen=True)
class Contrast:
    """A condition against one of its controls, in which one object is taken away."""

    object: str
    """Event of the object."""
    control: str
    """Name of the control."""
    accidental: Estimate | None
    """How often the empty cell is touched first in the control."""
    attraction: Estimate | None
    """(touched first - accidental) / (1 - accidental)."""
    above_accidental: Estimate | None
    """Touched first - accidental."""
    unaided_misgeneralisation: Estimate | None
    """Goal misgeneralisation among episodes whose control does not touch the empty cell."""
    cohens_h: float | None
    """Effect size of touched first against accidental."""
    detectable: float | None
    """Least attraction detected in 80 % of experiments; None if even 1 would be missed."""


@dataclass(frozen=True)
class Row:
    """Measures of a policy in a condition."""

    condition: str
    title: str
    apart: bool
    """Whether goal and proxy are different things in every episode."""
    control_of: str | None
    episodes: int
    first: Mapping[str, Estimate | None]
    """What came first, by column of the testbed's outcomes; None for absent objects."""
    accidental: Estimate | None
    """Empty cell touched first: in this control, or in the first control of this condition."""
    capability_robustness: Estimate | None
    """Goal or proxy first."""
    goal_misgeneralisation: Estimate | None
    """Of the episodes with goal or proxy first, the share with the proxy first."""
    contrasts: tuple[Contrast, ...] = ()
    """Against each control of the condition."""
    also: Mapping[str, Estimate | None] = field(default_factory=dict)
    """How often further objects are touched, by event."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Constants of the condition."""

    @property
    def main(self) -> Contrast | None:
        """The contrast that tables and verdicts show."""
        return self.contrasts[0] if self.contrasts else None

    @property
    def attraction(self) -> Estimate | None:
        return None if self.main is None else self.main.attraction

    @property
    def unaided_misgeneralisation(self) -> Estimate | None:
        return None if self.main is None else self.main.unaided_misgeneralisation

    def measures(self) -> dict[str, Estimate | None]:
        """All measures by name, as in `summary.json` and `runs.csv`."""
        found: dict[str, Estimate | None] = {
            **self.first,
            "accidental": self.accidental,
            "capability_robustness": self.capability_robustness,
            "goal_misgeneralisation": self.goal_misgeneralisation,
            "unaided_misgeneralisation": self.unaided_misgeneralisation,
        }
        for each in self.contrasts:
            found[f"{each.object}_attraction"] = each.attraction
            found[f"{each.object}_above_accidental"] = each.above_accidental
        return {**found, **self.also}

    def as_json(self) -> dict[str, Any]:
        return {
            "condition": self.condition,
            "title": self.title,
            **self.columns,
            "apart": self.apart,
            "control_of": self.control_of,
            "episodes": self.episodes,
            **{name: as_json(value) for name, value in self.measures().items()},
            "contrasts": [as_json(each) for each in self.contrasts],
        }


@dataclass(frozen=True)
class Competence:
    """By how much the agent's goal rate exceeds that of the reference it must beat."""

    condition: str
    as_trained: bool
    """Whether most of training was like the condition."""
    reference: str
    """Title of the reference."""
    above_reference: Estimate | None


@dataclass(frozen=True)
class Verdict:
    """Which goal the agent pursues, as far as these episodes tell."""

    kind: str
    """One of KINDS."""
    headline: str
    judged: tuple[str, ...]
    """Names of the conditions it is based on; pooled over them:"""
    object: str
    """the object that their controls take away,"""
    attraction: Estimate | None
    unaided_misgeneralisation: Estimate | None
    unaided_capability: Estimate | None
    """share of episodes without an accidental touch in which goal or proxy comes first,"""
    unaided_episodes: int
    """number of those with goal or proxy first,"""
    unaided_levels: int
    """and number of their levels."""
    num_runs: int
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class Screened:
    """Rates by the protocol of Langosco et al. (2022), on levels kept by a reference agent."""

    p_train: float
    """Share of training episodes in which goal and proxy are apart."""
    levels: int
    kept: int
    rates: Mapping[str, Estimate | None]
    """On the kept levels, with goal and proxy apart, the columns of the testbed's outcomes;
    `ceiling`, the goal rate on the same levels as in training; `left_out`, the goal rate on the
    other levels."""

    def as_json(self) -> dict[str, Any]:
        rates = {name: as_json(value) for name, value in self.rates.items()}
        return {"p_train": self.p_train, "levels": self.levels, "kept": self.kept, **rates}


@dataclass(frozen=True)
class Summary:
    """Results of one agent, or of several training runs of one recipe pooled."""

    environment: str
    """Its id."""
    suite: str
    titles: Mapping[str, str]
    """Titles of the policies."""
    rows: Mapping[str, Sequence[Row]]
    """By policy, the agent first; conditions in the suite's order."""
    competence: Competence | None
    verdict: Verdict

    @property
    def agent(self) -> Sequence[Row]:
        return self.rows[AGENT]

    def as_json(self) -> dict[str, Any]:
        rows = {policy: [row.as_json() for row in own] for policy, own in self.rows.items()}
        return {
            "environment": self.environment,
            "suite": self.suite,
            "titles": dict(self.titles),
            "conditions": rows.pop(AGENT),
            "references": rows,
            "competence": as_json(self.competence),
            "verdict": as_json(self.verdict),
        }


@dataclass(frozen=True)
class Group:
    """Training runs of one recipe."""

    label: str
    recipe: Mapping[str, Any]
    """Settings in which recipes differ, by dotted name."""
    runs: tuple[str, ...]
    summary: Summary

    def as_json(self) -> dict[str, Any]:
        head = {"label": self.label, "recipe": dict(self.recipe), "runs": list(self.runs)}
        return {**head, **self.summary.as_json()}


@dataclass(frozen=True)
class RunResult:
    """One training run of a comparison."""

    name: str
    group: int
    """Index of its recipe."""
    seed: int
    rows: Sequence[Row]
    """Of the agent."""
    verdict: Verdict
    excess: Estimate | None
    """Goal rate above the reference."""
    screened: Screened | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "group": self.group,
            "seed": self.seed,
            "conditions": [row.as_json() for row in self.rows],
            "verdict": as_json(self.verdict),
            **({"published": self.screened.as_json()} if self.screened else {}),
        }


@dataclass(frozen=True)
class Difference:
    """A measure of one recipe minus that of the first."""

    condition: str
    title: str
    measure: str
    """Name, as in `Row.measures`."""
    group: int
    difference: Estimate | None
    detectable: float | None
    of_recipes: bool
    """False if either side is a single run: the difference then says nothing about recipes."""


@dataclass(frozen=True)
class Comparison:
    """Several training runs on the same levels."""

    suite: Suite
    settings: tuple[str, ...]
    """Names of the settings in which recipes differ."""
    groups: tuple[Group, ...]
    runs: tuple[RunResult, ...]
    differences: tuple[Difference, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "suite": self.suite.name,
            "settings": list(self.settings),
            "groups": [group.as_json() for group in self.groups],
            "runs": [run.as_json() for run in self.runs],
            "differences": [as_json(each) for each in self.differences],
        }


def as_json(value: Any) -> Any:
    """A dataclass of this module as JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
