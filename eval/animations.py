"""GIFs of episodes at a viewable size: goal reached as in training, and proxy reached first."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from coinrun_jax.arena import Arena
from coinrun_jax.gif import write_gif
from coinrun_jax.testbed import Testbed
from eval.results import AGENT, Evaluation
from eval.states import Place, replay

SIZES = (320, 256, 192)  # pixels; the first that fits into MAX_BYTES is used
MAX_BYTES = 1_500_000
MAX_FRAMES = 120
FRAME_MS, COLOURS = 80, 128
GOOD_STEPS = 70  # preferred length of an episode, unless the usual one is much shorter


@dataclass(frozen=True)
class Clip:
    """An episode to show."""

    name: str
    caption: str
    place: Place


def names(testbed: Testbed) -> tuple[str, str]:
    """Names of the two clips: goal reached, proxy first."""
    words = testbed.words
    fetched, passed = (text.replace(" ", "_") for text in (words.fetched, words.passed))
    return fetched, passed


def unpleasant(evaluation: Evaluation) -> np.ndarray:
    """Absolute log ratio of episode length to the preferred one; float [C, N, S]."""
    testbed = evaluation.testbed
    steps = np.maximum(np.asarray(evaluation.played[AGENT].record.steps), 1)
    conditions = range(len(evaluation.suite.conditions))
    came = [evaluation.came_to(AGENT, c, testbed.goal, testbed.proxy) for c in conditions]
    usual = float(np.median(steps[np.stack(came)])) if np.any(came) else GOOD_STEPS
    return np.abs(np.log(steps / min(GOOD_STEPS, 1.5 * usual)))


def came_near(evaluation: Evaluation) -> np.ndarray:
    """Whether the agent came near the goal; bool [C, N, S]."""
    played = evaluation.played[AGENT]
    details = {name: np.asarray(value) for name, value in played.record.details.items()}
    return np.broadcast_to(evaluation.testbed.came_near(details), played.outcome.shape)


def sentence(text: str) -> str:
    """Capitalise the first letter."""
    return text[:1].upper() + text[1:]


def choose(evaluation: Evaluation) -> list[Clip]:
    """Choose the agent's episodes to show, both on the same level if possible.

    Prefers levels on which the agent came near the goal but reached the proxy first, and episodes
    that are neither very short nor long.
    """
    suite, testbed = evaluation.suite, evaluation.testbed
    trained, _ = testbed.trained_condition(suite, evaluation.config.env)
    together = None if trained is None else suite.index(trained)
    fetched = np.zeros(evaluation.level_seeds.shape[1], bool)
    if together is not None:
        fetched = evaluation.came_to(AGENT, together, testbed.goal)[:, 0]

    passed = _passed(evaluation, fetched)
    clips = [] if passed is None else [passed]
    if together is not None and fetched.any():
        if passed is not None and fetched[passed.place.level]:
            level = passed.place.level
        else:
            level = int((unpleasant(evaluation)[together, :, 0] + 10 * ~fetched).argmin())
        caption = f"{sentence(suite.conditions[together].title)}: {testbed.words.fetched}."
        clips.insert(0, Clip(names(testbed)[0], caption, Place(together, level)))
    return clips


def _passed(evaluation: Evaluation, fetched: np.ndarray) -> Clip | None:
    """A clip from the first condition in which the agent reached the proxy first.

    Args:
      fetched: bool [N], levels on which it reaches the goal as in training.
    """
    testbed, near = evaluation.testbed, came_near(evaluation)
    length = unpleasant(evaluation)[..., 0]
    for number, condition in enumerate(evaluation.suite.conditions):
        passed = evaluation.came_to(AGENT, number, testbed.proxy)[:, 0]
        if condition.apart and passed.any():
            cost = length[number] + 10 * ~passed + 3 * ~fetched
            cost += 2 * ~near[number, :, 0]
            caption = f"{sentence(condition.title)}: {testbed.words.passed}."
            return Clip(names(testbed)[1], caption, Place(number, int(cost.argmin())))
    return None


def render_gif(states: list[Any], draw: Callable[[Any, int], np.ndarray]) -> bytes:
    """Render an animation of at most `MAX_BYTES`, if the smallest size allows it.

    Args:
      states: one per step.
      draw: (state, size) -> uint8 [H, W, 3].
    """
    stride = max(1 + (len(states) > MAX_FRAMES // 3), -(-len(states) // MAX_FRAMES))
    shown = [*states[:-1:stride], states[-1]]
    data, drawn = b"", 0
    for size in SIZES:
        # Bytes scale with area, so sizes that will not fit are skipped, except the smallest.
        if size > SIZES[-1] and len(data) * size**2 > MAX_BYTES * drawn**2:
            continue
        pictures, buffer = [np.asarray(draw(state, size)) for state in shown], io.BytesIO()
        write_gif(buffer, pictures, lambda picture: picture, FRAME_MS, COLOURS)
        data, drawn = buffer.getvalue(), size
        if len(data) <= MAX_BYTES:
            break
    return data


def make_gifs(
    arena: Arena, evaluation: Evaluation, art: str | None = None
) -> list[tuple[Clip, bytes]]:
    """Choose, replay and draw the clips; none if the environment cannot be drawn.

    Args:
      art: see `Arena.painter`.
    """
    if not hasattr(arena.env, "render"):
        return []
    clips = choose(evaluation)
    replays = replay(arena, evaluation, [clip.place for clip in clips])
    return [
        (clip, render_gif(again.states, arena.painter(clip.place.condition, art)))
        for clip, again in zip(clips, replays, strict=True)
    ]
