"""One experiment from end to end: data, model, fit, evaluate, and a run directory that holds it all.

The run directory's `model.keras` is its checkpoint, too: it is replaced at the end of each epoch and knows its step,
so that a run which was killed goes on, with `resume`, exactly as if it had not been.
"""

import contextlib
import dataclasses
import importlib.util
import math
import platform
import statistics
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

from keras_vae import backend, data, feed, likelihoods, metrics, networks, objectives, plotting, records
from keras_vae.model import VAE
from keras_vae.parts import one_of

NETWORKS = ("mlp", "conv", "resnet")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# Of validation and test images: runs with different seeds are then measured on the same bits.
BINARISATION_SEED = 0
# Images in a batch that is only evaluated.
EVALUATION_BATCH = 256
# Settings that change nothing in the epochs which are done.
_MAY_CHANGE = ("epochs", "data_dir", "eval_images", "eval_samples")


class UsageError(ValueError):
    """What was asked for cannot be meant; the message says why."""

    exit_code = 2


class Diverged(RuntimeError):
    """The loss of an epoch was not finite."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides an experiment; `config.json` holds it.

    Args:
        dataset: a name that `keras_vae.data.load` knows, or a folder of images.
        epochs: passes over the training images.
        batch_size: images in a step.
        network: "mlp", "conv" or "resnet".
        latent_size: length of z.
        likelihood: a name of `keras_vae.likelihoods`, with its first argument after a colon: "normal:optimal".
        beta: weight of the KL.
        learning_rate: Adam's.
        seed: of the weights, of all noise and of the order of the training images.
        precision: a Keras dtype policy, "float32", "mixed_bfloat16" or "mixed_float16".
        data_dir: where tensorflow-datasets keeps its data; None: TFDS_DATA_DIR, or its own default.
        image_size: height and width of the images of a folder.
        eval_images: test images that log p(x) is estimated for, evenly spread over the split; None: all.
        eval_samples: importance samples for each of them.
    """

    dataset: str
    epochs: int = 20
    batch_size: int = 128
    network: str = "conv"
    latent_size: int = 32
    likelihood: str = "bernoulli"
    beta: float = 1.0
    learning_rate: float = 1e-3
    seed: int = 0
    precision: str = "float32"
    data_dir: str | None = None
    image_size: int | None = None
    eval_images: int | None = None
    eval_samples: int = 500


_GREY = {"epochs": 30, "eval_images": 1000}
_PHOTOS = {"epochs": 30, "latent_size": 128, "likelihood": "discretized_logistic", "eval_images": 100}
_DEFAULTS = {
    "digits": {"epochs": 150, "batch_size": 32, "network": "mlp", "latent_size": 16, "learning_rate": 2e-3},
    "mnist": _GREY,
    "fashion_mnist": _GREY,
    "binarized_mnist": _GREY,
    "cifar10": _PHOTOS | {"likelihood": "discretized_logistic_mixture"},
}


