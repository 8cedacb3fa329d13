"""Data sets by name, folders of images, and the conversions between kinds of data."""

import dataclasses
import pathlib
import re
import socket
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest
from PIL import Image

from keras_vae import data
from keras_vae.data import arrays

ROOT = pathlib.Path(__file__).resolve().parent.parent
LEVELS = np.arange(256, dtype="uint8").reshape(1, 16, 16, 1)


def save(image, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)


def flat(level, shape=(4, 4)):
    """An image of one level."""
    return np.full(shape, level, "uint8")


def levels_of(split):
    """The level in the corner of each image, which names it where images are `flat`."""
    return split.images[:, 0, 0, 0].tolist()


def folder_of(path, levels, sub=""):
    for level in levels:
        save(flat(level), path / sub / f"{level:03d}.png")
    return path


def read_one(path, image, size=4, name="c.png", **options):
    """`image` as it comes back from a folder of three of the like, whose order the seed decides."""
    for copy in "ab":
        save(image, path / f"{copy}_{name}", **options)
    save(image, path / name, **options)
    return data.load(path, image_size=size).train.images[0]


def prepared(name):
    """tensorflow-datasets' builder, or a skip where it does not have the data set on this machine."""
    tfds = pytest.importorskip("tensorflow_datasets")
    try:
        builder = tfds.builder(name)
    except tfds.core.DatasetNotFoundError:
        builder = None
    if builder is None or not builder.is_prepared():
        pytest.skip(f"{name} is not prepared for tensorflow-datasets here")
    return builder


@pytest.mark.parametrize(
    ("name", "image_shape", "sizes", "validation"),
    [
        ("mnist", (28, 28, 1), (50_000, 10_000, 10_000), "train[50000:50008]"),
        # Read as mnist is.
        pytest.param(
            *("fashion_mnist", (28, 28, 1), (50_000, 10_000, 10_000), "train[50000:50008]"), marks=pytest.mark.long
        ),
        pytest.param(
            *("binarized_mnist", (28, 28, 1), (50_000, 10_000, 10_000), "validation[:8]"), marks=pytest.mark.long
        ),
        pytest.param(*("cifar10", (32, 32, 3), (45_000, 5_000, 10_000), "train[45000:45008]"), marks=pytest.mark.long),
        ("celeb_a64", (64, 64, 3), (24_000, 2_000, 4_000), "validation[:8]"),
    ],
)
def test_prepared_data_set(name, image_shape, sizes, validation):
    builder = prepared(name)
    dataset = data.load(name)
    splits = dataset.train, dataset.validation, dataset.test
    assert dataset.name == name
    assert dataset.image_shape == image_shape
    assert tuple(map(len, splits)) == sizes
    assert all(s.images.dtype == np.uint8 and s.images.shape == (len(s), *image_shape) for s in splits)
    assert dataset.binary == (name == "binarized_mnist")
    assert all(s.images[:1000].max() == (1 if dataset.binary else 255) for s in splits)

    first = builder.as_dataset(split=validation, batch_size=-1)
    np.testing.assert_array_equal(dataset.validation.images[:8], first["image"])
    if "label" in first:
        np.testing.assert_array_equal(dataset.validation.labels[:8], first["label"])
        assert all(len(s.labels) == len(s) and set(s.labels) == set(range(10)) for s in splits)
    else:
        assert all(s.labels is None for s in splits)
    if "attributes" in first:
        assert list(dataset.train.attributes) == list(first["attributes"]) and len(first["attributes"]) == 40
        for attribute, values in first["attributes"].items():
            assert all(s.attributes[attribute].shape == (len(s),) for s in splits)
            np.testing.assert_array_equal(dataset.validation.attributes[attribute][:8], values)
        assert all(s.attributes_known.dtype == s.attributes["Smiling"].dtype == bool for s in splits)
        assert dataset.validation.attributes_known[:8].tolist() == first["attributes_known"].numpy().tolist()
        # Unknown ones read False. Of the known faces, nearly half smile.
        for s in splits:
            assert not s.attributes["Smiling"][~s.attributes_known].any()
            assert 0.4 < s.attributes["Smiling"][s.attributes_known].mean() < 0.6
    else:
        assert all(s.attributes is None and s.attributes_known is None for s in splits)


