"""Data sets known by name: the digits of scikit-learn, and data sets of tensorflow-datasets."""

import os

import numpy as np

from keras_vae.data import library
from keras_vae.data.dataset import DataError, DataSet, Split

# How many examples at the end of the official train split are for validation; 0: there is an official split.
PREPARED = {"mnist": 10_000, "fashion_mnist": 10_000, "binarized_mnist": 0, "cifar10": 5_000, "celeb_a64": 0}
_BINARY = {"binarized_mnist"}


def load_digits() -> DataSet:
    """Loads scikit-learn's 1,797 handwritten digits, 8x8: 1,297 for training, 200 for validation, 300 for the test.

    Their 17 levels are spread over 0 to 255. The splits are stratified by label and fixed.

    Returns:
        The data set.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    images = np.rint(digits.images[..., None] * 255 / 16).astype("uint8")
    labels = digits.target.astype("int64")
    rest, test = train_test_split(np.arange(len(labels)), test_size=300, stratify=labels, random_state=0)
    train, validation = train_test_split(rest, test_size=200, stratify=labels[rest], random_state=0)
    return DataSet("digits", False, *(Split(images[i], labels[i]) for i in (train, validation, test)))


def load_prepared(name: str, data_dir: str | os.PathLike | None = None) -> DataSet:
    """Reads a data set through tensorflow-datasets, which downloads it if need be.

    Args:
        name: one of `PREPARED`.
        data_dir: data directory of tensorflow-datasets; None: its default.

    Returns:
        The data set.

    Raises:
        DataError: if tensorflow-datasets fails, for whatever reason; the message says why, and what to do.
    """
    # The causes are many (no TensorFlow, no network, a changed checksum, a damaged file) and their tracebacks long.
    try:
        splits = _read(name, data_dir)
    except ImportError as error:
        problem = str(error)
    except Exception as error:
        said = (str(error).strip() or "no message").splitlines()[0]
        problem = f"{type(error).__name__}: {said[:300]} {_advice(name)}"
    else:
        held_out = PREPARED[name]
        if held_out:
            splits["validation"] = {key: array[-held_out:] for key, array in splits["train"].items()}
            splits["train"] = {key: array[:-held_out] for key, array in splits["train"].items()}
        return DataSet(name, name in _BINARY, *(_split(splits[key]) for key in ("train", "validation", "test")))
    place = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    raise DataError(
        f"tensorflow-datasets cannot give {name!r} (data directory {str(place)!r}): {problem} "
        f"Received: name={name!r}, data_dir={data_dir!r}"
    )


def _split(arrays):
    optional = (arrays.get(name) for name in ("label", "attributes", "attributes_known"))
    return Split(arrays["image"], *optional)


def _read(name, data_dir):
    """{split: {feature: array}}, of the features that a `Split` has."""
    with library.opened() as tfds:
        try:
            builder = tfds.builder(name, data_dir=data_dir)
        except tfds.core.DatasetNotFoundError:
            # Its own message lists a thousand names.
            raise FileNotFoundError("it is not there.") from None
        library.prepare(builder)
        features = {"image", "label", "attributes", "attributes_known"} & set(builder.info.features)
        return tfds.as_numpy(
            builder.as_dataset(
                # One batch of all keeps the order, and is twice as fast as many batches.
                batch_size=-1,
                decoders=tfds.decode.PartialDecoding(dict.fromkeys(features, True)),
                read_config=tfds.ReadConfig(interleave_cycle_length=1),
            )
        )


def _advice(name):
    if name == "celeb_a64":
        return (
            "Make it from CelebA's files (img_align_celeba.zip with list_eval_partition.txt and list_attr_celeba.txt, "
            "from mmlab.ie.cuhk.edu.hk/projects/CelebA.html or Kaggle): `keras-vae prepare celeb_a64 FOLDER`. If it is "
            "prepared already, say where, with TFDS_DATA_DIR, `data_dir` or --data-dir."
        )
    return (
        "If it is prepared already, say where, with TFDS_DATA_DIR, `data_dir` or --data-dir; otherwise prepare it (on "
        f'a network): `python -c "import tensorflow_datasets as tfds; tfds.load({name!r})"`. If its files are damaged, '
        "delete them first."
    )