def run(dataset, out, resume=False, minutes=None, verbose=True, command=None, started=None, **given):
    """Trains a VAE, or goes on with it, evaluates it on the test split and writes its run directory.

    Args:
        dataset: see `Settings`.
        out: the run directory; it must not exist yet unless `resume`.
        resume: go on with the run in `out`.
        minutes: stop in time to be done after so many minutes; an unfinished epoch is dropped.
        verbose: whether progress is shown.
        command: what to write into the results as the command of this run.
        started: `time.monotonic()` from which `minutes` count; None: now.
        **given: other fields of `Settings`; None: the default of the data set.

    Returns:
        What `results.json` holds, or None if `minutes` were too few for one epoch.

    Raises:
        UsageError: if the directory exists, or cannot be resumed with these settings.
        Diverged: if the loss became NaN or infinite; the run keeps its last good epoch.
        ValueError: for settings that do not fit each other or the data.
        OSError: if the run directory cannot be written.
    """
    started = time.monotonic() if started is None else started
    dataset, out = str(dataset), Path(out)
    settings = _settings(dataset, out, resume, {name: value for name, value in given.items() if value is not None})
    results = records.read_json(out / "results.json") if resume else None
    if results and results["epochs"] == settings.epochs and results["settings"] == dataclasses.asdict(settings):
        if verbose:
            print(f"{out} is complete: {settings.epochs} epochs are done.")
        return results

    likelihood = _likelihood(settings.likelihood)
    images, train, evaluated = _data(settings, likelihood)
    vae = _model(settings, likelihood, images.image_shape)
    done = 0
    if (out / "model.keras").exists():
        done = _load(vae, out, train.steps)
    out.mkdir(parents=True, exist_ok=True)
    records.write_json(out / "config.json", dataclasses.asdict(settings))
    # They are of fewer epochs or of other settings, and would pass for those of the run that begins.
    (out / "results.json").unlink(missing_ok=True)

    recorder = records.Recorder(out, done)
    callbacks = [recorder, *_tensorboard(out, verbose)]
    if minutes is not None:
        available = 60 * minutes - (time.monotonic() - started)
        reserve = min(available / 2, _evaluation_seconds(vae, evaluated["test"], settings))
        callbacks.append(records.Deadline(started + 60 * minutes - reserve))
    with contextlib.suppress(records.OutOfTime), warnings.catch_warnings():
        # The last good weights are in the file; `Diverged` says so below.
        warnings.filterwarnings("ignore", "Training stopped in epoch", RuntimeWarning)
        vae.fit(
            train,
            initial_epoch=done,
            epochs=settings.epochs,
            validation_data=evaluated["validation"],
            validation_batch_size=EVALUATION_BATCH,
            callbacks=callbacks,
            verbose=int(verbose),
        )
    if recorder.diverged:
        raise Diverged(
            f"The loss or the weights became NaN or infinite in epoch {recorder.diverged} of {settings.epochs}. The "
            f"run in {out} keeps what it had before. Start another one with a lower --learning-rate, or another "
            f"--likelihood. Received: learning_rate={settings.learning_rate}, likelihood={settings.likelihood}"
        )
    if not (out / "model.keras").exists():
        return None
    done = _load(vae, out, train.steps)
    results = _evaluate(vae, settings, evaluated["test"], verbose)
    results |= _provenance(vae, settings, images, done, recorder.seconds, command)
    _write_pictures(vae, out, evaluated["test"], images.test.labels, settings.seed)
    _export(vae, out, verbose)
    # Last, because it says that the run is complete.
    records.write_json(out / "results.json", results)
    return results


# Settings


def _settings(dataset, out, resume, given):
    """The settings of a new run, or those of the run in `out`, which `given` may not contradict."""
    if not resume:
        if out.exists():
            raise UsageError(f"The run directory exists: go on by --resume, or choose another --out. Received: {out}")
        return _checked(Settings(dataset, **_DEFAULTS.get(dataset, _PHOTOS) | given))
    config = records.read_json(out / "config.json")
    if config is None:
        raise UsageError(f"There is no run to resume (no config.json): start one without --resume. Received: {out}")
    try:
        settings = Settings(**config)
    except TypeError as error:
        raise UsageError(f"config.json is not that of a run ({error}). Received: {out}") from error
    for name, value in ({"dataset": dataset} | given).items():
        before = getattr(settings, name)
        if value != before and name not in _MAY_CHANGE:
            option = "DATASET" if name == "dataset" else f"--{name.replace('_', '-')}"
            raise UsageError(f"The run in {out} has {option} {before} and goes on with it. Received: {option} {value}")
    if given.get("epochs", settings.epochs) < settings.epochs:
        raise UsageError(f"--epochs of a run may only grow from {settings.epochs}. Received: {given['epochs']}")
    return _checked(dataclasses.replace(settings, **given))


def _checked(settings):
    try:
        one_of(settings.network, NETWORKS, "network")
        one_of(settings.precision, PRECISIONS, "precision")
        _likelihood(settings.likelihood)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return settings


