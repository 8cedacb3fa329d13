"""Data sets known by name: the digits inside scikit-learn, and those of tensorflow-datasets."""

import os
import socket
import urllib.parse
import urllib.request

import numpy as np

from keras_vae.data.dataset import DataError, DataSet, Split

# Examples at the end of the official train split that are kept for validation; 0 where there is an official one.
PREPARED = {"mnist": 10_000, "fashion_mnist": 10_000, "binarized_mnist": 0, "cifar10": 5_000, "celeb_a64": 0}
_BINARY = {"binarized_mnist"}


def load_digits():
    """scikit-learn's 1,797 handwritten digits: 8x8, 1,297 for training, 200 for validation, 300 for the test.

    Its 17 levels are spread over 0 to 255. The splits are stratified by label and always the same.

    Returns:
        A `DataSet`.
    """
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    digits = datasets.load_digits()
    images = np.rint(digits.images[..., None] * 255 / 16).astype("uint8")
    labels = digits.target.astype("int64")
    rest, test = train_test_split(np.arange(len(labels)), test_size=300, stratify=labels, random_state=0)
    train, validation = train_test_split(rest, test_size=200, stratify=labels[rest], random_state=0)
    return DataSet("digits", False, *(Split(images[i], labels[i]) for i in (train, validation, test)))


def load_prepared(name, data_dir=None):
    """Reads a data set through tensorflow-datasets, which downloads it where it is not there yet.

    Args:
        name: one of `PREPARED`.
        data_dir: where tensorflow-datasets keeps its data, its default where None.

    Returns:
        A `DataSet`.

    Raises:
        DataError: whatever kept tensorflow-datasets from giving it, in one message that says what to do.
    """
    # The causes are many (no TensorFlow, no network, a changed checksum, a damaged file) and their tracebacks long.
    try:
        splits = _read(name, data_dir)
    except ImportError as error:
        problem = f"{error}. Do `pip install tensorflow tensorflow-datasets importlib_resources`."
    except Exception as error:
        said = (str(error).strip() or "no message").splitlines()[0]
        problem = f"{type(error).__name__}: {said[:300]} {_advice(name)}"
    else:
        held_out = PREPARED[name]
        if held_out:
            splits["validation"] = {key: array[-held_out:] for key, array in splits["train"].items()}
            splits["train"] = {key: array[:-held_out] for key, array in splits["train"].items()}
        parts = (Split(s["image"], s.get("label")) for s in map(splits.get, ("train", "validation", "test")))
        return DataSet(name, name in _BINARY, *parts)
    place = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    raise DataError(
        f"tensorflow-datasets cannot give {name!r} (data directory {str(place)!r}): {problem} "
        f"Received: name={name!r}, data_dir={data_dir!r}"
    )


def _read(name, data_dir):
    """Every split that tensorflow-datasets has, as a dictionary of its `image` and, where there is one, `label`."""
    # First, because tensorflow-datasets without it prints a long traceback and is then empty.
    import tensorflow  # noqa: F401
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=data_dir)
    if not builder.is_prepared():
        _require_network(builder.url_infos)
        builder.download_and_prepare()
    wanted = tfds.decode.PartialDecoding({key: True for key in ("image", "label") if key in builder.info.features})
    # One batch of all keeps the order, and is twice as fast as many batches.
    return tfds.as_numpy(builder.as_dataset(batch_size=-1, decoders=wanted))


def _require_network(urls):
    """Raises ConnectionError at once where tensorflow-datasets would try for minutes, with a page of warnings."""
    hosts = {urllib.parse.urlsplit(url).hostname for url in urls}
    if urllib.request.getproxies():
        return  # Names are then the proxy's to resolve.
    for host in hosts:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            raise ConnectionError(f"it is not there yet, and {host} cannot be reached to download it.") from None


def _advice(name):
    if name == "celeb_a64":
        return (
            "tensorflow-datasets has no builder that makes it: say where a prepared copy is, with TFDS_DATA_DIR, "
            "`data_dir` or --data-dir; or load a folder of images by its path."
        )
    return (
        "Say where it is prepared, with TFDS_DATA_DIR, `data_dir` or --data-dir; or prepare it (where there is a "
        f'network): `python -c "import tensorflow_datasets as tfds; tfds.load({name!r})"`. If its files are damaged, '
        "delete them first."
    )
