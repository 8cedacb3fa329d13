"""p(x|z): decoder features in, a TFP distribution over x out. Every value is a log-density or log-mass, in nats."""

import math
import warnings

import keras
import numpy as np
from keras import ops

from keras_vae import distributions
from keras_vae.backend import tfd
from keras_vae.parts import Head, Part, check_whole, lookup, one_of, soft_clip

# exp(-7) is a standard deviation of a quarter of an 8-bit level in [0, 1].
LOG_SCALE_BOUND = 7.0


class Likelihood(Part):
    """Base class of likelihoods; each owns its output layer.

    Attributes:
        data: which data it may see, one of `keras_vae.checks.KINDS`.
        parameters: numbers that the output layer gives for each element of x.
        discrete: whether it is a mass over 8-bit levels, so that bits per dimension mean something without naming a
            dequantisation.
    """

    data = "real"
    parameters = 1
    discrete = False

    def build(self, features_shape, event_shape):
        """Makes the output layer.

        Args:
            features_shape: shape of the decoder's output for one example.
            event_shape: *X, shape of one example.

        Raises:
            ValueError: if features of that shape cannot give the event.
        """
        self.event_shape = tuple(event_shape)
        self.head = Head(self.head_shape(self.event_shape), self.parameters, name="head")
        self.head.build(features_shape)

    def head_shape(self, event_shape):
        """The event of the output layer: that of x, unless a position has other parameters than an element."""
        return event_shape

    def network_input(self, x):
        """`x` as the encoder is to see it: float32, of moderate size."""
        return ops.cast(x, "float32")

    def distribution(self, features, x=None, training=False):
        """p(x|z).

        Args:
            features: (K, B, *F), or any leading axes, the decoder's output.
            x: (B, *X), for likelihoods that adapt to it while training.
            training: whether they may.

        Returns:
            A TFP distribution, batch (K, B), event (*X).
        """
        raise NotImplementedError

    def start_at(self, mean):
        """Sets the output layer's bias so that features of zero give `mean`.

        Args:
            mean: (*X), strictly between 0 and 1.
        """
        raise ValueError(
            "Only Bernoulli's output can start at the mean of the images: leave out `output_bias`. "
            f"Received: {type(self).__name__}"
        )

    def image(self, distribution):
        """What a picture of `distribution` shows: its mean, in the units of x."""
        return distribution.mean()

    def _independent(self, distribution):
        return tfd.Independent(distribution, reinterpreted_batch_ndims=len(self.event_shape))


@keras.saving.register_keras_serializable("keras_vae")
class Bernoulli(Likelihood):
    """Independent binary pixels.

    Args:
        soft: whether values between 0 and 1 are taken, too, as probabilities of a 1: the value is then the expected
            log-mass of images drawn from them (the cross-entropy of many tutorials), and not a log-likelihood of x.

    Reference: Kingma and Welling 2014, appendix C.1.
    """

    def __init__(self, soft=False, **kwargs):
        super().__init__(**kwargs)
        self.soft = bool(soft)

    @property
    def data(self):
        """ "binary", or "unit interval" where `soft`."""
        return "unit interval" if self.soft else "binary"

    def distribution(self, features, x=None, training=False):
        return self._independent(distributions.Bernoulli(logits=self.head(features)[..., 0], dtype="float32"))

    def start_at(self, mean):
        mean = np.asarray(mean, dtype="float64")
        if self.head.by_position:
            mean = mean.mean(axis=tuple(range(mean.ndim - 1)))
        self.head.dense.bias.assign(np.log(mean / (1 - mean)).reshape(-1))


@keras.saving.register_keras_serializable("keras_vae")
class ContinuousBernoulli(Likelihood):
    """Independent densities on [0, 1], proportional to p^x (1 - p)^(1 - x).

    Reference: Loaiza-Ganem and Cunningham 2019.
    """

    data = "unit interval"

    def distribution(self, features, x=None, training=False):
        return self._independent(tfd.ContinuousBernoulli(logits=self.head(features)[..., 0]))


