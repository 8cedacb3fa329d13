"""Contenders, each in a process of its own, that take turns, A B C A B C ..., so that drifts hit all."""

import argparse
import importlib.util
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SHAPE = (28, 28, 1)
LATENT = 20
WIDTHS = {"mlp": (512,), "conv": (32, 64)}


def parser(description: str) -> argparse.ArgumentParser:
    """Options that all contests have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--network", choices=WIDTHS, default="mlp")
    made.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--cores", type=int, help="that each contender has; on a busy machine one is fair to all")
    made.add_argument("--contenders", nargs="+", metavar="NAME", help="some of them; None: all that are installed")
    made.add_argument("--only", metavar="NAME", help=argparse.SUPPRESS)
    return made


def images(count: int) -> "np.ndarray":
    """Random binary images: speed does not depend on their content."""
    import numpy as np

    return (np.random.default_rng(0).random((count, *SHAPE)) < 0.13).astype("float32")


def run(contenders: dict[str, Callable], options: argparse.Namespace, unit: str, reference: str) -> None:
    """Times the contenders and prints a Markdown table.

    Args:
        contenders: {name: a function of the options}, which prepares and returns what is timed: a function without
            arguments that returns how much it did. "JAX" in a name makes it run there, "Pythae" and "PyTorch" without
            Keras.
        options: those of `parser`.
        unit: of what is done.
        reference: the contender that the others are compared with.
    """
    if options.only:
        _serve(contenders[options.only](options))
        return
    names = options.contenders or [name for name in contenders if _installed(name)]
    # Threads of PyTorch wait for each other, and stand still where another process has one's core.
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    os.sched_setaffinity(0, cores)
    processes = {name: _start(name) for name in names}
    done = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            done[name].append(_ask(processes[name]))
    for process in processes.values():
        process.communicate()
    print(f"{options.network}, {options.precision}, {_processor()}, {options.rounds} rounds; {unit}/s\n")
    print("| | lowest | median | highest | per CPU second, median | ratio, round by round | of CPU time |")
    print("|---|---|---|---|---|---|---|")
    against = done.get(reference, done[names[0]])
    for name, rounds in done.items():
        wall, cpu = zip(*rounds, strict=True)
        ratios = [
            statistics.median(own[i] / other[i] for own, other in zip(rounds, against, strict=True)) for i in (0, 1)
        ]
        numbers = [f"{n:,.0f}" for n in (min(wall), statistics.median(wall), max(wall), statistics.median(cpu))]
        print(f"| {name} | {' | '.join(numbers)} | {ratios[0]:.2f} | {ratios[1]:.2f} |")


def _start(name):
    """The process of a contender, once it is warm."""
    backend = "jax" if "JAX" in name else "tensorflow"
    process = subprocess.Popen(
        [sys.executable, *sys.argv, "--only", name],
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _read(process)
    return process


def _ask(process):
    process.stdin.write("go\n")
    process.stdin.flush()
    return _read(process)


def _read(process):
    """The next numbers of a contender, which may print other things."""
    for line in process.stdout:
        if line.startswith("speed "):
            return tuple(map(float, line.split()[1:]))
    raise RuntimeError(f"A contender ended early. Received: {' '.join(process.args)}")


def _serve(work):
    _timed(work)
    for _ in sys.stdin:
        _timed(work)


def _timed(work):
    wall, cpu = time.perf_counter(), _cpu_seconds()
    amount = work()
    print("speed", amount / (time.perf_counter() - wall), amount / (_cpu_seconds() - cpu), flush=True)


def _cpu_seconds():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _installed(name):
    package = next((package for word, package in _NEEDED.items() if word in name), "keras_vae")
    return importlib.util.find_spec(package) is not None


_NEEDED = {"Pythae": "pythae", "PyTorch": "torch", "JAX": "jax"}


def _processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        text = file.read()
    model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    kinds = [kind for kind in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {kind} " in text]
    return f"{model} ({', '.join(kinds)}), {len(os.sched_getaffinity(0))} cores"
