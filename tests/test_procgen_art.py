"""Reading Procgen's pictures: what is taken, what is refused, and that neither runs anything."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from coinrun_jax.art import manifest, source, store
from coinrun_jax.art.__main__ import main
from coinrun_jax.checks import InputError
from tests.refusals import refusal

INFO = f"procgen-{manifest.VERSION}.dist-info/METADATA"


def png(height: int, width: int, seed: int) -> bytes:
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    file = io.BytesIO()
    image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def made_up() -> dict[str, bytes]:
    """Files of small pictures under the real names."""
    paths = (*manifest.SPRITE_PATHS, *manifest.BACKGROUND_PATHS)
    return {path: png(3, 4 + number % 2, number) for number, path in enumerate(paths)}


@pytest.fixture
def known(made_up: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The same, and taken for the real ones."""
    real = tuple(
        manifest.Picture(path, 3, 4 + number % 2, hashlib.sha256(content).hexdigest())
        for number, (path, content) in enumerate(made_up.items())
    )
    for module in (source, store):
        monkeypatch.setattr(module, "pictures", lambda: real)
    return dict(made_up)


def wheel(path: Path, files: dict[str, bytes], info: str = INFO) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(info, "Name: procgen")
        for name, content in files.items():
            archive.writestr(f"{manifest.FOLDER}/{name}", content)
    return str(path)


def folder(path: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        target = path / manifest.FOLDER / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return str(path)


def test_the_manifest_is_whole() -> None:
    known = manifest.pictures()
    assert len(manifest.BACKGROUND_PATHS) == 62
    assert len({each.path for each in known}) == len(known) == 119
    assert len({each.sha256 for each in known}) == len(known)
    backgrounds = known[len(manifest.SPRITE_PATHS) :]
    assert sum(each.height * each.width for each in backgrounds) == 58_844_192


def test_a_wheel_and_a_folder_give_the_same(known: dict[str, bytes], tmp_path: Path) -> None:
    ways = (wheel(tmp_path / "p.whl", known), folder(tmp_path / "f", known))
    outs = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for way, out in zip(ways, outs, strict=True):
        assert main(["--from", way, "--out", str(out)]) == 0
    first, second = (store.read_sprites(out) for out in outs)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    backgrounds = store.read_backgrounds(outs[0], [0, 61])
    assert backgrounds.keys() == {0, 61}
    assert backgrounds[61].shape[2] == 3


def test_without_arguments_it_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"pip download procgen=={manifest.VERSION}")


def test_it_is_kept_in_the_cache_and_found_there(
    known: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(store.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"python -m coinrun_jax\.art"):
        store.require_art()
    assert main(["--from", wheel(tmp_path / "p.whl", known)]) == 0
    assert store.require_art() == tmp_path / "cache" / "coinrun_jax" / "procgen_art_1.npz"


@pytest.mark.parametrize("case", ["no file", "no zip", "truncated", "empty", "old", "none there"])
def test_what_is_no_wheel_is_refused(
    case: str, known: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "p.whl", str(tmp_path / "out.npz")
    if case == "no zip":
        path.write_text("not a wheel")
    elif case == "truncated":
        wheel(path, known)
        path.write_bytes(path.read_bytes()[:-1000])
    elif case == "empty":
        path.write_bytes(b"")
    elif case == "old":
        wheel(path, known, "procgen-0.10.4.dist-info/METADATA")
    elif case == "none there":
        wheel(path, {})
    refusal(main, ["--from", str(path), "--out", out], capsys)
    assert not Path(out).exists()


@pytest.mark.parametrize("case", ["other", "twice", "large", "damaged", "size"])
def test_hostile_members_are_refused(
    case: str,
    known: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, out = tmp_path / "p.whl", str(tmp_path / "out.npz")
    name = manifest.SPRITE_PATHS[5]
    if case == "other":
        known[name] = png(3, 4, 999)
    elif case == "large":
        known[name] = bytes(source.MOST_BYTES + 1)
    elif case == "size":
        real = source.pictures()
        wrong = tuple(each._replace(width=each.width + 1) for each in real)
        monkeypatch.setattr(source, "pictures", lambda: wrong)
    wheel(path, known)
    if case == "twice":
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(f"{manifest.FOLDER}/{name}", known[name])
    if case == "damaged":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(bytes(content))
    refusal(main, ["--from", str(path), "--out", out], capsys)
    assert not Path(out).exists()


def test_a_file_of_another_format_is_refused(known: dict[str, bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, format=np.int32(store.FORMAT + 1))
    with pytest.raises(InputError, match="picture file"):
        store.read_sprites(path)


@pytest.mark.parametrize("place", ["", "missing/folder"])
def test_a_folder_without_pictures_is_refused(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal(main, ["--from", str(tmp_path / place), "--out", str(tmp_path / "o.npz")], capsys)
