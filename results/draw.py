"""Draws a result's figures from its data: python results/draw.py FOLDER.

`outcomes.png` from `summary.json`, `curves.png` from `metrics.csv`; of several runs
`published.png` from `published.csv`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # folders of the checkout

from eval import figures
from eval.published import read_published
from train import curves


def draw(folder: Path) -> list[Path]:
    """Every figure that the folder has the data of; their paths."""
    drawn = []
    if (folder / "published.csv").exists():
        published = figures.draw_published(read_published(folder / "published.csv"))
        if published:
            drawn.append(folder / "published.png")
            figures.save(published, drawn[-1], "png")
    if (folder / "summary.json").exists():
        drawn.append(folder / "outcomes.png")
        summary = json.loads((folder / "summary.json").read_text())
        figures.save(figures.draw(summary), drawn[-1], "png")
    if (folder / "metrics.csv").exists():
        drawn.append(folder / "curves.png")
        curves.save([folder / "metrics.csv"], drawn[-1])
    return drawn


def main() -> int:
    """Entry point; 2 where there is nothing to draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    folder = parser.parse_args().folder
    drawn = draw(folder)
    if not drawn:
        names = "published.csv, summary.json or metrics.csv"
        print(f"error: {folder} has no {names} to draw", file=sys.stderr)
        return 2
    print(*drawn, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