def test_digits_are_all_of_scikit_learns():
    from sklearn.datasets import load_digits

    dataset, again = data.load("digits"), data.load("digits", seed=1)
    splits = dataset.train, dataset.validation, dataset.test
    assert tuple(map(len, splits)) == (1297, 200, 300)
    assert dataset.image_shape == (8, 8, 1) and not dataset.binary
    np.testing.assert_array_equal(dataset.test.images, again.test.images)

    # Nothing lost, nothing twice, every image with its own label.
    source = load_digits()
    ours = np.concatenate([np.column_stack([s.labels, s.images.reshape(len(s), -1)]) for s in splits]).astype(int)
    theirs = np.column_stack([source.target, np.round(source.data * 255 / 16)]).astype(int)
    assert sorted(map(tuple, ours)) == sorted(map(tuple, theirs))
    for split in splits:
        shares = np.bincount(split.labels, minlength=10) / len(split)
        # Stratified: off the whole's by less than two images, where chance would be off by five.
        np.testing.assert_allclose(shares, np.bincount(source.target) / 1797, atol=2 / len(split))


def test_no_network_is_one_clear_error(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow_datasets")

    def unreachable(*_, **__):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(data.DataError, match="Received: name='mnist'") as raised:
        data.load("mnist", data_dir=tmp_path)
    message = str(raised.value)
    assert str(tmp_path) in message and "tfds.load('mnist')" in message and "--data-dir" in message
    assert raised.value.__cause__ is None and raised.value.__context__ is None


def test_data_set_that_tensorflow_datasets_cannot_make(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(data.DataError, match=r"it is not there.*keras-vae prepare celeb_a64.*TFDS_DATA_DIR") as raised:
        data.load("celeb_a64", data_dir=tmp_path)
    assert "tfds.load" not in str(raised.value)
    assert len(str(raised.value)) < 600  # tensorflow-datasets' own message lists a thousand names.


def test_damaged_data_set(tmp_path):
    source = pathlib.Path(prepared("mnist").data_dir)
    copy = tmp_path / "mnist" / source.name
    copy.mkdir(parents=True)
    for file in source.iterdir():
        content = file.read_bytes()
        (copy / file.name).write_bytes(content[:5000] if "tfrecord" in file.name else content)
    with pytest.raises(data.DataError, match=r"DataLossError.*damaged"):
        data.load("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("module", ["tensorflow", "tensorflow_datasets"])
def test_without_what_reads_data_sets(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(data.DataError, match="pip install tensorflow"):
        data.load("mnist")


def test_package_needs_no_tensorflow_before_it_is_used():
    program = f"""
        import sys, types
        for name in ("tensorflow", "tensorflow_datasets", "PIL", "sklearn", "keras", "tensorflow_probability"):
            sys.modules[name] = None
        sys.modules["keras_vae"] = package = types.ModuleType("keras_vae")
        package.__path__ = [{str(ROOT / "keras_vae")!r}]
        from keras_vae import data
        ours = {{m.split(".")[1] for m in sys.modules if m.startswith("keras_vae.")}}
        assert ours == {{"columns", "data", "files", "names"}}
        print(*data.names())
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == list(data.names())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mnits", "did you mean 'mnist'"),
        ("Fashion-MNIST", "'fashion_mnist'"),
        ("qqqq", "Known are digits, mnist, fashion_mnist, binarized_mnist, cifar10, celeb_a64"),
        ("no/such/folder", "folder 'no/such/folder' does not exist"),
        ("", "There is no data set"),
        (__file__, "is a file"),
    ],
)
def test_what_is_no_data_set(name, says):
    with pytest.raises(data.DataError, match=re.escape(says)) as raised:
        data.load(name)
    assert str(raised.value).endswith(f"Received: name={name!r}")


def test_image_size_of_a_named_data_set():
    assert data.load("digits", image_size=8).image_shape == (8, 8, 1)
    with pytest.raises(data.DataError, match=r"8 pixels.*Received: image_size=16"):
        data.load("digits", image_size=16)


def test_folder_is_split_by_its_seed(tmp_path):
    folder_of(tmp_path, range(0, 100, 2), "deep/er")
    folder_of(tmp_path, range(1, 100, 2))
    dataset = data.load(tmp_path, image_size=4)
    splits = [levels_of(s) for s in (dataset.train, dataset.validation, dataset.test)]
    assert list(map(len, splits)) == [80, 10, 10]
    assert sorted(splits[0] + splits[1] + splits[2]) == list(range(100))
    assert dataset.train.labels is None
    assert dataset.name == str(tmp_path) and not dataset.binary
    assert levels_of(data.load(str(tmp_path), image_size=4).test) == splits[2]
    assert levels_of(data.load(tmp_path, image_size=4, seed=1).test) != splits[2]


def test_sub_folders_are_labels(tmp_path):
    folder_of(tmp_path, range(0, 12), "cat")
    folder_of(tmp_path, range(100, 112), "dog")
    folder_of(tmp_path, range(200, 212), "emu")
    dataset = data.load(tmp_path)
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.labels.tolist() == [level // 100 for level in levels_of(split)]
    folder_of(tmp_path, [50])
    assert data.load(tmp_path).train.labels is None


@pytest.mark.parametrize(
    ("given", "expected", "drawn"),
    [
        ({"train": 5, "test": 2, "validation": 3}, (6, 4, 3), ""),
        ({"train": 5, "test": 2, "val": 3}, (6, 4, 3), ""),
        ({"train": 20, "test": 2}, (19, 2, 3), "validation"),
        ({"train": 20, "val": 4}, (19, 5, 2), "test"),
    ],
)
def test_folders_of_splits(tmp_path, given, expected, drawn):
    first = {"train": 0, "validation": 100, "val": 100, "test": 200}
    for name, count in given.items():
        # The test images are of class b alone, which must not become class 0 there.
        folder_of(tmp_path, range(first[name], first[name] + count), f"{name}/{'b' if name == 'test' else 'a'}")
        folder_of(tmp_path, [first[name] + count], f"{name}/b")
    dataset = data.load(tmp_path)
    splits = {name: levels_of(getattr(dataset, name)) for name in ("train", "validation", "test")}
    assert tuple(map(len, splits.values())) == expected
    for name, levels in splits.items():
        assert {level // 100 * 100 for level in levels} == {first["train" if name == drawn else name]}
    if not drawn:
        assert splits["train"] == list(range(given["train"] + 1))
        assert [getattr(dataset, name).labels.tolist() for name in splits] == [[0] * 5 + [1], [0] * 3 + [1], [1] * 3]
    assert len({*splits["train"], *splits["validation"], *splits["test"]}) == sum(expected)


def test_class_called_train(tmp_path):
    dataset = data.load(folder_of(folder_of(tmp_path, range(0, 10), "car"), range(100, 110), "train"))
    assert len(dataset.train) == 16
    assert dataset.train.labels.tolist() == [level // 100 for level in levels_of(dataset.train)]


def test_centre_is_cropped_and_nothing_else_done_to_it(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 36, 3), dtype="uint8")
    np.testing.assert_array_equal(read_one(tmp_path, noise, size=12), noise[:, 12:24])


def test_shrinking_averages(tmp_path):
    # Picking every eighth pixel of a checkerboard would give black or white.
    board = np.uint8(255) * (np.indices((64, 64)).sum(0) % 2).astype("uint8")
    image = read_one(tmp_path, board, size=8)
    assert image.shape == (8, 8, 1)
    assert np.all(abs(image.astype(int) - 127.5) < 5)


def test_one_colour_image_makes_all_rgb(tmp_path):
    folder_of(tmp_path, range(9))
    assert data.load(tmp_path).image_shape == (64, 64, 1)
    save(np.full((70, 50, 3), (100, 110, 120), "uint8"), tmp_path / "colour.PNG")
    dataset = data.load(tmp_path)
    assert dataset.image_shape == (64, 64, 3)
    pixels = np.concatenate([s.images[:, 0, 0] for s in (dataset.train, dataset.validation, dataset.test)])
    assert sorted(map(tuple, pixels.tolist())) == [(v, v, v) for v in range(9)] + [(100, 110, 120)]


def half(left, right, mode):
    image = Image.new(mode, (4, 4), left)
    image.paste(right, (2, 0, 4, 4))
    if mode == "P":
        image.putpalette([200, 0, 0, 0, 200, 0])
    return image


@pytest.mark.parametrize(
    ("image", "options", "left", "right"),
    [
        (half((9, 8, 7, 255), (9, 8, 7, 0), "RGBA"), {}, [9, 8, 7], [255, 255, 255]),
        (half((9, 255), (9, 0), "LA"), {}, [9], [255]),
        (half(0, 1, "P"), {}, [200, 0, 0], [0, 200, 0]),
        (half(0, 1, "P"), {"transparency": 1}, [200, 0, 0], [255, 255, 255]),
        (half(0, 1, "1"), {}, [0], [255]),
        (Image.fromarray(np.repeat(np.array([[257 * 3, 65535]], "uint16"), 2, 1).repeat(4, 0)), {}, [3], [255]),
    ],
    ids=["RGBA", "LA", "palette", "transparent palette", "bilevel", "16 bits"],
)
def test_modes(tmp_path, image, options, left, right):
    result = read_one(tmp_path, image, **options)
    assert result[:, :2].tolist() == [[left] * 2] * 4
    assert result[:, 2:].tolist() == [[right] * 2] * 4


@dataclasses.dataclass
class Seen:
    """What `read_images` asks a model for."""

    image_shape: tuple
    likelihood: object


def seen(shape, kind):
    return Seen(shape, types.SimpleNamespace(data=kind))


def test_images_of_a_model_are_those_of_a_folder(tmp_path):
    """Transparency, palettes, 16 bits and the crop are the same in a data set and for a pretrained model."""
    pictures = {
        "alpha": half((9, 8, 7, 255), (9, 8, 7, 0), "RGBA"),
        "palette": half(0, 1, "P"),
        "deep": Image.fromarray(np.repeat(np.array([[257 * 3, 65535]], "uint16"), 2, 1).repeat(4, 0)),
        "wide": Image.fromarray(np.random.default_rng(0).integers(0, 256, (13, 40, 3), dtype="uint8")),
        "tall": Image.fromarray(np.random.default_rng(1).integers(0, 256, (31, 9), dtype="uint8")),
    }
    for name, picture in pictures.items():
        (tmp_path / name).mkdir()
        expected = np.broadcast_to(read_one(tmp_path / name, picture, size=6), (6, 6, 3))
        found = data.read_images([tmp_path / name], seen((6, 6, 3), "8-bit levels"))
        np.testing.assert_array_equal(found, [expected] * 3)


def test_a_picture_fills_a_shape_that_is_not_square(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (12, 36, 3), dtype="uint8")
    save(noise, tmp_path / "wide.png")
    for shape, part in (((12, 24, 3), noise[:, 6:30]), ((12, 4, 3), noise[:, 16:20])):
        (image,) = data.read_images([tmp_path / "wide.png"], seen(shape, "8-bit levels"))
        np.testing.assert_array_equal(image, part)


def test_read_images_converts_levels_and_keeps_numbers(tmp_path):
    save(flat(51), tmp_path / "a" / "b" / "deep.png")
    save(flat(255), tmp_path / "a" / "white.png")
    np.save(tmp_path / "one.npy", np.full((4, 4, 1), 0.25, "float32"))
    unit = seen((4, 4, 1), "unit interval")
    np.testing.assert_allclose(data.read_images([tmp_path / "a"], unit)[:, 0, 0, 0], [0.2, 1.0])
    np.testing.assert_array_equal(data.read_images([str(tmp_path / "one.npy")], unit), np.full((1, 4, 4, 1), 0.25))
    with pytest.raises(data.DataError, match=r"one kind.*Received: levels in .*numbers in .*one\.npy"):
        data.read_images([tmp_path / "a", tmp_path / "one.npy"], unit)
    bits = data.read_images([tmp_path / "a"], seen((4, 4, 1), "binary"))
    # Each by itself: the same whatever is read beside it.
    alone = [data.convert(flat(level)[None, ..., None], "binary", seed=0) for level in (51, 255)]
    np.testing.assert_array_equal(bits, np.concatenate(alone))
    given = data.Given([tmp_path / "a"], seen((4, 4, 1), "binary"))
    np.testing.assert_array_equal(np.concatenate([given[1:2], given[0:1]]), bits[::-1])
    assert len(given) == 2 and given.name(1).endswith("white.png")


def test_what_cannot_be_read_as_images(tmp_path):
    unit = seen((4, 4, 1), "unit interval")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    save(noise, tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:500])
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "empty").mkdir()
    for name, says in (
        ("cut.png", "damaged"),
        ("text.png", "neither a picture"),
        ("empty.npy", "holds no arrays"),
        ("empty", "no images"),
    ):
        with pytest.raises(data.DataError, match=rf"{says}.*Received: .*{name}"):
            data.read_images([tmp_path / name], unit)
    with pytest.raises(data.DataError, match=r"such as \.npy\. Received: .*text\.png"):
        data.read_images([tmp_path / "text.png"], seen((64, 1), "real"))
    with pytest.raises(FileNotFoundError):
        data.read_images([tmp_path / "gone.png"], unit)


def test_levels_come_back():
    for kind in ("unit interval", "open unit interval", "real", "8-bit levels"):
        np.testing.assert_array_equal(data.to_levels(data.convert(LEVELS, kind), kind), LEVELS)
    assert data.to_levels(np.array([-0.2, 1.3]), "real").tolist() == [0, 255]


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # Upside down.
    stored = half(0, 255, "L").resize((64, 64), Image.Resampling.NEAREST)
    image = read_one(tmp_path, stored, size=64, name="c.jpg", exif=exif, quality=95)
    assert image[:, :16].min() > 240 and image[:, -16:].max() < 15


def test_unreadable_images_are_named_and_left_out(tmp_path):
    folder_of(tmp_path, range(20), "a")
    folder_of(tmp_path, range(100, 120), "b")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    for suffix in ("png", "jpg", "webp", "bmp"):
        save(noise, tmp_path / "a" / f"cut.{suffix}")
        content = (tmp_path / "a" / f"cut.{suffix}").read_bytes()
        (tmp_path / "a" / f"cut.{suffix}").write_bytes(content[: len(content) // 2])
    (tmp_path / "b" / "empty.png").write_bytes(b"")
    (tmp_path / "b" / "text.jpeg").write_text("not an image")
    (tmp_path / "b" / "notes.txt").write_text("not an image, and not said to be one")
    (tmp_path / "b" / "._000.png").write_bytes(b"what macOS leaves behind")
    with pytest.warns(UserWarning, match=r"6 of 46 images cannot be read: .*a/cut\.bmp.*, \.\.\. ") as warned:
        dataset = data.load(tmp_path, image_size=4)
    assert len(warned) == 1 and warned[0].filename == __file__
    splits = dataset.train, dataset.validation, dataset.test
    assert list(map(len, splits)) == [32, 4, 4]
    for split in splits:
        assert split.labels.tolist() == [level // 100 for level in levels_of(split)]


def test_folders_of_too_little(tmp_path):
    with pytest.raises(data.DataError, match=r"no image.*Received: name="):
        data.load(tmp_path)
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"nothing")
    with pytest.raises(data.DataError, match=r"3 of 3 images cannot be read: a\.png, b\.png, c\.png.*Received: name="):
        data.load(tmp_path)
    for name in "ab":
        save(flat(0), tmp_path / f"{name}.png")
    with (
        pytest.warns(UserWarning, match="1 of 3"),
        pytest.raises(data.DataError, match=r"Too few readable images.*0 for train.*Received: name="),
    ):
        data.load(tmp_path)
    save(flat(0), tmp_path / "c.png")
    assert len(data.load(tmp_path).train) == 1


@pytest.mark.parametrize("size", [0, -1, 2.5, "64"])
def test_image_size_of_a_folder(tmp_path, size):
    with pytest.raises(data.DataError, match=f"Received: image_size={size!r}"):
        data.load(folder_of(tmp_path, range(3)), image_size=size)


def test_binarisation_has_the_probability_of_the_level():
    n = 20_000
    draws = data.convert(np.repeat(LEVELS, n, axis=0), "binary", seed=1)
    assert draws.dtype == np.float32 and set(np.unique(draws)) == {0.0, 1.0}
    frequency, p = draws.mean(0, dtype="float64").ravel(), np.arange(256) / 255
    assert frequency[0] == 0 and frequency[255] == 1
    # Chi-squared with 254 degrees of freedom, mean 254 and standard deviation 22.5: within five of them.
    chi2 = np.sum((frequency - p)[1:-1] ** 2 / (p * (1 - p))[1:-1]) * n
    assert abs(chi2 - 254) < 5 * 22.5


def test_binarisation_is_decided_by_the_seed():
    images = np.full((50, 8, 8, 1), 128, "uint8")
    first = data.convert(images, "binary", seed=3)
    np.random.random(7)  # The global generator has no say.
    np.testing.assert_array_equal(data.convert(images, "binary", seed=3), first)
    np.testing.assert_array_equal(data.convert(images[:10], "binary", seed=3), first[:10])
    assert np.mean(data.convert(images, "binary", seed=4) != first) > 0.4
    assert np.mean(first[1:] != first[:-1]) > 0.4


def test_intervals():
    unit, inside = data.convert(LEVELS, "unit interval"), data.convert(LEVELS, "open unit interval")
    assert unit.dtype == inside.dtype == np.float32
    np.testing.assert_allclose(unit.ravel(), np.arange(256) / 255, rtol=1e-7)
    np.testing.assert_array_equal(data.convert(LEVELS, "real"), unit)
    assert unit.min() == 0 and unit.max() == 1
    np.testing.assert_array_equal(inside.ravel(), (np.arange(256) + 0.5) / 256)  # Exact in float32.
    levels = data.convert(LEVELS, "8-bit levels")
    assert levels.dtype == np.uint8
    np.testing.assert_array_equal(levels, LEVELS)


def test_binary_images_stay_what_they_are():
    images = np.random.default_rng(0).integers(0, 2, (5, 4, 4, 1), dtype="uint8")
    for kind in ("binary", "unit interval", "real"):
        converted = data.convert(images, kind, binary=True)
        assert converted.dtype == np.float32
        np.testing.assert_array_equal(converted, images)
    for kind in ("8-bit levels", "open unit interval"):
        with pytest.raises(data.DataError, match=f"bernoulli.*Received: kind='{kind}'"):
            data.convert(images, kind, binary=True)
    # As levels they would be black: whoever means that says so.
    with pytest.raises(data.DataError, match="Say whether they are binary, binary=True"):
        data.convert(images, "binary")
    assert data.convert(images, "binary", binary=False).mean() < 0.05
    np.testing.assert_array_equal(data.convert(0 * images, "unit interval"), 0 * images)


def test_what_cannot_be_converted():
    with pytest.raises(ValueError, match=r"'open unit interval'.*Received: 'unit'"):
        data.convert(LEVELS, "unit")
    with pytest.raises(data.DataError, match="Received: images of dtype float32"):
        data.convert(data.convert(LEVELS, "unit interval"), "binary")
    with pytest.raises(data.DataError, match="largest value 255"):
        data.convert(LEVELS, "binary", binary=True)


def archived(tmp_path):
    digits = data.load("digits")
    faces = {"Smiling": np.arange(300) % 2 == 0, "Hat": np.arange(300) < 7}
    test = data.Split(digits.test.images, None, faces, np.arange(300) > 3)
    dataset = data.DataSet("cifar10", False, digits.train, digits.validation, test)
    data.save(dataset, tmp_path / "cifar10.npz")
    return dataset


def test_an_archive_gives_back_the_data_set_by_its_path_and_by_its_name(tmp_path, monkeypatch):
    dataset = archived(tmp_path)
    monkeypatch.setattr(data.named, "load_prepared", None)
    by_path = data.load(tmp_path / "cifar10.npz")
    by_argument = data.load("cifar10", data_dir=tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for loaded in (by_path, by_argument, data.load("cifar10")):
        assert (loaded.name, loaded.binary) == ("cifar10", False)
        for key in ("train", "validation"):
            np.testing.assert_array_equal(getattr(loaded, key).images, getattr(dataset, key).images)
            np.testing.assert_array_equal(getattr(loaded, key).labels, getattr(dataset, key).labels)
        assert loaded.train.attributes is None and loaded.test.labels is None
        assert list(loaded.test.attributes) == ["Smiling", "Hat"]
        np.testing.assert_array_equal(loaded.test.attributes["Hat"], dataset.test.attributes["Hat"])
        np.testing.assert_array_equal(loaded.test.attributes_known, dataset.test.attributes_known)


def test_a_damaged_archive_is_refused(tmp_path):
    archived(tmp_path)
    path = tmp_path / "cifar10.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(data.DataError, match=r"damaged.*Received: .*cifar10\.npz"):
        data.load(path)
    np.savez(path, images=np.zeros(3))
    with pytest.raises(data.DataError, match=r"not a data set that `keras_vae\.data\.save` wrote"):
        data.load("cifar10", data_dir=tmp_path)


def test_levels_of_a_csv_file_are_converted():
    levels = np.arange(256).reshape(-1, 4, 4, 1)
    for kind in ("binary", "unit interval", "8-bit levels"):
        np.testing.assert_array_equal(data.convert(levels, kind), data.convert(levels.astype("uint8"), kind))
    with pytest.raises(data.DataError, match=r"4095.*from 0 to 510"):
        data.convert(levels * 2, "binary")


def test_a_column_of_labels_is_one_label_an_image():
    split = data.Split(np.zeros((3, 2, 2, 1), "uint8"), np.array([[2], [0], [1]]))
    np.testing.assert_array_equal(split.labels, [2, 0, 1])


def test_what_a_folder_holds_is_said(tmp_path):
    folder_of(tmp_path, range(0, 200, 20))
    save(np.zeros((30, 60, 3), "uint8"), tmp_path / "wide.jpg")
    save(np.full((10, 10), 4095, "uint16"), tmp_path / "deep.png")
    page = Image.fromarray(np.zeros((20, 20), "uint8"))
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    for name in ("notes.txt", "photo.heic", ".hidden.txt"):
        (tmp_path / name).touch()
    save(np.zeros((10, 10), "uint8"), tmp_path / "masks" / "wide.png")
    said = "\n".join(data.load(tmp_path, image_size=8).notes)
    for told in (
        r"\d sizes, from .* to 60x30",
        "central square that is kept is 50% to 100%",
        r"modes: L 12, I;16 1, RGB 1",
        "1 pictures have several pages",
        "16-bit pictures are nearly black, at most 16 of 255",
        r"1\d pictures have one colour",
        "1 pictures look like masks of others.*masks/wide",
        r"left out.*1 \.heic, 1 \.txt",
    ):
        assert re.search(told, said), (told, said)


def test_pictures_of_a_large_folder_are_kept_in_files(tmp_path, monkeypatch):
    folder_of(tmp_path, range(40), "grey")
    save(np.arange(75, dtype="uint8").reshape(5, 5, 3), tmp_path / "rgb" / "colour.png")
    for name in ("not.png", "cut.png"):
        (tmp_path / name).write_bytes(b"" if name == "not.png" else (tmp_path / "rgb" / "colour.png").read_bytes()[:50])
    datasets = []
    for most in (arrays.LARGE, 100):
        monkeypatch.setattr(arrays, "LARGE", most)
        with pytest.warns(UserWarning, match="2 of 43 images cannot be read: cut.png, not.png"):
            datasets.append(data.load(tmp_path, image_size=5))
    assert datasets[0].notes == datasets[1].notes
    for name in ("train", "validation", "test"):
        held, mapped = (getattr(dataset, name).images for dataset in datasets)
        assert isinstance(mapped, np.memmap) and not isinstance(held, np.memmap) and held.shape[1:] == (5, 5, 3)
        np.testing.assert_array_equal(held, mapped)


@pytest.mark.parametrize(
    "names", [("Train", "Test", "Valid"), ("training", "TEST", "dev"), ("Training_Set", "test-images", "valset")]
)
def test_folders_of_splits_in_any_spelling(tmp_path, names):
    for index, name in enumerate(names):
        folder_of(tmp_path, range(100 * index, 100 * index + 3), f"{name}/a")
    dataset = data.load(tmp_path)
    assert [levels_of(split)[0] for split in (dataset.train, dataset.test, dataset.validation)] == [0, 100, 200]
    assert dataset.class_names == ("a",) and "1 classes in training: a 3" in repr(dataset)
    (tmp_path / "tr").mkdir()
    with pytest.raises(data.DataError, match="Two folders are for train"):
        data.load(tmp_path)


def test_pictures_of_numbers_are_left_out(tmp_path):
    folder_of(tmp_path, range(20), "a")
    Image.fromarray(np.full((64, 64), 0.5, "float32")).save(tmp_path / "a" / "numbers.tif")
    with pytest.warns(UserWarning, match=r"1 of 21 images cannot be read: a/numbers.tif.*no known range"):
        assert data.load(tmp_path, image_size=4).image_shape == (4, 4, 3)


def test_what_is_no_picture_is_left_out_at_use_too(tmp_path):
    folder_of(tmp_path, range(20), "a")
    (tmp_path / "a" / "text.png").write_text("not an image")
    model = types.SimpleNamespace(image_shape=(4, 4, 3), likelihood=types.SimpleNamespace(data="unit interval"))
    with pytest.warns(UserWarning, match=r"1 of 21 images cannot be read: a/text.png.*left out"):
        assert len(data.read_images([tmp_path], model)) == 20
    with pytest.raises(data.DataError, match=r"neither a picture.*text.png"):
        data.read_images([tmp_path / "a" / "text.png"], model)
