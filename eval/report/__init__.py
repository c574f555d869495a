"""`report.html`: one self-contained page, on one agent or several."""

from __future__ import annotations

from eval.report.pages import build_several, build_single
from eval.report.shown import Shown, show, show_ages

__all__ = ["Shown", "build_several", "build_single", "show", "show_ages"]
