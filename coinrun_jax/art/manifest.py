"""Which pictures of Procgen 0.10.7 are drawn, in the order in which they are stored.

Paths are below `procgen/data/assets` of its wheel.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple

VERSION = "0.10.7"  # of procgen
FOLDER = "procgen/data/assets"

AGENTS = ("Beige", "Blue", "Green", "Pink", "Yellow")
POSES = ("stand", "walk1", "walk2")
ENEMIES = (
    *("slimeBlock", "slimePurple", "slimeBlue", "slimeGreen", "mouse"),
    *("snail", "ladybug", "wormGreen", "wormPink"),
)
GROUNDS = ("Dirt", "Grass", "Planet", "Sand", "Snow", "Stone")
CRATES = ("boxCrate", "boxCrate_double", "boxCrate_single", "boxCrate_warning")
COINS = ("coinGold", "coinBronze", "gemBlue")
"""In the order of `cues.LOOKS`. Procgen draws its coin with the first; it has no red disc, so the
bronze coin of the same set stands in for it."""

_PLATFORM = (
    *("alien_bg", "another_world_bg", "back_cave", "caverns", "cyberpunk_bg", "parallax_forest"),
    *("scifi_bg", "scifi2_bg", "living_tissue_bg"),
    *(f"airadventurelevel{number}" for number in range(1, 5)),
    *("cave_background", "blue_desert", "blue_grass", "blue_land", "blue_shroom"),
    *("colored_desert", "colored_grass", "colored_land", "colored_shroom"),
    *(f"landscape{number}" for number in range(1, 5)),
    *(f"battleback{number}" for number in range(1, 11)),
    "sunrise",
)
_PLATFORM_2 = tuple(
    f"{name}{number}" for name in ("beach", "fantasy", "candy") for number in range(1, 5)
)
_SPACE = (
    *("deep_space_01", "spacegen_01", "milky_way_01", "ez_space_lite_01", "meyespace_v1_01"),
    *("eye_nebula_01", "deep_sky_01", "space_nebula_01"),
    *(f"Background-{number}" for number in range(1, 5)),
    "parallax-space-backgound",
)


SPRITE_PATHS = (
    "misc_assets/iconCircle_white.png",
    *(f"kenney/Ground/{name}/{name.lower()}Center.png" for name in GROUNDS),
    *(f"kenney/Ground/{name}/{name.lower()}Mid.png" for name in GROUNDS),
    "kenney/Tiles/lava.png",
    "kenney/Tiles/lavaTop_low.png",
    *(f"kenney/Items/{name}.png" for name in COINS),
    *(f"kenney/Tiles/{name}.png" for name in CRATES),
    "kenney/Enemies/sawHalf.png",
    "kenney/Enemies/sawHalf_move.png",
    *(f"kenney/Enemies/{name}{frame}.png" for name in ENEMIES for frame in ("", "_move")),
    *(f"kenney/Players/128x256/{name}/alien{name}_{pose}.png" for name in AGENTS for pose in POSES),
)
BACKGROUND_PATHS = (
    *(f"platform_backgrounds/{name}.png" for name in _PLATFORM),
    *(f"platform_backgrounds_2/{name}.png" for name in _PLATFORM_2),
    *(f"space_backgrounds/{name}.png" for name in _SPACE),
)


class Picture(NamedTuple):
    """A file and its expected properties."""

    path: str
    height: int  # pixels
    width: int
    sha256: str  # of the file


@cache
def pictures() -> tuple[Picture, ...]:
    """All sprites, then all backgrounds."""
    text = resources.files("coinrun_jax.art").joinpath("manifest.txt").read_text("utf-8")
    found = {}
    for line in text.splitlines():
        path, height, width, sha256 = line.split()
        found[path] = Picture(path, int(height), int(width), sha256)
    return tuple(found[path] for path in (*SPRITE_PATHS, *BACKGROUND_PATHS))
