"""The compiled model that a recipe stands for."""

import functools
import math

import keras
import numpy as np

from keras_vae import (
    backend,
    corruptions,
    data,
    likelihoods,
    names,
    networks,
    objectives,
    parts,
    posteriors,
    priors,
    schedules,
)
from keras_vae.models.composed import Composed
from keras_vae.models.hierarchical import of_networks
from keras_vae.models.kinds import composed
from keras_vae.runs.recipe import Recipe, UsageError, understood
from keras_vae.training import averages, monitors

# By what `freeze` says.
_FROZEN = {"encoder": ("encoder", "posterior"), "decoder": ("decoder", "likelihood")}
_OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}
_AVERAGED = {"adam": averages.AveragedAdam, "adamw": averages.AveragedAdamW}


def check(recipe: Recipe) -> None:
    """Refuses a recipe whose parts do not exist, or have no such arguments; no data is needed for it.

    Raises:
        UsageError: naming the nearest names.
    """
    posterior = understood(posteriors.get, recipe.posterior, recipe.latent_size)
    size, _ = of_networks(posterior, recipe.latent_size)
    understood(names.bound, "network", recipe.network, (1,), size)
    understood(functools.partial(names.bound, **_labels(1)), "model", recipe.model, ())
    understood(functools.partial(priors.get, **posterior.suiting), recipe.prior, posterior.latent_size)
    if not _of_table(recipe):
        understood(likelihoods.get, recipe.likelihood)
    understood(corruptions.get, recipe.corruption)
    understood(learning_rate, recipe, 1)
    logged = ("loss", "elbo", "log_likelihood", *understood(objective, recipe, 1).names)
    # Those alone of which it is known which is better.
    kept = ("last", *filter(monitors.mode, logged))
    understood(names.one_of, recipe.keep, kept, "value to keep the best epoch by")


def objective(recipe: Recipe, steps: int) -> objectives.Objective:
    """The objective, its beta warmed up, where an epoch has `steps` steps.

    Raises:
        ValueError: for a warm-up of an objective that has no beta, or one whose beta is a schedule already.
    """
    kind, options = names.bound("objective", recipe.objective)
    made = kind(**options)
    if not recipe.warmup_epochs:
        return made
    if "beta" not in [argument.name for argument in names.arguments(kind)]:
        raise ValueError(
            "Only an objective with a beta can be warmed up: leave out `warmup_epochs`. "
            f"Received: warmup_epochs={recipe.warmup_epochs}, objective={recipe.objective!r}"
        )
    beta = schedules.get(made.beta)
    if not isinstance(beta, schedules.Constant):
        raise ValueError(
            "The objective's beta is a schedule already: leave out `warmup_epochs`, or make it a number. "
            f"Received: warmup_epochs={recipe.warmup_epochs}, objective={recipe.objective!r}"
        )
    warmup = schedules.LinearWarmup(max(1, round(recipe.warmup_epochs * steps)), end=beta.value)
    return kind(**options | {"beta": warmup})


