"""tensorflow-datasets: imported when it is needed, kept quiet, and not waited for where there is no network."""

import contextlib
import logging
import socket
import urllib.parse
import urllib.request


@contextlib.contextmanager
def opened():
    """Imports tensorflow-datasets and yields it; inside, it does not warn of what only its authors can change.

    Raises:
        ImportError: where it, or TensorFlow, is not installed.
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


def prepare(builder):
    """Downloads and prepares what `builder` is of, unless it is there.

    Raises:
        ConnectionError: at once where tensorflow-datasets would try for minutes, with a page of warnings.
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
            raise ConnectionError(f"it is not there yet, and {host} cannot be reached to download it.") from None
