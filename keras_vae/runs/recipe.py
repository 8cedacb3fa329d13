"""The settings of an experiment, and the compiled model that they stand for."""

import contextlib
import dataclasses
import math

import keras

from keras_vae import likelihoods, networks, objectives, schedules
from keras_vae.models.vae import VAE
from keras_vae.names import one_of

NETWORKS = ("mlp", "conv", "resnet")
OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
LEARNING_RATE_SCHEDULES = ("constant", "cosine", "exponential")


class UsageError(ValueError):
    """What was asked for cannot be meant; the message says why."""

    exit_code = 2


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides an experiment; `config.json` holds it.

    Args:
        dataset: a name that `keras_vae.data.load` knows, or a folder of images.
        epochs: passes over the training images.
        batch_size: images in a step.
        network: "mlp", "conv" or "resnet".
        network_arguments: further arguments of that function of `keras_vae.networks`: {"widths": [500]}.
        latent_size: length of z, or the shape (h, w, c) of a latent map.
        likelihood: a name of `keras_vae.likelihoods`, with its first argument after a colon: "normal:optimal".
        output_bias: whether the likelihood's output starts at the mean of the training images.
        objective: a name of `keras_vae.objectives`, with its number of samples after a colon: "iwae:50".
        beta: weight of the KL, of the ELBO.
        warmup_epochs: epochs in which that weight rises from 0 to `beta`.
        free_bits: nats of KL for each latent unit that cost nothing, of the ELBO.
        optimizer: "adam" or "adamw".
        learning_rate: its learning rate, at first.
        learning_rate_schedule: "constant", "cosine" (to 0 at the last epoch), or "exponential:0.95" (that factor after
            each epoch).
        clip: greatest norm of the gradient of all weights together, which is scaled down to it; None: any.
        ema: momentum of a moving average of the weights, which is what is validated, tested and kept; None: no average.
        keep: "last", or which validation value decides the epoch that is tested and kept: "loss", "elbo", "iwae".
        seed: of the weights, of all noise and of the order of the training images.
        precision: a Keras dtype policy, "float32", "mixed_bfloat16" or "mixed_float16".
        data_dir: where tensorflow-datasets keeps its data; None: TFDS_DATA_DIR, or its own default.
        image_size: height and width of the images of a folder.
        flip: whether each training image is its mirror image in about half of the epochs, chosen at random.
        eval_images: test images that log p(x) is estimated for, evenly spread over the split; None: all.
        eval_samples: importance samples for each of them.
        monitor_images: whether squared error, PSNR and SSIM of validation images' reconstructions are logged, too.
    """

    dataset: str
    epochs: int = 20
    batch_size: int = 128
    network: str = "conv"
    network_arguments: dict = dataclasses.field(default_factory=dict)
    latent_size: int | list = 32
    likelihood: str = "bernoulli"
    output_bias: bool = False
    objective: str = "elbo"
    beta: float = 1.0
    warmup_epochs: float = 0.0
    free_bits: float = 0.0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    learning_rate_schedule: str = "constant"
    clip: float | None = None
    ema: float | None = None
    keep: str = "last"
    seed: int = 0
    precision: str = "float32"
    data_dir: str | None = None
    image_size: int | None = None
    flip: bool = False
    eval_images: int | None = None
    eval_samples: int = 500
    monitor_images: bool = False


_GREY = {"epochs": 30, "eval_images": 1000}
_PHOTOS = {"epochs": 30, "latent_size": 128, "likelihood": "discretized_logistic", "eval_images": 100}
_DEFAULTS = {
    "digits": {"epochs": 150, "batch_size": 32, "network": "mlp", "latent_size": 16, "learning_rate": 2e-3},
    "mnist": _GREY,
    "fashion_mnist": _GREY,
    "binarized_mnist": _GREY,
    "cifar10": _PHOTOS | {"likelihood": "discretized_logistic_mixture"},
}


def defaults(dataset):
    """Settings that suit a data set."""
    return _DEFAULTS.get(dataset, _PHOTOS)


def checked(settings):
    """`settings`, if they can be meant.

    Raises:
        UsageError: otherwise.
    """
    try:
        one_of(settings.network, NETWORKS, "network")
        one_of(settings.optimizer, tuple(OPTIMIZERS), "optimizer")
        one_of(settings.precision, PRECISIONS, "precision")
        likelihood(settings.likelihood)
        names = objective(settings, steps=1).names
        one_of(settings.keep, ("last", "loss", "elbo", "log_likelihood", *names), "value to keep the best epoch by")
        learning_rate(settings, steps=1)
        if settings.ema is not None and not 0 <= settings.ema < 1:
            raise ValueError(f"A momentum of weights is at least 0 and below 1. Received: ema={settings.ema!r}")
    except ValueError as error:
        raise UsageError(str(error)) from error
    return settings


def _named(text):
    """ "normal:0.5" as ("normal", [0.5]), "normal" as ("normal", [])."""
    name, _, argument = text.partition(":")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, [kind(argument)]
    return name, [argument] if argument else []


def likelihood(text):
    """ "normal" or "normal:optimal" as a likelihood."""
    name, arguments = _named(text)
    made = likelihoods.get(name)
    try:
        return type(made)(*arguments) if arguments else made
    except TypeError:
        raise ValueError(f"The likelihood {name!r} takes nothing after a colon. Received: {text!r}") from None


def objective(settings, steps):
    """The objective, where an epoch has `steps` steps."""
    name, arguments = _named(settings.objective)
    kind = type(objectives.get(name))
    if kind is objectives.ELBO:
        beta = float(settings.beta)
        if settings.warmup_epochs:
            beta = schedules.LinearWarmup(max(1, round(settings.warmup_epochs * steps)), end=beta)
        return kind(*arguments, beta=beta, free_bits=settings.free_bits)
    if (settings.beta, settings.warmup_epochs, settings.free_bits) != (1, 0, 0):
        raise ValueError(
            "Only the ELBO weighs its KL: leave out beta, warmup_epochs and free_bits. "
            f"Received: objective={settings.objective!r}, beta={settings.beta}, "
            f"warmup_epochs={settings.warmup_epochs}, free_bits={settings.free_bits}"
        )
    return kind(*arguments)


def learning_rate(settings, steps):
    """The learning rate, or a schedule of it, where an epoch has `steps` steps."""
    name, arguments = _named(settings.learning_rate_schedule)
    one_of(name, LEARNING_RATE_SCHEDULES, "learning rate schedule")
    if len(arguments) != (name == "exponential"):
        raise ValueError(
            "Learning rate schedules are 'constant', 'cosine' and 'exponential:0.95' (the factor of an epoch). "
            f"Received: {settings.learning_rate_schedule!r}"
        )
    if name == "cosine":
        return keras.optimizers.schedules.CosineDecay(settings.learning_rate, settings.epochs * steps)
    if name == "exponential":
        return keras.optimizers.schedules.ExponentialDecay(
            settings.learning_rate, decay_steps=steps, decay_rate=arguments[0], staircase=True
        )
    return settings.learning_rate


def model(settings, image_shape, steps, mean):
    """The compiled VAE; its weights are a function of the settings and, with `output_bias`, of the mean.

    Args:
        settings: `Settings`.
        image_shape: *X.
        steps: in an epoch.
        mean: (*X), mean of the training images as the likelihood sees them.
    """
    keras.utils.set_random_seed(settings.seed)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.precision)
    try:
        encoder, decoder = _networks(settings, image_shape)
        if settings.ema is not None and any(map(_is_normalisation, (*encoder.layers, *decoder.layers))):
            raise UsageError(
                "Batch normalisation keeps statistics of the weights as they are, which are not those of their "
                f"averages: leave out `ema` or the normalisation. Received: ema={settings.ema}, "
                f"network_arguments={settings.network_arguments}"
            )
        vae = VAE(
            encoder,
            decoder,
            likelihood=likelihood(settings.likelihood),
            objective=objective(settings, steps),
            seed=settings.seed,
        )
    finally:
        keras.config.set_dtype_policy(policy)
    if settings.output_bias:
        vae.likelihood.start_at(mean)
    averaging = {} if settings.ema is None else {"use_ema": True, "ema_momentum": settings.ema}
    rate = learning_rate(settings, steps)
    optimizer = OPTIMIZERS[settings.optimizer](rate, global_clipnorm=settings.clip, **averaging)
    if settings.precision == "mixed_float16":
        # Keras' own initial scale is too large for losses in nats.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=2.0**10)
    # Small dense networks spend most of a step outside it.
    vae.compile(optimizer, steps_per_execution=16 if settings.network == "mlp" else 1)
    return vae


def _is_normalisation(layer):
    return isinstance(layer, keras.layers.BatchNormalization)


def _networks(settings, image_shape):
    # Halvings down to maps of 4 to 7 pixels.
    levels = min(5, max(1, int(math.log2(min(image_shape[:2]) / 4))))
    arguments = {
        "mlp": {"widths": (512,)},
        "resnet": {"widths": (64, 128, 256, 256, 256)[:levels]},
        # A kernel that the stride divides leaves no checkerboard in the images.
        "conv": {"widths": (32, 64, 128, 256, 256)[:levels], "kernel_size": 4},
    }[settings.network]
    try:
        build = getattr(networks, settings.network)
        return build(image_shape, settings.latent_size, **arguments | settings.network_arguments)
    except TypeError as error:
        raise UsageError(f"{error}. Received: network_arguments={settings.network_arguments}") from error
