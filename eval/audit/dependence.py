"""How strongly a property is associated with the position of the goal, and the verdict on it.

*Properties of a cell* (far from the start, of a colour, ...). Take the goal's cell or, with equal
probability, another cell of the same level that it might have been in, and tell which it is from
the property alone. The mutual information between property and answer says how well that works: 1
bit if always, 0 if the property is as common among goals as among other cells. With p and q the
distributions of the property over goals and over other cells, it is their Jensen-Shannon divergence
(Lin 1991), so what the levels' geometry gives to every cell counts for nothing. *Tied* divides it
by its value if every goal had one of the values that goals favour (those with p > q), in the same
proportions as now: it is 1 if goals always have them, whether they are rare or common.

*Properties of a level* (a theme, difficulty, ...). The mutual information between the property and
the place of the goal (such as a tenth of the way), minus that between the property and the place
of the other cells; *tied* divides by the smaller of the two entropies.

In both cases small counts bias the information upwards, so its mean under shuffling is subtracted:
goals are exchanged with other cells of their own level, or properties permuted among levels.
Intervals are bootstrapped over levels. A "start" is one episode's start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from coinrun_jax.inspection import CellProperty, Property, TrainingSample
from eval.resampling import Resampling
from eval.statistics import CONFIDENCE, Estimate

CONFOUNDED_FROM = 0.5  # tied; a goal with a value in 70 to 80 % of episodes, else by chance
CELLS_FROM = 0.2  # bits, for cells: a value that under two thirds of the other cells have
INDEPENDENT_BELOW = 0.02  # tied; in less than 5 % of episodes if the value is rare, 20 % if not
CHANCE_ABOVE = 0.01  # p-value above which chance explains it
CONSTANT_GOALS, CONSTANT_CELLS = 0.99, 0.8  # with the same value
THRESHOLDS = (
    f"confounded: tied >= {CONFOUNDED_FROM:g} and, for cells, >= {CELLS_FROM:g} bits; "
    f"independent: tied < {INDEPENDENT_BELOW:g} or p > {CHANCE_ABOVE:g}; partly: between; "
    f"constant: a level property with one value, or a value of >= {CONSTANT_GOALS:.0%} of goals "
    f"and >= {CONSTANT_CELLS:.0%} of other cells"
)
VERDICTS = ("confounded", "partly", "independent", "constant")
_LEAST_ROOM = 1e-3  # bits; with less, there is next to nothing to be tied to
RESAMPLES = 400
SHUFFLES = 200


@dataclass(frozen=True)
class Dependence:
    """How one property is associated with the goal."""

    verdict: str
    """One of `VERDICTS`."""
    bits: Estimate
    """Mutual information, bias-corrected."""
    tied: Estimate
    """0 independent ... 1 fully tied."""
    p: float
    """Share of shuffles with at least as much information."""
    goal: float
    """For goals: mean of the property as a number, or its Cramér's V with their place."""
    other: float
    """The same for other cells."""
    effect: Estimate
    """goal - other."""
    predicted: float
    """How often the property correctly predicts the goal among two cells, or its position,"""
    chance: float
    """and how often a prediction without it is right."""


def measure(sample: TrainingSample, seed: int) -> list[Dependence]:
    """How each property of the sample is associated with the goal."""
    resampling = Resampling(sample.level_seeds, RESAMPLES, seed)

    def found(each: Property) -> Dependence:
        if isinstance(each, CellProperty):
            return of_cells(each.codes, each.numbers, resampling)
        views = [of_levels(each.codes, place, resampling) for place in sample.places]
        return max(views, key=lambda view: view.tied.estimate)

    return [found(each) for each in sample.properties]


def entropy(p: np.ndarray) -> np.ndarray:
    """Entropy of distributions along the last axis, in bits."""
    return -np.sum(p * np.log2(np.where(p > 0, p, 1)), -1)


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence of distributions along the last axis, 0 ... 1 bit."""
    return np.maximum(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2, 0)


def most(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Divergence if goals had only the values that they have more often than other cells."""
    favoured = np.where(p > q, p, 0)
    total = favoured.sum(-1, keepdims=True)
    always = np.where(total > 0, favoured / np.where(total > 0, total, 1), q)
    return divergence(always, q)


def information(table: np.ndarray) -> np.ndarray:
    """Mutual information of the last two axes of joint distributions, in bits."""
    joint = entropy(table.reshape(*table.shape[:-2], -1))
    return np.maximum(entropy(table.sum(-1)) + entropy(table.sum(-2)) - joint, 0)


