"""Figures of an evaluation, each in a light and a dark appearance."""

from __future__ import annotations

from eval.figures.outcomes import draw
from eval.figures.published import draw_published
from eval.figures.style import THEMES, save

__all__ = ["THEMES", "draw", "draw_published", "save"]