def learning_rate(recipe: Recipe, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate, or a schedule of it, where an epoch has `steps` steps."""
    return names.make("learning_rate_schedule", recipe.learning_rate_schedule, recipe, steps)


@names.known_as("learning_rate_schedule", "constant")
def _constant(recipe: Recipe, steps: int):
    """The same learning rate at every step."""
    return recipe.learning_rate


@names.known_as("learning_rate_schedule", "cosine")
def _cosine(recipe: Recipe, steps: int):
    """Half a cosine, to 0 at the end of the last epoch.

    Reference: Loshchilov and Hutter 2017, "SGDR", equation 5, without restarts.
    """
    return keras.optimizers.schedules.CosineDecay(recipe.learning_rate, recipe.epochs * steps)


@names.known_as("learning_rate_schedule", "exponential")
def _exponential(recipe: Recipe, steps: int, factor: float):
    """The learning rate times `factor` after each epoch."""
    if not factor > 0:
        raise ValueError(f"The factor of an epoch must be above 0. Received: {recipe.learning_rate_schedule!r}")
    return keras.optimizers.schedules.ExponentialDecay(
        recipe.learning_rate, decay_steps=steps, decay_rate=factor, staircase=True
    )


def precision(recipe: Recipe) -> str:
    """The dtype policy of a recipe's networks on this machine."""
    if recipe.precision != "auto":
        return recipe.precision
    return "mixed_bfloat16" if backend.has_fast_bfloat16() else "float32"


def build(
    recipe: Recipe,
    image_shape: tuple[int, ...],
    steps: int,
    mean: np.ndarray | None,
    classes: int | None = None,
    schema: data.Schema | None = None,
    missing: bool = False,
) -> Composed:
    """The compiled model: a `VAE`, of networks with groups of latents a `HierarchicalVAE`, or one of another kind.

    Its weights are a function of the recipe and, with `output_bias`, of the mean.

    Args:
        recipe: a `Recipe`.
        image_shape: *X.
        steps: in an epoch.
        mean: (*X), mean of the training images as the likelihood sees them.
        classes: how many the data set has; None: its images have no labels.
        schema: the columns of a table; None: these are images.
        missing: whether values of a table are missing.

    Raises:
        ValueError: for parts that do not fit each other or the images.
    """
    network = names.find("network", names.Spec.parse(recipe.network).name)
    suiting = _suiting(image_shape).get(network, {})
    if _of_table(recipe) and schema is None:
        raise UsageError(f"The likelihood columns is for tables, {recipe.dataset} is none: take another --likelihood.")
    keras.utils.set_random_seed(recipe.seed)
    with parts.policy_scope(precision(recipe)):
        vae = composed(
            recipe.network,
            image_shape,
            recipe.latent_size,
            suiting=suiting,
            columns=None if schema is None else list(schema),
            model=recipe.model,
            labels=_labels(classes),
            posterior=recipe.posterior,
            prior=recipe.prior,
            likelihood=likelihood(recipe, schema),
            objective=objective(recipe, steps),
            seed=recipe.seed,
            corruption=recipe.corruption,
            missing=missing or bool(recipe.missing),
        )
    if recipe.output_bias:
        vae.likelihood.start_at(mean)
    for piece in frozen(recipe):
        getattr(vae, piece).trainable = False
    kinds, averaging = _OPTIMIZERS, {}
    if recipe.ema is not None:
        kinds, averaging = _AVERAGED, {"use_ema": True, "ema_momentum": recipe.ema}
    rate = learning_rate(recipe, steps)
    optimizer = kinds[recipe.optimizer](rate, beta_2=recipe.beta_2, global_clipnorm=recipe.clip, **averaging)
    # Small dense networks spend most of a step outside it.
    vae.compile(optimizer, steps_per_execution=16 if network is networks.mlp else 1)
    return vae


def frozen(recipe: Recipe) -> tuple[str, ...]:
    """The pieces of a model that stay as they are in training."""
    return _FROZEN.get(recipe.freeze, ())


def thaw(vae: Composed, recipe: Recipe) -> None:
    """Lets those who go on with a model train what its recipe has frozen; its optimizer begins anew."""
    pieces = frozen(recipe)
    if pieces:
        compiled = vae.get_compile_config()
        for piece in pieces:
            getattr(vae, piece).trainable = True
        vae.compile_from_config(compiled)


def _of_table(recipe):
    """Whether the likelihood is one of the columns of a table."""
    return names.Spec.parse(recipe.likelihood).name == "columns"


def likelihood(recipe: Recipe, schema: data.Schema | None = None) -> likelihoods.Likelihood | type:
    """The likelihood of a recipe; of the columns of a table that is not read yet, its class.

    Raises:
        UsageError: for columns of what is no table.
    """
    if not _of_table(recipe):
        return likelihoods.get(recipe.likelihood)
    return likelihoods.Columns if schema is None else names.make("likelihood", recipe.likelihood, list(schema))


def _labels(classes):
    """{argument of a kind of model: what suits so many classes}."""
    return {} if classes is None else {"label_shape": (classes,), "classes": classes}


def _suiting(image_shape):
    """{network: arguments that suit the size of the images}."""
    # Halvings down to maps of 4 to 7 pixels.
    levels = min(5, max(1, int(math.log2(min(image_shape[:2]) / 4))))
    return {
        networks.mlp: {"widths": (512,)},
        networks.resnet: {"widths": (64, 128, 256, 256, 256)[:levels]},
        networks.ladder: {"widths": (32, 64, 128, 128, 128)[:levels]},
        # A kernel that the stride divides leaves no checkerboard in the images.
        networks.conv: {"widths": (32, 64, 128, 256, 256)[:levels], "kernel_size": 4},
    }
