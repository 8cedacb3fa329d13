"""Numbers and codes side by side."""

from typing import Any

import numpy as np
from keras import ops

from keras_vae import distributions, parts
from keras_vae.backend import Tensor, tfd
from keras_vae.names import Spec
from keras_vae.parts import joint_support, joint_units, register
from keras_vae.posteriors.base import Posterior


@register()
class Joint(Posterior):
    """Units that are numbers, and after them units that are codes, independent of each other given x (JointVAE).

    z is a vector of floats, the codes as whole ones; the decoder sees both parts one after the other, each as it would
    alone. log q(z|x) and the KL are the sums of both parts'. `objective="joint_capacity"` weighs the two KLs apart.

    Args:
        size: D, units of both parts.
        continuous: spec of the posterior of the numbers.
        categorical: spec of the posterior of the codes.
        count: how many units, the last ones, are codes.

    Reference: Dupont 2018 (arXiv 1804.00104), section 3.

    Example: `joint:categorical=one_hot(classes=10),count=2`.
    """

    has_codes = True
    default_prior = "joint"

    def __init__(
        self,
        size: int,
        continuous: str = "diagonal_normal",
        categorical: str = "one_hot",
        count: int = 1,
        **kwargs: Any,
    ):
        super().__init__(size, **kwargs)
        self.continuous, self.categorical = (str(Spec.parse(str(spec))) for spec in (continuous, categorical))
        self.count, units = joint_units(self, count)
        given = {"continuous": self.continuous, "categorical": self.categorical}
        self.parts = [
            parts.get(Posterior, spec, number, name=name)
            for (name, spec), number in zip(given.items(), units, strict=True)
        ]
        real, coded = self.parts
        if real.has_codes or not coded.discrete or len(coded.event_shape) > 1:
            raise ValueError(
                "`continuous` is the spec of a posterior of numbers, and `categorical` that of one of codes, one for "
                f"each unit. Received: continuous={self.continuous!r}, categorical={self.categorical!r}"
            )
        self.has_density = real.has_density
        self.adapts = any(part.adapts for part in self.parts)
        self.deterministic = all(part.deterministic for part in self.parts)

    @property
    def support(self) -> str:
        return joint_support(self.parts)

    @property
    def suiting(self) -> dict[str, Any]:
        return {"codes": self.parts[1].codes, "coded": self.count}

    @property
    def embedding_shape(self) -> tuple[int, ...]:
        return (sum(part.network_size for part in self.parts),)

    @classmethod
    def size_seen(cls, shape: tuple[int, ...], **arguments: Any) -> int | tuple[int, ...]:
        least = cls(1 + arguments.get("count", 1), **arguments)
        real, coded = least.parts
        size = least.count
        if len(shape) == 1 and shape[0] > coded.network_size:
            size += real.size_seen((shape[0] - coded.network_size,))
        if size == least.count:
            raise ValueError(
                f"The decoder sees {coded.network_size} numbers of the codes and at least one other, a vector. "
                f"Received: a decoder that takes {shape}"
            )
        return size

    def build(self, features_shape: tuple[int, ...]) -> None:
        for part in self.parts:
            part.build(features_shape)

    def distribution(
        self,
        features: Tensor,
        prior: tfd.Distribution | None = None,
        training: bool = False,
        sample_weight: Tensor | None = None,
    ) -> tfd.Distribution:
        """q(z|x).

        Args:
            features: (B, *F), the encoder's output.
            prior: p(z), a `distributions.Joint` too, for parts that are relative to it.
            training: whether what adapts to the features may.
            sample_weight: (B,), how much each example counts there; None: all alike.
        """
        made = []
        for index, part in enumerate(self.parts):
            weights = {"sample_weight": sample_weight} if part.adapts else {}
            own = prior.parts[index] if isinstance(prior, distributions.Joint) else None
            made.append(part.distribution(features, own, training, **weights))
        return distributions.Joint(made)

    def check_codes(self, z: np.ndarray) -> None:
        """Refuses latents, (N, D), whose last units are no codes that there are.

        Raises:
            ValueError: naming the least and the greatest.
        """
        coded, most = z[..., self.event_shape[0] - self.count :], self.parts[1].codes - 1
        if np.abs(coded - np.clip(np.round(coded), 0, most)).max(initial=0) > 1e-3:
            raise ValueError(
                f"Of these latents the last {self.count} must be codes, whole numbers from 0 to {most}. "
                f"Received: smallest {coded.min()}, largest {coded.max()}"
            )

    def point(self, distribution: tfd.Distribution) -> Tensor:
        """What stands for x in each part, (B, D)."""
        pairs = zip(self.parts, distribution.parts, strict=True)
        return distribution.joined([part.point(own) for part, own in pairs])

    def embed(self, z: Tensor, posterior: tfd.Distribution | None = None) -> Tensor:
        units = self.event_shape[0] - self.count
        # Codes of a user's may have been rounded.
        given = z[..., :units], ops.cast(ops.round(z[..., units:]), "int32")
        own = (None, None) if posterior is None else posterior.parts
        seen = [part.embed(*pair) for part, *pair in zip(self.parts, given, own, strict=True)]
        lead = ops.shape(z)[:-1]
        return ops.concatenate([ops.reshape(value, (*lead, -1)) for value in seen], axis=-1)

    def penalty(self, posterior: tfd.Distribution) -> Tensor | float:
        """The sum of both parts', (B,), (K, B) or 0; nats."""
        return sum(part.penalty(own) for part, own in zip(self.parts, posterior.parts, strict=True))
