"""The contract between an environment and everything that trains on it or evaluates it.

A *testbed* is a gymnax environment with a goal, a proxy that coincides with the goal in training,
and ways to pull the two apart. `train` and `eval` know only this contract and gymnax's API, not
any particular environment. To add one, subclass `Testbed` and `register` an instance
(`registry.py`) in a module that is passed as `--plugins MODULE`, or named by an entry point of the
group `coinrun_jax.testbeds`. docs/your_own_testbed.md walks through an example.

Besides gymnax's API, its environment has

- `events`: names of the objects that the agent may touch, and `info["events"]`, int32
  [len(events)]: the step at which each was first touched, 0 for not yet;
- `outcomes`: names of the ways an episode can end, the first one meaning "not yet", and
  `info["outcome"]`, an index into them;
- `info["episode_length"]`, `info["episode_return"]`: for the episode so far;
- `start(key, index, params) -> state`: start on a level of the params;
- optionally `refresh(key, states, params)`, `save_levels`, `load_levels`, as `CoinRun` has them;
- a `step` that never both truncates and terminates, and sets `info["final_state"]`;
- params with `replace`, as flax dataclasses have it, and `max_steps_in_episode`;
- optionally `render(state, params, size) -> uint8 [size, size, 3]`, for clips and the gallery.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from coinrun_jax.checks import InputError, shown, whole
from coinrun_jax.settings import require_types
from coinrun_jax.suites import Condition, Suite

if TYPE_CHECKING:
    import jax
    import numpy as np

    from coinrun_jax.controllers import Controller
    from coinrun_jax.inspection import Probing, TrainingSample
    from coinrun_jax.scenes import Scene
    from coinrun_jax.twins import Change, ObservedCells

NUM_SEEDS = 2**31
"""Level seeds are 0 ... NUM_SEEDS - 1, as in Procgen."""
TEST_LEVELS = range(NUM_SEEDS - 1_000_000, NUM_SEEDS)
"""Level seeds held out for testing; `train` never draws from them."""


@dataclass(frozen=True)
class EnvConfig:
    """Settings of an environment: the section `env:` of a config. Testbeds subclass it.

    Raises:
      InputError: for a value of the wrong type or out of range.
    """

    id: str

    def __post_init__(self) -> None:
        require_types(self, "env")

    @property
    def p_apart(self) -> float:
        """Share of training episodes in which goal and proxy are apart."""
        return 0.0

    def in_words(self) -> str:
        """What training looks like, in a few words, such as "coin at the end"."""
        return self.id


@dataclass(frozen=True)
class LevelsConfig(EnvConfig):
    """Settings of an environment whose levels are built from seeds."""

    num_levels: int = 0
    """Size of the training set of levels; 0 for all but the held-out ones."""
    start_level: int = 0
    """First level seed of the training set."""
    pool_size: int = 1024
    """Levels in the pool at a time; a larger set rotates through it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("env.num_levels", self.num_levels, 0, NUM_SEEDS)
        whole("env.start_level", self.start_level, 0, NUM_SEEDS - 1)
        whole("env.pool_size", self.pool_size, 1, 2**24)

    @property
    def training_levels(self) -> range:
        """Level seeds of the training set.

        Raises:
          InputError: if it reaches into the held-out levels.
        """
        first, held_out = self.start_level, TEST_LEVELS.start
        if first >= held_out:
            raise InputError(
                f"env.start_level {first} is a held-out level; they begin at {held_out}"
            )
        number = self.num_levels or held_out - first
        if first + number > held_out:
            raise InputError(
                f"env.start_level {first} + num_levels {number} reaches into the held-out "
                f"levels, which begin at {held_out}"
            )
        return range(first, first + number)


@dataclass(frozen=True)
class Outcome:
    """One way in which an episode is decided: an object touched first, or a cause of its end."""

    name: str
    """In episodes.csv, such as "death:saw"."""
    title: str
    """In a caption, such as "killed by a saw"."""
    event: str | None = None
    """The object, one of the environment's `events`; otherwise set `cause`."""
    cause: str | None = None
    """The cause, one of the environment's `outcomes`."""
    group: str = ""
    """Table column in which it is counted, such as "death"; by default its name."""

    @property
    def column(self) -> str:
        return self.group or self.name


@dataclass(frozen=True)
class Words:
    """How tables, figures and reports name things; plain text."""

    question: str = "Which goal did it learn?"
    """Title of a report."""
    goal: str = "goal"
    """Noun for the goal, without article, such as "coin"."""
    proxy: str = "proxy"
    empty: str = "empty cell"
    """Column title for what a control watches."""
    columns: Mapping[str, str] | None = None
    """Titles of outcome columns, where they differ from the columns' names."""
    pursued: Mapping[str, str] | None = None
    """By object, how a verdict describes an agent that pursues it, such as "after the coin"."""
    fetched: str = "goal reached"
    """Caption of the clip in which the goal is reached; also names its file."""
    passed: str = "proxy reached first"
    """Caption of the clip in which the proxy comes first; also names its file."""
    counting: str = ""
    """Sentences on how episodes are counted, for the definitions of a report."""
    caveat: str = ""
    """A sentence on what pursuit of the proxy does not show about the agent."""


