"""Checkpoints that are torn, damaged or cannot be written; which ones are kept."""

from __future__ import annotations

import resource
import signal

import numpy as np
import pytest

from coinrun_jax.checks import InputError
from train.checkpoints import CheckpointError, Checkpoints
from train.logging.metrics_csv import CsvLogger, read_rows, rows_of_updates

# pytest's own hook sees what `train.checkpoints` keeps from users.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def state_of(update):
    rng = np.random.default_rng(update)
    return {"a": rng.random((40, 50)).astype(np.float32), "b": (np.int32(update), np.arange(3))}


def written(folder, scores):
    """A checkpoint per score, of updates 1, 2, ..."""
    checkpoints = Checkpoints(folder, keep=2)
    for update, score in enumerate(scores, 1):
        checkpoints.save(update, state_of(update), score)
    return checkpoints


def assert_holds(restored, update):
    assert restored[0] == update
    np.testing.assert_array_equal(restored[1]["a"], state_of(update)["a"])
    assert restored[1]["b"][0] == update


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def largest_file(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def test_the_newest_and_the_best_are_kept(tmp_path):
    checkpoints = written(tmp_path, [1.0, 5.0, 2.0, 3.0, 4.0])
    assert checkpoints.updates == [2, 4, 5]
    assert_holds(checkpoints.restore(lambda _: state_of(0)), 5)
    checkpoints.close()


def test_what_is_kept_does_not_depend_on_who_wrote_it(tmp_path):
    """A process per checkpoint, as where a run is killed and resumed each time."""
    for update, score in enumerate([1.0, 5.0, None, 2.0, 3.0, float("nan"), 4.0], 1):
        checkpoints = Checkpoints(tmp_path, keep=2)
        checkpoints.save(update, state_of(update), score)
        checkpoints.close()
        assert len(checkpoints.updates) <= 3
    assert checkpoints.updates == [2, 6, 7]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_checkpoint_is_none(tmp_path, kind):
    for name in (".DS_Store", "notes", "٣", "-1", "020", "1" * 30):
        path = tmp_path / name
        path.touch() if kind == "file" else path.mkdir()
    assert Checkpoints(tmp_path).restore(lambda _: state_of(0)) is None


def test_nothing_to_restore(tmp_path):
    assert Checkpoints(tmp_path / "new").restore(lambda _: state_of(0)) is None


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, capsys, damage):
    written(tmp_path, [1.0, 2.0, 3.0]).close()
    damage(largest_file(tmp_path / "3" / "state"))
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert_holds(checkpoints.restore(lambda _: state_of(0)), 2)
    complaint = capsys.readouterr().err
    assert complaint.startswith("warning: checkpoint 3 cannot be read")
    assert complaint.count("\n") == 1
    assert checkpoints.updates == [1, 2, 3][-len(checkpoints.updates) :]  # all is left as it was
    checkpoints.set_aside_after(2)
    assert (tmp_path / "damaged-3" / "state").is_dir()
    checkpoints.save(3, state_of(3), 3.0)  # written anew when the run comes by again
    assert_holds(checkpoints.restore(lambda _: state_of(0)), 3)
    checkpoints.close()


def test_a_fault_of_the_machine_is_no_damage(tmp_path, monkeypatch):
    checkpoints = written(tmp_path, [1.0, 2.0])

    def fail(*_, **__):
        raise ValueError("metadata") from PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoints._orbax, "restore", fail)
    with pytest.raises(CheckpointError, match="checkpoint 2 could not be read: Permission denied"):
        checkpoints.restore(lambda _: state_of(0))
    checkpoints.close()


def test_only_damaged_checkpoints_are_an_error_and_stay(tmp_path):
    written(tmp_path, [1.0, 2.0]).close()
    for update in "12":
        cut_short(largest_file(tmp_path / update / "state"))
    checkpoints = Checkpoints(tmp_path, keep=2)
    with pytest.raises(InputError, match=r"none of the checkpoints \[1, 2\]"):
        checkpoints.restore(lambda _: state_of(0))
    assert checkpoints.updates == [1, 2]
    checkpoints.close()


def test_checkpoints_of_another_structure_are_an_error_and_stay(tmp_path):
    written(tmp_path, [1.0]).close()
    checkpoints = Checkpoints(tmp_path, keep=2)
    with pytest.raises(InputError, match=r"\[1\] in .* can be read: .*another version"):
        checkpoints.restore(lambda _: {**state_of(0), "more": np.zeros(3)})
    assert checkpoints.updates == [1]
    checkpoints.close()


def test_a_full_disk_leaves_the_earlier_checkpoints(tmp_path):
    """A limit on the size of files stands for the disk: writing fails in the middle."""
    checkpoints = written(tmp_path, [1.0])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        with pytest.raises(CheckpointError, match="checkpoint 2 could not be written"):
            checkpoints.save(2, state_of(2), 2.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert_holds(checkpoints.restore(lambda _: state_of(0)), 1)
    checkpoints.save(2, state_of(2), 2.0)
    assert_holds(checkpoints.restore(lambda _: state_of(0)), 2)
    checkpoints.close()


COLUMNS = ["update", "return"]


def row(update):
    return {"update": update, "return": update / 2}


def metrics_of(path, *updates):
    log = CsvLogger(path, COLUMNS)
    for update in updates:
        log.log(row(update))
    log.close()


def test_rows_beyond_the_checkpoint_and_a_torn_one_are_dropped(tmp_path):
    path = tmp_path / "metrics.csv"
    metrics_of(path, 1, 2, 3, 4)
    with open(path, "a") as file:
        file.write("5,2.")  # killed in the middle of a row
    log = CsvLogger(path, COLUMNS, rows_of_updates(path, COLUMNS, 3))
    log.log(row(4))
    log.close()
    assert [r["update"] for r in read_rows(path)] == ["1", "2", "3", "4"]
    assert len(path.read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda path: metrics_of(path, 1, 3), "rows 1 ... 3"),
        (lambda path: path.write_bytes(b"\xff\x00"), "UTF-8"),
        (lambda path: path.write_text("update,entropy\n1,2\n"), "entropy"),
        (lambda path: path.write_text("update,return\none,2\n"), "rows 1 ... 3"),
        (lambda path: path.write_text("update,return\n1,abc\n2,2\n3,3\n"), "'abc', not a number"),
        (lambda path: path.write_text("update,return\n" + "1" * 5000 + ",2\n"), "rows 1 ... 3"),
        (lambda path: path.mkdir(), "not a file"),
    ],
)
def test_metrics_that_are_not_the_checkpoints_are_an_error(tmp_path, damage, named):
    path = tmp_path / "metrics.csv"
    damage(path)
    with pytest.raises(InputError, match=named):
        rows_of_updates(path, COLUMNS, 3)