def cramers_v(table: np.ndarray, number: int) -> np.ndarray:
    """Cramér's V of joint distributions of `number` samples, bias-corrected (Bergsma 2013).

    Other cells of a level are not independent samples, so `number` counts levels.
    """
    rows, columns = table.sum(-1, keepdims=True), table.sum(-2, keepdims=True)
    expected = rows * columns
    squared = (table - expected) ** 2 / np.where(expected > 0, expected, 1)
    kinds = [np.sum(side > 0, (-2, -1)) for side in (rows, columns)]
    excess = squared.sum((-2, -1)) - (kinds[0] - 1) * (kinds[1] - 1) / (number - 1)
    shrunk = [k - (k - 1) ** 2 / (number - 1) - 1 for k in kinds]
    room = np.minimum(*shrunk)
    return np.sqrt(np.clip(excess, 0, None) / np.where(room > 0, room, np.inf))


def _estimate(
    value: float, resampled: np.ndarray, low: float = -np.inf, high: float = np.inf
) -> Estimate:
    """An estimate with the resamples' spread, centred since their mean has its own bias."""
    tail = (1 - CONFIDENCE) / 2
    spread = np.quantile(resampled, [tail, 1 - tail]) - resampled.mean()
    least, largest = np.clip(value + spread, low, high)
    value = float(np.clip(value, low, high))
    return Estimate(value, min(float(least), value), max(float(largest), value))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    known = whole > _LEAST_ROOM
    return np.clip(np.where(known, part / np.where(known, whole, 1), 0), 0, 1)


def _p_value(found: np.ndarray, shuffled: np.ndarray) -> float:
    return float((1 + np.sum(shuffled >= found)) / (1 + len(shuffled)))


def _call(tied: Estimate, p: float, strong: bool, constant: bool) -> str:
    if constant:
        return "constant"
    if tied.estimate < INDEPENDENT_BELOW or p > CHANCE_ABOVE:
        return "independent"
    return "confounded" if strong and tied.estimate >= CONFOUNDED_FROM else "partly"


def of_cells(codes: np.ndarray, numbers: np.ndarray, resampling: Resampling) -> Dependence:
    """A property of cells.

    Args:
      codes: int [N, 1 + K], the property's value as 0, 1, ..., of the goal's cell and of K
        other cells that the level offers.
      numbers: float [N, 1 + K], the property as a number, for the plain comparison of means.
      resampling: of the N starts.
    """
    rng = np.random.default_rng(resampling.seed)
    kinds = int(codes.max()) + 1
    hot = (codes[..., None] == np.arange(kinds)).astype(np.float32)  # [N, 1 + K, kinds]
    goals, total = hot[:, 0], hot.sum(1)
    others = (total - goals) / (hot.shape[1] - 1)
    p, q = goals.mean(0, dtype=float), others.mean(0, dtype=float)
    found = divergence(p, q)

    everything, shuffled = total.sum(0, dtype=float), np.empty(SHUFFLES)
    for i in range(SHUFFLES):
        chosen = rng.integers(codes.shape[1], size=len(codes))
        taken = np.bincount(codes[np.arange(len(codes)), chosen], minlength=kinds)
        rest = everything - taken
        shuffled[i] = divergence(taken / taken.sum(), rest / rest.sum())
    bias, room = shuffled.mean(), most(p, q)

    again_p, again_q = resampling.means(goals), resampling.means(others)
    again = divergence(again_p, again_q)
    again_tied = _ratio(again, most(again_p, again_q))
    tied = _estimate(float(_ratio(found - bias, room)), again_tied, 0, 1)
    bits, p_value = _estimate(float(found - bias), again, 0, 1), _p_value(found, shuffled)
    goal, other = numbers[:, 0], numbers[:, 1:].mean(1)
    constant = bool(np.any((p >= CONSTANT_GOALS) & (q >= CONSTANT_CELLS)))
    return Dependence(
        verdict=_call(tied, p_value, bits.estimate >= CELLS_FROM, constant),
        bits=bits,
        tied=tied,
        p=p_value,
        goal=float(goal.mean()),
        other=float(other.mean()),
        effect=_estimate(float((goal - other).mean()), resampling.means(goal - other)),
        predicted=_told_apart(goals, others),
        chance=0.5,
    )


def _told_apart(goals: np.ndarray, others: np.ndarray) -> float:
    """How often a cell's value tells the goal from another cell.

    Fitted on every second start and tested on the others.
    """
    right = []
    for learn, trial in ((0, 1), (1, 0)):
        favour = np.sign(goals[learn::2].mean(0) - others[learn::2].mean(0))
        gap = goals[trial::2].mean(0) - others[trial::2].mean(0)
        right.append(0.5 + 0.25 * float(np.sum(favour * gap)))
    return float(np.mean(right))


