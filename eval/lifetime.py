"""One agent over training: every policy that its run kept, on the same levels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from coinrun_jax.files import write_rows
from eval.compare import differences
from eval.measures import bootstrap_of, summarise
from eval.probes.answers import Probes
from eval.results import Difference, Evaluation, Summary
from eval.runs import Run
from eval.statistics import Estimate
from train.config import TrainConfig

COLUMNS = (
    *("steps", "update", "stage", "condition", "measure"),
    *("estimate", "low", "high", "change", "change_low", "change_high"),
)
"""Of `lifetime.csv`."""
SHOWN = "probe_"
"""Prefix of the names of probe measures."""


class Border(NamedTuple):
    """Where a stage begins."""

    steps: int
    title: str


@dataclass(frozen=True)
class Age:
    """The agent at one moment of its training."""

    update: int
    steps: int
    stage: int | None
    """Number, from 1; None where training has no stages."""
    summary: Summary
    changes: tuple[Difference, ...]
    """Measures minus those of the previous age, paired by level."""
    probes: Probes | None

    @property
    def evidence(self) -> dict[str, Estimate | None]:
        """Measures beyond single conditions: competence, the judged conditions pooled, probes."""
        verdict, competence = self.summary.verdict, self.summary.competence
        found = {
            "above_reference": competence.above_reference if competence else None,
            "unaided_capability": verdict.unaided_capability,
            "unaided_misgeneralisation": verdict.unaided_misgeneralisation,
        }
        if verdict.object:
            found[f"{verdict.object}_attraction"] = verdict.attraction
        return found | (_probed(self.probes) if self.probes else {})

    def as_json(self) -> dict[str, Any]:
        return {
            "update": self.update,
            "steps": self.steps,
            "stage": self.stage,
            "verdict": self.summary.verdict.kind,
            **{name: value and dataclasses.asdict(value) for name, value in self.evidence.items()},
        }


def _probed(probes: Probes) -> dict[str, Estimate | None]:
    return {
        f"{SHOWN}value_gap": probes.value_gap,
        f"{SHOWN}towards": probes.forks.towards,
        f"{SHOWN}shift": probes.forks.shift,
        **{f"{SHOWN}{each.target.replace(' ', '_')}": each.score for each in probes.linear},
    }


@dataclass(frozen=True)
class Lifetime:
    """The lifetime of one run's agent."""

    ages: tuple[Age, ...]
    """From the first to the newest."""
    borders: tuple[Border, ...]
    """Where stages begin, except the first; () if training has none."""

    def as_json(self) -> dict[str, Any]:
        return {
            "ages": [age.as_json() for age in self.ages],
            "borders": [border._asdict() for border in self.borders],
        }


def follow(
    runs: Sequence[Run], evaluations: Sequence[Evaluation], probes: Sequence[Probes | None]
) -> Lifetime:
    """A lifetime from the evaluations of a run's policies, in any order.

    Args:
      runs: the policies.
      evaluations: one for each policy, of the same suite on the same levels.
      probes: one for each policy, or None.
    """
    order = sorted(range(len(runs)), key=lambda index: runs[index].policy.update)
    bootstrap, config = bootstrap_of(evaluations), runs[0].policy.config
    ages, before = [], None
    for index in order:
        policy, evaluation = runs[index].policy, evaluations[index]
        changed = differences([evaluation], [before], 0, bootstrap) if before else ()
        ages.append(
            Age(
                update=policy.update,
                steps=policy.steps,
                stage=config.part_at(policy.update) + 1 if config.stages else None,
                summary=summarise([evaluation]),
                changes=tuple(changed),
                probes=probes[index],
            )
        )
        before = evaluation
    return Lifetime(tuple(ages), _borders(config))


def _borders(config: TrainConfig) -> tuple[Border, ...]:
    stages = config.stages or ()
    return tuple(
        Border(config.steps_at(end), stages[number].title(number))
        for number, end in enumerate(config.ends[:-1], start=1)
    )


def write_lifetime(lifetime: Lifetime, path: Path) -> None:
    """One row per age, condition and identifiable measure.

    `change` is the measure minus that of the previous age, paired by level. Rows without a
    condition hold `Age.evidence`.
    """
    write_rows(path, COLUMNS, rows(lifetime))


def rows(lifetime: Lifetime) -> Iterator[list[Any]]:
    """Rows of the table, with COLUMNS."""
    for age in lifetime.ages:
        yield from _rows(age)


def _rows(age: Age) -> Iterator[list[Any]]:
    changes = {(each.condition, each.measure): each.difference for each in age.changes}
    parts = [(row.condition, row.measures()) for row in age.summary.agent]
    for condition, measures in [*parts, ("", age.evidence)]:
        for name, found in measures.items():
            if found is not None:
                change = changes.get((condition, name))
                stage = "" if age.stage is None else age.stage
                head = [age.steps, age.update, stage, condition, name]
                yield [*head, *_numbers(found), *_numbers(change)]


def _numbers(found: Estimate | None) -> list[float | str]:
    values = ("", "", "") if found is None else (found.estimate, found.low, found.high)
    return [value if isinstance(value, str) else round(value, 6) for value in values]
