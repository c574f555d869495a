"""When policies are kept for good: `keep_at` in a config, as text."""

from __future__ import annotations

import numpy as np

from coinrun_jax.checks import InputError, shown

_LOG = "log:"
MOST_KEPT = 10_000


def steps_to_keep(text: str, first: int, last: int) -> list[int]:
    """Environment steps, 0 for the initial policy.

    Args:
      text: such as 0,1e5,1e6, or log:12 for 0 and 11 more from `first` to `last`, spaced evenly on
        a logarithmic scale.
      first: steps of the first update.
      last: steps of the run.

    Raises:
      InputError: for any other text, or steps that the run does not have.
    """
    if text.startswith(_LOG):
        count = text.removeprefix(_LOG)
        if not count.isdecimal() or not 2 <= int(count[:9]) <= MOST_KEPT or len(count) > 9:
            raise InputError(f"keep_at {shown(text)}: N of log:N is not within 2 ... {MOST_KEPT}")
        # Rounded down, so that none lies beyond the end.
        return [0, *np.geomspace(first, last, int(count) - 1).astype(np.int64).tolist()]
    steps = [_steps(word, text) for word in text.split(",")]
    if len(steps) > MOST_KEPT:
        raise InputError(f"keep_at names {len(steps):,} policies; at most {MOST_KEPT:,} are kept")
    for each in steps:
        if not 0 <= each <= last:
            raise InputError(
                f"keep_at {shown(each)} is not within the run's 0 ... {last} environment steps"
            )
    return steps


def _steps(word: str, text: str) -> int:
    try:
        number = float(word)
        if number != int(number):
            raise ValueError
        return int(number)
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"keep_at {shown(text)} is neither steps, such as 0,1e5,1e6, nor log:N"
        ) from error
