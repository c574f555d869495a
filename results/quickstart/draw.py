"""Draws `outcomes.png` from `summary.json`: python results/quickstart/draw.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))  # eval is a folder of the checkout

from eval import figures  # noqa: E402

if __name__ == "__main__":
    summary = json.loads((HERE / "summary.json").read_text())
    figures.save(figures.draw(summary), HERE / "outcomes.png", "png")
