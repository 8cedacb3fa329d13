"""Trains recipes on a GPU that is lent for minutes, on JAX alone: the data stay there, an epoch is one dispatch.

    KERAS_BACKEND=jax python benchmarks/lease.py train zoo/mnist_ladder --data DIR --minutes 7 --out lent/mnist_ladder
    python benchmarks/lease.py finish lent/mnist_ladder --recipe zoo/mnist_ladder --out runs/mnist_ladder
    keras-vae train mnist --out runs/mnist_ladder --resume --preset zoo/mnist_ladder --overwrite
    KERAS_BACKEND=jax python benchmarks/lease.py speed zoo/cifar10_conv --data DIR

The learning rate falls along half a cosine of the time, so that it is 0 when the time is over, however fast the GPU is.
A step after which anything is not finite is not made; after an epoch that lost a tenth of its steps so, or whose
validation is not finite or twice as far from 0 as the best, training goes back to the epoch before it, at half the
learning rate. The averaged weights of the best epoch on validation images, and a line for each epoch, come back.
`finish` makes a run's state of them, and the command tests it like one of its own.

Data are NAME.npz, as `keras_vae.data.save` writes them. Several trainings share a GPU as processes, each with a part of
its memory (XLA_PYTHON_CLIENT_MEM_FRACTION=0.3) and a compilation cache of its own.
"""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

# Validation images at a time, at most.
_BLOCK = 2000
# What the lines of the epochs have beside the metrics.
_TOLD = ("seconds", "learning_rate", "steps_left_out")


def recipe_of(name: str, given: list[str]) -> Any:
    """The recipe of an entry, with some fields replaced, `name=value` in JSON or as a string."""
    from keras_vae.runs.recipe import Recipe

    recipe = Recipe.of(json.loads((Path(name) / "config.json").read_text(encoding="utf-8"))["recipe"])
    fields = dict(entry.split("=", 1) for entry in given)
    for field, value in fields.items():
        try:
            fields[field] = json.loads(value)
        except json.JSONDecodeError:
            fields[field] = value
    return dataclasses.replace(recipe, **fields)


def built(recipe: Any, images: Any, steps: int) -> tuple[Any, dict]:
    """The model of a recipe, with the weights that it starts with, and what is said of these."""
    from keras_vae.runs import data, model
    from keras_vae.runs.run import start

    vae = model.build(recipe, images.image_shape, steps, data.mean_image(images))
    return vae, {} if recipe.start is None else {"epochs_before": start(vae, recipe)}


class State(NamedTuple):
    """What a step takes and gives, as lists of arrays."""

    trainable: list
    others: list
    optimizer: list
    metrics: list


