"""`celeb_a64`, made of files as people download them, with made-up pictures in them."""

import functools
import io
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import textwrap
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from keras_vae import data
from keras_vae.cli import main as cli
from keras_vae.data import celeb_a, celeb_a64

tfds = pytest.importorskip("tensorflow_datasets")
# No backend is used.
pytestmark = pytest.mark.long_on_jax

ROOT = pathlib.Path(__file__).resolve().parent.parent
NUMBERS = {"train": range(1, 15), "validation": range(15, 20), "test": range(20, 25)}
CUT, ABSENT = 3, 16
KEPT = {split: [n for n in numbers if n not in (CUT, ABSENT)] for split, numbers in NUMBERS.items()}


@functools.cache
def picture(number):
    """A smooth one, in shades of a colour: (218, 178, 3) uint8."""
    cells = np.random.default_rng(number).integers(0, 256, (9, 7), "uint8")
    grey = np.asarray(Image.fromarray(cells).resize((178, 218), Image.Resampling.BICUBIC))
    return np.uint8(grey[..., None] * [1, 0.8, 0.6])


@functools.cache
def jpeg(number):
    file = io.BytesIO()
    Image.fromarray(picture(number)).save(file, "JPEG", quality=95)
    return file.getvalue()


@functools.cache
def attributes(number):
    values = np.random.default_rng([number, 1]).random(40) < 0.5
    return dict(zip(celeb_a.ATTRIBUTES, map(bool, values), strict=True))


def lists(form):
    """{file name: text} of both lists."""
    splits = [(f"{n:06d}.jpg", str(i)) for i, numbers in enumerate(NUMBERS.values()) for n in numbers]
    # In another order than ours, which must not matter.
    names = list(reversed(celeb_a.ATTRIBUTES))
    known = [(f"{n:06d}.jpg", *("1" if attributes(n)[name] else "-1" for name in names)) for n in range(1, 25)]
    if form == "csv":
        tables = {"list_eval_partition": [("image_id", "partition"), *splits]}
        tables["list_attr_celeba"] = [("image_id", *names), *known]
        return {f"{name}.csv": "".join(",".join(row) + "\r\n" for row in rows) for name, rows in tables.items()}
    tables = {"list_eval_partition": splits, "list_attr_celeba": [("24",), names, *known]}
    # Official columns are aligned by a second space.
    return {f"{name}.txt": "".join("  ".join(row) + "\n" for row in rows) for name, rows in tables.items()}


def images():
    """{file name: bytes}, one of them cut, one absent."""
    return {f"{n:06d}.jpg": jpeg(n)[: 2000 if n == CUT else None] for n in range(1, 25) if n != ABSENT}


def write(path, files):
    """`files` in a folder, or in a zip where `path` ends so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def within(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def official(path):
    write(path, within("img_align_celeba", images()) | lists("txt"))
    return path


def drive(path):
    # Those in the wild, of the same names, are not to be taken, wherever they are.
    wild = dict.fromkeys(images(), jpeg(1))
    write(path / "Img" / "img_celeba", wild)
    write(path / "Img" / "img_align_celeba.zip", within("img_align_celeba", images()) | within("img_celeba", wild))
    write(path, within("Eval", lists("txt")) | {"Anno/list_bbox_celeba.txt": "24"})
    return path


def beside(path):
    """The zip is given, or the folder of the images; the lists lie beside it."""
    write(path / "img_align_celeba.zip", within("img_align_celeba", images()))
    write(path, lists("txt"))
    return path / "img_align_celeba.zip"


def images_alone(path):
    return official(path) / "img_align_celeba"


def kaggle(path):
    nested = within("img_align_celeba/img_align_celeba", images())
    apple = {"__MACOSX/img_align_celeba/._000003.jpg": b"what macOS leaves behind"}
    write(path / "archive.zip", nested | lists("csv") | apple)
    return path / "archive.zip"


def kaggle_unpacked(path):
    write(path, within("img_align_celeba/img_align_celeba", images()) | lists("csv"))
    return path


def prepare(source, data_dir):
    """Without the warning of what is left out."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* are left out", UserWarning)
        return data.prepare_celeb_a64(source, data_dir, verbose=False)


def records(directory):
    """{split: its examples as stored}, read without any class of ours."""
    builder = tfds.builder_from_directory(directory)
    decoders = {"image": tfds.decode.SkipDecoding()}
    return {s: list(tfds.as_numpy(builder.as_dataset(split=s, decoders=decoders))) for s in builder.info.splits}


