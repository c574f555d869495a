"""What a compiled program does: kernels, loops, transfers, collectives, bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from train.targets.hlo import Hlo, Instruction, num_bytes

_FREE = {
    *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all"),
    *("opt-barrier", "partition-id", "replica-id", "add-dependency", "domain"),
}
_TO_HOST = {"infeed", "outfeed", "send", "recv"}
_COLLECTIVES = {
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    *("collective-broadcast", "ragged-all-to-all"),
}
_HOST_MEMORY = "S(5)"
_IN_PLACE = {"dynamic-update-slice", "scatter"}
_SLICES = {"dynamic-slice", "gather", "slice"}


@dataclasses.dataclass(frozen=True)
class Loop:
    """A `while` of the compiled program."""

    trips: int | None
    op_name: str
    source: str
    """`file:line`; empty if unknown."""
    body: str
    """Name of its computation."""

    @property
    def is_written(self) -> bool:
        """Whether the source has this loop; else the compiler made it from one operation."""
        return self.op_name.rpartition("/")[2] == "while"


@dataclasses.dataclass(frozen=True)
class Counts:
    """Counts for one execution of a computation; of a `cond`, the branch with the most kernels.

    A loop of unknown length counts as one round.
    """

    kernels: int
    """Launches on a GPU, operations on a TPU: everything neither free nor inside a fusion."""
    bytes: int
    """Read and written by the kernels, without padding; for slices and updates, the part only."""
    loops: int
    """Not multiplied by the rounds of loops."""
    host_predicates: int
    """Branches and loops of unknown length: a GPU's host waits for each of them."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.kernels + other.kernels,
            self.bytes + other.bytes,
            self.loops + other.loops,
            self.host_predicates + other.host_predicates,
        )

    def times(self, trips: int) -> Counts:
        """Counts for a loop whose body runs `trips` times."""
        return Counts(
            self.kernels * trips, self.bytes * trips, self.loops, self.host_predicates * trips
        )


