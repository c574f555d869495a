"""Cuts the tests' small recordings out of full ones: python tests/data/make_data.py FOLDER.

FOLDER holds `traj_hard.npz`, `traj_easy.npz`, `levels.npz`, `level_stats.json` and
`frames.npz`, recorded from the real Procgen 0.10.7. Written beside this file: episodes of
every cause, 60 levels, those histograms that need only the finished levels, and of the frames
their hashes, since Procgen's pictures are not ours to ship.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
PER_CAUSE = {"traj_hard": 14, "traj_easy": 4}
LEVELS = 60
# Arrays by the offsets that cut them.
ROWS = {
    "saw_off": ("saw_xy",),
    "crate_off": ("crate_xy", "crate_theme"),
    "enemy_off": ("enemy_xy0", "enemy_vx0", "enemy_theme"),
    "ent_order_off": ("ent_order_type",),
    "step_off": ("action", "x", "y", "vx", "vy", "flags", "reward", "done"),
    "enemy_step_off": ("enemy_x", "enemy_vx"),
    "ent_off": ("ent_type", "ent_x", "ent_y", "ent_vx", "ent_theme"),
    "section_off": ("section",),
}


def cut(arrays: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """The chosen episodes or levels, offsets made anew."""
    size = arrays["level_seed"].size
    rows = {name: off for off, names in ROWS.items() if off in arrays for name in names}
    out = {}
    for name, array in arrays.items():
        if name in ROWS:
            lengths = np.diff(array)[chosen]
            out[name] = np.concatenate([[0], np.cumsum(lengths)]).astype(array.dtype)
        elif name in rows:
            offset = arrays[rows[name]]
            out[name] = np.concatenate([array[offset[i] : offset[i + 1]] for i in chosen])
        elif array.shape[:1] == (size,):
            out[name] = array[chosen]
        else:
            out[name] = array
    return out


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name, count in PER_CAUSE.items():
        arrays = dict(np.load(folder / f"{name}.npz"))
        short = np.diff(arrays["step_off"]) < 1000
        chosen = []
        for code, cause in enumerate(arrays["causes"]):
            found = np.flatnonzero((arrays["cause"] == code) & (short | (cause == "timeout")))
            wanted = 2 if cause == "timeout" else count
            chosen.extend(rng.permutation(found)[:wanted])
        np.savez_compressed(HERE / f"{name}.npz", **cut(arrays, np.sort(chosen)))
    arrays = dict(np.load(folder / "levels.npz"))
    chosen = np.sort(rng.permutation(arrays["level_seed"].size)[:LEVELS])
    np.savez_compressed(HERE / "levels.npz", **cut(arrays, chosen))

    frames = dict(np.load(folder / "frames.npz"))
    codes = [hashlib.sha256(frame.tobytes()).digest() for frame in frames.pop("frame")]
    frames["sha256"] = np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), -1)
    np.savez_compressed(HERE / "procgen_frames.npz", **frames)

    stats = json.loads((folder / "level_stats.json").read_text())
    kept = {
        mode: {
            name: histogram
            for name, histogram in stats[mode]["histograms"].items()
            if not name.startswith("gen/")
        }
        for mode in ("hard", "easy")
    }
    (HERE / "level_stats.json").write_text(json.dumps(kept, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