def nothing_there(data_dir):
    with pytest.raises(data.DataError, match="keras-vae prepare celeb_a64"):
        data.load("celeb_a64", data_dir)
    return True


@pytest.mark.parametrize(
    "layout",
    [
        official,
        kaggle_unpacked,
        *(pytest.param(f, marks=pytest.mark.long) for f in (drive, beside, images_alone, kaggle)),
    ],
)
def test_downloads_of_every_layout(tmp_path, layout):
    source, data_dir = layout(tmp_path / "download"), tmp_path / "tfds"
    with pytest.warns(UserWarning, match="2 of 24 images are left out: ") as warned:
        made = data.prepare_celeb_a64(source, data_dir, verbose=False)
    (warned,) = [w for w in warned if "left out" in str(w.message)]
    assert re.search(r"000003\.jpg \(.*truncated.*\), 000016\.jpg \(missing\)\.$", str(warned.message))
    assert warned.filename == __file__
    assert {split: made[split] for split in NUMBERS} == {split: len(numbers) for split, numbers in KEPT.items()}
    assert list(made["left_out"]) == ["000003.jpg", "000016.jpg"]

    stored = records(made["directory"])
    assert {split: [example["id"] for example in stored[split]] for split in stored} == KEPT
    dataset = data.load("celeb_a64", data_dir)
    assert dataset.image_shape == (64, 64, 3)
    for split, numbers in KEPT.items():
        loaded = getattr(dataset, split)
        assert loaded.attributes_known.all() and len(loaded) == len(numbers)
        for row, number in enumerate(numbers):
            assert {name: values[row] for name, values in loaded.attributes.items()} == attributes(number)
            # JPEG makes a mean difference of 1.0 to 1.2 levels; a crop that is off by one pixel 2.1 to 3.5.
            assert np.mean(abs(loaded.images[row] - expected(number))) < 2


def expected(number):
    """TensorFlow's antialiased bilinear resize of the central 148 pixels: (64, 64, 3) float32."""
    import tensorflow as tf

    return tf.image.resize(picture(number)[35:183, 15:163], (64, 64), antialias=True).numpy()


def test_unpacked_images_go_before_those_in_a_zip(tmp_path):
    source = official(tmp_path)
    write(source / "img_align_celeba.zip", {"img_align_celeba/000001.jpg": b"", "img_align_celeba/000016.jpg": b"16"})
    with celeb_a.from_download(source) as splits:
        assert next(iter(splits["train"].faces)).read() == jpeg(1)
        assert {face.number: face for face in splits["validation"].faces}[ABSENT].read() == b"16"


def test_shrinking_averages():
    # Picking pixels of a checkerboard would give black or white.
    board = np.uint8(255) * (np.indices((218, 178)).sum(0) % 2).astype("uint8")
    file = io.BytesIO()
    Image.fromarray(board).save(file, "JPEG", quality=100)
    shrunk = np.asarray(Image.open(io.BytesIO(celeb_a64._jpeg(celeb_a.Face(1, file.getvalue, None)))))
    assert shrunk.shape == (64, 64, 3) and np.all(abs(shrunk.astype(int) - 127.5) < 30)


