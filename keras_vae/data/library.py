"""tensorflow-datasets: imported when needed, with its warnings silenced, and refused at once without a network."""

import contextlib
import logging
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder


@contextlib.contextmanager
def opened() -> Iterator[ModuleType]:
    """Imports tensorflow-datasets and yields it; until the end, its warnings are silenced.

    Raises:
        ImportError: if it, or TensorFlow, is not installed.
    """
    # First, because tensorflow-datasets without it prints a long traceback and is then empty.
    try:
        import tensorflow  # noqa: F401
        import tensorflow_datasets
    except ImportError as error:
        raise ImportError(f"{error}. Do `pip install tensorflow tensorflow-datasets importlib_resources`.") from None
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield tensorflow_datasets
    finally:
        logger.setLevel(level)


def prepare(builder: "DatasetBuilder") -> None:
    """Downloads and prepares a data set, unless that was done before.

    Args:
        builder: tensorflow-datasets' builder of the data set.

    Raises:
        ConnectionError: at once, if there is no network; tensorflow-datasets would try for minutes.
    """
    if not builder.is_prepared():
        _require_network(builder.url_infos)
        builder.download_and_prepare()


def _require_network(urls):
    hosts = {urllib.parse.urlsplit(url).hostname for url in urls}
    if urllib.request.getproxies():
        return  # Names are then the proxy's to resolve.
    for host in hosts:
        try:
            socket.getaddrinfo(host, None)
        except OSError:
            raise ConnectionError(f"it is not prepared yet, and {host} cannot be reached to download it.") from None
