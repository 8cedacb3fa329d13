"""Peak memory of training and scoring, over that of the process before, by the size of the data.

    python benchmarks/memory.py --images 20000 60000

Images are 64x64 RGB, 8-bit levels, in a memory-mapped .npy file that is made for it (12 KiB each). What is counted is
anonymous memory: pages of the map, which the system takes back when it needs them, are not. Each measurement has a
process of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SHAPE = (64, 64, 3)


def anonymous() -> int:
    """Anonymous memory of this process, MiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) >> 10


def make(path: Path, images: int) -> None:
    import numpy as np

    file = np.lib.format.open_memmap(path, "w+", "uint8", (images, *SHAPE))
    rng = np.random.default_rng(0)
    for start in range(0, images, 1000):
        file[start : start + 1000] = rng.integers(0, 256, file[start : start + 1000].shape, "uint8")


def measure(what: str, path: Path) -> None:
    """Prints one measurement, as JSON."""
    import numpy as np

    import keras_vae as kv
    from keras_vae import data

    x = np.load(path, mmap_mode="r")
    vae = kv.VAE(*kv.networks.mlp(SHAPE, 8, widths=(32,)), likelihood="discretized_logistic", seed=0)
    vae.compile()
    uses = {
        "fit": lambda x: vae.fit(x, batch_size=128, verbose=0),
        "evaluate": lambda x: vae.evaluate(x, batch_size=128, verbose=0),
        "log_prob": lambda x: vae.log_prob(x, samples=1, seed=0),
        "blocks": lambda x: [vae.encode(block) for block in data.Given([path], vae).blocks()],
    }
    # What is compiled and kept for any number of images.
    uses[what](np.array(x[:512]))
    before, peak, ended = anonymous(), [0], threading.Event()

    def watch():
        while not ended.is_set():
            peak[0] = max(peak[0], anonymous())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.monotonic()
    uses[what](x)
    ended.set()
    watcher.join()
    print(json.dumps({"peak": peak[0] - before, "seconds": round(time.monotonic() - start, 1)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 60_000])
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return
    print(f"{'':<10} {'images':>8} {'array, MiB':>11} {'peak, MiB':>10} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as folder:
        for images in arguments.images:
            path = Path(folder) / f"{images}.npy"
            make(path, images)
            for what in ("fit", "evaluate", "log_prob", "blocks"):
                command = [sys.executable, __file__, "--measure", what, str(path)]
                run = subprocess.run(
                    command, capture_output=True, text=True, check=True, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
                )
                found = json.loads(run.stdout.splitlines()[-1])
                size = path.stat().st_size >> 20
                print(f"{what:<10} {images:>8,} {size:>11,} {found['peak']:>10,} {found['seconds']:>8}", flush=True)


if __name__ == "__main__":
    main()
