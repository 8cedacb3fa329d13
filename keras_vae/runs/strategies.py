"""Which devices and machines a run may have, refused before a framework is imported."""

import json
import os

from keras_vae.names import one_of
from keras_vae.runs.recipe import UsageError, understood

# {name: the backend that has it}.
STRATEGIES = {"mirrored": "tensorflow", "multi_worker_mirrored": "tensorflow", "data_parallel": "jax"}
_PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"


def check(strategy: str | None) -> None:
    """Refuses a strategy that is not known, or that does not go with what the environment says of several processes.

    Raises:
        UsageError: also where several processes would each train a model of their own, and write it to one place.
    """
    several = {
        "multi_worker_mirrored": _workers() > 1 and "TF_CONFIG",
        "data_parallel": os.environ.get(_PROCESSES, "1") != "1" and _PROCESSES,
    }
    if strategy is not None:
        understood(one_of, strategy, STRATEGIES, "strategy")
    for name, variable in several.items():
        if variable and strategy != name:
            raise UsageError(
                f"{variable} is of several processes, each of which would train a model of its own: give --strategy "
                f"{name}, which has them train one, or unset the variable. Received: {variable}={os.environ[variable]}"
            )
    if strategy == "multi_worker_mirrored" and "TF_CONFIG" not in os.environ:
        raise UsageError(
            "--strategy multi_worker_mirrored needs TensorFlow's variable TF_CONFIG, which names the machines and "
            "says which of them this is; on one machine, --strategy mirrored takes all of its GPUs. "
            "Received: no TF_CONFIG"
        )


def _workers():
    """How many processes TF_CONFIG has train together."""
    text = os.environ.get("TF_CONFIG", "{}")
    try:
        cluster = json.loads(text).get("cluster", {})
        return sum(len(cluster.get(job, ())) for job in ("chief", "worker"))
    except (ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"TF_CONFIG must be a JSON object with a cluster ({error}). Received: {text}") from error
