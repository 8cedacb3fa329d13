"""Files of arrays as data sets, and as what a trained model is given: one reader for both."""

import gzip
import struct
import tempfile
import types

import numpy as np
import pytest
from PIL import Image
from scipy import io, sparse

from keras_vae import data, likelihoods
from keras_vae.data import arrays
from keras_vae.training import values

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (60, 9, 8)).astype("uint8")
# A level of 255, so that a depth is not guessed from a dark one.
LEVELS[:, 0, 0] = 255
CLASSES = RNG.integers(0, 3, (60, 1))
CLASSES[:3, 0] = range(3)
COUNTS = RNG.poisson(0.5, (60, 12))


def idx(path, array):
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(">" + "I" * array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype("uint8").tobytes()))


def write_hdf5(path, **arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name.replace("__", "/")] = array


MNIST = "train-images-idx3-ubyte.gz"


def write_idx(path):
    for name, count in (("train", 60), ("t10k", 20)):
        idx(path.with_name(path.name.replace("train", name)), LEVELS[:count])
        labels = path.name.replace("train", name).replace("images-idx3", "labels-idx1")
        idx(path.with_name(labels), CLASSES[:count, 0])


# name: (how it is written, what its notes say, whether it has labels, sizes of its splits)
DRAWN, GIVEN = (48, 6, 6), (54, 6, 20)
MEDMNIST = {"train": slice(54), "val": slice(54, 60), "test": slice(20)}
PICTURES = {
    "medmnist.npz": (
        lambda path: np.savez(
            path,
            **{f"{split}_images": LEVELS[rows] for split, rows in MEDMNIST.items()},
            **{f"{split}_labels": CLASSES[rows] for split, rows in MEDMNIST.items()},
        ),
        "",
        True,
        GIVEN,
    ),
    "keras.npz": (
        lambda path: np.savez(
            path, x_train=LEVELS, y_train=CLASSES[:, 0], x_test=LEVELS[:20], y_test=np.eye(3)[CLASSES[:20, 0]]
        ),
        "",
        False,
        GIVEN,
    ),
    "plain.npy": (lambda path: np.save(path, LEVELS), "", False, DRAWN),
    "of_a_csv.npy": (lambda path: np.save(path, LEVELS.astype("int64")), "", False, DRAWN),
    "divided.npy": (lambda path: np.save(path, (LEVELS / 255).astype("float32")), "divided by 255", False, DRAWN),
    "deep.npy": (lambda path: np.save(path, LEVELS.astype("uint16") * 257), "16 bits", False, DRAWN),
    "one_of_two.npz::b": (lambda path: np.savez(path, a=COUNTS, b=LEVELS), "", False, DRAWN),
    "matlab.mat": (
        lambda path: io.savemat(path, {"X": np.moveaxis(LEVELS[..., None], 0, -1), "y": CLASSES + 1}),
        "",
        True,
        DRAWN,
    ),
    "groups.h5": (lambda path: write_hdf5(path, deep__images=LEVELS, labels=CLASSES[:, 0]), "", True, DRAWN),
    MNIST: (write_idx, "", True, GIVEN),
}


def written(tmp_path, name, write):
    path = tmp_path / name.partition("::")[0]
    write(path)
    return f"{tmp_path}/{name}"


def all_of(dataset):
    images = np.concatenate([getattr(dataset, split).images for split in ("train", "validation", "test")])
    return np.unique(images, axis=0)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_in_files_of_arrays(tmp_path, name):
    write, note, labelled, sizes = PICTURES[name]
    place = written(tmp_path, name, write)
    dataset = data.load(place)
    assert tuple(len(getattr(dataset, split)) for split in ("train", "validation", "test")) == sizes
    assert dataset.image_shape == (9, 8, 1) and dataset.pictures and note in "".join(dataset.notes)
    np.testing.assert_array_equal(all_of(dataset), np.unique(LEVELS[..., None], axis=0))
    assert (dataset.train.labels is not None) == labelled
    if labelled:
        assert "3 classes in training" in repr(dataset)
        for image, label in zip(dataset.test.images, dataset.test.labels, strict=True):
            assert label == CLASSES[(LEVELS[..., None] == image).all(axis=(1, 2, 3)).argmax(), 0]
    # As a trained model is given them, in the same units.
    model = types.SimpleNamespace(image_shape=(9, 8, 1), likelihood=types.SimpleNamespace(data="unit interval"))
    found, names = data.read_named([place], model)
    assert found.dtype == "float32" and len(found) == len(names)
    np.testing.assert_allclose(np.unique(found, axis=0), np.unique(LEVELS[..., None] / 255, axis=0), atol=1e-6)
    # A second look is one at what is kept.
    assert data.look(place) == ("pictures", sizes[0])