class Lent:
    """A model with its data on the device, and functions that make a whole epoch of steps, or score a split."""

    def __init__(self, recipe: Any, data_dir: str | None):
        import jax
        import numpy as np

        from keras_vae.runs import data, model

        if recipe.model != "vae" or recipe.missing:
            raise SystemExit(f"Labels and missing values stay at home. Received: a recipe of {recipe.dataset}")
        images, feed, evaluated = data.read(dataclasses.replace(recipe, data_dir=data_dir), model.likelihood(recipe))
        self.recipe, self.feed = recipe, feed
        self.steps = len(feed.x) // recipe.batch_size
        constant = dataclasses.replace(recipe, learning_rate_schedule="constant")
        self.vae, _ = built(constant, images, self.steps)
        self.x = jax.device_put(np.asarray(feed.x))
        self.validation = jax.device_put(evaluated["validation"])
        self.state = self._state()
        begun = time.monotonic()
        arguments = self.state, self.x, jax.random.key(recipe.seed), np.float32(0)
        self.epoch = jax.jit(self._epoch, donate_argnums=0).lower(*arguments).compile()
        self.score = jax.jit(self._score).lower(self.state, self.validation).compile()
        print(f"{recipe.network}: compiled in {time.monotonic() - begun:.0f} s", flush=True)

    def _batch(self, x, key):
        """Training images as the model sees them: binarised anew, some of them mirrored."""
        import jax
        import jax.numpy as jnp

        for_flips, for_levels = jax.random.split(key)
        if self.feed.flip:
            flipped = jax.random.bernoulli(for_flips, 0.5, (len(x), 1, 1, 1))
            x = jnp.where(flipped, x[:, :, ::-1], x)
        if self.feed.binarize:
            x = (jax.random.randint(for_levels, x.shape, 0, 255) < x.astype("int32")).astype("float32")
        return x

    def _epoch(self, state, x, key, rate):
        """One pass over the images in a new order."""
        import jax
        import jax.numpy as jnp

        size = self.recipe.batch_size
        place = [v is self.vae.optimizer._learning_rate for v in self.vae.optimizer.variables].index(True)
        optimizer = list(state.optimizer)
        optimizer[place] = rate
        metrics = [value * 0 for value in state.metrics]
        order = jax.random.permutation(key, len(x))[: self.steps * size].reshape(self.steps, size)

        def step(number, state):
            batch = self._batch(x[order[number]], jax.random.fold_in(key, number))
            _, made = self.vae.train_step(state, (batch,))
            made = State(*map(list, made))
            # Of the loss, which is in the metrics, and of the weights, which a gradient may have spoilt alone.
            fine = [jnp.all(jnp.isfinite(value)) for value in (*made.metrics, *made.trainable)]
            return jax.tree.map(lambda new, old: jnp.where(jnp.all(jnp.stack(fine)), new, old), made, state)

        return jax.lax.fori_loop(0, self.steps, step, State(state.trainable, state.others, optimizer, metrics))

    def averages(self, state: State) -> list:
        """The moving averages of the weights, or the weights."""
        optimizer = self.vae.optimizer
        if not optimizer.use_ema:
            return list(state.trainable)
        values = {id(v): value for v, value in zip(optimizer.variables, state.optimizer, strict=True)}
        return [values[id(v)] for v in optimizer._model_variables_moving_average]

    def started(self, path: Path) -> tuple[State, list]:
        """The state at the weights that a training left there, with a new optimizer, and the lines of its epochs."""
        rows = _restored(path, self.vae, self.steps)["rows"]
        return self._state(), rows

    def _state(self):
        import jax.numpy as jnp

        groups = (
            self.vae.trainable_variables,
            self.vae.non_trainable_variables,
            self.vae.optimizer.variables,
            self.vae.metrics_variables,
        )
        return State(*([jnp.copy(variable.value) for variable in variables] for variables in groups))

    def _score(self, state, x):
        """The metrics' variables after all of `x`, a multiple of the block."""
        import jax

        seeds = self.vae.test_seed_generator.state
        others = [
            self.vae._first_test_seed if v is seeds else value
            for v, value in zip(self.vae.non_trainable_variables, state.others, strict=True)
        ]
        weights, metrics = self.averages(state), [value * 0 for value in state.metrics]
        size = math.gcd(len(x), _BLOCK)
        blocks = x.reshape(-1, size, *x.shape[1:])

        def block(carried, batch):
            others, metrics = carried
            _, (_, others, metrics) = self.vae.test_step((weights, others, metrics), (batch,))
            return (list(others), list(metrics)), None

        (_, metrics), _ = jax.lax.scan(block, (others, metrics), blocks)
        return metrics

    def steps_made(self, state: State) -> int:
        """The number of updates so far."""
        place = [v is self.vae.step for v in self.vae.non_trainable_variables].index(True)
        return int(state.others[place])

    def means(self, metrics: list) -> dict[str, float]:
        """{name: mean of the examples}."""
        for variable, value in zip(self.vae.metrics_variables, metrics, strict=True):
            variable.assign(value)
        return {name: float(value) for name, value in self.vae.get_metrics_result().items()}


def train(options: argparse.Namespace) -> None:
    """Trains until the time is over."""
    import jax
    import numpy as np

    recipe = recipe_of(options.recipe, options.set)
    lent, out = Lent(recipe, options.data), Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    state, best, rows = lent.state, (-math.inf, None), []
    if options.start:
        state, rows = lent.started(Path(options.start))
    before_it = len(rows)
    key, undone = jax.random.key(recipe.seed), 0
    # The epochs' states are overwritten by the next one's.
    good = jax.tree.map(jax.numpy.copy, state)

    begun, saved = time.monotonic(), time.monotonic()
    total = options.ends - time.time() if options.ends else 60 * options.minutes
    seconds = 0.0

    def over(further):
        return time.monotonic() - begun + further >= total or len(rows) - before_it == options.epochs

    # An epoch that would not end in time is not begun.
    while not over(seconds):
        before = time.monotonic()
        # Of the middle of the epoch.
        share = (before - begun + seconds / 2) / total
        if options.epochs:
            share = (len(rows) - before_it + 0.5) / options.epochs
        rate = recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1, share)))
        rate *= min(1, (len(rows) - before_it + 1) / 4) * 0.5**undone
        made_before = lent.steps_made(state)
        state = lent.epoch(state, lent.x, jax.random.fold_in(key, len(rows) + undone), np.float32(rate))
        logs = lent.means(state.metrics)
        logs |= {f"val_{name}": value for name, value in lent.means(lent.score(state, lent.validation)).items()}
        seconds = time.monotonic() - before
        left_out = lent.steps - (lent.steps_made(state) - made_before)
        last_kept = recipe.keep == "last"
        value = logs["val_elbo" if last_kept else f"val_{recipe.keep}"]
        fine = all(map(math.isfinite, logs.values())) and value > best[0] - abs(best[0])
        if left_out > lent.steps / 10 or not fine:
            undone += 1
            state = jax.tree.map(jax.numpy.copy, good)
            print(f"{out.name}: back to epoch {len(rows)}, {left_out} steps were left out, {value:.3f}", flush=True)
            continue
        good = jax.tree.map(jax.numpy.copy, state)
        told = {"seconds": round(seconds, 3), "learning_rate": rate, "steps_left_out": left_out}
        rows.append({"epoch": len(rows) + 1, **told, **logs})
        if last_kept or value > best[0]:
            best = value, [np.asarray(value) for value in lent.averages(state)]
        if over(2 * seconds) or time.monotonic() - saved > options.every:
            _save(lent, best[1], out, rows)
            saved = time.monotonic()
            speed = lent.steps * recipe.batch_size / seconds
            print(
                f"{out.name}: epoch {len(rows)}, {seconds:.2f} s, {speed:.0f} images/s, {told['steps_left_out']} steps "
                f"left out, elbo {logs['elbo']:.3f}, val {logs['val_elbo']:.3f}, best {best[0]:.3f}",
                flush=True,
            )
    _save(lent, best[1], out, rows)


