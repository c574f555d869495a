"""Backgrounds: one image stretched over the whole world, of which a view shows a fifth.

Each is a function of (x, y) in world heights, x in [0, ASPECT), y in [0, 1) **up**, so it can
be drawn at any size. A level's `background_shift` slides the world along the image's free
width, so that one image looks different in different levels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

ASPECT = 1.5  # width of an image, in widths of the world

Field = np.ndarray  # float [H, W]
Image = np.ndarray  # float [H, W, 3], 0...255


def _hash(i: np.ndarray, j: np.ndarray, seed: int) -> Field:
    """Pseudo-random numbers in [0, 1), by integer lattice point; the same everywhere."""
    with np.errstate(over="ignore"):
        h = i.astype(np.int64).astype(np.uint32) * np.uint32(374761393)
        h = h + j.astype(np.int64).astype(np.uint32) * np.uint32(668265263)
        h = h + np.uint32(seed) * np.uint32(2246822519)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    return (h ^ (h >> np.uint32(16))) / 2.0**32


def _noise(x: Field, y: Field, seed: int) -> Field:
    """Smooth noise in [0, 1] with features of size 1."""
    i, j = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    u, v = x - i, y - j
    u, v = u * u * (3 - 2 * u), v * v * (3 - 2 * v)
    i, j = i - i.min(), j - j.min()
    down, right = np.ogrid[: i.max() + 2, : j.max() + 2]
    lattice = _hash(down, right, seed)
    low, high = lattice[i, j], lattice[i, j + 1]
    low += (lattice[i + 1, j] - low) * u
    high += (lattice[i + 1, j + 1] - high) * u
    return low + (high - low) * v


def _clouds(x: Field, y: Field, seed: int, octaves: int = 4) -> Field:
    """Noise of several sizes in [0, 1], the largest of size 1."""
    total, weight = np.zeros(np.broadcast(x, y).shape), 0.0
    for octave in range(octaves):
        scale, share = 2.0**octave, 0.5**octave
        total += share * _noise(x * scale, y * scale, seed + octave)
        weight += share
    return total / weight


def _blend(t: Field, *colours: tuple[int, int, int]) -> Image:
    """Colours evenly spaced along t in [0, 1], mixed linearly."""
    t = np.clip(t, 0, 1) * (len(colours) - 1)
    stops = np.arange(len(colours))
    return np.stack([np.interp(t, stops, channel) for channel in zip(*colours, strict=True)], -1)


def _over(image: Image, where: Field, colour: tuple[int, int, int] | Image) -> Image:
    return np.where(where[..., None], np.asarray(colour, float), image)


def _flat(x: Field, *colours: tuple[int, int, int]) -> Image:
    return _blend(np.zeros_like(x), *colours)


def _ridge(x: Field, seed: int, base: float, height: float, width: float) -> Field:
    """Skyline y of a mountain range; [1, W]."""
    return base + height * _clouds(x[:1] / width, np.zeros_like(x[:1]), seed, 5)


def _stars(x: Field, y: Field, seed: int, density: float, size: float) -> Field:
    i, j = np.floor(x / size), np.floor(y / size)
    near = np.hypot(x / size - i - 0.5, y / size - j - 0.5) < 0.5
    return near & (_hash(i, j, seed) < density)


def _dusk(x: Field, y: Field) -> Image:
    image = _blend(y, (236, 152, 92), (196, 104, 132), (92, 62, 128), (44, 34, 84))
    for k, colour in enumerate(((118, 66, 112), (86, 50, 96), (58, 36, 76))):
        image = _over(image, y < _ridge(x, 10 + k, 0.34 - 0.14 * k, 0.3, 0.3), colour)
    return image


def _night(x: Field, y: Field) -> Image:
    image = _blend(y, (26, 34, 70), (10, 12, 34), (4, 4, 16))
    image = _over(image, _stars(x, y, 3, 0.02, 0.0045), (200, 210, 240))
    image = _over(image, _stars(x, y, 4, 0.012, 0.007), (120, 140, 200))
    moon = np.hypot(x - 0.62, y - 0.62)
    image = _over(image, moon < 0.09, (226, 226, 206))
    return _over(image, (moon < 0.09) & (_clouds(x * 30, y * 30, 5) < 0.42), (196, 196, 176))


def _forest(x: Field, y: Field) -> Image:
    image = _blend(y, (26, 62, 44), (52, 106, 70), (126, 170, 110))
    layers = ((0.035, (38, 82, 56)), (0.055, (28, 62, 44)), (0.085, (18, 44, 32)))
    for k, (spacing, colour) in enumerate(layers):
        i = np.floor(x / spacing)
        middle = (i + 0.3 + 0.4 * _hash(i, i, 20 + k)) * spacing
        sway = 0.1 * spacing * np.sin(y * 22 + 9 * i)
        image = _over(image, np.abs(x - middle + sway) < 0.16 * spacing, colour)
        leaves = _clouds(x / spacing, y / spacing, 30 + k, 3) > 0.92 - 0.34 * y
        image = _over(image, leaves, colour)
    return image


def _cave(x: Field, y: Field) -> Image:
    image = _blend(_clouds(x * 9, y * 9, 40), (30, 28, 36), (52, 46, 54))
    for k, colour in enumerate(((66, 52, 44), (94, 66, 44))):
        i = np.floor(x / 0.012)
        column = _noise(i[:1] * (0.3 + 0.2 * k), i[:1] * 0, 50 + k)
        for cycle in range(3):
            floor = cycle / 3
            height = 0.03 + 0.15 * column * (1 - 0.4 * k)
            image = _over(image, (y > floor) & (y < floor + height), colour)
    return image


def _dunes(x: Field, y: Field) -> Image:
    image = _blend(y, (250, 222, 160), (248, 196, 120), (238, 150, 84))
    for k, colour in enumerate(((236, 180, 104), (222, 156, 82), (206, 132, 66), (184, 108, 54))):
        crest = 0.72 - 0.19 * k + 0.06 * np.sin(x * (7 + 2 * k) + 2 * k) + 0.03 * np.sin(x * 17 + k)
        image = _over(image, y < crest, colour)
    return image


def _mountains(x: Field, y: Field) -> Image:
    image = _blend(y, (196, 222, 244), (132, 178, 228), (82, 130, 200))
    for k, colour in enumerate(((136, 158, 200), (96, 120, 172), (62, 84, 136))):
        ridge = _ridge(x, 60 + k, 0.42 - 0.2 * k, 0.42, 0.22)
        image = _over(image, y < ridge, colour)
        snow = 0.03 + 0.04 * _noise(x * 60, y * 20, 65)
        image = _over(image, (y < ridge) & (y > ridge - snow), (214, 226, 244))
    return image


def _lime(x: Field, y: Field) -> Image:
    stripe = np.sin(2 * np.pi * (x * 3 + 0.3 * np.sin(y * 9))) > 0
    return _over(_flat(x, (160, 216, 66), (160, 216, 66)), stripe, (150, 206, 58))


def _ocean(x: Field, y: Field) -> Image:
    image = _blend(y, (8, 40, 72), (18, 92, 130), (60, 170, 190))
    wave = (y * 24 + 0.35 * np.sin(x * 60) + 0.2 * np.sin(x * 23 + y * 40)) % 1
    image = np.where((wave < 0.16)[..., None], image * 1.22 + 8, image)
    return _over(image, _stars(x, y, 70, 0.03, 0.009), (110, 190, 210))


def _city(x: Field, y: Field) -> Image:
    image = _blend(y, (86, 60, 110), (40, 34, 78), (16, 16, 44))
    for k, (width, colour) in enumerate(((0.05, (48, 44, 88)), (0.075, (30, 28, 60)))):
        i = np.floor(x / width)
        tower = y < 0.25 + (0.7 - 0.25 * k) * _hash(i, i, 80 + k)
        image = _over(image, tower, colour)
        u, v = x / 0.012, y / 0.018
        lit = (u % 1 > 0.4) & (v % 1 > 0.5) & (_hash(np.floor(u), np.floor(v), 85 + k) < 0.22)
        image = _over(image, tower & lit & ((x / width) % 1 > 0.12), (92, 108, 160))
    return image


def _sky(x: Field, y: Field) -> Image:
    image = _blend(y, (206, 236, 250), (120, 190, 242), (70, 146, 226))
    cloud = _clouds(x * 5, y * 11, 90)
    image = _over(image, cloud > 0.55, (226, 240, 252))
    return _over(image, cloud > 0.6, (250, 253, 255))


def _nebula(x: Field, y: Field) -> Image:
    gas = _clouds(x * 5 + _clouds(x * 4, y * 4, 100), y * 5, 101)
    image = _blend((gas - 0.25) * 2, (8, 4, 22), (60, 16, 84), (168, 40, 120), (244, 130, 140))
    return _over(image, _stars(x, y, 102, 0.02, 0.0045), (240, 226, 250))


def _jungle(x: Field, y: Field) -> Image:
    image = _blend(_clouds(x * 6, y * 6, 110), (20, 60, 52), (62, 122, 96))
    for k, colour in enumerate(((32, 84, 66), (46, 108, 74), (24, 66, 50))):
        spacing = 0.1 - 0.02 * k
        i, j = np.floor(x / spacing), np.floor(y / spacing)
        u = x / spacing - i - 0.3 - 0.4 * _hash(i, j, 112 + k)
        v = y / spacing - j - 0.5
        lean = 2 * _hash(i, j, 115 + k) - 1
        leaf = np.abs(u - lean * (v + 0.5) ** 2 * 0.6) < 0.13 * np.cos(np.pi * v)
        image = _over(image, leaf, colour)
    return image


def _dungeon(x: Field, y: Field) -> Image:
    u, v = x / 0.085, y / 0.05
    row = np.floor(v)
    u = u + 0.5 * (row % 2)
    tone = _hash(np.floor(u), row, 120)
    image = _blend(tone, (38, 58, 60), (58, 82, 80))
    joint = (u % 1 < 0.05) | (v % 1 < 0.09)
    return _over(image, joint, (24, 38, 42))


def _sunset(x: Field, y: Field) -> Image:
    bands = np.floor(y * 14 + 0.25 * np.sin(x * 9)) / 14
    image = _blend(bands, (120, 36, 70), (214, 72, 66), (250, 150, 70), (252, 210, 120))
    return _over(image, np.hypot(x - 0.75, y - 0.4) < 0.17, (255, 236, 170))


def _volcano(x: Field, y: Field) -> Image:
    image = _blend(_clouds(x * 7, y * 7, 130), (26, 12, 16), (64, 24, 26))
    crack = np.abs(_clouds(x * 6, y * 6, 131) - 0.5)
    image = _over(image, crack < 0.022, (84, 32, 32))
    return _over(image, crack < 0.008, (128, 50, 40))


def _ice(x: Field, y: Field) -> Image:
    u, v = (x + 0.58 * y) / 0.07, 1.16 * y / 0.07
    upper = (u % 1) + (v % 1) > 1
    tone = _hash(np.floor(u) + 57 * upper, np.floor(v), 140)
    return _blend(tone, (176, 220, 236), (206, 238, 246), (228, 248, 250))


def _circuit(x: Field, y: Field) -> Image:
    image = _blend(y, (4, 26, 30), (6, 38, 40))
    u, v = x / 0.03, y / 0.03
    i, j = np.floor(u), np.floor(v)
    along = _hash(i, j, 150)
    line = ((u % 1 < 0.14) & (along < 0.5)) | ((v % 1 < 0.14) & (along > 0.35))
    image = _over(image, line, (16, 96, 84))
    dot = (np.hypot(u % 1 - 0.07, v % 1 - 0.07) < 0.25) & (along < 0.22)
    return _over(image, dot, (36, 140, 112))


def _meadow(x: Field, y: Field) -> Image:
    image = _blend(y, (210, 240, 246), (160, 216, 240))
    for k, colour in enumerate(((124, 176, 96), (96, 150, 78), (72, 122, 66))):
        image = _over(image, y < 0.62 - 0.2 * k + 0.07 * np.sin(x * (5 + 3 * k) + 2 * k), colour)
    trunk = _stars(x, y * 0.6, 160, 0.12, 0.03)
    return _over(image, trunk & (y < 0.6), (58, 104, 58))


def _violet(x: Field, y: Field) -> Image:
    u = np.hypot(x - 0.7, y - 0.5) * 16
    return _blend(0.5 + 0.5 * np.sin(u * 2), (52, 30, 84), (76, 44, 112))


def _reef(x: Field, y: Field) -> Image:
    image = _blend(y, (20, 70, 110), (40, 140, 170))
    for k, colour in enumerate(((34, 96, 128), (190, 92, 116), (226, 142, 96))):
        height = 0.06 + 0.22 * _noise(x[:1] / (0.05 - 0.01 * k), x[:1] * 0, 170 + k) - 0.02 * k
        for shelf in range(3):
            start = shelf / 3 + 0.03 * k
            image = _over(image, (y > start) & (y < start + 0.6 * height), colour)
    return image


PAINTERS: tuple[Callable[[Field, Field], Image], ...] = (
    _sky,
    _night,
    _forest,
    _dunes,
    _cave,
    _mountains,
    _nebula,
    _lime,
    _dungeon,
    _dusk,
    _ocean,
    _jungle,
    _city,
    _ice,
    _volcano,
    _meadow,
    _circuit,
    _sunset,
    _violet,
    _reef,
)


@cache
def background(index: int, height: int) -> np.ndarray:
    """One background.

    Args:
      index: 0 ... len(PAINTERS) - 1.
      height: pixels of the world's height.

    Returns:
      uint8 [height, round(ASPECT * height), 3], top row first.
    """
    width = round(ASPECT * height)
    x = np.broadcast_to((np.arange(width) + 0.5) / height, (height, width))
    y = np.broadcast_to((np.arange(height)[::-1, None] + 0.5) / height, (height, width))
    return np.clip(np.rint(PAINTERS[index](x, y)), 0, 255).astype(np.uint8)