@pytest.mark.parametrize(
    ("name", "write", "numbers", "shape"),
    [
        ("genes.mtx", lambda path: io.mmwrite(path, sparse.csr_matrix(COUNTS)), "counts", (12,)),
        ("genes.npz", lambda path: sparse.save_npz(path, sparse.csr_matrix(COUNTS)), "counts", (12,)),
        ("rows.npy", lambda path: np.save(path, 1e4 * RNG.normal(size=(60, 12))), "numbers", (12,)),
        ("series.npy", lambda path: np.save(path, RNG.normal(size=(60, 20, 3))), "numbers", (20, 3)),
        ("line.npy", lambda path: np.save(path, RNG.normal(size=60)), "numbers", (1,)),
        ("bits.npy", lambda path: np.save(path, RNG.random((60, 12)) < 0.5), None, (12,)),
        ("flat.npy", lambda path: np.save(path, LEVELS.reshape(60, 72)), None, (72,)),
        ("two_channels.npy", lambda path: np.save(path, np.stack([LEVELS, LEVELS], axis=-1)), None, (9, 8, 2)),
    ],
)
def test_what_is_no_picture(tmp_path, name, write, numbers, shape):
    dataset = data.load(written(tmp_path, name, write))
    assert (dataset.numbers, dataset.image_shape) == (numbers, shape) and not dataset.pictures
    assert dataset.binary == (name == "bits.npy") and dataset.raw == (numbers is not None)
    assert dataset.train.images.dtype == ("float32" if numbers else "uint8")
    if numbers:
        model = types.SimpleNamespace(image_shape=shape, likelihood=types.SimpleNamespace(data=numbers))
        np.testing.assert_array_equal(np.unique(data.read_images([tmp_path / name], model), axis=0), all_of(dataset))