NOTHING = Counts(0, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Collectives:
    """Communication between devices in one execution of the program, per device."""

    count: int
    bytes: int


def loops(hlo: Hlo) -> list[Loop]:
    """All loops, in the order in which they are printed."""
    return [
        Loop(hlo.trips(one), one.op_name, hlo.source(one), one.called("body")[0])
        for body in hlo.computations.values()
        for one in body
        if one.opcode == "while"
    ]


def over_environments(found: list[Loop], num_envs: int) -> list[Loop]:
    """The loops with one or more rounds per environment.

    Written loops do not count: none of the trainer's runs over environments, and their lengths,
    such as the steps of a rollout, may be multiples of the number of environments by chance.

    Args:
      num_envs: environments per device.
    """
    return [
        loop for loop in found if not loop.is_written and loop.trips and loop.trips % num_envs == 0
    ]


def _branches(one: Instruction) -> tuple[str, ...]:
    names = one.called("branch_computations")
    return names or (*one.called("true_computation"), *one.called("false_computation"))


def _called(one: Instruction) -> tuple[str, ...]:
    if one.opcode == "call":
        return one.called("to_apply")
    if one.opcode == "async-start":
        return one.called("calls")
    return ()


def counts(hlo: Hlo, computation: str) -> Counts:
    """What one execution of a computation does."""
    total = NOTHING
    for one in hlo.computations.get(computation, ()):
        if one.opcode == "while":
            trips = hlo.trips(one)
            # A loop of known length runs on a counter, without computing its condition.
            inner = one.called("body") if trips else (*one.called("body"), *one.called("condition"))
            work = sum((counts(hlo, name) for name in inner), NOTHING).times(trips or 1)
            total += work + Counts(0, 0, 1, int(trips is None))
        elif one.opcode == "conditional":
            branches = [counts(hlo, name) for name in _branches(one)]
            total += max(branches, key=lambda branch: branch.kernels, default=NOTHING)
            total += Counts(0, 0, 0, 1)
        elif called := _called(one):
            total += sum((counts(hlo, name) for name in called), NOTHING)
        elif one.opcode not in _FREE and not one.opcode.endswith(("-done", "-update")):
            total += Counts(1, _traffic(hlo, computation, one), 0, 0)
    return total


def _traffic(hlo: Hlo, computation: str, one: Instruction) -> int:
    """Bytes that an instruction reads and writes."""
    shapes = hlo.shapes[computation]
    sizes = [num_bytes(shapes.get(name, "")) for name in one.operands]
    if one.opcode == "fusion" and (called := one.called("calls")):
        return _fusion_traffic(hlo, called[0], sizes)
    if one.opcode in _IN_PLACE:
        return 2 * sum(sizes[1:])
    if one.opcode in _SLICES:
        return 2 * num_bytes(one.shape)
    return sum(sizes) + num_bytes(one.shape)


def _fusion_traffic(hlo: Hlo, name: str, sizes: list[int]) -> int:
    body = hlo.computations.get(name, ())
    by_name = {one.name: one for one in body}
    users: dict[str, list[Instruction]] = {}
    for one in body:
        for operand in one.operands:
            users.setdefault(operand, []).append(one)

    def read(parameter: Instruction) -> int:
        total = 0
        for user in users.get(parameter.name, []):
            if user.opcode in _SLICES and user.operands[0] == parameter.name:
                total += num_bytes(user.shape)
            elif not (user.opcode in _IN_PLACE and user.operands[0] == parameter.name):
                return num_bytes(parameter.shape)
        return min(total, num_bytes(parameter.shape))

    def written(one: Instruction) -> int:
        if one.opcode == "tuple":
            return sum(written(by_name[part]) for part in one.operands if part in by_name)
        if one.opcode == "bitcast" and one.operands and one.operands[0] in by_name:
            return written(by_name[one.operands[0]])
        if one.opcode in _IN_PLACE and len(one.operands) > 1:
            update = one.operands[-1 if one.opcode == "scatter" else 1]
            return num_bytes(by_name[update].shape) if update in by_name else 0
        return num_bytes(one.shape)

    if not body:
        return sum(sizes)
    reads = sum(read(one) for one in body if one.opcode == "parameter")
    return reads + sum(written(one) for one in body if one.is_root)


def _executed(hlo: Hlo, computation: str, times: int) -> Iterator[tuple[Instruction, int]]:
    """All instructions that may run, in every branch, and how often."""
    for one in hlo.computations.get(computation, ()):
        yield one, times
        rounds = times * (hlo.trips(one) or 1) if one.opcode == "while" else times
        for name in (*one.called("body"), *_branches(one), *_called(one)):
            yield from _executed(hlo, name, rounds)


def host_transfers(hlo: Hlo) -> int:
    """Instructions that move data between the device and its host, callbacks included."""
    return sum(
        one.opcode in _TO_HOST
        or _HOST_MEMORY in one.shape
        or (one.opcode == "custom-call" and "callback" in one.rest)
        for body in hlo.computations.values()
        for one in body
        if one.opcode not in ("get-tuple-element", "tuple")
    )


def collectives(hlo: Hlo) -> Collectives:
    """Communication between devices of one execution."""
    count = size = 0
    for one, times in _executed(hlo, hlo.entry, 1):
        kind = one.opcode.removesuffix("-start")
        if kind in _COLLECTIVES:
            count += times
            size += times * num_bytes(one.shape)
    return Collectives(count, size)


def step_loop(hlo: Hlo, num_steps: int) -> Loop | None:
    """The rollout: of the entry's loops of `num_steps` rounds, the one with the most kernels."""
    within = {one.called("body")[0] for one in hlo.computations[hlo.entry] if one.opcode == "while"}
    fitting = [loop for loop in loops(hlo) if loop.body in within and loop.trips == num_steps]
    return max(fitting, key=lambda loop: counts(hlo, loop.body).kernels, default=None)
