"""Draws a result's figures from its data: python results/draw.py FOLDER.

`outcomes.png` from `summary.json`, `curves.png` from `metrics.csv`; of several runs
`published.png` from `published.csv`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # folders of the checkout

from eval import figures
from eval.published import read_published
from train import curves

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if (folder / "published.csv").exists():
        published = figures.draw_published(read_published(folder / "published.csv"))
        if published:
            figures.save(published, folder / "published.png", "png")
    else:
        summary = json.loads((folder / "summary.json").read_text())
        figures.save(figures.draw(summary), folder / "outcomes.png", "png")
        curves.save([folder / "metrics.csv"], folder / "curves.png")
