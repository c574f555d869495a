"""What the player shows inside an agent: fields, the same moment without an object, layers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from coinrun_jax.arena import Arena, Replay
from coinrun_jax.scenes import Scene
from coinrun_jax.twins import AGENT, MOVED, Twins
from eval.microscope.examination import Layer, layers_of
from eval.microscope.fields import Field, arrows
from eval.microscope.scope import Look, Scope
from eval.states import Place
from train.policy import Policy

MOST_MOMENTS = 60
"""Moments per episode, spread evenly."""
MOST_PICTURES = 12
"""The same if observations are pictures: drawing the twins takes long."""


@dataclass(frozen=True)
class Moment:
    """One step of an episode."""

    step: int
    fields: Sequence[Field]
    real: Look
    """The state as it is,"""
    without: Look | None
    """and without the studied object; None if it is absent."""
    layers: Sequence[Layer]


@dataclass(frozen=True)
class Inside:
    """Moments of one episode."""

    nouns: Mapping[str, str]
    """Nouns for the objects of fields."""
    moments: Sequence[Moment]


def look_inside(
    policy: Policy, arena: Arena, place: Place, again: Replay, scene: Scene
) -> Inside | None:
    """Moments of an episode; None if the testbed names nothing that can be changed."""
    testbed = arena.testbed
    if not testbed.changes():
        return None
    scope = Scope.of(policy, arena, place.condition)
    last = max(len(again.states) - 2, 0)
    cells = testbed.observed_cells(policy.env_config)
    most = MOST_PICTURES if cells is not None and cells.is_picture else MOST_MOMENTS
    steps = np.unique(np.linspace(0, last, min(last + 1, most)).round().astype(int))
    return Inside(
        nouns={testbed.studied: testbed.noun(testbed.studied), AGENT: AGENT},
        moments=[_moment(scope, again.states[step], int(step), scene) for step in steps],
    )


def _moment(scope: Scope, state: Any, step: int, scene: Scene) -> Moment:
    testbed, moves = scope.testbed, scope.testbed.moves(scope.known)
    fields = []
    for change in testbed.changes():
        if change.kind == MOVED and change.object in (testbed.studied, AGENT):
            twins = scope.twins(change, state)
            if change.object != AGENT:
                twins = _in_view(twins, scene, step)
            if twins.number:
                seen = scope.look_at(twins)
                p = seen.probabilities
                fields.append(Field(change.object, twins.cells, seen.values, p, arrows(p, moves)))
    twins = scope.without(state)
    return Moment(
        step=step,
        fields=fields,
        real=scope.look_once(state),
        without=scope.look_at(twins) if twins.number else None,
        layers=layers_of(scope, state),
    )


def _in_view(twins: Twins, scene: Scene, step: int) -> Twins:
    """The twins whose object the agent might see; the others all look alike."""
    if scene.view is None:
        return twins
    track = scene.tracks[scene.focus]
    x, y = (float(each[min(step, len(each) - 1)]) for each in (track.x, track.y))
    away = np.abs(twins.cells + 0.5 - [x, y]).max(1)
    near = np.flatnonzero(away <= scene.view / 2 + 0.5)
    return Twins(
        states=jax.tree.map(lambda leaf: leaf[near], twins.states),
        titles=tuple(twins.titles[number] for number in near),
        cells=twins.cells[near],
        overrides=twins.overrides,
    )


def inside_data(found: Inside) -> dict[str, Any]:
    """What `inside.js` reads, ready for JSON. Arrays are base64-encoded bytes."""
    values = [field.values for moment in found.moments for field in moment.fields]
    every = np.concatenate([*values, *(moment.real.values for moment in found.moments)])
    low, high = float(every.min()), float(every.max())
    return {
        "nouns": dict(found.nouns),
        "low": round(low, 3),
        "high": round(high, 3),
        "layers": [layer.activation for layer in _layers(found)],
        "moments": [_moment_data(moment, low, (high - low) or 1.0) for moment in found.moments],
    }


def _layers(found: Inside) -> Sequence[Layer]:
    return next((moment.layers for moment in found.moments if moment.layers), ())


def _moment_data(moment: Moment, low: float, span: float) -> dict[str, Any]:
    return {
        "step": moment.step,
        "fields": [
            {
                "object": field.object,
                "cells": _bytes(field.cells, np.uint8),
                "values": _bytes(255 * (field.values - low) / span, np.uint8),
                "arrows": None if field.arrows is None else _bytes(100 * field.arrows, np.int8),
            }
            for field in moment.fields
        ],
        "real": _look_data(moment.real),
        "without": _look_data(moment.without) if moment.without else None,
        "changed": [round(layer.size, 3) for layer in moment.layers],
    }


def _look_data(look: Look) -> dict[str, Any]:
    p = np.round(look.probabilities[0].astype(float), 3)
    return {"value": round(float(look.values[0]), 2), "p": p.tolist()}


def _bytes(values: np.ndarray, dtype: Any) -> str:
    limits = np.iinfo(dtype)
    whole = np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
    return base64.b64encode(whole.tobytes()).decode()