def test_deep_levels_are_read_as_those_of_training(tmp_path):
    model = types.SimpleNamespace(image_shape=(9, 8, 1), likelihood=types.SimpleNamespace(data="unit interval"))
    deep = LEVELS.astype("uint16") * 16
    np.save(tmp_path / "x.npy", deep)
    np.save(tmp_path / "dark.npy", deep[:5] // 8)
    assert data.load(tmp_path / "x.npy").depth == 4095
    model.likelihood.seen_depth = 4095
    found = data.read_images([tmp_path / "dark.npy"], model)
    np.testing.assert_allclose(found[..., 0], deep[:5] // 8 / 4095, atol=1 / 255)
    likelihood = likelihoods.DiscretizedLogistic()
    likelihood.seen_depth = 4095
    assert likelihoods.DiscretizedLogistic.from_config(likelihood.get_config()).seen_depth == 4095
    model.likelihood.seen_depth = 1023
    with pytest.raises(data.DataError, match="trained on levels up to 1023"):
        data.read_images([tmp_path / "x.npy"], model)


def model_of(**likelihood):
    return types.SimpleNamespace(image_shape=(9, 8, 1), likelihood=types.SimpleNamespace(**likelihood))


@pytest.mark.parametrize("kind", ["binary", "unit interval", "real"])
def test_bits_are_read_as_those_of_training(tmp_path, kind):
    bits = LEVELS > 100
    np.save(tmp_path / "bits.npy", bits)
    np.save(tmp_path / "bytes.npy", bits.astype("uint8"))
    for name in ("bits.npy", "bytes.npy"):
        found = data.read_images([tmp_path / name], model_of(data=kind, seen_depth=1))
        np.testing.assert_array_equal(found[..., 0], bits)
    np.testing.assert_array_equal(data.read_images([tmp_path / "bits.npy"], model_of(data=kind))[..., 0], bits)


def test_levels_in_floats_are_read_as_those_of_training(tmp_path):
    np.save(tmp_path / "floats.npy", LEVELS.astype("float64"))
    np.save(tmp_path / "dark.npy", np.floor(LEVELS[:5] / 3.0))
    model = model_of(data="real", seen_range=(0.0, 1.0))
    np.testing.assert_allclose(data.read_images([tmp_path / "floats.npy"], model)[..., 0], LEVELS / 255, atol=1e-6)
    np.testing.assert_allclose(
        data.read_images([tmp_path / "dark.npy"], model)[..., 0], LEVELS[:5] // 3 / 255, atol=1e-6
    )
    # Those of a model that was trained on numbers up to 255.
    np.save(tmp_path / "own.npy", LEVELS[..., None].astype("float32"))
    found = data.read_images([tmp_path / "own.npy"], model_of(data="real", seen_range=(0.0, 255.0)))
    np.testing.assert_array_equal(found[..., 0], LEVELS)


def test_numbers_of_the_other_byte_order(tmp_path):
    for dtype in (">u2", ">i4", ">f8"):
        np.save(tmp_path / "other.npy", COUNTS.astype(dtype))
        found = data.load(tmp_path / "other.npy")
        assert found.train.images.dtype.isnative
        assert values.as_array(COUNTS.astype(dtype)).dtype.isnative
        np.testing.assert_array_equal(values.as_array(COUNTS.astype(dtype)), COUNTS)


def test_labels_that_are_names_and_those_that_are_none(tmp_path):
    names = np.array(["cat", "dog", "emu"])[CLASSES[:, 0]]
    np.savez(tmp_path / "bytes.npz", x=LEVELS, y=names.astype("S"))
    assert data.load(tmp_path / "bytes.npz").class_names == ("cat", "dog", "emu")
    np.savez(tmp_path / "named.npz", x=LEVELS, y=names)
    dataset = data.load(tmp_path / "named.npz")
    assert dataset.class_names == ("cat", "dog", "emu") and "cat" in repr(dataset)
    np.savez(tmp_path / "none.npz", x=LEVELS, y=np.linspace(0, 1, 60))
    dataset = data.load(tmp_path / "none.npz")
    assert dataset.train.labels is None and "no classes" in dataset.notes[0]


def test_what_is_masked_is_missing():
    masked = np.ma.masked_greater(RNG.normal(size=(60, 4)), 1)
    dataset = data.from_arrays("mine", {"train": (masked, None)})
    assert dataset.has_missing and dataset.numbers == "numbers"
    assert sum(np.isnan(getattr(dataset, s).images).sum() for s in ("train", "validation", "test")) == masked.mask.sum()


def test_a_data_set_of_the_hugging_face_hub(tmp_path):
    datasets = pytest.importorskip("datasets")
    # It loads folders of files as it loads what is on the hub.
    pictures = [Image.fromarray(image) for image in LEVELS[:30]]
    rows = {"image": pictures, "label": CLASSES[:30, 0].tolist()}
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog", "emu"]))
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "train.parquet")
    dataset = data.load(f"hf:{tmp_path}", data_dir=tmp_path / "cache")
    np.testing.assert_array_equal(all_of(dataset), np.unique(LEVELS[:30, ..., None], axis=0))
    assert dataset.class_names == ("cat", "dog", "emu")
    assert data.load(f"hf:{tmp_path}", data_dir=tmp_path / "cache", image_size=4).image_shape == (4, 4, 1)


@pytest.mark.long
def test_a_data_set_of_tensorflow_datasets():
    pytest.importorskip("tensorflow_datasets")
    try:
        known = data.load("mnist")
    except data.DataError as error:
        pytest.skip(str(error))
    dataset = data.load("tfds:mnist")
    np.testing.assert_array_equal(dataset.test.images, known.test.images)
    assert dataset.class_names == tuple("0123456789") and len(dataset.validation) == 6000


@pytest.mark.parametrize(
    ("write", "name", "says"),
    [
        (lambda path: np.savez(path, a=LEVELS, b=LEVELS), "x.npz", r"Say so, .*x\.npz::NAME.*a uint8 \(60, 9, 8\), b"),
        (lambda path: np.savez(path, a=LEVELS), "x.npz::c", r"no array 'c' in it. It has a uint8"),
        (lambda path: path.write_bytes(b"no"), "x.npy", "damaged"),
        (
            lambda path: path.write_bytes(b"\0\0\x08\x01\0\0\0\x09abc"),
            "x-ubyte",
            r"3 numbers for an array of shape \(9,",
        ),
        (lambda path: np.save(path, LEVELS[:2]), "x.npy", "Too few examples"),
        (lambda path: np.savez(path, x=LEVELS, y=CLASSES[:5]), "x.npz", "5 labels of 60 examples"),
    ],
)
def test_files_that_cannot_be_meant(tmp_path, write, name, says):
    with pytest.raises(data.DataError, match=says):
        data.load(written(tmp_path, name, write))


def test_splits_of_large_arrays_are_files_without_a_name(tmp_path, monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1)).astype("uint8")
    np.save(tmp_path / "x.npy", x)
    expected = data.load(tmp_path / "x.npy")
    monkeypatch.setattr(arrays, "LARGE", 1000)
    monkeypatch.setattr(arrays, "_BLOCK", 700)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "room"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "room").mkdir()
    found = data.load(tmp_path / "x.npy")
    for split in ("train", "validation", "test"):
        images = getattr(found, split).images
        assert isinstance(images, np.memmap)
        np.testing.assert_array_equal(images, getattr(expected, split).images)
    assert list((tmp_path / "room").iterdir()) == []

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "memmap", full)
    with pytest.raises(data.DataError, match=r"copy of 10,240 bytes.*No space left.*TMPDIR.*room"):
        arrays.rows_of(x, np.arange(160))
