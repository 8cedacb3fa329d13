"""Numbers and codes side by side."""

from collections.abc import Callable
from typing import Any

from keras_vae import distributions, parts
from keras_vae.backend import Tensor, tfd
from keras_vae.names import Spec, plain
from keras_vae.parts import joint_support, joint_units, register
from keras_vae.priors.base import Prior


@register("joint")
class JointPrior(Prior):
    """Units that are numbers, and after them units that are codes, independent of each other (JointVAE).

    Args:
        size: D, units of both parts.
        codes: how many different codes there are; in a spec, as the posterior has them unless it says otherwise.
        coded: how many units, the last ones, are codes; in a spec, as the posterior has them, too.
        of_numbers: spec of the prior of the numbers.
        of_codes: spec of the prior of the codes.

    Reference: Dupont 2018 (arXiv 1804.00104), section 3.

    Example: `joint:of_numbers=mixture(components=5)`.
    """

    def __init__(
        self,
        size: int,
        codes: int,
        coded: int = 1,
        of_numbers: str = "standard_normal",
        of_codes: str = "uniform_codes",
        **kwargs: Any,
    ):
        super().__init__(size, **kwargs)
        self.of_numbers, self.of_codes = (str(Spec.parse(str(spec))) for spec in (of_numbers, of_codes))
        self.coded, (units, _) = joint_units(self, coded)
        real = parts.get(Prior, self.of_numbers, units, name="numbers")
        coded = parts.get(Prior, self.of_codes, self.coded, codes=codes, name="codes")
        self.codes, self.parts = plain(codes), [real, coded]
        if real.uses_encoder or coded.uses_encoder:
            raise ValueError(
                "A prior that is made of the encoder needs all of its posterior: take another one for the numbers. "
                f"Received: of_numbers={self.of_numbers!r}, of_codes={self.of_codes!r}"
            )
        shapes = {part.label_shape for part in self.parts} - {None}
        if len(shapes) > 1:
            raise ValueError(f"Both parts must take labels of one shape. Received: {sorted(shapes)}")
        self.label_shape = shapes.pop() if shapes else None

    @property
    def support(self) -> str:
        return joint_support(self.parts)

    def build(self, input_shape: tuple[int, ...]) -> None:
        for part in self.parts:
            part.build(input_shape)

    def distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        return distributions.Joint([part.distribution(y, temperature) for part in self.parts])

    def training_distribution(
        self,
        y: Tensor | None = None,
        temperature: float | Tensor = 1.0,
        encode: Callable[[Tensor], tfd.Distribution] | None = None,
    ) -> tfd.Distribution:
        return distributions.Joint([part.training_distribution(y, temperature) for part in self.parts])
