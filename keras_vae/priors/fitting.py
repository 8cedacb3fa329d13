"""Priors fitted after training, to latents of the training data."""

import dataclasses
import warnings
from collections.abc import Callable

import keras
import numpy as np

from keras_vae import names, parts
from keras_vae.backend import Tensor, tfd
from keras_vae.names import check_number, check_whole
from keras_vae.priors.base import Prior
from keras_vae.priors.fitted import FittedMixture

# The variance of its posterior means above which a unit is active (Burda, Grosse and Salakhutdinov 2016), and what the
# moments of its draws may be off those of N(0, 1) where it is not.
_ACTIVE, _OFF = 0.01, 0.1
# Below this standard deviation what is added to variances would be a part of them.
_NARROW = 0.1
# Of the latents that a prior of classes sees, about this share has a label, so that no batch is without.
_SHARE = 0.1
# Of numbers in one covariance, which is computed in float64 and read for each density.
_LARGEST = 1024**2


@dataclasses.dataclass(frozen=True)
class Codes:
    """What a prior is fitted to.

    Args:
        z: (N, *D), a draw of q(z|x) for each example.
        points: (N, *D), what stands for each example, the mean of q(z|x) as a rule.
        input_shape: shape of what the encoder sees of one example.
        encode: pseudo-inputs -> q(z|u), for priors made of the encoder.
        seed: of what is random in the fit.
        support: where z lie, in words.
        different: how many different ones there are, where z are whole numbers.
        labels: (N,), the class of each example, -1 where it is not known, for priors of classes.
    """

    z: np.ndarray
    points: np.ndarray
    input_shape: tuple[int, ...]
    encode: Callable[[Tensor], tfd.Distribution] | None = None
    seed: int = 0
    support: str = Prior.support
    different: int | None = None
    labels: np.ndarray | None = None

    @property
    def size(self) -> int | tuple[int, ...]:
        """D, or (h, w, c)."""
        shape = self.z.shape[1:]
        return shape[0] if len(shape) == 1 else shape

    @property
    def active(self) -> np.ndarray:
        """The units that tell examples apart, or that are not N(0, 1) over the data, (*D) bool."""
        moments = self.z.mean(axis=0, dtype="float64"), self.z.var(axis=0, dtype="float64")
        off = (np.abs(moments[0]) > _OFF) | (np.abs(moments[1] - 1) > _OFF)
        return off | (self.points.var(axis=0, dtype="float64") > _ACTIVE)

    def split(self) -> tuple["Codes", "Codes"]:
        """Those to fit to, and a tenth, at most 1,000, by which `check_fit` judges the fit."""
        order = np.random.default_rng(self.seed).permutation(len(self.z))
        held = min(len(order) // 10, 1000)
        of_each = [name for name in ("z", "points", "labels") if getattr(self, name) is not None]
        return tuple(
            dataclasses.replace(self, **{name: getattr(self, name)[part] for name in of_each})
            for part in (order[held:], order[:held])
        )


def log_probs(prior: Prior, codes: Codes) -> np.ndarray:
    """log p(z) of latents, (N,) nats, float64."""
    if not len(codes.z):
        return np.zeros(0)
    z = codes.z.astype("float32" if codes.different is None else "int32")
    log_prob = prior.distribution(encode=codes.encode).log_prob(z)
    return keras.ops.convert_to_numpy(log_prob).astype("float64")


def check_fit(prior: Prior, former: Prior, before: np.ndarray, held: Codes) -> None:
    """Refuses a prior whose densities are not finite, and warns of one that has lower ones than the former had.

    Args:
        prior: the one that was fitted.
        former: the one that it is to replace.
        before: densities of that, `log_probs` of `held`, before anything was trained.
        held: latents that neither was fitted to.

    Raises:
        ValueError: for a prior that has diverged.
    """
    after = log_probs(prior, held)
    if not np.isfinite(after).all():
        raise ValueError(
            "The fit of the prior has diverged, and the model keeps the one that it had: take a lower learning_rate. "
            f"Received: {prior!r}, whose densities are not finite"
        )
    if len(after) < 2:
        return
    gain = after - before
    # A few latents to which it gives next to no density are no noise of the others.
    middle = np.median(gain)
    away = 10 * np.median(np.abs(gain - middle))
    noise = np.clip(gain, middle - away, middle + away).std(ddof=1) / len(gain) ** 0.5
    if gain.mean() < -3 * noise:
        warnings.warn(
            "At latents that it was not fitted to, the prior has a lower density than the former one, which makes the "
            "bounds worse: give more images, or more epochs, or take fewer components. "
            f"Received: {gain.mean():.2f} nats, {prior!r} in the place of {former!r}",
            RuntimeWarning,
            stacklevel=3,
        )


def chosen(
    prior: Prior | names.Spec | str, size: int | tuple[int, ...], support: str, different: int | None = None
) -> Prior | names.Spec:
    """What `fit` fits to latents of a kind: a prior, or the spec of one that it has in closed form.

    Args:
        prior: as of `fit`.
        size, support, different: as of `Codes`.

    Raises:
        ValueError: for a spec that nothing is known by, and for a prior that is no density of such latents.
    """
    spec = names.Spec.parse(prior) if isinstance(prior, str) else prior
    none = f"These latents are {support}, over which this prior is no density: fit another one, such as " + (
        "'mixture'" if different is None else "'autoregressive_codes'"
    )
    if isinstance(spec, names.Spec):
        closed = names.known("fitted_prior")
        if spec.name in closed and different is None:
            return spec
        names.one_of(spec.name, (*closed, *names.known("prior")), "fitted prior")
        if spec.name in closed:
            raise ValueError(f"{none}. Received: {prior!r}")
    prior = parts.get(Prior, spec, size, codes=different)
    if prior.support not in (None, support) or (prior.uses_encoder and different):
        raise ValueError(f"{none}. Received: {prior!r}")
    return prior


def fit(prior: Prior | names.Spec | str, codes: Codes, verbose: int = 0, **training: int | float) -> Prior:
    """A prior that is fitted to latents.

    Args:
        prior: "mixture:components=10" or "normal", in closed form; or a prior, or the spec of one, that has weights to
            train.
        codes: the latents.
        verbose: 1 shows the epochs of a prior that is trained.
        **training: of such a prior, see `by_gradient`.

    Returns:
        A built prior.

    Raises:
        ValueError: for a spec that nothing is known by, and for latents to which it cannot be fitted.
    """
    lengths = np.linalg.norm(codes.z.reshape(len(codes.z), -1), axis=1)
    if codes.different is None and len(lengths) > 1 and lengths.std() <= 1e-4 * lengths.mean():
        raise ValueError(
            "These latents lie on a sphere, where a density over all of space has no meaning: keep the prior. "
            f"Received: latents of length {lengths.mean():.4g}, all alike"
        )
    prior = chosen(prior, codes.size, codes.support, codes.different)
    if isinstance(prior, names.Spec):
        if training:
            raise ValueError(f"{prior.name} is fitted without training: leave out the rest. Received: {training}")
        return names.make("fitted_prior", prior, codes)
    for name in training:
        names.one_of(name, ("epochs", "batch_size", "learning_rate"), "argument of a fit")
    if not prior.built:
        prior.build(codes.input_shape)
    return by_gradient(prior, codes, verbose=verbose, **training)


def by_gradient(
    prior: Prior,
    codes: Codes,
    epochs: int = 20,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    verbose: int = 0,
) -> Prior:
    """Trains a prior by Adam on the mean of -log p(z), all else of the model staying as it is.

    Args:
        prior: a built prior with weights to train.
        codes: the latents.
        epochs: passes over them.
        batch_size: how many at a time.
        learning_rate: of Adam, along half a cosine to 0.
        verbose: 1 shows the epochs, and the loss, in nats.
    """
    check_whole(epochs=epochs, batch_size=batch_size)
    check_number(zero=False, learning_rate=learning_rate)
    if not prior.trainable_weights or prior.label_shape is not None:
        raise ValueError(
            "A prior can be fitted that has weights to train and takes no labels, or one of "
            f"{', '.join(map(repr, names.known('fitted_prior')))}. Received: {prior!r}"
        )
    index, weights, given = np.arange(len(codes.z)), None, [codes.z]
    if codes.labels is not None:
        index, weights = repeated(codes.labels)
        given.append(codes.labels.astype("int32"))
    batch_size = min(batch_size, len(index))
    steps = len(index) // batch_size
    density = _Density(prior, codes)
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps)
    density.compile(keras.optimizers.Adam(schedule), loss=_negative)
    rng = np.random.default_rng(codes.seed)
    progress = keras.utils.Progbar(epochs, verbose=verbose, stateful_metrics=["loss"], unit_name="epoch")
    for _ in range(epochs):
        density.reset_metrics()
        for batch in rng.permutation(len(index))[: steps * batch_size].reshape(steps, batch_size):
            loss = density.train_on_batch(
                [each[index[batch]] for each in given],
                np.zeros(batch_size, "float32"),
                sample_weight=None if weights is None else weights[batch],
            )
        # The mean over the epoch.
        progress.add(1, [("loss", float(loss))])
    return prior


