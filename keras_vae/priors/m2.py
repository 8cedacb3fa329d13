"""A second model on the latents, whose examples have classes, as the prior."""

from typing import Any, Literal

from keras import ops

from keras_vae.distributions import ClassMarginal
from keras_vae.names import check_number, check_whole, plain
from keras_vae.parts import register
from keras_vae.priors.two_stage import TwoStage, exp, network, normal


@register()
class M2(TwoStage):
    """A second model on the latents, of a class c and a style u: with it a model is M1+M2.

    p(z, c, u) = p(c) N(u; 0, I) p(z|c, u), p(c) being uniform, p(z|c, u) = N(m(c, u), s^2), q(c|z) a classifier and
    q(u|z, c) a diagonal Normal. Few labels are enough to learn it from, given to `vae.fit_prior(x, "m2", y)`, whole
    numbers, which are -1 where they are not known; without any, the classes are clusters. `vae.classify(x)` then gives
    E_q(z|x)[q(c|z)].

    log p(z) is an estimate, the log of a sum over all classes, of each by `samples` draws of u, as of `TwoStage`. In
    training it is the bound of a draw for each class, -U(z); in `fit_prior`, -L(z, c) where the class is known. Labels
    that a conditional model has are none of these classes.

    Args:
        size: D, number of latent units, or the shape (h, w, c) of a spatial latent, whose units it takes as one vector.
        classes: C.
        widths: of the hidden layers of encoder, decoder and classifier.
        latent_size: E, units of u; None: D.
        scale: s, "per_unit", one for each unit, or "learned", one for all, which units that hold but noise make large.
        samples: S, how many draws of u for each class the density of one z takes, each a pass through the decoder.
        alpha: weight of the mean of -log q(c|z) over known classes, beside the mean of the bound over all latents; the
            paper's is 0.1 N, beside a sum over N examples.

    Reference: Kingma, Rezende, Mohamed and Welling 2014, arXiv:1406.5298, sections 2.3 and 3.

    Example: `vae.fit_prior(images, "m2:classes=10", y=labels, learning_rate=2e-3)`.
    """

    def __init__(
        self,
        size: int | tuple[int, ...],
        classes: int = 10,
        widths: tuple[int, ...] = (500,),
        latent_size: int | None = None,
        scale: Literal["learned", "per_unit"] = "per_unit",
        samples: int = 8,
        alpha: float = 0.1,
        **kwargs: Any,
    ):
        super().__init__(size, widths, latent_size, scale, samples, **kwargs)
        check_whole(classes=classes)
        check_number(alpha=alpha)
        self.classes, self.alpha = plain(classes), float(alpha)

    def _make_networks(self, units):
        self.encoder = network(units + self.classes, self.widths, 2 * self.second_size, "encoder")
        self.decoder = network(self.second_size + self.classes, self.widths, units, "decoder")
        self.classifier = network(units, self.widths, self.classes, "classifier")

    def _density(self, temperature, **noise):
        def q(z, c):
            loc, raw = ops.split(self.encoder(ops.concatenate([z, c], axis=-1)), 2, axis=-1)
            return normal(loc, exp(raw))

        def p(u, c):
            c = ops.broadcast_to(c, (*ops.shape(u)[:-1], self.classes))
            return self._of_second(ops.concatenate([u, c], axis=-1), temperature)

        return ClassMarginal(self._style(temperature), q, p, self.classifier, self.classes, self.event_shape, **noise)
