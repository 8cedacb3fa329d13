"""Discretised logistics and their mixtures."""

from keras import ops

from keras_vae.backend import Tensor, tfd, tfp
from keras_vae.distributions.base import Distribution


class DiscretizedLogisticMixture(Distribution):
    """Mixture of logistics over the integer levels 0..255, whose channels may depend on each other.

    A pixel draws one mixture component for all of its channels. Given the component, a channel is a logistic that is
    integrated over the bin of each level; the lowest and the highest level take all the mass below and above. With
    `coefficients` the location of a channel moves linearly with the channels before it, as they were observed:
    for colours, `green += c[0] * red` and `blue += c[1] * red + c[2] * green`. Locations, scales and observed values
    are on the scale where level x lies at x / 127.5 - 1, in [-1, 1]. One component is the plain discretised logistic.

    The mass of a bin is computed in logarithms, without PixelCNN++'s density approximation in the tails. Levels are
    not checked: the result means nothing for a value that is not an integer in 0..255.

    Args:
        logits: unnormalised log-weights of the M components, one set per pixel.
        loc: locations of the components.
        log_scale: logarithms of their scales; bound them to about [-7, 7], where float32 is safe.
        coefficients: coupling of channel c to each channel j < c, in the order (1, 0), (2, 0), (2, 1), ...; used as
            given, so bound them (PixelCNN++ takes a tanh) before. None for independent channels.
        event_ndims: rank of the event, the channel axis included: 3 for images, 2 for signals (length, channels).
        channel_axis: whether the event has its axis of C channels; otherwise C is 1, and the event has no such axis.
        name: name of the distribution.

    Shape:
        logits (*batch, *spatial, M), loc and log_scale (*batch, *spatial, C, M), coefficients
        (*batch, *spatial, C (C - 1) / 2, M). The event is (*spatial, C), for images (H, W, C). Batch axes broadcast;
        so do spatial axes of size 1, except those of `loc`.

    Raises:
        ValueError: if the parameters' shapes do not fit together.

    Reference:
        Salimans et al. (2017), PixelCNN++, sections 2.1 and 2.2. Child (2021), Very Deep VAEs, uses the same form.

    Example:
        >>> pixels = DiscretizedLogisticMixture(logits, loc, log_scale)  # (B, 32, 32, 10) and twice (B, 32, 32, 3, 10)
        >>> pixels.log_prob(images)  # (B,), nats
    """

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        log_scale: Tensor,
        coefficients: Tensor | None = None,
        event_ndims: int = 3,
        channel_axis: bool = True,
        name: str = "DiscretizedLogisticMixture",
    ):
        parameters = dict(locals())
        self._logits = ops.convert_to_tensor(logits, "float32")
        self._loc = ops.convert_to_tensor(loc, "float32")
        self._log_scale = ops.convert_to_tensor(log_scale, "float32")
        self._coefficients = None if coefficients is None else ops.convert_to_tensor(coefficients, "float32")
        self._event_ndims, self._channel_axis = event_ndims, channel_axis
        # With the channel axis, which all parameters have.
        self._ndims = event_ndims + (0 if channel_axis else 1)
        self._check_shapes()
        super().__init__(parameters, self._loc.dtype)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        def ranked(extra):
            return tfp.util.ParameterProperties(event_ndims=lambda self: self._ndims + extra)

        return {"logits": ranked(0), "loc": ranked(1), "log_scale": ranked(1), "coefficients": ranked(1)}

    @property
    def logits(self) -> Tensor:
        """Unnormalised log-weights of the components."""
        return self._logits

    @property
    def loc(self) -> Tensor:
        """Locations of the components, before coupling."""
        return self._loc

    @property
    def log_scale(self) -> Tensor:
        """Logarithms of the components' scales."""
        return self._log_scale

    @property
    def coefficients(self) -> Tensor | None:
        """Coupling of each channel to those before it, or None."""
        return self._coefficients

    @property
    def event_ndims(self) -> int:
        """Rank of the event."""
        return self._event_ndims

    @property
    def channel_axis(self) -> bool:
        """Whether the event has an axis of channels."""
        return self._channel_axis

    def expected_image(self) -> Tensor:
        """Mean of the mixture before it is rounded to levels, clipped to their range.

        In every component a channel's location is coupled to the locations of the channels before it; these are
        averaged with the mixture weights, and the average is clipped to [0, 255]. It is not the distribution's mean:
        it knows neither the rounding nor the mass that the edge levels take.

        Shape:
            (*batch, *spatial, C).

        Returns:
            Levels in [0, 255], not rounded.
        """
        pairs = _pairs(self.coefficients, axis=-2)
        means = []
        for c, loc in enumerate(ops.unstack(self.loc, axis=-2)):
            means.append(loc + _shift(c, pairs, means))
        # Not softmax: TensorFlow's fails on the CPU beyond rank 5.
        weights = ops.exp(self.logits - ops.logsumexp(self.logits, axis=-1, keepdims=True))
        return self._event(_levels(ops.stack([ops.sum(weights * mean, axis=-1) for mean in means], axis=-1)))

    def _event(self, value):
        """`value`, which has an axis of channels, as the event has it."""
        return value if self._channel_axis else ops.squeeze(value, axis=-1)

    def _log_prob(self, x):
        """Nats, summed over the event."""
        return self.log_prob_where(x)

    def log_prob_where(self, x: Tensor, there: Tensor | None = None) -> Tensor:
        """log p of the elements that are there, of channels that are not coupled.

        Args:
            x: (..., *event).
            there: (..., *event), bool; None: all of them are, of channels that may be coupled.
        """
        x = ops.cast(x, "float32")[..., None]
        x = x if self._channel_axis else x[..., None]
        log_mass = _log_mass(x, self._loc_given(x), self.log_scale)
        if there is not None:
            there = there if self._channel_axis else there[..., None]
            log_mass = ops.where(there[..., None], log_mass, 0.0)
        log_mass = ops.sum(log_mass, axis=-2)
        # The weights first: beside large logits a sum would lose the digits of the masses.
        log_weights = self.logits - ops.logsumexp(self.logits, axis=-1, keepdims=True)
        log_prob = ops.logsumexp(log_weights + log_mass, axis=-1)
        if there is not None:
            # The logarithm of the weights' sum is 0 only up to rounding.
            log_prob = ops.where(ops.any(there, axis=-1), log_prob, 0.0)
        return ops.sum(log_prob, axis=tuple(range(1 - self._ndims, 0)))

    def _loc_given(self, x):
        pairs = _pairs(self.coefficients, axis=-2)
        if not pairs:
            return self.loc
        values = ops.unstack(_scaled(x), axis=-2)
        shifts = [_shift(c, pairs, values) for c in range(1, len(values))]
        return self.loc + ops.stack([ops.zeros_like(shifts[0]), *shifts], axis=-2)

    def _sample_n(self, n, seed=None):
        """Integers 0..255 as float32; the channels of a pixel are drawn one after the other."""
        component_seed, noise_seed = tfp.random.split_seed(seed, salt="discretized_logistic_mixture")
        per_channel = [p for p in (self.loc, self.log_scale, self.coefficients) if p is not None]
        # Any parameter may carry the batch axes, and every member of the batch draws components of its own.
        logits = self.logits + sum(ops.zeros_like(ops.sum(p, axis=-2)) for p in per_channel)
        component = tfd.Categorical(logits=logits).sample(n, seed=component_seed)
        chosen = ops.one_hot(component, self.loc.shape[-1], dtype="float32")[..., None, :]
        loc, log_scale, *coefficients = (ops.sum(chosen * p, axis=-1) for p in per_channel)
        unshifted = loc + ops.exp(log_scale) * tfd.Logistic(ops.zeros_like(loc), 1.0).sample(seed=noise_seed)
        pairs = _pairs(*coefficients, axis=-1)
        levels = []
        for c, value in enumerate(ops.unstack(unshifted, axis=-1)):
            levels.append(ops.round(_levels(value + _shift(c, pairs, [_scaled(level) for level in levels]))))
        return self._event(ops.stack(levels, axis=-1))

    def _event_shape(self):
        return self.loc.shape[-1 - self._ndims : -1][: self.event_ndims]

    def _event_shape_tensor(self):
        return ops.shape(self.loc)[-1 - self._ndims : -1][: self.event_ndims]

    def _default_event_space_bijector(self):
        return None  # TFP's way to say that the event is discrete

    def _check_shapes(self):
        shape = tuple(self.loc.shape)
        if self.event_ndims < 1 or len(shape) < self._ndims + 1 or None in shape[-2:]:
            raise ValueError(
                "loc must have the axes (*batch, *spatial, C, M), where (*spatial, C) are event_ndims >= 1 axes, and C "
                "and M are known when the graph is traced (a reshape to -1 loses them). "
                f"Received: event_ndims={self.event_ndims} and loc of shape {shape}"
            )
        *spatial, channels, components = shape[-1 - self._ndims :]
        last = {
            "logits": (components,),
            "log_scale": (channels, components),
            "coefficients": (channels * (channels - 1) // 2, components),
        }
        for name, axes in last.items():
            parameter = getattr(self, name)
            if parameter is None:
                continue
            given = tuple(parameter.shape)
            event = given[-len(spatial) - len(axes) :]
            fits = event[len(spatial) :] == axes and all(
                own in (1, whole) or None in (own, whole) for own, whole in zip(event, spatial, strict=False)
            )
            if not fits:
                raise ValueError(
                    f"{name} must end with the axes {(*spatial, *axes)}, the spatial ones of them possibly 1, to fit "
                    f"loc of shape {shape}. Received: {name} of shape {given}"
                )


def _pairs(coefficients=None, *, axis):
    return [] if coefficients is None else ops.unstack(coefficients, axis=axis)


def _shift(c, pairs, values):
    """What the values of the channels before channel c add to its location."""
    first = c * (c - 1) // 2
    return sum(pair * value for pair, value in zip(pairs[first : first + c], values, strict=False))


def _scaled(levels):
    return levels / 127.5 - 1.0


def _levels(scaled):
    return ops.clip((scaled + 1.0) * 127.5, 0.0, 255.0)


def _log_mass(x, loc, log_scale):
    """Log-mass of a logistic on the bin of level x, in nats."""
    inverse_scale = ops.exp(-log_scale)
    centred = (_scaled(x) - loc) * inverse_scale
    half_width = inverse_scale / 255.0
    # Between edges b < a: sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)). The lowest level has no b,
    # the highest no a. All three logarithms are finite, so that the factor 0 of an absent one stops its gradient, too.
    above_lowest, below_highest = ops.cast(x > 0, "float32"), ops.cast(x < 255, "float32")
    return (
        above_lowest * below_highest * ops.log(-ops.expm1(-2.0 * half_width))
        - below_highest * ops.softplus(-centred - half_width)
        - above_lowest * ops.softplus(centred - half_width)
    )
