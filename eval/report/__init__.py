"""`report.html`: one self-contained page, of one agent or of several."""

from __future__ import annotations

from eval.report.several import build as build_several
from eval.report.single import Shown, show
from eval.report.single import build as build_single

__all__ = ["Shown", "build_several", "build_single", "show"]