def of_levels(prop: np.ndarray, place: np.ndarray, resampling: Resampling) -> Dependence:
    """A property of levels, or of whole episodes.

    Args:
      prop: int [N], its value as 0, 1, ...
      place: int [N, 1 + K], places of the goal's cell and of K other cells; 0, 1, ...
      resampling: of the N starts.
    """
    number = len(place)
    kinds, places = int(prop.max()) + 1, int(place.max()) + 1
    goal, other = _tables(prop, place, kinds, places)
    shuffled, exchanged = _shuffled_levels(prop, place, kinds, places, resampling.seed)
    found = np.array([information(goal), information(other)])
    bits = np.maximum(found - shuffled.mean(0), 0)
    room = np.minimum(entropy(goal.sum(1)), entropy(goal.sum(0)))

    in_goal = np.eye(places, dtype=np.float32)[place[:, 0]]  # [N, places]
    in_others = np.eye(places, dtype=np.float32)[place[:, 1:]].mean(1)
    hot = np.eye(kinds, dtype=np.float32)[prop][:, :, None]
    again_goal, again_other = (
        resampling.means(hot * side[:, None]) for side in (in_goal, in_others)
    )
    again = information(again_goal) - information(again_other)
    again_room = np.minimum(entropy(again_goal.sum(2)), entropy(again_goal.sum(1)))
    excess = bits[0] - bits[1]
    tied = _estimate(float(_ratio(excess, room)), _ratio(again, again_room), 0, 1)
    # Both nulls have to be unlikely: that the property says nothing about places, and that it says
    # as much about any cell's place as about the goal's (levels differ in their geometry).
    p_value = max(_p_value(found[0], shuffled[:, 0]), _p_value(found[0], exchanged))
    v = [float(cramers_v(table, number)) for table in (goal, other)]
    again_v = cramers_v(again_goal, number) - cramers_v(again_other, number)
    predicted, chance = _guessed(prop, place[:, 0], kinds, places)
    return Dependence(
        verdict=_call(tied, p_value, True, constant=len(np.unique(prop)) == 1),
        bits=_estimate(float(excess), again, 0),
        tied=tied,
        p=p_value,
        goal=v[0],
        other=v[1],
        effect=_estimate(v[0] - v[1], again_v),
        predicted=predicted,
        chance=chance,
    )


def _tables(
    prop: np.ndarray, place: np.ndarray, kinds: int, places: int
) -> tuple[np.ndarray, np.ndarray]:
    """Joint distributions [kinds, places] of the goals and of the other cells."""
    both = prop[:, None] * places + place
    goals, others = (
        np.bincount(side.reshape(-1), minlength=kinds * places).reshape(kinds, places) / side.size
        for side in (both[:, :1], both[:, 1:])
    )
    return goals, others


def _shuffled_levels(
    prop: np.ndarray, place: np.ndarray, kinds: int, places: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Information about the places of goals and of other cells, [SHUFFLES, 2], with the property
    permuted; and about the goal's, [SHUFFLES], with the goal exchanged for a random cell.
    """
    rng = np.random.default_rng(seed)
    number, cells = place.shape
    shuffled, exchanged = np.empty((SHUFFLES, 2)), np.empty(SHUFFLES)
    for i in range(SHUFFLES):
        tables = _tables(rng.permutation(prop), place, kinds, places)
        shuffled[i] = [information(table) for table in tables]
        taken = place[np.arange(number), rng.integers(cells, size=number)]
        counts = np.bincount(prop * places + taken, minlength=kinds * places)
        exchanged[i] = information(counts.reshape(kinds, places) / number)
    return shuffled, exchanged


def _guessed(prop: np.ndarray, place: np.ndarray, kinds: int, places: int) -> tuple[float, float]:
    """How often the likeliest place is right, with and without the property; as `_told_apart`."""
    knowing, not_knowing = [], []
    for learn, trial in ((0, 1), (1, 0)):
        table = np.zeros((kinds, places))
        np.add.at(table, (prop[learn::2], place[learn::2]), 1)
        overall = table.sum(0)
        table += overall / (overall.sum() + 1)  # for values not seen while fitting
        knowing.append(np.mean(table.argmax(1)[prop[trial::2]] == place[trial::2]))
        not_knowing.append(np.mean(overall.argmax() == place[trial::2]))
    return float(np.mean(knowing)), float(np.mean(not_knowing))