def _save(lent, weights, out, rows):
    import numpy as np

    entries = dataclasses.replace(lent.recipe, epochs=max(1, len(rows))).entries()
    record = {"recipe": entries, "rows": rows}
    (out / "lease.json").write_text(json.dumps(record), encoding="utf-8")
    np.savez(out / "weights.npz", *(weights or []))


def _recorded(path):
    return json.loads((path / "lease.json").read_text(encoding="utf-8"))


def _restored(path, vae, steps):
    """Gives a model the weights and the number of updates that a training left, and returns its record."""
    import numpy as np

    record = _recorded(path)
    with np.load(path / "weights.npz") as arrays:
        for variable, name in zip(vae.trainable_variables, arrays.files, strict=True):
            variable.assign(arrays[name])
    if vae.optimizer.use_ema:
        averages = vae.optimizer._model_variables_moving_average
        for average, variable in zip(averages, vae.trainable_variables, strict=True):
            average.assign(variable)
    vae.step.assign(len(record["rows"]) * steps)
    return record


def finish(options: argparse.Namespace) -> None:
    """Makes the state of a run, at its end, of what came back."""
    from keras_vae import files
    from keras_vae.runs import data, directory, model, recorder
    from keras_vae.runs.recipe import Recipe

    lent, out = Path(options.lent), Path(options.out)
    record = _recorded(lent)
    recipe = Recipe.of({**record["recipe"], "precision": options.precision})
    images, feed, _ = data.read(recipe, model.likelihood(recipe))
    vae, before = built(recipe, images, feed.steps)
    _restored(lent, vae, feed.steps)
    directory.check_new(out)
    files.make_directory(out)
    rows = [{name: value for name, value in row.items() if name not in _TOLD} for row in record["rows"]]
    timings = [{"epoch": row["epoch"], "seconds": row["seconds"]} for row in record["rows"]]
    about = json.loads((Path(options.recipe) / "config.json").read_text(encoding="utf-8"))["about"] | before
    # Of the entry's weights, not of these.
    about = {name: value for name, value in about.items() if name not in ("prior", "rounding")}
    config = directory.begin(out, recipe, about, data.described(recipe, vae.likelihood, images))
    kept = recorder.Recorder(out, {"history": rows, "timings": timings}, config, feed.steps, recipe.keep, True)
    kept.set_model(vae)
    files.replace(out / directory.BEST, vae.save_weights)
    kept._write({})
    print(f"{out}: {recipe.epochs} epochs")


def speed(options: argparse.Namespace) -> None:
    """Prints images per second by precision, of this loop and of Keras' own."""
    import jax
    import numpy as np

    for precision in options.precisions:
        recipe = recipe_of(options.recipe, [*options.set, f"precision={precision}"])
        lent = Lent(recipe, options.data)

        def run(state, lent=lent):
            return lent.epoch(state, lent.x, jax.random.key(0), np.float32(1e-4))

        state = run(lent.state)
        jax.block_until_ready(state)
        begun, epochs = time.monotonic(), 0
        while time.monotonic() - begun < options.seconds:
            state = run(state)
            jax.block_until_ready(state)
            epochs += 1
        rate = epochs * lent.steps * recipe.batch_size / (time.monotonic() - begun)
        elbo = lent.means(state.metrics)["elbo"]
        print(f"{options.recipe} {precision}: {rate:.0f} images/s, {epochs} epochs, elbo {elbo:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for run in (train, finish, speed):
        command = commands.add_parser(run.__name__, help=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("lent" if run is finish else "recipe")
        if run is not finish:
            command.add_argument("--data", help="where NAME.npz are, as keras_vae.data.save writes them")
            command.add_argument("--set", nargs="*", default=[], help="fields of the recipe: batch_size=250")
        if run is not speed:
            command.add_argument("--out", required=True)
        if run is train:
            command.add_argument("--minutes", type=float, default=5.0)
            command.add_argument("--epochs", type=int, help="at most; the learning rate then falls with them")
            command.add_argument("--start", help="what an earlier training left: its weights, a new optimizer")
            command.add_argument("--ends", type=float, default=0.0, help="when it is over instead, time.time()")
            command.add_argument("--every", type=float, default=45.0, help="seconds between two saves")
        elif run is finish:
            command.add_argument("--recipe", required=True)
            command.add_argument("--precision", default="float32")
        else:
            command.add_argument("--seconds", type=float, default=5.0)
            command.add_argument("--precisions", nargs="*", default=["float32", "mixed_bfloat16"])
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
