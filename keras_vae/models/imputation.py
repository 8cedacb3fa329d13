"""What is missing of an example, given what is there."""

from typing import Any

import numpy as np
from keras import ops

from keras_vae import backend, distributions
from keras_vae.backend import tfd
from keras_vae.models.scoring import first_of
from keras_vae.models.streams import over_streams
from keras_vae.names import check_whole


class Imputation:
    """Filling in by importance sampling, in the rounds of `Use`; mixed into `LatentVariableModel`."""

    @over_streams
    def impute(
        self,
        x: Any,
        samples: int = 100,
        y: Any = None,
        draws: int | None = None,
        seed: int | None = None,
        keys: Any = None,
        chunk: int | None = None,
        verbose: int = 0,
    ) -> np.ndarray:
        """`x` with what is missing filled in: its mean given what is there, or draws of it, by importance sampling.

        The mean is that of p(x|z), for samples of z ~ q(z|x) that count by their importance weights,
        p(x there|z) p(z) / q(z|x); of a table's categories, which have no mean, it is the most probable one. A draw, of
        a multiple imputation, is one of p(x|z) for a sample of z drawn by its weight. Both are exact for ever more
        `samples`.

        Args:
            x: (N, *X), NaN where an element is missing; a model made with `missing=True` takes it. Or a stream of
                batches, for each of which it is yielded.
            samples: K, importance samples from q(z|x) for each image.
            y: (N, *label_shape), where the model is conditional.
            draws: M, draws for each image; None: the mean.
            seed, keys, chunk, verbose: as of `log_prob`.

        Returns:
            (N, *X), or (M, N, *X), in the units of the likelihood's data; elements that are there are those of `x`.

        Raises:
            ValueError: for a model that takes nothing missing, or scores targets.

        Reference: Mattei and Frellsen 2019, "MIWAE", arXiv:1812.02633 (self-normalised importance sampling; draws by
        sampling importance resampling).
        """
        if not self.missing or self.target is not None:
            raise ValueError(
                "Only a model of x in which elements may be missing fills them in: make it with missing=True, and no "
                f"target. Received: missing={self.missing}, target={self.target!r}"
            )
        function, joined, sizes = self._imputed_mean, _weighted, {}
        if draws is not None:
            check_whole(draws=draws)
            function, joined, sizes = self._imputed_draws, _best, {"draws": int(draws)}
        x = np.asarray(self._checked(x), dtype="float32")
        chunks = self._in_rounds(function, x, y, samples, seed, keys, chunk, verbose, **sizes)
        filled = np.concatenate([joined(*map(np.stack, zip(*rounds, strict=True)))[:count] for count, rounds in chunks])
        filled = self.likelihood.settled(filled) if draws is None else np.swapaxes(filled, 0, 1)
        return np.where(np.isnan(x), filled, x).astype("float32")

    def _weighted_inference(self, seed, valid, x, y, samples):
        """A pass, and the logarithm of the weight of each sample, (K, B): minus infinity from the first `valid` on."""
        inference = self.infer(x, y, samples=samples, seed=seed)
        log_weight = inference.log_weight if inference.weights is None else inference.log_term
        return inference, first_of(log_weight, samples, valid)

    def _imputed_mean(self, seed, valid, x, y=None, *, samples):
        """The logarithm of the sum of the weights, (B,), and by these weights the mean of what stands for p(x|z)."""
        inference, log_weight = self._weighted_inference(seed, valid, x, y, samples)
        total = ops.logsumexp(log_weight, axis=0)
        means = self.likelihood.averaged(distributions.whole(inference.likelihood))
        share = ops.exp(log_weight - total)
        return total, ops.sum(ops.reshape(share, (*ops.shape(share), *[1] * len(self.image_shape))) * means, axis=0)

    def _imputed_draws(self, seed, valid, x, y=None, *, samples, draws):
        """Scores of draws, (B, M), of which the best of several rounds is one by its weight; the draws, (B, M, *X)."""
        inference, log_weight = self._weighted_inference(seed, valid, x, y, samples)
        chance, noise = (backend.folded(seed, 2**13 + number) for number in (0, 1))
        scores, drawn = [], []
        with backend.single_precision():
            for index in range(x.shape[0]):
                # The greatest of weights times Gumbel noise is one that is drawn by its weight.
                gumbel = tfd.Gumbel(0.0, 1.0).sample((draws, log_weight.shape[0]), seed=chance[index])
                score = log_weight[:, index] + gumbel
                features = ops.take(inference.features[:, index], ops.argmax(score, axis=1), axis=0)
                sample = self.likelihood.distribution(features[:, None]).sample(seed=noise[index])
                scores.append(ops.max(score, axis=1))
                drawn.append(ops.cast(sample[:, 0], "float32"))
        return ops.stack(scores), ops.stack(drawn)


def _weighted(totals, means):
    """The mean over rounds, (R, B, *X) -> (B, *X), by the logarithms of their weights, (R, B)."""
    shares = np.exp(totals - np.logaddexp.reduce(totals.astype("float64"), axis=0))
    return np.sum(np.reshape(shares, (*shares.shape, *[1] * (means.ndim - 2))) * means, axis=0)


def _best(scores, drawn):
    """The draws of the rounds, (R, B, M, *X) -> (B, M, *X), that have the best scores, (R, B, M)."""
    chosen = np.argmax(scores, axis=0)[None]
    return np.take_along_axis(drawn, np.reshape(chosen, (*chosen.shape, *[1] * (drawn.ndim - 3))), axis=0)[0]
