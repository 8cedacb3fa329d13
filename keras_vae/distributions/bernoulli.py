"""A Bernoulli distribution that is cheap to evaluate."""

from keras import ops

from keras_vae.backend import tfd


class Bernoulli(tfd.Bernoulli):
    """TFP's Bernoulli, with a log-mass of one softplus instead of two and no guard against infinite logits.

    A decoder's logits are finite, and evaluating them is most of what an importance-sampled likelihood of a dense net
    costs beside its matrix products.
    """

    def _log_prob(self, event):
        logits = self.logits_parameter()
        return ops.cast(event, logits.dtype) * logits - ops.softplus(logits)
