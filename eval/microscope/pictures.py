"""Pictures of a moment: fields on the level, cells that matter, and layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coinrun_jax.scenes import Scene
from coinrun_jax.twins import AGENT, ObservedCells
from eval.figures.themes import WIDTH, Theme, bare, themed
from eval.microscope.attribution import Attribution, HiddenObject
from eval.microscope.examination import Findings, Layer
from eval.microscope.fields import Field

VALUES, EFFECTS = "viridis", "RdBu_r"  # colour maps for unsigned and for signed quantities
_DIM = 0.55  # share of the board's own colours that remains under a field
_OPAQUE = 0.75
_TALL = 6.0  # most inches for a whole level
_AROUND = 1  # tiles around the view


def composed(scene: Scene) -> np.ndarray:
    """The first state of a scene as one picture, uint8 [H, W, 3]."""
    image, tile = scene.board.copy(), scene.tile
    for track in scene.tracks:
        if not track.sprite[0]:
            continue
        sprite = scene.sprites[track.sprite[0]]
        sprite = sprite[:, ::-1] if track.flip[0] else sprite
        height, width = sprite.shape[:2]
        top = round(image.shape[0] - float(track.y[0]) * tile - height / 2)
        left = round(float(track.x[0]) * tile - width / 2)
        rows = np.clip([top, top + height], 0, image.shape[0])
        columns = np.clip([left, left + width], 0, image.shape[1])
        part = sprite[rows[0] - top : rows[1] - top, columns[0] - left : columns[1] - left]
        here = image[rows[0] : rows[1], columns[0] : columns[1]]
        share = part[..., 3:] / 255
        here[:] = np.rint(part[..., :3] * share + here * (1 - share)).astype(np.uint8)
    return image


def _size(scene: Scene) -> tuple[int, int]:
    """Columns and rows of the board."""
    return scene.board.shape[1] // scene.tile, scene.board.shape[0] // scene.tile


def _window(scene: Scene) -> tuple[float, float, float, float]:
    """Left, right, bottom and top of the agent's view with a margin, in tiles."""
    columns, rows = _size(scene)
    if scene.view is None:
        return 0, columns, 0, rows
    agent, half = scene.tracks[scene.focus], scene.view / 2 + _AROUND
    x, y = float(agent.x[0]), float(agent.y[0])
    return max(x - half, 0), min(x + half, columns), max(y - half, 0), min(y + half, rows)


def _show(axes: Axes, scene: Scene, dim: bool = True, whole: bool = False) -> None:
    """Draw the level as a panel's background."""
    image = composed(scene)
    if dim:
        grey = image.mean(-1, keepdims=True)
        image = np.rint(grey * _DIM + 255 * (1 - _DIM) * 0.6).astype(np.uint8).repeat(3, -1)
    columns, rows = _size(scene)
    axes.imshow(image, extent=(0, columns, 0, rows), interpolation="nearest")
    left, right, bottom, top = (0, columns, 0, rows) if whole else _window(scene)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_field(figure: Figure, axes: Axes, scene: Scene, field: Field, whole: bool) -> None:
    """Colours for values, arrows for mean moves."""
    _show(axes, scene, whole=whole)
    columns, rows = _size(scene)
    picture = np.full((rows, columns), np.nan)
    x, y = field.cells.T
    inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
    picture[y[inside], x[inside]] = field.values[inside]
    left, right, bottom, top = axes.get_xlim() + axes.get_ylim()
    seen = inside & (x + 1 > left) & (x < right) & (y + 1 > bottom) & (y < top)
    drawn = axes.imshow(
        picture,
        extent=(0, columns, 0, rows),
        origin="lower",
        cmap=VALUES,
        alpha=_OPAQUE,
        interpolation="nearest",
        vmin=field.values[seen].min() if seen.any() else None,
        vmax=field.values[seen].max() if seen.any() else None,
    )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, pad=0.01, aspect=18)
    bar.outline.set_visible(False)
    if field.arrows is not None:
        across, up = field.arrows[seen].T
        axes.quiver(
            x[seen] + 0.5,
            y[seen] + 0.5,
            across,
            up,
            angles="xy",
            scale_units="xy",
            scale=1.15,
            pivot="middle",
            color="white",
            edgecolor="black",
            linewidth=0.4,
            width=0.02,
            units="inches",
            headwidth=4,
            headlength=4,
            headaxislength=3.5,
            minlength=0.1,
        )


