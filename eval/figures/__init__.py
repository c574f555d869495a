"""Figures of an evaluation, each in a light and a dark theme."""

from __future__ import annotations

from eval.figures.agent_figure import draw
from eval.figures.screened_levels import draw_screened
from eval.figures.themes import THEMES, save

__all__ = ["THEMES", "draw", "draw_screened", "save"]
