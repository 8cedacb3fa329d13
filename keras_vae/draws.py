"""Where the latents of a pass come from: the posterior, the prior, the points that stand for x, or the caller."""

import math
from collections.abc import Callable

from keras import ops

from keras_vae.backend import Tensor, folded, single_precision, standard_normals, tfd
from keras_vae.distributions import AutoregressiveCodes, Flow, Joint


class Draw:
    """A rule that gives each group of latents its z; a pass calls it group by group.

    Args:
        samples: K.
        batch: B.
    """

    def __init__(self, samples: int, batch: int | Tensor):
        self.samples, self.batch = samples, batch

    def __call__(
        self,
        posterior: tfd.Distribution | None,
        prior: tfd.Distribution,
        point: Callable[[tfd.Distribution], Tensor] | None = None,
    ) -> Tensor:
        """z of the next group.

        Args:
            posterior: q(z|x), batch (B,), or (K, B) below other groups; None where there is no x.
            prior: p(z), batch (), (B,) or (K, B).
            point: what stands for x where one z is asked for, a function of `posterior`; None: its mean.

        Returns:
            (K, B, *D).
        """
        raise NotImplementedError

    def _spread(self, value, distribution):
        return ops.broadcast_to(value, (self.samples, self.batch, *distribution.event_shape))


class _Sampled(Draw):
    """Samples of a distribution.

    Args:
        samples: K.
        batch: B.
        seed: integer tensor, (2,); or (S, 2), one for each of S equal blocks of the batch, which then draw what they
            would draw alone. B and S must be known when the pass is traced.
    """

    def __init__(self, samples: int, batch: int | Tensor, seed: Tensor):
        super().__init__(samples, batch)
        self._seed, self._group = seed, 0

    def _sample(self, distribution):
        if isinstance(distribution, Flow):
            # All blocks at once, so that the density of these samples needs no inverse.
            return distribution.bijector.forward(self._sample(distribution.distribution))
        if isinstance(distribution, AutoregressiveCodes):
            # All blocks at once, code by code.
            return distribution.drawn(self._sample(distribution.noise))
        if isinstance(distribution, Joint):
            return distribution.joined([self._sample(part) for part in distribution.parts])
        # The first group takes the seed itself.
        seed = self._seed if self._group == 0 else folded(self._seed, self._group)
        self._group += 1
        rank = len(distribution.batch_shape)
        if len(seed.shape) == 1:
            return _drawn(distribution, (self.samples, self.batch)[: 2 - rank], seed)
        size = self.batch // seed.shape[0]
        if normal := _as_normal(distribution):
            # What the loop below draws, in far fewer operations.
            noise = standard_normals((self.samples, size, *distribution.event_shape), seed)
            return noise * normal.scale + normal.loc
        blocks = []
        for index in range(seed.shape[0]):
            block = slice(index * size, (index + 1) * size)
            part = distribution[(slice(None),) * (rank - 1) + (block,)] if rank else distribution
            blocks.append(_drawn(part, (self.samples, size)[: 2 - rank], seed[index]))
        return ops.concatenate(blocks, axis=1)


def _as_normal(distribution):
    """The Normal whose samples a distribution has; None where it is no such one."""
    while type(distribution) is tfd.Independent:
        distribution = distribution.distribution
    return distribution if type(distribution) is tfd.Normal else None


def _drawn(distribution, shape, seed):
    with single_precision():
        return distribution.sample(shape, seed=seed)


class FromPosterior(_Sampled):
    """K samples of q(z|x) for each example: training and scoring."""

    def __call__(self, posterior, prior, point=None):
        return self._sample(posterior)


class FromPrior(_Sampled):
    """K samples of p(z) for each place in the batch: sampling."""

    def __call__(self, posterior, prior, point=None):
        return self._sample(prior)


class AtMean(Draw):
    """The point that stands for x, the posterior's mean unless the posterior says otherwise; no noise.

    Args:
        batch: B; K is 1.
    """

    def __init__(self, batch: int | Tensor):
        super().__init__(1, batch)

    def __call__(self, posterior, prior, point=None):
        return self._spread(posterior.mean() if point is None else point(posterior), posterior)


class Given(Draw):
    """Latents that the caller has; groups beyond them are at the prior's mean.

    Args:
        z: (B, *D), or several groups one after the other, each flattened, (B, D); with `samples`, (K, B, ...).
        samples: K, if z has such an axis; None: K is 1.
    """

    def __init__(self, z: Tensor, samples: int | None = None):
        lead = 1 if samples is None else 2
        super().__init__(samples or 1, ops.shape(z)[lead - 1])
        self._z = ops.reshape(z, (self.samples, self.batch, math.prod(z.shape[lead:])))
        self._used = 0

    def __call__(self, posterior, prior, point=None):
        size = math.prod(prior.event_shape)
        part = self._z[..., self._used : self._used + size]
        self._used += size
        if part.shape[-1] < size:
            return self._spread(prior.mean(), prior)
        return ops.reshape(part, (self.samples, self.batch, *prior.event_shape))


class Holding(Draw):
    """Some groups of latents as the caller has them, the others as another rule draws them.

    What the other rule draws does not depend on which groups are held, but by what lies above them.

    Args:
        draw: the other rule.
        groups: {number of the group, from 0 at the top: z, (B, *D)}.
    """

    def __init__(self, draw: Draw, groups: dict[int, Tensor]):
        super().__init__(draw.samples, draw.batch)
        self._draw, self._groups, self._group = draw, groups, -1

    def __call__(self, posterior, prior, point=None):
        self._group += 1
        # Drawn in any case, for the sake of the noise of the groups below.
        z = self._draw(posterior, prior, point)
        return self._spread(self._groups[self._group], prior) if self._group in self._groups else z