def draw_fields(found: Findings, scene: Scene, theme: str = "light") -> Figure:
    """The moment, the field of the studied object, and that of the agent."""
    columns, rows = _size(scene)
    wide = scene.view is not None
    lines: list[Any]
    own = {field.object: field for field in found.fields}
    objects = [name for name in own if name != AGENT]
    first = ["moment", *objects[:1]]
    with themed(theme):
        if wide:
            lines = [first, [AGENT] * len(first)] if AGENT in own else [first]
            heights = [3.6, min(WIDTH * rows / columns, _TALL) + 0.4][: len(lines)]
        else:
            lines, heights = [[*first, *[AGENT] * (AGENT in own)]], [3.0]
        figure, panels = plt.subplot_mosaic(
            lines, figsize=(WIDTH, sum(heights)), height_ratios=heights, layout="constrained"
        )
        _show(panels["moment"], scene, dim=False)
        panels["moment"].set_title(f"level {found.level}, step {found.step}")
        for name in (*objects[:1], *[AGENT] * (AGENT in own)):
            whole = wide and name == AGENT
            _draw_field(figure, panels[name], scene, own[name], whole)
            noun = AGENT if name == AGENT else found.noun
            panels[name].set_title(f"value and moves by {noun} position")
    return figure


def _over(axes: Axes, cells: ObservedCells, corner: tuple[float, float], effect: np.ndarray) -> Any:
    """Draw an effect over the cells of the view, in colours."""
    rows, columns = cells.shape
    x, y = corner
    most = float(np.abs(effect).max()) or 1.0
    effect = effect.reshape(rows, columns)
    if cells.wraps:
        effect, x, y = np.roll(effect, (-round(y), round(x)), (0, 1)), 0, 0
    limits = axes.get_xlim(), axes.get_ylim()
    drawn = axes.imshow(
        effect,
        extent=(x, x + columns, y, y + rows),
        cmap=EFFECTS,
        vmin=-most,
        vmax=most,
        alpha=np.clip(3 * np.abs(effect) / most, 0, 0.85),
        interpolation="nearest",
    )
    axes.set_xlim(limits[0])
    axes.set_ylim(limits[1])
    return drawn


def draw_attribution(
    found: Attribution,
    hidden: Sequence[HiddenObject],
    cells: ObservedCells,
    corner: tuple[float, float],
    scene: Scene,
    action: str,
    theme: str = "light",
) -> Figure:
    """Integrated gradients and occlusion of value and action, and effects of hidden objects.

    Args:
      corner: of the view, as `cells.corner` gives it.
      action: title of the likeliest action.
    """
    shown = [each for each in hidden if each.value or each.probabilities.any()]
    heights = [6.4, *[0.6 + 0.24 * len(shown)] * bool(shown)]
    ways = {"integrated gradients": found.by_cell(cells), "cell emptied": found.occlusion}
    with themed(theme) as colours:
        figure = plt.figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        grid = parts[0].subplots(2, 2)
        for line, target in enumerate(("value", f"log p of “{action}”")):
            for axes, (way, effect) in zip(grid[line], ways.items(), strict=True):
                _show(axes, scene)
                drawn = _over(axes, cells, corner, effect[line])
                bar = parts[0].colorbar(drawn, ax=axes, shrink=0.8, pad=0.01)
                bar.outline.set_visible(False)
                axes.set_title(f"{target}: {way}")
        if shown:
            left, right = parts[1].subplots(1, 2)
            _draw_hidden(left, right, shown, colours)
    return figure


def _draw_hidden(left: Axes, right: Axes, shown: Sequence[HiddenObject], colours: Theme) -> None:
    """Bars for the effects of objects hidden in turn."""
    names = [each.title for each in shown]
    left.barh(names, [each.value for each in shown], color=colours.proxy, height=0.6)
    right.barh(names, [each.moved for each in shown], color=colours.goal, height=0.6)
    left.set_title("change of the value")
    right.set_title("probability moved to other actions")
    right.set_yticks(range(len(names)), [""] * len(names))
    for axes in (left, right):
        axes.set_ylim(max(len(shown), 2) - 0.5, -0.5)
    bare(left, right, grid="x")


def draw_layers(layers: Sequence[Layer], noun: str, theme: str = "light") -> Figure:
    """How much the object changes each activation, and how much of its effect a patch carries."""
    with themed(theme) as colours:
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(WIDTH, 1.2 + 0.26 * len(layers)), sharey=True, layout="constrained"
        )
        place = np.arange(len(layers))
        left.barh(place, [each.size for each in layers], color=colours.quiet, height=0.6)
        for shift, output, colour in (
            (-0.18, "value", colours.proxy),
            (0.18, "action", colours.goal),
        ):
            shares = [getattr(each, output) for each in layers]
            known = [np.nan if share is None else share for share in shares]
            right.barh(place + shift, known, color=colour, height=0.32, label=output)
        left.set_yticks(place, [each.activation for each in layers])
        left.invert_yaxis()
        left.set_title(f"relative change without the {noun}")
        right.set_title("share of the effect carried")
        bare(left, right, grid="x")
        figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure
