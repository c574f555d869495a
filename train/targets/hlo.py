"""Reads a compiled program as XLA prints it: computations, instructions, and their sources."""

from __future__ import annotations

import dataclasses
import math
import re
from functools import cached_property
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = ")
_OPCODE = re.compile(r" ?([a-z][\w\-]*)\(")
_NAME = re.compile(r"%([\w.\-]+)")
_ARRAY = re.compile(r"\b(pred|bf16|[suf]\d+\w*|c\d+)\[([\d,]*)\]")
_TRIPS = re.compile(r'"?known_trip_count"?:?=?\{"?n"?:"?(\d+)')
_LOCATION = re.compile(r"^(\d+) \{file_name_id=(\d+) .*?\bline=(\d+)")
_FRAME = re.compile(r"^(\d+) \{file_location_id=(\d+)")
_FILE = re.compile(r'^(\d+) "(.*)"$')


class Instruction(NamedTuple):
    """One line of a computation."""

    name: str
    shape: str
    """Shape of the result, as printed; a tuple in parentheses."""
    opcode: str
    operands: tuple[str, ...]
    rest: str
    """The line from the operands on, with attributes and metadata."""
    is_root: bool

    def called(self, attribute: str) -> tuple[str, ...]:
        """Names of the computations under an attribute such as `body`."""
        found = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.rest)
        if not found:
            return ()
        return tuple(name.strip(" %") for name in found[1].strip("{}").split(",") if name.strip())

    @property
    def op_name(self) -> str:
        """The path of jax operations that it was made from; empty if unknown."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True)
class Hlo:
    """A compiled module."""

    computations: dict[str, tuple[Instruction, ...]]
    entry: str
    frames: dict[int, str]
    """Source `file:line` by stack frame."""

    @cached_property
    def shapes(self) -> dict[str, dict[str, str]]:
        """Shape of each instruction, by computation and name."""
        return {
            name: {one.name: one.shape for one in body} for name, body in self.computations.items()
        }

    def source(self, instruction: Instruction) -> str:
        """`file:line` of the code that it comes from; empty if unknown."""
        if found := re.search(r'source_file="([^"]*)" source_line=(\d+)', instruction.rest):
            return f"{found[1]}:{found[2]}"
        found = re.search(r"stack_frame_id=(\d+)", instruction.rest)
        return self.frames.get(int(found[1]), "") if found else ""

    def trips(self, loop: Instruction) -> int | None:
        """How often the body of a `while` runs; None if unknown.

        Taken from the loop's configuration, or else the one integer its condition compares with.
        """
        if found := _TRIPS.search(loop.rest):
            return int(found[1])
        pending, bounds = list(loop.called("condition")), []
        while pending:
            for one in self.computations.get(pending.pop(), ()):
                pending += one.called("calls")
                value = re.match(r"\((\d+)\)", one.rest)
                if one.opcode == "constant" and value and one.shape.startswith("s32[]"):
                    bounds.append(int(value[1]))
                if one.opcode == "compare" and "direction=LT" not in one.rest:
                    return None
                if one.opcode in ("and", "or"):
                    return None
        return bounds[0] if len(bounds) == 1 else None


def num_bytes(shape: str) -> int:
    """Bytes of all arrays in a printed shape, without padding."""
    return sum(
        math.prod(int(size) for size in sizes.split(",") if size) * _item_bytes(dtype)
        for dtype, sizes in _ARRAY.findall(shape)
    )


def _item_bytes(dtype: str) -> int:
    if dtype == "pred":
        return 1
    bits = re.search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1


def _closing(text: str, start: int) -> int:
    """Index after the parenthesis that closes the one at `start`."""
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return index + 1
    return len(text)


def _instruction(line: str) -> Instruction | None:
    begins = _INSTRUCTION.match(line)
    if not begins:
        return None
    at = begins.end()
    end = _closing(line, at) if line[at : at + 1] == "(" else line.find(" ", at)
    opcode = _OPCODE.match(line, end)
    if not opcode:
        return None
    closed = _closing(line, opcode.end() - 1)
    operands = tuple(_NAME.findall(line[opcode.end() : closed]))
    rest = line[opcode.end() - 1 :]
    root = begins[1] is not None
    return Instruction(begins[2], line[at:end], opcode[1], operands, rest, root)


def parse(text: str) -> Hlo:
    """Read the text of a compiled module.

    Raises:
      ValueError: if it has no entry computation.
    """
    computations: dict[str, list[Instruction]] = {}
    files: dict[int, str] = {}
    places: dict[int, str] = {}
    frames: dict[int, str] = {}
    entry = ""
    inside: list[Instruction] | None = None
    for line in text.splitlines():
        if begins := _COMPUTATION.match(line):
            inside = computations.setdefault(begins[2], [])
            entry = begins[2] if begins[1] else entry
        elif line.startswith("}"):
            inside = None
        elif inside is not None:
            if one := _instruction(line):
                inside.append(one)
        elif found := _LOCATION.match(line):
            places[int(found[1])] = f"{files.get(int(found[2]), '?')}:{found[3]}"
        elif found := _FRAME.match(line):
            frames[int(found[1])] = places.get(int(found[2]), "")
        elif (found := _FILE.match(line)) and not places and int(found[1]) not in files:
            files[int(found[1])] = found[2]  # function names come later, under the same numbers
    if not entry:
        raise ValueError("this is no HLO module: it has no entry computation")
    return Hlo({name: tuple(body) for name, body in computations.items()}, entry, frames)
