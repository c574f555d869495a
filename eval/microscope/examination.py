"""Everything found at one moment, and the files that hold it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from coinrun_jax.files import write_arrays, write_json, write_rows
from coinrun_jax.twins import ObservedCells, repeated
from eval.microscope.attribution import (
    Attribution,
    HiddenObject,
    attribute,
    hide_each,
    without_each,
)
from eval.microscope.fields import Field, fields_of
from eval.microscope.patching import OUTPUTS, Pair, differences, mean_share
from eval.microscope.scope import Scope

MOMENT, FIELDS, CELLS, OBJECTS, LAYERS = (
    "moment.json",
    "fields.csv",
    "cells.csv",
    "objects.csv",
    "layers.csv",
)
TWINS = "twins.npz"


@dataclass(frozen=True)
class Layer:
    """The studied object's effect on one activation at a moment."""

    activation: str
    size: float
    """Relative change without the object."""
    value: float | None
    """Share of the object's effect on the value carried by a patch from the twin without it; None
    if there is no effect,"""
    action: float | None
    """and the same for action probabilities."""


@dataclass(frozen=True)
class Findings:
    """What was found at one moment."""

    level: int
    step: int
    condition: str
    noun: str
    """For the studied object."""
    value: float
    probabilities: np.ndarray
    """float32 [A]."""
    without: HiddenObject | None
    """Effect of hiding the studied object; None if it is absent."""
    fields: Sequence[Field]
    attribution: Attribution
    hidden: Sequence[HiddenObject]
    layers: Sequence[Layer]


def find(
    scope: Scope,
    state: Any,
    cells: ObservedCells | None,
    level: int,
    step: int,
    condition: str,
) -> Findings:
    """Everything about one state, numpy.

    Args:
      cells: those that the observation shows.
    """
    before = scope.look_once(state)
    without = without_each(scope, before, scope.without(state))
    return Findings(
        level=level,
        step=step,
        condition=condition,
        noun=scope.testbed.noun(scope.testbed.studied),
        value=float(before.values[0]),
        probabilities=before.probabilities[0],
        without=without[0] if without else None,
        fields=fields_of(scope, state),
        attribution=attribute(scope, state, cells),
        hidden=hide_each(scope, state),
        layers=layers_of(scope, state),
    )


def layers_of(scope: Scope, state: Any) -> list[Layer]:
    """The studied object's effect on each activation; empty if it is absent."""
    twins = scope.without(state)
    if not twins.number:
        return []
    real, twin = scope.look_unpatched(repeated(state, 1)), scope.look_unpatched(twins.states)
    pair = Pair(real, twin, np.zeros(1, int))
    found = []
    for each in differences(pair):
        patched = scope.patch(
            pair.real.observations, pair.twin.activations, {each.activation: True}
        )
        shares = {}
        for output, of in OUTPUTS.items():
            before = of(pair.real)
            shares[output] = mean_share(of(patched) - before, of(pair.twin) - before)
        found.append(Layer(each.activation, each.size, **shares))
    return found


def write(
    found: Findings, cells: ObservedCells | None, provenance: Mapping[str, Any], out: Path
) -> None:
    """Write the tables of a moment."""
    actions = [f"p_{number}" for number in range(found.probabilities.size)]
    write_json(
        out / MOMENT,
        {
            **provenance,
            "level": found.level,
            "step": found.step,
            "condition": found.condition,
            "value": found.value,
            "probabilities": [round(float(p), 6) for p in found.probabilities],
            "likeliest_action": found.attribution.action,
            "without": found.without
            and {
                "title": found.without.title,
                "value": found.without.value,
                "probability_moved": round(found.without.moved, 6),
            },
            "empty_view": dict(
                zip(("value", "action"), map(float, found.attribution.total), strict=True)
            ),
        },
    )
    fields = [
        (field.object, *cell, value, *p)
        for field in found.fields
        for cell, value, p in zip(
            field.cells.tolist(), _round(field.values), _round(field.probabilities), strict=True
        )
    ]
    write_rows(out / FIELDS, ("object", "x", "y", "value", *actions), fields)
    head = ("row", "column", *(f"{way}_{t}" for way in ("gradients", "emptied") for t in OUTPUTS))
    write_rows(out / CELLS, head, [] if cells is None else _cell_rows(found.attribution, cells))
    write_rows(
        out / OBJECTS,
        ("hidden", "value", "probability_moved"),
        [(each.title, round(each.value, 6), round(each.moved, 6)) for each in found.hidden],
    )
    layers = [
        (
            each.activation,
            *("" if x is None else round(x, 6) for x in dataclasses.astuple(each)[1:]),
        )
        for each in found.layers
    ]
    head = ("activation", "relative_change", "carried_value", "carried_action")
    write_rows(out / LAYERS, head, layers)


def _round(values: np.ndarray) -> list[Any]:
    return np.round(values.astype(float), 6).tolist()


def _cell_rows(found: Attribution, cells: ObservedCells) -> list[tuple[Any, ...]]:
    effects = _round(np.concatenate([found.by_cell(cells), found.occlusion]).T)
    places = np.indices(cells.shape).reshape(2, -1).T.tolist()
    return [(*place, *effect) for place, effect in zip(places, effects, strict=True)]


def write_twins(scope: Scope, state: Any, path: Path) -> None:
    """Write the moment and all its twins for other tools: `titles` text [N], the moment's first,
    `objects` and `kinds` text [N], `cells` int32 [N, 2] (x, y), `observations` [N, ...], `logits`
    float32 [N, A], `values` float32 [N], and `activation_<name>` [N, ...] for each activation.
    """
    looks, head = [scope.look_once(state)], [("as it is", "", "", (-1, -1))]
    for change in scope.testbed.changes():
        twins = scope.twins(change, state)
        if twins.number:
            looks.append(scope.look_at(twins))
            head += [
                (title, change.object, change.kind, tuple(cell))
                for title, cell in zip(twins.titles, twins.cells.tolist(), strict=True)
            ]
    seen = jax.tree.map(lambda *leaves: np.concatenate(leaves), *looks)
    titles, objects, kinds, cells = zip(*head, strict=True)
    write_arrays(
        path,
        {
            "titles": np.array(titles),
            "objects": np.array(objects),
            "kinds": np.array(kinds),
            "cells": np.array(cells, np.int32),
            "observations": seen.observations,
            "logits": seen.logits,
            "values": seen.values,
            **{f"activation_{name}": each for name, each in seen.activations.items()},
        },
    )
