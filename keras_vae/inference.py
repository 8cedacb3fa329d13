"""What one pass through a model knows, and the quantities that follow from it."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property

import keras
from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.distributions import Joint


def _factors(distribution):
    """The distribution of single units where `distribution` is a product of them, otherwise None."""
    return distribution.distribution if isinstance(distribution, tfd.Independent) else None


def has_density(distribution: tfd.Distribution) -> bool:
    """Whether a distribution is not a point mass."""
    if isinstance(distribution, Joint):
        return all(map(has_density, distribution.parts))
    return not isinstance(_factors(distribution) or distribution, (tfd.Deterministic, tfd.VectorDeterministic))


def marginals(distribution: tfd.Distribution) -> tfd.Distribution | None:
    """The densities of single units, batch (..., *D), or None where they are not known."""
    if isinstance(distribution, tfd.MultivariateNormalTriL):
        return tfd.Normal(distribution.mean(), distribution.stddev())
    return _factors(distribution)


def _registered_kl(q, p):
    """TFP's closed-form KL(q || p), or None where TFP has none."""
    if isinstance(q, tfd.MultivariateNormalTriL) and isinstance(_factors(p), tfd.Normal):
        p = tfd.MultivariateNormalDiag(p.distribution.loc, p.distribution.scale)
    try:
        return tfd.kl_divergence(q, p)
    except NotImplementedError:
        return None


