"""A power cut at any moment of a run: what was written and not flushed is lost, and the run still goes on."""

import os
import sys
from pathlib import Path

import pytest

from keras_vae.files import Table
from keras_vae.runs import directory, pictures
from keras_vae.runs import run as experiment
from keras_vae.runs.plan import plan

RECIPE = {"epochs": 3, "network": "mlp:8", "keep": "elbo", "eval_images": 8, "eval_samples": 2, "precision": "float32"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="which file a descriptor is of is known under Linux")


class Disk:
    """What is on the disk of a directory: the content that was flushed, by the names that were.

    Args:
        root: a directory.

    Attributes:
        states: after each flush, {path: content} of the files that a power cut would leave.
    """

    def __init__(self, root: Path):
        self._root, self._files, self._directories, self._held = root, {}, {}, []
        self.states = []

    def flushed(self, descriptor: int) -> None:
        """Notes what `os.fsync` of this descriptor has put on the disk."""
        # While a file is open, no other one gets its number.
        self._held.append(os.dup(descriptor))
        number, path = os.fstat(descriptor).st_ino, Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            self._directories[number] = {entry.name: (entry.inode(), entry.is_dir()) for entry in os.scandir(path)}
        else:
            self._files[number] = path.read_bytes()
        state = dict(self._found(self._root.stat().st_ino, Path()))
        if not self.states or state != self.states[-1]:
            self.states.append(state)

    def _found(self, number, path):
        for name, (inside, is_directory) in self._directories.get(number, {}).items():
            if is_directory:
                yield from self._found(inside, path / name)
            else:
                yield path / name, self._files.get(inside, b"")

    def close(self) -> None:
        for descriptor in self._held:
            os.close(descriptor)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    """The results of a run, its history, and what power cuts would have left of it."""
    root = tmp_path_factory.mktemp("disk")
    disk = Disk(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "write", lambda *_: {})
        patch.setattr(experiment, "_export", lambda *_: None)
        patch.setattr(os, "fsync", lambda descriptor, real=os.fsync: (real(descriptor), disk.flushed(descriptor)))
        results = experiment.run("digits", root / "run", verbose=False, **RECIPE)
    disk.close()
    return results, (root / "run" / "history.csv").read_bytes(), disk.states


def restored(state, root):
    for path, content in state.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root / "run"


def test_each_leaves_a_run_that_begins_or_goes_on(cuts, tmp_path):
    _, _, states = cuts
    assert len(states) > 20
    epochs = []
    for number, state in enumerate(states):
        out = restored(state, tmp_path / str(number))
        if not (out / "config.json").exists():
            directory.check_new(out) if out.exists() else None
            assert epochs == []
            continue
        plan("digits", out, resume=True)
        _, record = directory.state(out)
        epochs.append(len(record.get("history", ())))
        assert len(Table.read(out / "history.csv")) >= epochs[-1]
    # No epoch that was there is lost again.
    assert epochs == sorted(epochs) and set(epochs) == set(range(RECIPE["epochs"] + 1))


@pytest.mark.parametrize("done", [pytest.param(1, marks=pytest.mark.long), 2, pytest.param(3, marks=pytest.mark.long)])
def test_it_goes_on_to_the_bit(cuts, tmp_path, monkeypatch, done):
    results, history, states = cuts
    monkeypatch.setattr(pictures, "write", lambda *_: {})
    monkeypatch.setattr(experiment, "_export", lambda *_: None)
    # The first moment at which so many epochs are in the history: the state may be of the one before.
    lines = [state.get(Path("run/history.csv"), b"").count(b"\n") for state in states]
    out = restored(states[lines.index(1 + done)], tmp_path)
    resumed = experiment.run("digits", out, resume=True, verbose=False)
    assert resumed["metrics"] == results["metrics"] and (out / "history.csv").read_bytes() == history