@dataclass(frozen=True)
class Reference:
    """A policy that needs no network, played on the same levels as an agent."""

    title: str
    controller: Controller
    most_levels: int | None = None
    """Most levels of each condition that it plays; None for all."""


class Testbed:
    """What `train` and `eval` know about an environment. One instance per id is registered."""

    id: ClassVar[str]
    Config: ClassVar[type[EnvConfig]] = EnvConfig
    """Its settings; the defaults give a usable environment."""
    goal: ClassVar[str] = ""
    """Event of the goal; "" where the environment has no events."""
    proxy: ClassVar[str] = ""
    """Event of the proxy."""
    outcomes: ClassVar[tuple[Outcome, ...]] = ()
    """In order of precedence within a step."""
    words: ClassVar[Words] = Words()
    look: ClassVar[tuple[str, ...]] = ()
    """Names of the conditions that training evaluates every `eval_every` updates."""
    bar: ClassVar[str] = ""
    """The reference policy that a competent agent clearly beats."""
    start_fields: ClassVar[tuple[str, ...]] = ()
    """State fields that differ between starts on one level. Trajectories store them."""
    step_fields: ClassVar[tuple[str, ...]] = ()
    """Params fields, such as "cues.mirrored", that steps depend on and conditions change.
    Trajectories store them, too."""

    apart_settings: ClassVar[tuple[str, ...]] = ()
    """Dotted names of settings that pull goal and proxy apart in training. The first one, such as
    "env.probability", is the share of episodes; the others have no effect if it is 0."""
    action_titles: ClassVar[tuple[str, ...]] = ()
    """A title for each action, for the player."""

    def noun(self, event: str) -> str:
        """The noun for an object, without article."""
        return {self.goal: self.words.goal, self.proxy: self.words.proxy}.get(event, event)

    def empty_cell(self, event: str) -> str:
        """Name of the cell that an object was taken from, such as "empty coin cell"."""
        noun = self.noun(event)
        return f"empty {noun}" if noun.endswith("cell") else f"empty {noun} cell"

    # To train on it.

    def require_usable(self, config: Any) -> None:
        """Refuse settings that cannot be used together; nothing is compiled.

        Raises:
          InputError: naming the setting.
        """

    def make_env(self, config: Any) -> Any:
        """The gymnax environment; no level is built and nothing compiled."""
        raise NotImplementedError

    def make_params(self, env: Any, config: Any) -> Any:
        """Training params; can be traced."""
        raise NotImplementedError

    # To evaluate on it.

    def evaluation_env(self, config: Any) -> Any:
        """The environment as an agent of this config sees it. It is equal for configs that differ
        only in levels, so that they share compiled programs.
        """
        return self.make_env(config)

    def evaluation_params(self, env: Any, levels: Any) -> Any:
        """Default params on given levels; `overrides` sets what a condition changes.

        Args:
          levels: from `build_levels` or `choose_levels`.
        """
        raise NotImplementedError

    def suites(self) -> Mapping[str, Suite]:
        """By name. Quickstarts and the documentation use "relocation"."""
        return {}

    def condition(self, entry: dict[str, Any]) -> Sequence[Condition]:
        """Conditions from an entry of a user's suite: one, and its control if requested.

        Args:
          entry: a mapping from YAML.

        Raises:
          InputError: for an entry that cannot be used.
        """
        raise InputError(f"{self.id} does not support suites from files")

    def overrides(self, condition: Condition, config: Any) -> dict[str, Any]:
        """Fields of params, by name, that a condition sets for an agent of this config.

        All conditions set the same fields, with leaves of the same shapes and types.

        Raises:
          InputError: for settings that cannot be used together.
        """
        del config
        return dict(condition.settings)

    def trained_condition(self, suite: Suite, config: Any) -> tuple[str | None, bool]:
        """The condition on which competence is measured.

        Returns:
          Its name, or None, and whether most of training was like it.
        """
        del config
        plain = [c.name for c in suite.conditions if c.plain and c.has_goal and not c.apart]
        return (plain[0], True) if plain else (None, False)

    def is_shifted(self, condition: Condition, config: Any) -> bool:
        """Whether a condition differs from training in more than unseen levels."""
        del config
        return condition.apart or not condition.plain

    def references(self, config: Any) -> Mapping[str, Reference]:
        """Reference policies by name, including `bar`."""
        return {}

    def choose_levels(
        self, conditions: Sequence[Condition], config: Any, count: int, unlike: int = 0
    ) -> tuple[Any, np.ndarray, np.ndarray]:
        """Build the held-out levels that each of C conditions is played on.

        Args:
          count: levels of each condition.
          unlike: leave out levels that look like one of the level seeds 0 ... unlike - 1.

        Returns:
          L levels as `build_levels` gives them, their seeds uint32 [L], and int32 [C, count],
          indices into them.

        Raises:
          InputError: if there are too few.
        """
        import numpy as np

        if unlike:
            raise InputError(f"{self.id} cannot leave out levels that look like training ones")
        if count > len(TEST_LEVELS):
            raise InputError(f"{count:,} levels requested; only {len(TEST_LEVELS):,} are held out")
        seeds = np.array(TEST_LEVELS[:count], np.uint32)
        index = np.tile(np.arange(count, dtype=np.int32), (len(conditions), 1))
        return self.build_levels(seeds, self.level_kind(conditions[0], config)), seeds, index

    def most_steps(self, config: Any) -> int:
        """Upper bound on an episode's steps; recorded actions take as much room."""
        del config
        return 1000

    def require_enough_levels(self, conditions: Sequence[Condition], count: int) -> None:
        """Refuse conditions with too few held-out levels; nothing is compiled.

        Raises:
          InputError: if there are any such conditions.
        """

    def level_kind(self, condition: Condition, config: Any) -> str:
        """What a level of a condition depends on besides its seed, such as "hard"."""
        return ""

    def build_levels(self, seeds: np.ndarray, kind: str) -> Any:
        """Levels from seeds uint32 [L], with a leading axis."""
        return seeds

    def details(
        self, before: dict[str, jax.Array] | None, state: Any, params: Any
    ) -> dict[str, jax.Array]:
        """What an episode's record keeps besides events; for one environment, traced.

        Args:
          before: the details so far; None at the start.
          state: after the step, or at the start.
          params: of the condition.

        Returns:
          Named numbers or small vectors, with the same names and types each time.
        """
        del before, state, params
        return {}

    def columns(self, details: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Columns of episodes.csv from details [N, ...] of N episodes; each [N]."""
        return {name: value for name, value in details.items() if value.ndim == 1}

    # To show it to people.

    def ends(self, details: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Where episodes ended, for a figure, from details with leading axes [...].

        Returns:
          Title of an axis -> positions on it, float [...]: first the horizontal axis, then the
          vertical one; {} for no figure.
        """
        return {}

    def came_near(self, details: Mapping[str, np.ndarray]) -> np.ndarray | bool:
        """Which episodes came near the goal, bool [...]; they are preferred for clips."""
        return True

    def scene(self, states: Sequence[Any], params: Any) -> Scene | None:
        """An episode for the report's player; None for no player."""
        return None

    def map(self, episodes: Sequence[Sequence[Any]], params: Any) -> np.ndarray | None:
        """A whole level with the paths of some episodes on it, uint8 [H, W, 3]."""
        return None

    def require_art(self, art: str) -> None:
        """Refuse art that the environment's `render(..., art=)` and `gallery` cannot draw from.

        Raises:
          InputError: for an unknown name, or pictures that are not available.
        """
        raise InputError(f"art {shown(art)}: {self.id} has only one art style")

    def gallery(self, art: str | None = None) -> Mapping[str, Callable[[], Any]]:
        """Pictures of everything that conditions can change: file name -> a matplotlib figure.

        Args:
          art: to draw from; must be accepted by `require_art`.
        """
        return {}

    # To inspect agents and training sets.

    @property
    def probing(self) -> Probing | None:
        """What `--probes` needs; None if probes are not supported."""
        return None

    studied: ClassVar[str] = ""
    """The object of `changes` whose presence the microscope is about; conditions move it."""

    def changes(self) -> Sequence[Change]:
        """What can be changed in a state, including moving and hiding `studied`; () for nothing.
        All changes make numpy states and compile nothing.
        """
        return ()

    def without_studied(self, state: Any) -> Any:
        """The state of one environment with the studied object hidden, as by its change; traced."""
        raise NotImplementedError

    def moves(self, params: Any) -> np.ndarray | None:
        """Direction of each action, float32 [A, 2], (right, up), for arrows; None for none."""
        del params
        return None

    def observed_cells(self, config: Any) -> ObservedCells | None:
        """Which cell each number of an observation shows; None if they do not show cells."""
        del config
        return None

    def require_auditable(self, config: Any) -> None:
        """Refuse settings that have nothing to audit; nothing is compiled.

        Raises:
          InputError: if there is no goal, or no audit.
        """
        raise InputError(f"{self.id} has no audit")

    def training_sample(self, config: Any, number: int, seed: int) -> TrainingSample:
        """Episode starts from training, with properties that may be associated with the goal.

        Args:
          number: of episodes; those without a goal are left out.
          seed: for all draws.

        Raises:
          InputError: if none of them has a goal.
        """
        raise NotImplementedError

    def require_id(self, found: Any) -> None:
        """Refuse a policy or file of another environment.

        Raises:
          InputError: if it is one.
        """
        if found != self.id:
            raise InputError(f"was made with {shown(found)}; this is {self.id}")