def test_official_names_are_found_by_tensorflow_datasets_alone(tmp_path):
    made = prepare(official(tmp_path / "download"), tmp_path / "tfds")
    program = f"""
        import tensorflow_datasets as tfds
        images, info = tfds.load("celeb_a64", split="test", data_dir={str(tmp_path / "tfds")!r}, with_info=True)
        print(info.version, *(int(example["id"]) for example in images))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.stdout.split() == ["1.0.0", *map(str, KEPT["test"])], done.stderr
    assert pathlib.Path(made["directory"]) == tmp_path / "tfds" / "celeb_a64" / "1.0.0"


def test_it_is_of_the_form_of_the_copy_that_is_prepared_here(tmp_path):
    try:
        real = tfds.builder("celeb_a64")
    except tfds.core.DatasetNotFoundError:
        pytest.skip("celeb_a64 is not prepared for tensorflow-datasets here")
    made = prepare(official(tmp_path / "download"), tmp_path / "tfds")
    ours = tfds.builder_from_directory(made["directory"])
    assert ours.info.features.to_json() == real.info.features.to_json()
    assert (ours.info.version, ours.info.disable_shuffling) == (real.info.version, real.info.disable_shuffling)
    undecoded = {"image": tfds.decode.SkipDecoding()}
    files = [next(iter(b.as_dataset(split="test", decoders=undecoded)))["image"].numpy() for b in (ours, real)]
    ours, real = (Image.open(io.BytesIO(file)) for file in files)
    assert ours.quantization == real.quantization
    assert JpegImagePlugin.get_sampling(ours) == JpegImagePlugin.get_sampling(real)


def test_attributes_that_are_not_known(tmp_path):
    write(tmp_path / "none", within("img_align_celeba", images()))
    texts = lists("txt")
    write(tmp_path / "none", {"list_eval_partition.txt": texts["list_eval_partition.txt"]})
    prepare(tmp_path / "none", tmp_path / "tfds_none")
    dataset = data.load("celeb_a64", tmp_path / "tfds_none")
    for split in (dataset.train, dataset.validation, dataset.test):
        assert not split.attributes_known.any() and not any(values.any() for values in split.attributes.values())

    # Of one image alone.
    count, names, *rows = texts["list_attr_celeba.txt"].splitlines()
    fewer = "\n".join(["23", names, *(row for row in rows if not row.startswith("000005"))])
    write(official(tmp_path / "one"), {"list_attr_celeba.txt": fewer})
    prepare(tmp_path / "one", tmp_path / "tfds_one")
    train = data.load("celeb_a64", tmp_path / "tfds_one").train
    assert [n for n, known in zip(KEPT["train"], train.attributes_known, strict=True) if not known] == [5]
    assert count == "24"


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("list_eval_partition.txt", None, r"list_eval_partition\.txt \(or \.csv\).*beside the images"),
        ("list_eval_partition.txt", ("000004.jpg  0", "000004.jpg  3"), r"line 4: expected .*'000004\.jpg 3'"),
        ("list_eval_partition.txt", ("000004.jpg  0", "000004.jpg  x"), r"line 4: expected .*'000004\.jpg x'"),
        ("list_eval_partition.txt", ("000004.jpg  0", "000004.jpg  0  1"), "line 4: .*Received: 3 columns"),
        ("list_eval_partition.txt", ("000004.jpg  0", "000004.jpg"), "line 4: .*Received: 1 columns"),
        ("list_eval_partition.txt", ("000004.jpg  0", "face.jpg  0"), "line 4: .*'face.jpg 0'"),
        ("list_eval_partition.txt", ("000004.jpg", "000005.jpg"), "line 5: expected each name once"),
        ("list_eval_partition.txt", ("0000", "1000"), "No name in .*24 names, 23 images, one of them 000001.jpg"),
        ("list_eval_partition.txt", ("  1\n", "  0\n"), "no image for validation"),
        ("list_attr_celeba.txt", ("24\n", "25\n"), "not whole.*Received: 24 images.*says '25'"),
        ("list_attr_celeba.txt", ("Smiling", "Smile"), "line 2: expected the names of the 40"),
        ("list_attr_celeba.txt", ("000007.jpg", "000007.jpg  1"), "line 9: .*Received: 42 columns"),
        ("list_attr_celeba.txt", ("000007.jpg  ", "000007.jpg  7"), "line 9: expected .*40 values"),
    ],
)
def test_wrong_lists_are_refused_at_once(tmp_path, monkeypatch, name, change, says):
    source = official(tmp_path / "download")
    if change is None:
        (source / name).unlink()
    else:
        text = (source / name).read_text()
        assert change[0] in text
        (source / name).write_text(text.replace(*change))
    monkeypatch.setattr(celeb_a64, "_jpeg", lambda face: pytest.fail("an image was read"))
    with pytest.raises(data.DataError, match=f"(?s){says}.*|Received: ") as raised:
        data.prepare_celeb_a64(source, tmp_path / "tfds", verbose=False)
    assert re.search(says, str(raised.value)) and "Received: " in str(raised.value)
    assert nothing_there(tmp_path / "tfds")


def test_what_is_no_download(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "quota.zip").write_text("<html>Sorry, the quota is exceeded</html>")
    for name, says in [("empty", "There is no image"), ("quota.zip", "not a whole zip"), ("nowhere", "no such folder")]:
        with pytest.raises(data.DataError, match=rf"{says}.*Received: .*{name}"):
            data.prepare_celeb_a64(tmp_path / name, tmp_path / "tfds", verbose=False)


def test_images_of_another_size_are_named_and_none_is_an_error(tmp_path):
    source = official(tmp_path / "download")
    for number in NUMBERS["validation"]:
        Image.fromarray(picture(number)[:100]).save(source / "img_align_celeba" / f"{number:06d}.jpg")
    with pytest.raises(data.DataError, match=r"None of the 5 images for validation.*178x100 pixels.*Received: 5"):
        data.prepare_celeb_a64(source, tmp_path / "tfds", verbose=False)
    assert nothing_there(tmp_path / "tfds")
    (source / "img_align_celeba" / "000017.jpg").write_bytes(jpeg(17))
    made = prepare(source, tmp_path / "tfds")
    assert made["validation"] == 1 and "178x218" in made["left_out"]["000015.jpg"]


@pytest.mark.long
def test_an_interrupted_run_leaves_nothing_that_passes_for_a_data_set(tmp_path, monkeypatch):
    source, data_dir = official(tmp_path / "download"), tmp_path / "tfds"

    def interrupted(face, real=celeb_a64._jpeg):
        if face.number == 17:
            raise KeyboardInterrupt
        return real(face)

    with monkeypatch.context() as patch:
        patch.setattr(celeb_a64, "_jpeg", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.prepare_celeb_a64(source, data_dir, verbose=False)
    assert list((data_dir / "celeb_a64").iterdir()) == []
    assert nothing_there(data_dir)

    # As kill -9 does.
    program = f"""
        import os
        from keras_vae import data
        from keras_vae.data import celeb_a64
        real = celeb_a64._jpeg
        celeb_a64._jpeg = lambda face: os._exit(9) if face.number == 17 else real(face)
        data.prepare_celeb_a64({str(source)!r}, {str(data_dir)!r}, verbose=False)
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=environment).returncode == 9
    assert len(list((data_dir / "celeb_a64").iterdir())) == 1
    assert nothing_there(data_dir)

    prepare(source, data_dir)
    assert len(data.load("celeb_a64", data_dir).test) == 5
    with pytest.raises(data.DataError, match=r"there already; delete it.*Received: "):
        data.prepare_celeb_a64(source, data_dir, verbose=False)