@dataclasses.dataclass(frozen=True)
class Latent:
    """One group of latent variables in one pass.

    Args:
        z: (K, B, *D), samples of `posterior`, or of `prior` where there is no x.
        posterior: q(z|x), batch (B,), or (K, B) below other groups, event (*D); None where there is no x.
        prior: p(z), batch (), (B,) or (K, B), event (*D).
        penalty: what training adds to the loss and no bound counts, (B,) or (K, B), nats.
        held: () -> `posterior` again, as a constant: no gradient reaches what made it. None: a pass more finds it.
    """

    z: Tensor
    posterior: tfd.Distribution | None
    prior: tfd.Distribution
    penalty: Tensor | float = 0.0
    held: Callable[[], tfd.Distribution] | None = None

    @cached_property
    def parts(self) -> tuple["Latent", ...]:
        """The vectors of units that posterior and prior are products of, itself where it is one."""
        if not (isinstance(self.posterior, Joint) and isinstance(self.prior, Joint)):
            return (self,)
        trios = zip(self.prior.split(self.z), self.posterior.parts, self.prior.parts, strict=True)
        return tuple(Latent(*trio) for trio in trios)

    @cached_property
    def log_ratio(self) -> Tensor:
        """log q(z|x) - log p(z) at the samples, (K, B), nats."""
        return self.posterior.log_prob(self.z) - self.prior.log_prob(self.z)

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)): in closed form where TFP has one, (B,) or (K, B), otherwise `log_ratio`, (K, B); nats."""
        if len(self.parts) > 1:
            return sum(part.kl for part in self.parts)
        # A registered KL holds only between continuous, reparameterised distributions, or categorical ones: TFP has one
        # from a point mass, too, which is -log p and no KL.
        exact = None
        continuous = self.posterior.reparameterization_type == tfd.FULLY_REPARAMETERIZED and has_density(self.posterior)
        if continuous or all(isinstance(_factors(d), tfd.Categorical) for d in (self.posterior, self.prior)):
            exact = _registered_kl(self.posterior, self.prior)
        return self.log_ratio if exact is None else exact

    @cached_property
    def unit_kl(self) -> Tensor | None:
        """The KL of each latent unit, (B, *D) or (K, B, *D), nats; None unless both are products of units."""
        if len(self.parts) > 1:
            units = [part.unit_kl for part in self.parts]
            return None if any(kl is None for kl in units) else ops.concatenate(units, axis=-1)
        q, p = _factors(self.posterior), _factors(self.prior)
        return None if q is None or p is None else _registered_kl(q, p)

    @property
    def size(self) -> int:
        """Number of latent units."""
        return math.prod(self.prior.event_shape)

    def drawn(self, seed: Tensor) -> Tensor:
        """Draws from the prior in the place of z, (K, B, *D).

        Args:
            seed: integer tensor, (2,).
        """
        return self.prior.sample(ops.shape(self.z)[: 2 - len(self.prior.batch_shape)], seed=seed)


def joined(latents: Sequence[Latent]) -> Tensor:
    """z of all groups: of one, (K, B, *D), as it is; several flattened, one after the other, (K, B, D)."""
    if len(latents) == 1:
        return latents[0].z
    return ops.concatenate([ops.reshape(v.z, (*ops.shape(v.z)[:2], v.size)) for v in latents], axis=-1)


@dataclasses.dataclass(frozen=True)
class Inference:
    """One pass of B examples with K samples of z through a model.

    Args:
        x: (B, *X), as the likelihood sees it.
        y: labels or None.
        likelihood: p(x|z), batch (K, B), event (*X).
        latents: tuple of `Latent`, one for each group, from the top.
        step: scalar, updates made so far.
        weights: (K, B), how much each sample counts; None: 1/K.
        sample_weight: (B,), how much each example counts in means over the batch; None: all alike.
        decode: z, (K, B, *D) as `latents` has it (several groups flattened, one after the other) -> p(x|z); it is as in
            this pass, and changes no state of the networks.
        encode: (B, *X) -> the points that stand for them, (B, D), flattened, several groups one after the other; it
            changes no state either.
        densities: z as of `decode`, and whether what they are made by is constant -> log q(z|x) and log p(z), (K, B)
            each; it changes no state either.
        features: the decoder's output, (K, B, *F).
        observe: features -> p(x|z).
        picture: p(x|z) or x, and unit=False -> images, (K, B, *X) or (B, *X), in the units in which networks see them;
            with unit=True 8-bit levels are between 0 and 1.
        decoder_weights: variables of what makes p(x|z) of z; empty where the model does not say.
        seed: integer tensor, (2,), for noise of the objective's own.
        training: whether layers such as dropout are in training mode.
        seen: (B, ...), what was encoded, where that is not x: a corrupted x, or that to which x is the target.
    """

    x: Tensor
    y: Tensor | None
    likelihood: tfd.Distribution
    latents: tuple[Latent, ...]
    step: Tensor
    weights: Tensor | None = None
    sample_weight: Tensor | None = None
    decode: Callable[[Tensor], tfd.Distribution] | None = None
    encode: Callable[[Tensor], Tensor] | None = None
    densities: Callable[[Tensor, bool], tuple[Tensor, Tensor]] | None = None
    features: Tensor | None = None
    observe: Callable[[Tensor], tfd.Distribution] | None = None
    picture: Callable[..., Tensor] | None = None
    decoder_weights: tuple[keras.Variable, ...] = ()
    seed: Tensor | None = None
    training: bool = False
    seen: Tensor | None = None

    @cached_property
    def log_likelihood(self) -> Tensor:
        """log p(x|z), (K, B), nats."""
        return self.likelihood.log_prob(self.x)

    @cached_property
    def kl(self) -> Tensor:
        """KL(q(z|x) || p(z)), the sum over the groups, (B,) where all are exact, otherwise (K, B); nats."""
        return sum(latent.kl for latent in self.latents)

    @cached_property
    def log_ratio(self) -> Tensor:
        """log q(z|x) - log p(z) at the samples, the sum over the groups, (K, B), nats."""
        return sum(latent.log_ratio for latent in self.latents)

    @cached_property
    def log_weight(self) -> Tensor:
        """log p(x|z) + log p(z) - log q(z|x), (K, B), nats."""
        return self.log_likelihood - self.log_ratio

    def log_joint(self, z: Tensor) -> Tensor:
        """log p(x, z), (K, B), nats, at other z.

        Args:
            z: as of `decode`.
        """
        # Where there is one prior, itself: its density may be an estimate with noise of its own.
        prior = self.latents[0].prior.log_prob(z) if len(self.latents) == 1 else self.densities(z, False)[1]
        return self.decode(z).log_prob(self.x) + prior

    def log_posterior(self, z: Tensor) -> Tensor:
        """log q(z|x), (K, B), nats, at other z.

        Args:
            z: as of `decode`.
        """
        return self.latents[0].posterior.log_prob(z) if len(self.latents) == 1 else self.densities(z, False)[0]

    @cached_property
    def elbo(self) -> Tensor:
        """The evidence lower bound, (B,), nats."""
        return self.mean(self.log_likelihood) - self.mean(self.kl)

    @cached_property
    def log_mean_weight(self) -> Tensor:
        """The importance-weighted bound, log mean_k exp(log_weight), (B,), nats."""
        if self.weights is None:
            samples = ops.cast(ops.shape(self.log_weight)[0], "float32")
            return ops.logsumexp(self.log_weight, axis=0) - ops.log(samples)
        return ops.logsumexp(self.log_term, axis=0)

    @cached_property
    def log_term(self) -> Tensor:
        """log(weight * exp(log_weight)), where samples have `weights`, (K, B), nats; -inf for those of weight 0."""
        return self.counted(self.log_weight)

    def counted(self, log_value: Tensor) -> Tensor:
        """log(weight * exp(log_value)), (K, B), of samples that have `weights`; -inf for those of weight 0."""
        there = self.weights > 0
        return ops.where(there, log_value + ops.log(ops.where(there, self.weights, 1.0)), -float("inf"))

    @cached_property
    def penalty(self) -> Tensor | float:
        """What training adds to the loss and no bound counts, the sum over the groups, (B,), (K, B) or 0; nats."""
        return sum(latent.penalty for latent in self.latents)

    def perplexity(self, codes: int, books: int = 1) -> Tensor:
        """How many codes are in use: the exponential of the entropy of their shares in the batch, a scalar.

        It is at most `codes`, and at most the number of codes in the batch.

        Args:
            codes: how many there are in a codebook.
            books: how many codebooks there are, one after the other along the last axis of z; the entropy is the mean
                over them.
        """
        total = ops.zeros((books * codes,), dtype="float32")
        for latent in self.latents:
            places = (1,) * (len(latent.z.shape) - 2)
            share = ops.broadcast_to(ops.reshape(self.shares, (*ops.shape(self.shares), *places)), ops.shape(latent.z))
            rows = ops.reshape(latent.z + codes * ops.arange(books, dtype="int32"), (-1,))
            total = total + ops.segment_sum(ops.reshape(share, (-1,)), rows, num_segments=books * codes)
        total = ops.reshape(total, (books, codes))
        share = total / ops.maximum(ops.sum(total, axis=-1, keepdims=True), 1e-12)
        return ops.exp(-ops.sum(share * ops.log(ops.maximum(share, 1e-12))) / books)

    def mean(self, value: Tensor, rank: int = 0) -> Tensor:
        """The mean of `value` over the samples: (K, B, *V) -> (B, *V); (B, *V) and scalars stay.

        Args:
            value: what to average.
            rank: number of axes of V.
        """
        if len(getattr(value, "shape", ())) < rank + 2:
            return value
        if self.weights is None:
            return ops.mean(value, axis=0)
        return ops.sum(ops.reshape(self.weights, (*ops.shape(self.weights), *[1] * rank)) * value, axis=0)

    def batch_mean(self, value: Tensor) -> Tensor:
        """The mean over the batch, in which each example counts by its weight: (B, *V) -> (*V)."""
        return weighted_mean(value, self.sample_weight)

    @cached_property
    def counts(self) -> Tensor:
        """How many examples each one counts for, (B,)."""
        if self.sample_weight is not None:
            return self.sample_weight
        return ops.ones((ops.shape(self.latents[0].z)[1],), dtype="float32")

    @cached_property
    def shares(self) -> Tensor:
        """How much each sample counts in means over samples and batch, (K, B); their sum is 1."""
        samples, batch = ops.shape(self.latents[0].z)[:2]
        weights = ops.full((samples, batch), 1 / samples) if self.weights is None else self.weights
        return weights * self.counts / ops.maximum(ops.sum(self.counts), 1e-12)

    @cached_property
    def others(self) -> Tensor:
        """How much example j counts among those that are not i, (B, B), rows i: their sum is 1.

        An example of weight 2 is there twice, and so is among the others of itself once.
        """
        itself = ops.eye(ops.shape(self.counts)[0])
        counts = self.counts - itself * ops.minimum(self.counts, 1.0)
        return counts / ops.maximum(ops.sum(counts, axis=1, keepdims=True), 1e-12)


def weighted_mean(value: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of `value` over its first axis: an example of weight 0 is not there, one of weight 2 is there twice.

    Args:
        value: (B, *V); a scalar stays.
        weight: (B,), or None where all count alike.
    """
    if len(value.shape) == 0:
        return value
    if weight is None:
        return ops.mean(value, axis=0)
    weight = ops.reshape(weight, (-1, *[1] * (len(value.shape) - 1)))
    # An example that does not count may have any value, infinity too.
    total = ops.sum(ops.where(weight > 0, value, 0.0) * weight, axis=0)
    return total / ops.maximum(ops.sum(weight), 1e-12)
