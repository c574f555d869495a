"""Twins of a moment: one thing is changed, and all else is equal to the bit."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import jax
import numpy as np
import pytest

from coinrun_jax.coinrun.env_config import CoinRunConfig
from coinrun_jax.coinrun.observations.symbolic import PLANES, split
from coinrun_jax.coinrun.types import Entity
from coinrun_jax.exit_maze.maze_config import ExitMazeConfig
from coinrun_jax.registry import find_testbed
from coinrun_jax.twins import AGENT, HIDDEN, KINDS, MOVED, NOWHERE, repeated
from tests.tiny_testbed import CorridorTestbed

CONFIGS = {
    "coinrun": CoinRunConfig(),
    "pixels": CoinRunConfig(observation="rgb"),
    "maze": ExitMazeConfig("ExitMaze-v1", size=7),
    "board": ExitMazeConfig("ExitMaze-v1", size=7, view="board", observation="uint8"),
}
FIELDS = {
    ("coin", MOVED): {"coin_cell"},
    ("coin", HIDDEN): {"coin_present"},
    ("enemy", HIDDEN): {"entity_x"},
    ("green", MOVED): {"decoy_cell"},
    ("green", HIDDEN): {"decoy_colour"},
    ("green", "recoloured"): {"decoy_colour"},
    ("exit", HIDDEN): {"exit_present", "exit_colour"},
    ("exit", "recoloured"): {"exit_colour"},
    ("coin", AGENT): {"x", "y", "vx", "vy", "on_crate", "supported", "walking"},
    ("green", AGENT): {"cell"},
}
"""What may differ in a state, by object and kind; by studied object for the agent."""


class Moment:
    """A start, in the condition with goal and proxy apart."""

    def __init__(self, name: str) -> None:
        config = CONFIGS[name]
        self.testbed = find_testbed(config.id)
        self.env = self.testbed.evaluation_env(config)
        conditions = self.testbed.suites()["relocation"].conditions
        condition = next(each for each in conditions if each.name == self.testbed.look[-1])
        levels = self.testbed.build_levels(
            np.array([7, 10], np.uint32), self.testbed.level_kind(condition, config)
        )
        params = self.testbed.evaluation_params(self.env, levels)
        self.params = params.replace(**self.testbed.overrides(condition, config))
        _, state = self.env.reset_to_level(jax.random.key(0), 1, self.params)
        self.state, self.known = jax.device_get((state, self.params))

        @jax.jit
        def see(states: Any, overrides: Any) -> jax.Array:
            observe = partial(self.env.observe, jax.random.key(0))
            return jax.vmap(lambda s, o: observe(s, None, self.params.replace(**o)))(
                states, overrides
            )

        self.see = see

    def twins(self, thing: str, kind: str) -> Any:
        change = next(c for c in self.testbed.changes() if (c.object, c.kind) == (thing, kind))
        return change.make(self.state, self.known)


of = cache(Moment)


@pytest.fixture(params=CONFIGS, name="moment")
def _moment(request: pytest.FixtureRequest) -> Moment:
    return of(request.param)


def test_all_that_a_change_is_not_about_is_equal_to_the_bit(moment: Moment) -> None:
    kinds = set()
    for change in moment.testbed.changes():
        assert change.kind in KINDS
        twins = change.make(moment.state, moment.known)
        kinds |= {(change.object, change.kind)} if twins.number else set()
        thing = moment.testbed.studied if change.object == AGENT else change.object
        key = (thing, AGENT if change.object == AGENT else change.kind)
        allowed = set() if twins.overrides else FIELDS.get(key, set())
        before, after = vars(repeated(moment.state, twins.number)), vars(twins.states)
        for name in before:
            if name not in allowed:
                jax.tree.map(np.testing.assert_array_equal, before[name], after[name])
                assert [x.dtype for x in jax.tree.leaves(before[name])] == [
                    x.dtype for x in jax.tree.leaves(after[name])
                ]
        assert len(twins.titles) == len(set(twins.titles)) == len(twins.cells)
        assert (change.kind == MOVED) or (twins.cells == NOWHERE).all()
    assert {(moment.testbed.studied, kind) for kind in KINDS} <= kinds
    assert (AGENT, MOVED) in kinds


def test_the_twin_with_the_object_where_it_is_is_the_moment(moment: Moment) -> None:
    twins = moment.twins(moment.testbed.studied, MOVED)
    field = {"coin": "coin_cell", "green": "decoy_cell"}[moment.testbed.studied]
    same = (getattr(twins.states, field) == getattr(moment.state, field)).all(1)
    assert same.sum() == 1
    one = jax.tree.map(lambda leaf: leaf[same.argmax()], twins.states)
    jax.tree.map(np.testing.assert_array_equal, one, moment.state)


def test_what_is_seen_changes_where_the_object_is_and_nowhere_else(moment: Moment) -> None:
    if moment.testbed.studied == "coin" and moment.env.observation != "symbolic":
        seen = moment.see(moment.twins("coin", HIDDEN).states, {})
        moved = moment.twins("coin", MOVED)
        away = np.abs(moved.cells + 0.5 - [moment.state.x, moment.state.y]).max(1)
        some = np.flatnonzero(away > 2)[::17]  # it can be behind the agent
        pictures = moment.see(jax.tree.map(lambda leaf: leaf[some], moved.states), {})
        differ = (np.asarray(pictures) != np.asarray(seen)).reshape(len(some), -1).any(1)
        assert differ[away[some] < 6].all()
        assert differ.any()
        assert not differ[away[some] > 8].any()
        return
    if moment.testbed.studied == "green":
        moved = moment.twins("green", MOVED)
        without = np.asarray(moment.see(moment.twins("green", HIDDEN).states, {}))
        number = (np.asarray(moment.see(moved.states, {})) != without).reshape(len(moved.cells), -1)
        assert (number.sum(1) == 1).all()
        return
    cells = moment.testbed.observed_cells(CONFIGS["coinrun"])
    moved = moment.twins("coin", MOVED)
    planes, scalars = split(np.asarray(moment.see(moved.states, {})))
    x, y = (moved.cells - np.floor([moment.state.x, moment.state.y]) + 6).astype(int).T
    inside = (x >= 0) & (x < 13) & (y >= 0) & (y < 13)
    coin = np.zeros((len(x), 13, 13), np.float32)
    coin[np.flatnonzero(inside), x[inside], y[inside]] = 1
    np.testing.assert_array_equal(planes[:, :, PLANES.index("coin")], coin)
    rest = np.delete(planes, PLANES.index("coin"), 2)
    assert (rest == rest[:1]).all()
    assert (np.asarray(scalars) == scalars[:1]).all()
    flat = np.asarray(moment.see(moved.states, {}))[np.flatnonzero(inside)[0]]
    feature = cells.features.index("coin")
    shown = np.flatnonzero((cells.feature == feature) & (flat == 1))
    left, low = cells.corner(moment.state)
    row, column = divmod(int(cells.cell[shown[0]]), 13)
    assert (left + column, low + 12 - row) == tuple(moved.cells[np.flatnonzero(inside)[0]])


def test_enemies_are_hidden_one_by_one_as_by_the_cue(moment: Moment) -> None:
    if moment.testbed.studied != "coin":
        pytest.skip("mazes have no enemies")
    twins, cued = (moment.twins(name, HIDDEN) for name in ("enemy", "any enemy"))
    slots = moment.known.pool.levels.entity_type[1] == Entity.ENEMY
    assert twins.number == slots.sum() == 2
    entity_x = twins.states.entity_x.min(0)  # both are hidden
    y = moment.known.pool.levels.entity_xy[1, slots, 1]
    for x, height in zip(moment.state.entity_x[slots], y, strict=True):
        beside = {"x": x[None] - np.float32(1), "y": height[None]}
        first = jax.tree.map(lambda leaf: leaf[:1], twins.states)
        gone = moment.see(first.replace(entity_x=entity_x[None], **beside), {})
        there = moment.see(repeated(moment.state, 1).replace(**beside), {})
        by_cue = moment.see(cued.states.replace(**beside), cued.overrides)
        np.testing.assert_array_equal(gone, by_cue)
        assert (np.asarray(gone) != there).any()


def test_recoloured_and_hidden_things_are_seen_so() -> None:
    moment = of("coinrun")
    near = {"x": np.float32([moment.state.coin_cell[0]]), "y": np.float32([3])}

    def shown(twins: Any, number: int = 0) -> np.ndarray:
        one = jax.tree.map(lambda leaf: leaf[number : number + 1], (twins.states, twins.overrides))
        at = moment.state.coin_cell[1] + np.float32([1])
        return np.asarray(split(moment.see(one[0].replace(**near | {"y": at}), one[1]))[0])[0]

    red, bare = shown(moment.twins("coin", "recoloured")), shown(moment.twins("coin", HIDDEN))
    assert red[:, PLANES.index("coin")].sum() == bare[:, PLANES.index("coin")].sum() == 0
    assert red[:, PLANES.index("item")].sum() == 1
    assert bare[:, PLANES.index("item")].sum() == 0


def test_the_agent_is_put_where_it_can_stand() -> None:
    moment = of("coinrun")
    twins = moment.twins(AGENT, MOVED)
    assert twins.number > 10
    assert (split(moment.see(twins.states, {}))[1][:, 4] == 1).all()  # supported
    noop = np.full(twins.number, 4)
    step = jax.vmap(moment.env.advance, (0, 0, None))
    later = jax.jit(step)(twins.states, noop, moment.params)[0]
    np.testing.assert_array_equal(later.y, twins.states.y)


def test_moves_are_where_actions_lead() -> None:
    coinrun, maze = of("coinrun"), of("maze")
    titles = coinrun.testbed.action_titles
    moves = coinrun.testbed.moves(coinrun.known)
    assert moves[titles.index("→ ↑")].tolist() == [1, 1]
    assert not moves[9:].any()
    mirrored = coinrun.known.replace(cues=coinrun.known.cues.replace(mirrored=np.bool_(True)))
    np.testing.assert_array_equal(coinrun.testbed.moves(mirrored), moves * [-1, 1])
    assert maze.testbed.moves(maze.known).tolist() == [[-1, 0], [1, 0], [0, 1], [0, -1]]


def test_testbeds_need_not_name_anything() -> None:
    corridor = CorridorTestbed()
    assert corridor.changes() == ()
    assert corridor.moves(None) is None
    assert corridor.observed_cells(None) is None