def test_the_copy_of_tensorflow_datasets_gives_the_same(tmp_path, monkeypatch):
    examples = {
        split: [
            (
                f"{n:06d}.jpg",
                {
                    "image": io.BytesIO(jpeg(n)),
                    "landmarks": dict.fromkeys(tfds.builder_cls("celeb_a")().info.features["landmarks"], 0),
                    "attributes": attributes(n),
                    "identity": {"Identity_No": 0},
                },
            )
            for n in numbers
        ]
        for split, numbers in KEPT.items()
    }
    builder = tfds.builder("celeb_a", data_dir=tmp_path / "tfds")
    builder._split_generators = lambda _: {split: iter(pairs) for split, pairs in examples.items()}
    builder.download_and_prepare()
    with pytest.raises(data.DataError, match=r"not whole.*Received: {'train': 13"):
        data.prepare_celeb_a64(None, tmp_path / "tfds", verbose=False)

    monkeypatch.setattr(celeb_a, "OFFICIAL", KEPT)
    made = data.prepare_celeb_a64(None, tmp_path / "tfds", verbose=False)
    assert made["left_out"] == {}
    ours, theirs = (
        records(m["directory"]) for m in (made, prepare(official(tmp_path / "download"), tmp_path / "other"))
    )
    assert {split: len(ours[split]) for split in ours} == {split: len(numbers) for split, numbers in KEPT.items()}
    for split in theirs:
        # Identifiers, images to the byte, attributes; in the same order.
        assert ours[split] == theirs[split]


def test_without_a_source_and_without_a_network(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(data.DataError, match=r"celeb_a'.*over its quota.*list_eval_partition.*Received: source=None"):
        data.prepare_celeb_a64(None, tmp_path, verbose=False)


@pytest.mark.filterwarnings("always:2 of 24 images are left out")
def test_the_command(tmp_path, capsys):
    source, data_dir = official(tmp_path / "download"), tmp_path / "tfds"
    assert cli.main(["prepare", "celeb_a64", str(source), "--data-dir", str(data_dir)]) == 0
    said = capsys.readouterr()
    assert "13 training, 4 validation and 5 test images" in said.out and str(data_dir) in said.out
    assert "24/24" in said.err  # The progress bar.
    assert "keras-vae: warning: 2 of 24 images are left out: 000003.jpg" in said.err
    assert cli.main(["prepare", "celeb_a64", str(source), "--data-dir", str(data_dir)]) == 1
    assert capsys.readouterr().err.startswith("keras-vae: error: celeb_a64 is there already")
    assert cli.main(["prepare", "celeb_a64", str(source), "--data-dir", str(tmp_path / "json"), "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["test"] == 5 and "24/24" not in said.err
    with pytest.raises(SystemExit) as end:
        cli.main(["prepare", "mnist", str(source)])
    assert end.value.code == 2