def repeated(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which examples are seen in a pass, and how much each counts, where few have labels.

    Those that have are seen several times, each time as a part of an example: the loss is the same in expectation, with
    less noise.

    Args:
        labels: (N,), -1 where they are not known.

    Returns:
        Indices of examples, and their weights, (M,).
    """
    labelled = np.flatnonzero(labels >= 0)
    times = max(1, round(_SHARE * len(labels) / max(1, len(labelled))))
    index = np.concatenate([np.arange(len(labels)), np.repeat(labelled, times - 1)])
    return index, np.where(labels[index] >= 0, 1 / times, 1.0).astype("float32")


class _Density(keras.Model):
    """log p(z) in training as a Keras model, [z (B, *D)] or [z, classes (B,)] -> (B,)."""

    def __init__(self, prior, codes):
        # Latents are float32 under each policy.
        super().__init__(name="density", dtype="float32")
        self.prior, self._encode = prior, codes.encode
        if codes.labels is not None:
            # The mean over known classes, in a mean over all latents.
            self._alpha = prior.alpha * len(codes.labels) / max(1, (codes.labels >= 0).sum())

    def call(self, inputs):
        # Replicas may be given one tensor, of which TFP's bijectors would find the first one's results.
        z, *labels = map(keras.ops.copy, inputs)
        distribution = self.prior.training_distribution(encode=self._encode)
        return distribution.labelled_log_prob(z, *labels, self._alpha) if labels else distribution.log_prob(z)


def _negative(_, log_prob):
    return -log_prob


@names.known_as("fitted_prior", "mixture")
def mixture(codes: Codes, components: int = 10, iterations: int = 10, floor: float = 1e-4) -> FittedMixture:
    """A mixture of Normals of full covariance over the active units, by EM; the other units stay N(0, 1).

    Args:
        codes: the latents; those of a spatial latent are taken as vectors.
        components: M, Normals in the mixture.
        iterations: of EM at most, from the clusters that k-means++ begins with.
        floor: what is added to each variance; where a standard deviation is below 0.1, as a share of the variance.

    Reference: Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    check_whole(components=components, iterations=iterations)
    check_number(zero=False, floor=floor)
    active, z = _active_vectors(codes, components)
    # Latents that are next to a point are fitted in their own units.
    scale = z.std(axis=0)
    scale = np.where(scale < _NARROW, scale, 1.0)
    fitted = GaussianMixture(
        components, reg_covar=floor, max_iter=iterations, init_params="k-means++", random_state=codes.seed
    )
    with warnings.catch_warnings():
        # A few iterations are nearly all of the gain.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(z / scale)
    prior = FittedMixture(codes.size, components, z.shape[1])
    prior.build(codes.input_shape)
    prior.assign(fitted.weights_, scale * fitted.means_, scale[:, None] * scale * fitted.covariances_, active)
    return prior


@names.known_as("fitted_prior", "normal")
def normal(codes: Codes, floor: float = 1e-4) -> FittedMixture:
    """One Normal of full covariance over the active units; the other units stay N(0, 1).

    Args:
        codes: the latents; those of a spatial latent are taken as vectors.
        floor: what is added to each variance; where a standard deviation is below 0.1, as a share of the variance.
    """
    return mixture(codes, 1, 1, floor)


def _active_vectors(codes, components):
    """Which units are active, and the latents of these alone, (N, A) float64."""
    active = codes.active
    count, units = len(codes.z), int(active.sum())
    if not units:
        raise ValueError(
            "No latent unit is active, each is N(0, 1) whatever the image: no other prior would fit better. "
            f"Received: {active.size} units, of {count} examples"
        )
    if units**2 > _LARGEST or count < components * (units + 1):
        raise ValueError(
            f"A covariance of {units} active units needs more than {units} examples for each of the components, and at "
            f"most {int(_LARGEST**0.5)} units: give more data, or take fewer components (`normal` is one). "
            f"Received: {count} examples, components={components}"
        )
    return active, codes.z.astype("float64")[:, active]