class _LocationScale(Likelihood):
    """Independent densities around a location that the decoder gives.

    Args:
        scale: a positive number; "learned", one for all pixels; "per_pixel", given by the decoder; or "optimal", the
            one that maximises the likelihood of the batch in training, and its moving average otherwise.
    """

    MODES = ("learned", "per_pixel", "optimal")

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        if isinstance(scale, (int, float)) and not isinstance(scale, bool):
            if not (scale > 0 and math.isfinite(scale)):
                raise ValueError(f"`scale` must be positive and finite. Received: scale={scale!r}")
        else:
            one_of(scale, self.MODES, "scale (or a positive number)")
        self.scale = scale
        self.parameters = 2 if scale == "per_pixel" else 1

    def build(self, features_shape, event_shape):
        super().build(features_shape, event_shape)
        if self.scale == "learned":
            self.log_scale = self.add_weight(name="log_scale", shape=(), initializer="zeros")
        elif self.scale == "optimal":
            # Of scale**power; `_moment / _mass` is its average without the bias of a start at zero.
            for name in ("moment", "mass"):
                weight = self.add_weight(name=name, shape=(), initializer="zeros", trainable=False, aggregation="mean")
                setattr(self, f"_{name}", weight)

    def distribution(self, features, x=None, training=False):
        loc, *raw = ops.unstack(self.head(features), self.parameters, axis=-1)
        return self._independent(self.family(loc, self._scale(loc, raw, x, training) * ops.ones_like(loc)))

    def _scale(self, loc, raw, x, training):
        if self.scale == "per_pixel":
            return ops.exp(soft_clip(raw[0], -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
        if self.scale == "learned":
            return ops.exp(soft_clip(self.log_scale, -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
        if self.scale == "optimal":
            return ops.power(self._optimal_moment(loc, x, training), 1.0 / self.power)
        return self.scale

    def _optimal_moment(self, loc, x, training):
        least = math.exp(-LOG_SCALE_BOUND * self.power)
        if training:
            # Elements of one batch: nothing of it may reach the value that a test reports.
            moment = ops.mean(ops.power(ops.abs(ops.cast(x, "float32") - loc), self.power)) + least
            self._moment.assign(0.99 * self._moment + 0.01 * ops.stop_gradient(moment))
            self._mass.assign(0.99 * self._mass + 0.01)
            return moment
        return ops.where(self._mass > 0, self._moment / ops.maximum(self._mass, 1e-9), 1.0)


@keras.saving.register_keras_serializable("keras_vae")
class Normal(_LocationScale):
    """Independent Normal pixels; with a fixed scale s, squared errors divided by 2 s^2, plus the constants.

    Args:
        scale: the standard deviation: a positive number; "learned", one for all pixels; "per_pixel", given by the
            decoder; or "optimal", the root mean squared error of the batch in training, and its moving average
            otherwise.

    Reference: Rybkin, Daniilidis and Levine 2021, "Simple and effective VAE training with calibrated decoders"
    (optimal: section 3.2).
    """

    family, power = tfd.Normal, 2


@keras.saving.register_keras_serializable("keras_vae")
class Laplace(_LocationScale):
    """Independent Laplace pixels; with a fixed scale, absolute errors divided by it, plus the constants.

    Args:
        scale: a positive number; "learned", one for all pixels; "per_pixel", given by the decoder; or "optimal", the
            mean absolute error of the batch in training, and its moving average otherwise.
    """

    family, power = tfd.Laplace, 1


@keras.saving.register_keras_serializable("keras_vae")
class Beta(Likelihood):
    """Independent Beta densities on (0, 1), both concentrations given by the decoder."""

    data = "open unit interval"
    parameters = 2

    def distribution(self, features, x=None, training=False):
        concentrations = ops.softplus(self.head(features)) + 1e-3
        return self._independent(tfd.Beta(concentrations[..., 0], concentrations[..., 1]))


class _Levels(Likelihood):
    """Masses over the 8-bit levels 0 to 255."""

    data = "8-bit levels"
    discrete = True

    def network_input(self, x):
        return ops.cast(x, "float32") / 127.5 - 1.0


@keras.saving.register_keras_serializable("keras_vae")
class Categorical(_Levels):
    """Independent categorical pixels over 256 levels."""

    parameters = 256

    def distribution(self, features, x=None, training=False):
        return self._independent(tfd.Categorical(logits=self.head(features), dtype="float32"))

    def image(self, distribution):
        """The mean level."""
        # TensorFlow's softmax fails beyond rank 5 on the CPU.
        masses = ops.exp(ops.log_softmax(distribution.distribution.logits, axis=-1))
        return ops.sum(masses * ops.arange(256, dtype="float32"), axis=-1)


@keras.saving.register_keras_serializable("keras_vae")
class DiscretizedLogisticMixture(_Levels):
    """A mixture of logistics over 8-bit levels, its component shared by the channels of a pixel.

    Colour channels are coupled: green's locations depend on red, blue's on red and green.

    Args:
        components: M, components of the mixture.

    Reference: Salimans et al. 2017 (PixelCNN++), section 2.1 and 2.2; Child 2021 (VDVAE).
    """

    def __init__(self, components=10, **kwargs):
        super().__init__(**kwargs)
        check_whole(components=components)
        self.components = components

    def build(self, features_shape, event_shape):
        super().build(features_shape, event_shape)
        # Components that began alike would share every gradient; these cover the levels evenly.
        channels, m = event_shape[-1], self.components
        start = np.zeros((self._rows(event_shape), m))
        start[1 : 1 + channels] = (2 * np.arange(m) + 1) / m - 1
        start[1 + channels : 1 + 2 * channels] = -math.log(m + 2)
        bias = self.head.dense.bias
        bias.assign(np.tile(start.ravel(), bias.shape[0] // start.size))

    def head_shape(self, event_shape):
        return (*event_shape[:-1], self._rows(event_shape) * self.components)

    def _rows(self, event_shape):
        """Numbers for each component of a pixel: weight, locations, scales and couplings."""
        return 1 + 2 * event_shape[-1] + (3 if self._coupled(event_shape) else 0)

    def _coupled(self, event_shape):
        return event_shape[-1] == 3

    def distribution(self, features, x=None, training=False):
        channels = self.event_shape[-1]
        raw = self.head(features)[..., 0]
        raw = ops.reshape(raw, (*ops.shape(raw)[:-1], self._rows(self.event_shape), self.components))
        # Not slices, whose gradients TensorFlow fills up with zeros one by one.
        logits, loc, log_scale, coupling = ops.split(raw, [1, 1 + channels, 1 + 2 * channels], axis=-2)
        return distributions.DiscretizedLogisticMixture(
            logits=ops.squeeze(logits, axis=-2),
            loc=loc,
            log_scale=soft_clip(log_scale, -LOG_SCALE_BOUND, LOG_SCALE_BOUND),
            coefficients=ops.tanh(coupling) if self._coupled(self.event_shape) else None,
            event_ndims=len(self.event_shape),
        )

    def image(self, distribution):
        """The mean of the mixture before it is rounded, clipped to the levels."""
        return distribution.expected_image()


@keras.saving.register_keras_serializable("keras_vae")
class DiscretizedLogistic(DiscretizedLogisticMixture):
    """Independent discretised logistic pixels, location and scale given by the decoder.

    Reference: Kingma et al. 2016, section 5.2.
    """

    def __init__(self, **kwargs):
        super().__init__(components=1, **kwargs)

    def _coupled(self, event_shape):
        return False


@keras.saving.register_keras_serializable("keras_vae")
class FromFunction(Likelihood):
    """Any TFP distribution that a function makes from decoder features.

    Args:
        function: features (K, B, *F) -> distribution, batch (K, B), event (*X). To be saved it must be registered,
            `@keras.saving.register_keras_serializable("my_project")`.
        channels: numbers for each position that a linear layer makes of the decoder's output before `function` sees
            them (last axis); None: it sees the output itself.
        data: which data it may see, one of `keras_vae.checks.KINDS`.

    Raises:
        ValueError: when built, if what `function` makes is no such distribution; when saved, if it is not registered.

    Example: `FromFunction(lambda f: tfd.Independent(tfd.StudentT(5.0, f, 0.1), 3))`.
    """

    def __init__(self, function, channels=None, data="real", **kwargs):
        super().__init__(**kwargs)
        if not callable(function):
            raise ValueError(f"`function` must be a function of features. Received: {function!r}")
        self.function, self.channels, self._data = function, channels, data
        if not self._registered():
            warnings.warn(
                f"This likelihood trains but cannot be saved: {self._advice()} Received: {function!r}", stacklevel=2
            )

    @property
    def data(self):
        """What the constructor was given."""
        return self._data

    def build(self, features_shape, event_shape):
        self.event_shape = tuple(event_shape)
        if self.channels is not None:
            self.head = Head((*self.event_shape[:-1], self.channels), name="head")
            self.head.build(features_shape)
        trial = self.distribution(ops.zeros((1, 1, *features_shape)))
        if not isinstance(trial, tfd.Distribution):
            raise ValueError(f"`function` must return a TFP distribution. Received: {trial!r}")
        if (tuple(trial.batch_shape), tuple(trial.event_shape)) != ((1, 1), self.event_shape):
            raise ValueError(
                f"From features of shape (1, 1, ...), `function` must make a distribution of batch shape (1, 1) and "
                f"event shape {self.event_shape}; wrap it in tfd.Independent, with the number of axes of an example. "
                f"Received: batch shape {tuple(trial.batch_shape)}, event shape {tuple(trial.event_shape)}"
            )

    def distribution(self, features, x=None, training=False):
        features = ops.cast(features, "float32")
        return self.function(features if self.channels is None else self.head(features)[..., 0])

    def get_config(self):
        if not self._registered():
            raise ValueError(f"This likelihood cannot be saved: {self._advice()} Received: {self.function!r}")
        name = keras.saving.get_registered_name(self.function)
        return {**super().get_config(), "function": name, "channels": self.channels, "data": self._data}

    @classmethod
    def from_config(cls, config):
        function = keras.saving.get_registered_object(config["function"])
        if function is None:
            raise ValueError(
                "The likelihood's function is not registered in this process: import the module that registers it "
                f"before loading. Received: {config['function']!r}"
            )
        return cls(**config | {"function": function})

    def _registered(self):
        # Keras would save lambdas, unregistered functions and bound methods without a word, and not load them.
        name = keras.saving.get_registered_name(self.function)
        return keras.saving.get_registered_object(name) is self.function

    def _advice(self):
        return 'register its function, @keras.saving.register_keras_serializable("my_project").'


def get(identifier):
    """A likelihood from an instance or a name, such as "bernoulli"; "gaussian" means `Normal`."""
    named = (
        Bernoulli,
        ContinuousBernoulli,
        Normal,
        Laplace,
        DiscretizedLogistic,
        DiscretizedLogisticMixture,
        Categorical,
        Beta,
    )
    return lookup(identifier, Likelihood, named, aliases={"gaussian": Normal})