def _likelihood(text):
    """ "normal" or "normal:optimal" as a likelihood."""
    name, _, argument = text.partition(":")
    likelihood = likelihoods.get(name)
    if not argument:
        return likelihood
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            argument = kind(argument)
            break
    try:
        return type(likelihood)(argument)
    except TypeError:
        raise ValueError(f"The likelihood {name!r} takes nothing after a colon. Received: {text!r}") from None


# Data and model


def _data(settings, likelihood):
    """The data set, the feed of its training images, and {split: images as the likelihood sees them}."""
    try:
        images = data.load(settings.dataset, settings.data_dir, settings.image_size)
    except data.DataError as error:
        known = settings.dataset in data.names() or Path(settings.dataset).expanduser().is_dir()
        raise error if known else UsageError(str(error)) from error

    def seen(split):
        return data.convert(split.images, likelihood.data, BINARISATION_SEED, binary=images.binary)

    dynamic = _is_dynamic(likelihood, images)
    x = images.train.images if dynamic else seen(images.train)
    train = feed.ArrayFeed(x, batch_size=settings.batch_size, seed=settings.seed, binarize=dynamic)
    return images, train, {"validation": seen(images.validation), "test": seen(images.test)}


def _is_dynamic(likelihood, images):
    return likelihood.data == "binary" and not images.binary


