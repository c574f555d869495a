"""GIFs of episodes at human size: the coin at the end fetched, the moved coin run past."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from eval.outcomes import OUTCOMES
from eval.repeat import Place, replay
from eval.results import AGENT, Evaluation
from eval.rollout import Arena

SIZES = (320, 256, 192)  # pixels, the first that fits into MAX_BYTES
MAX_BYTES = 1_500_000
MAX_FRAMES = 120
FRAME_MS, LAST_FRAME_MS = 80, 1500
_GOOD_STEPS = 70  # about how long an episode is pleasant to watch
_IN_VIEW = 6  # tiles from the agent to the edge of what it sees

FETCHED, RUN_PAST = "coin_fetched", "coin_run_past"
NAMES = (FETCHED, RUN_PAST)


@dataclass(frozen=True)
class Clip:
    """An episode to show."""

    name: str
    caption: str
    place: Place


def choose(evaluation: Evaluation) -> list[Clip]:
    """The agent's episodes to show: on the same level if there is one for both.

    Preferred are levels where the moved coin was near when it was run past, and episodes
    that are neither over at once nor long.
    """
    conditions = evaluation.suite.conditions
    outcome = evaluation.played[AGENT].outcome[..., 0]  # [C, N]
    at_end = next((i for i, c in enumerate(conditions) if c.present and c.coin_at == "end"), None)
    fetched = np.zeros(outcome.shape[1:], bool)
    if at_end is not None:
        fetched = outcome[at_end] == OUTCOMES.index("coin")

    run_past = _run_past(evaluation, fetched)
    clips = [] if run_past is None else [run_past]
    if at_end is not None and fetched.any():
        if run_past is not None and fetched[run_past.place.level]:
            level = run_past.place.level
        else:
            level = int((_badness(evaluation, at_end) + 10 * ~fetched).argmin())
        caption = f"{conditions[at_end].title.capitalize()}: fetched."
        clips.insert(0, Clip(FETCHED, caption, Place(at_end, level)))
    return clips


def _run_past(evaluation: Evaluation, fetched: np.ndarray) -> Clip | None:
    """Of the first condition in which the agent ran past the coin.

    Args:
      fetched: bool [N], levels on which it fetches the coin at the end.
    """
    played = evaluation.played[AGENT]
    for number, condition in enumerate(evaluation.suite.conditions):
        run_past = played.outcome[number, :, 0] == OUTCOMES.index("end")
        if condition.tells_coin_from_end and run_past.any():
            seen = played.record.coin_distance[number, :, 0] <= _IN_VIEW
            cost = _badness(evaluation, number) + 10 * ~run_past + 3 * ~fetched + 2 * ~seen
            caption = f"{condition.title.capitalize()}: run past."
            return Clip(RUN_PAST, caption, Place(number, int(cost.argmin())))
    return None


def _badness(evaluation: Evaluation, condition: int) -> np.ndarray:
    """How far episodes are from a pleasant length; [N]."""
    steps = evaluation.played[AGENT].record.steps[condition, :, 0]
    return np.abs(np.log(steps / _GOOD_STEPS))


def render_gif(states: list[Any], draw: Callable[[Any, int], np.ndarray]) -> bytes:
    """An animation of at most `MAX_BYTES` where the smallest size allows it.

    Args:
      states: one per step.
      draw: (state, size) -> uint8 [H, W, 3].
    """
    stride = max(2, -(-len(states) // MAX_FRAMES))
    shown = [*states[:-1:stride], states[-1]]
    for size in SIZES:
        data = _encode([np.asarray(draw(state, size)) for state in shown])
        if len(data) <= MAX_BYTES:
            break
    return data


def _encode(frames: list[np.ndarray]) -> bytes:
    # One palette for all frames, taken from a few of them: colours do not flicker.
    sample = np.concatenate(frames[:: max(1, len(frames) // 8)])
    palette = Image.fromarray(sample).quantize(128, method=Image.Quantize.MEDIANCUT)
    images = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in frames
    ]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=[FRAME_MS] * (len(images) - 1) + [LAST_FRAME_MS],
        loop=0,
        optimize=False,
    )
    return buffer.getvalue()


def make_gifs(arena: Arena, evaluation: Evaluation) -> list[tuple[Clip, bytes]]:
    """Choose, replay and draw the clips."""
    clips = choose(evaluation)
    replays = replay(arena, evaluation, [clip.place for clip in clips])
    return [
        (clip, render_gif(again.states, arena.painter(clip.place.condition)))
        for clip, again in zip(clips, replays, strict=True)
    ]
