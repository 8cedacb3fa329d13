"""Files that are there whole, or as they were before."""

import errno
import os

import pytest

from keras_vae import files
from keras_vae.files import Table


def write(text):
    return lambda path: path.write_text(text)


def tree(text):
    """Writes a directory with a file and a directory of a file."""

    def make(path):
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "file").write_text(text)
        (path / "other").write_text(text)

    return make


@pytest.fixture
def operations(monkeypatch):
    """What `replace` has the system do, in its order: ("flush" or "rename", path)."""
    done = []
    descriptors = os.readlink if os.path.isdir("/proc/self/fd") else None
    if descriptors is None:
        pytest.skip("which file a descriptor is of is known under Linux")

    def fsync(descriptor, real=os.fsync):
        done.append(("flush", os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    def replace(source, target, real=os.replace):
        done.append(("rename", str(target)))
        real(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    return done


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_after(tmp_path, operations):
    path = tmp_path / "a.txt"
    files.replace(path, write("one"))
    flushed = ("flush", str(tmp_path / "partial.a.txt"))
    assert operations == [flushed, ("rename", str(path)), ("flush", str(tmp_path))]
    operations.clear()
    files.replace(path, write("two"), keep_previous=True)
    aside = [("rename", str(files.previous(path))), ("flush", str(tmp_path))]
    assert operations == [flushed, *aside, ("rename", str(path)), ("flush", str(tmp_path))]
    assert (path.read_text(), files.previous(path).read_text()) == ("two", "one")


def test_all_that_is_in_a_directory_is_flushed(tmp_path, operations):
    files.replace(tmp_path / "tree", tree("one"))
    partial = tmp_path / "partial.tree"
    flushed = {path for what, path in operations if what == "flush"}
    assert flushed == {str(path) for path in (partial, partial / "inner", partial / "other", tmp_path)} | {
        str(partial / "inner" / "file")
    }
    operations.clear()
    files.make_directory(tmp_path / "a" / "b")
    assert operations == [("flush", str(tmp_path / "a")), ("flush", str(tmp_path))]


@pytest.mark.parametrize("swaps", [True, False])
def test_a_directory_is_replaced(tmp_path, monkeypatch, operations, swaps):
    path = tmp_path / "tree"
    files.replace(path, tree("one"))
    if not swaps:
        monkeypatch.setattr(files.ctypes, "CDLL", lambda name: None)
    operations.clear()
    files.replace(path, tree("two"))
    assert (path / "inner" / "file").read_text() == "two" and os.listdir(tmp_path) == ["tree"]
    # At no moment is there none: the system swaps them.
    assert [path for what, path in operations if what == "rename"] == [] or not swaps


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    files.replace(path, write("one"))

    def full(partial):
        partial.write_text("tw")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def unnumbered(partial):
        raise OSError("disk full")

    with pytest.raises(OSError, match=r"No space left on device: .*a\.txt"):
        files.replace(path, full, keep_previous=True)
    with pytest.raises(OSError, match=r"disk full\. Received: .*a\.txt"):
        files.replace_together({tmp_path / "b.txt": write("b"), path: unnumbered})
    assert path.read_text() == "one" and os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_process_was_writing_is_removed(tmp_path):
    for name in ("partial.a.txt", "a.txt", "previous.a.txt"):
        (tmp_path / name).touch()
    tree("one")(tmp_path / "partial.tree")
    files.remove_partials(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "previous.a.txt"]


def test_a_table_has_whole_lines_only(tmp_path):
    path = tmp_path / "history.csv"
    table = Table(path, [])
    assert not path.exists() and Table.read(path) == []
    for epoch in range(3):
        table.append({"epoch": epoch, "loss": 0.1 + epoch})
    for torn in ("3,3.", "3\n", "3,\0\0\n", "\xff\n"):
        with open(path, "a", encoding="latin-1") as file:
            file.write(torn)
        rows = Table.read(path)
        assert rows == [{"epoch": epoch, "loss": 0.1 + epoch} for epoch in range(3)]
        table = Table(path, rows[:2])
        table.append({"epoch": 2, "loss": 2.1})
    table.append({"epoch": 3, "loss": 1 / 3})
    assert path.read_text() == "epoch,loss\n0,0.1\n1,1.1\n2,2.1\n3,0.3333333333333333\n"
    assert table.column("loss") == [0.1, 1.1, 2.1, 1 / 3]