def _model(settings, likelihood, image_shape):
    """The compiled VAE; its weights are a function of the settings."""
    keras.utils.set_random_seed(settings.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        encoder, decoder = _networks(settings, image_shape)
        objective = objectives.ELBO(beta=float(settings.beta))
        vae = VAE(encoder, decoder, likelihood=likelihood, objective=objective, seed=settings.seed)
    finally:
        keras.config.set_dtype_policy(policy)
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    if settings.precision == "mixed_float16":
        # Keras' own initial scale is too large for losses in nats.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10)
    # Small dense networks spend most of a step outside it.
    vae.compile(optimizer, steps_per_execution=16 if settings.network == "mlp" else 1)
    return vae


def _networks(settings, image_shape):
    if settings.network == "mlp":
        return networks.mlp(image_shape, settings.latent_size, widths=(512,))
    # Halvings down to maps of 4 to 7 pixels.
    levels = min(5, max(1, int(math.log2(min(image_shape[:2]) / 4))))
    if settings.network == "resnet":
        return networks.resnet(image_shape, settings.latent_size, widths=(64, 128, 256, 256, 256)[:levels])
    # A kernel that the stride divides leaves no checkerboard in the images.
    widths = (32, 64, 128, 256, 256)[:levels]
    return networks.conv(image_shape, settings.latent_size, widths=widths, kernel_size=4)


def _load(vae, out, steps):
    """Puts the run's checkpoint into `vae`; returns the epochs it has behind it."""
    vae.load_weights(out / "model.keras")
    done, rest = divmod(int(vae.step), steps)
    if rest:
        raise ValueError(
            f"{out}/model.keras does not belong to this data: an epoch has {steps} steps. Has the folder of images "
            f"changed? Received: a model after {int(vae.step)} steps"
        )
    return done


def _tensorboard(out, verbose):
    """Keras' TensorBoard callback, where TensorFlow is there to write its files."""
    if importlib.util.find_spec("tensorflow") is None:
        if verbose:
            print("tensorboard/ is not written, since TensorFlow is not installed.")
        return []
    return [keras.callbacks.TensorBoard(str(out / "tensorboard"), write_graph=False)]


# Evaluation


def _evaluation_seconds(vae, test, settings):
    """About how long the evaluation and what is written after it will take."""
    few = test[: min(16, len(test))]
    vae.log_prob(few, samples=settings.eval_samples, seed=0)
    begin = time.monotonic()
    vae.log_prob(few, samples=settings.eval_samples, seed=0)
    each = (time.monotonic() - begin) / len(few)
    return 15 + each * ((settings.eval_images or len(test)) + len(test) / settings.eval_samples)


def _evaluate(vae, settings, test, verbose):
    """The test results, with all that is needed to compare them."""
    terms = vae.evaluate(test, batch_size=EVALUATION_BATCH, verbose=0, return_dict=True)
    count = min(settings.eval_images or len(test), len(test))
    if verbose:
        print(f"log p(x) of {count} test images, {settings.eval_samples} samples each:", flush=True)
    chosen = test[np.linspace(0, len(test) - 1, count).astype(int)]
    log_prob = vae.log_prob(chosen, samples=settings.eval_samples, seed=settings.seed, verbose=int(verbose))

    single = {"unit": "nats", "split": "test", "images": len(test), "samples": vae.objective.samples}
    many = single | {"images": count, "samples": settings.eval_samples}
    results = {name: {"value": float(terms[name]), **single} for name in ("elbo", "log_likelihood", "kl")}
    error = float(np.std(log_prob, ddof=1) / math.sqrt(count)) if count > 1 else None
    results["log_prob"] = {"value": float(np.mean(log_prob)), "standard_error": error, **many}
    if vae.likelihood.discrete:
        dims = math.prod(vae.image_shape)
        for name, source in (("bits_per_dim", "log_prob"), ("bits_per_dim_elbo", "elbo")):
            bits = metrics.bits_per_dim(results[source]["value"], dims)
            results[name] = {**results[source], "value": bits, "unit": "bits/dim"}
            if results[name].get("standard_error") is not None:
                results[name]["standard_error"] = -metrics.bits_per_dim(error, dims)
    return results


def _provenance(vae, settings, images, done, seconds, command):
    """Where the results come from: settings, versions, times."""
    binarisation = None
    if _is_dynamic(vae.likelihood, images):
        binarisation = (
            f"training images anew in each epoch, seed {settings.seed}; validation and test images once, seed "
            f"{BINARISATION_SEED}"
        )
    elif vae.likelihood.data == "binary":
        binarisation = "fixed, that of the data set"
    packages = ("keras_vae", "keras", "tensorflow", "jax", "tensorflow-probability", "numpy")
    return {
        "epochs": done,
        "epochs_planned": settings.epochs,
        "seconds_per_epoch": statistics.median(seconds),
        "training_seconds": round(sum(seconds), 3),
        "parameters": vae.count_params(),
        "binarisation": binarisation,
        "training_images": len(images.train),
        "settings": dataclasses.asdict(settings),
        "command": command,
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "backend": backend.NAME,
    }


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # keras_vae itself may be used without being installed.
        return getattr(sys.modules.get(package), "__version__", None)


# The run directory


def _write_pictures(vae, out, test, labels, seed):
    shown = test[np.linspace(0, len(test) - 1, min(30, len(test))).astype(int)]
    plotting.save(plotting.image_grid(vae.sample(64, seed=seed)), out / "samples.png")
    plotting.save(plotting.reconstruction_grid(shown, vae.reconstruct(shown)), out / "reconstructions.png")
    z = vae.encode(test[:5000])
    if z.shape[1] == 1:
        # A line, for want of a second dimension.
        z = np.pad(z, ((0, 0), (0, 1)))
    labels = None if labels is None else labels[:5000]
    plotting.save(plotting.latent_scatter(z, labels, title="posterior means of test images"), out / "latent.png")


def _export(vae, out, verbose):
    if backend.NAME == "tensorflow":
        try:
            records.replace(out / "savedmodel", lambda path: vae.export(str(path)))
        except backend.tf.errors.OpError as error:
            raise OSError(f"{out}/savedmodel cannot be written: {error.message}") from error
    elif verbose:
        print(
            "savedmodel/ is not written under JAX. TensorFlow writes it: KERAS_BACKEND=tensorflow python -c 'import "
            f'keras, keras_vae; keras.saving.load_model("{out}/model.keras").export("{out}/savedmodel")\''
        )
