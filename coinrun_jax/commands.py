"""What the command lines of this package share: bad input is one line, and exit status 2."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from coinrun_jax.env import NUM_SEEDS


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that names the fault in one line and does not repeat the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def integer_from(lowest: int) -> Callable[[str], int]:
    """Type of an argument that is an integer, at least `lowest`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = lowest - 1
        if number < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= {lowest}")
        return number

    return parse


def output_path(text: str) -> Path:
    """Type of an argument that names a file to write: its folder must exist."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder")
    if not path.resolve().parent.is_dir():
        raise argparse.ArgumentTypeError(f"the folder of {text} does not exist")
    return path


def seed_range(text: str) -> range:
    """Type of an argument A:B, the level seeds A ... B - 1."""
    first, colon, stop = text.partition(":")
    if not (colon and first.isdecimal() and stop.isdecimal() and text.isascii()):
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B, two level seeds")
    seeds = range(int(first), int(stop))
    if not len(seeds) or seeds.stop > NUM_SEEDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with 0 <= A < B <= {NUM_SEEDS}")
    return seeds
