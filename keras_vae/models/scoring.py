"""log p(x) of the data, by importance sampling."""

import functools
import math
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_vae import backend
from keras_vae.backend import Tensor, padded
from keras_vae.inference import joined
from keras_vae.models import shapes
from keras_vae.models.streams import over_streams
from keras_vae.names import check_whole, one_of
from keras_vae.training import checks

# Importance samples of one example that are drawn together, at most.
ROUND = 256
# Elements of images that are decoded together, which bounds the memory that a chunk takes.
ELEMENTS = 2**21


class Scoring:
    """Importance-weighted scores, by `infer`; mixed into `LatentVariableModel`."""

    @functools.partial(over_streams, targets=True)
    def log_prob(
        self,
        x: Any,
        samples: int = 100,
        y: Any = None,
        seed: int | None = None,
        keys: Any = None,
        chunk: int | None = None,
        verbose: int = 0,
        proposal: Literal["posterior", "prior"] = "posterior",
        errors: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """An importance-sampled estimate of log p(x), a lower bound in expectation that tightens with `samples`.

        By samples of the prior it is log mean_k p(x|z_k), which needs no posterior, but far more samples: few z of the
        prior explain an image.

        Args:
            x: (N, *X); where elements may be missing, it is log p of those that are there. Or a stream of batches, for
                each of which it is yielded: the numbers are those of one array.
            samples: K, importance samples for each image; of a posterior that is one point, one is drawn.
            y: (N, *label_shape), where the model is conditional; then it is log p(x|y). Targets, where the model scores
                them: then it is log p(y), by samples of q(z|x).
            seed: int; None: another one at each call. Equal calls give equal numbers.
            keys: (N,) ints; the noise of an image depends on `seed` and its key, and on no other image. None: 0, 1, ...
            chunk: how many z are decoded at a time, at least a round of 256 for one image, which bounds the memory;
                None: what is fast, fewer of larger images.
            verbose: 1 shows progress.
            proposal: what samples are drawn from, "posterior" or "prior".
            errors: whether to return standard errors, too.

        Returns:
            (N,), nats for each image; with `errors` a pair, (estimates, their standard errors by the samples). An error
            of 0.3 or more says that a handful of samples has nearly all weight, and the estimate may be far too low.

        Reference: Burda, Grosse and Salakhutdinov 2016, equation 8; Rezende, Mohamed and Wierstra 2014, appendix E.
        """
        one_of(proposal, ("posterior", "prior"), "proposal")
        check_whole(samples=samples)
        # Of samples that are alike one is enough.
        alike = self.deterministic and proposal == "posterior"
        samples = 1 if alike else int(samples)
        chunks = self._in_rounds(self._log_sums, x, y, samples, seed, keys, chunk, verbose, proposal=proposal)
        totals = [np.logaddexp.reduce(np.stack(rounds).astype("float64"))[:, :count] for count, rounds in chunks]
        totals = np.concatenate(totals, axis=1)
        log_prob = totals[0] - np.log(samples)
        return (log_prob, np.zeros(len(log_prob)) if alike else _errors(totals, samples)) if errors else log_prob

    def _in_rounds(self, function, x, y, samples, seed, keys, chunk, verbose, **sizes):
        """Importance samples of all images, in chunks, and for each chunk in rounds; arguments are those of `log_prob`.

        Args:
            function: (seeds, valid, x, y if there is one, samples=, **sizes) -> arrays (B, ...) of the first `valid`
                samples of a round.

        Yields:
            How many images; for each round what `function` returns, as numpy arrays, of so many images or more.
        """
        if chunk is None:
            chunk = min(backend.FAST_CHUNK, max(1, ELEMENTS // math.prod(self.target_shape)))
        check_whole(samples=samples, chunk=chunk)
        samples, chunk = int(samples), int(chunk)
        x = self._checked(x)
        y = checks.checked_y(self, y, len(x))
        keys = np.arange(len(x)) if keys is None else np.asarray(keys)
        if keys.shape != (len(x),):
            raise ValueError(f"`keys` must be one for each of {len(x)} images. Received: shape {keys.shape}")
        if keys.dtype.kind not in "iu" or keys.min() < 0 or keys.max() >= 2**31:
            raise ValueError(
                "`keys` are whole numbers from 0 to 2,147,483,647. Received: "
                f"dtype={keys.dtype}, keys such as {keys[:3].tolist()}"
            )
        rounds = -(-samples // ROUND)
        at_once = -(-samples // rounds)
        # A power of two that does not depend on how many images there are: sums of other sizes round otherwise, and the
        # scores of an array that is cut in pieces are those of the whole to the bit.
        images = 1 << max(1, min(16, chunk // (at_once * (self.classes or 1)))).bit_length() - 1
        seed = int(backend.seed_pair(seed)[0])
        progress = keras.utils.Progbar(-(-len(x) // images), verbose=verbose, unit_name="chunk")
        function = self._functions(function, samples=at_once, **sizes)
        for start in range(0, len(x), images):
            batch = [padded(a[start : start + images], images) for a in (x, y) if a is not None]
            parts = []
            for number in range(rounds):
                valid = np.int32(min(at_once, samples - number * at_once))
                seeds = backend.seed_pairs(seed, padded(keys[start : start + images], images), number)
                part = function(seeds, valid, *batch)
                parts.append(keras.tree.map_structure(ops.convert_to_numpy, part))
            yield min(images, len(x) - start), parts
            progress.add(1)

    def _log_sum_weights(self, seed, valid, x, y=None, *, samples):
        """The logarithm of the sum of the first `valid` of `samples` importance weights, (B,)."""
        return self._log_sums(seed, valid, x, y, samples=samples)[0]

    def _log_sums(self, seed, valid, x, y=None, *, samples, proposal="posterior"):
        """The logarithms of the sums of the first `valid` importance weights, and of their squares, (2, B)."""
        from_prior = {} if proposal == "posterior" else {"proposal": proposal}
        inference = self.infer(x, y, samples=samples, seed=seed, **from_prior)
        if inference.weights is not None:
            # Labels, the first group, are enumerated and not drawn. What a draw of p(z) needs no weight for is left out
            # and not taken away again: it may be a million times as large as what stays.
            by_prior = inference.log_likelihood - inference.latents[0].log_ratio if from_prior else None
            log_weight = inference.log_term if by_prior is None else inference.counted(by_prior)
            log_weight = log_weight + ops.log(ops.cast(samples, "float32"))
        else:
            log_weight = self._log_likelihood(inference)
            log_weight = log_weight if from_prior else log_weight - inference.log_ratio
        log_weight = first_of(log_weight, samples, valid)
        # Of labels that are enumerated along K, each sample has all.
        log_weight = ops.logsumexp(ops.reshape(log_weight, (samples, log_weight.shape[0] // samples, -1)), axis=1)
        return ops.stack([ops.logsumexp(power * log_weight, axis=0) for power in (1.0, 2.0)])

    def _log_likelihood(self, inference):
        """log p(x|z), (K, B), of as many samples at a time as is fast."""
        samples, batch = inference.latents[0].z.shape[:2]
        # A size that is not known when the pass is traced is that of an export.
        if not backend.FAST_BYTES or not isinstance(batch, int):
            return inference.log_likelihood
        size = 4 * batch * shapes.largest(self)
        if samples * size <= backend.FAST_BYTES:
            return inference.log_likelihood
        most = max(1, backend.FAST_BYTES // size)
        turns = next(turns for turns in range(-(-samples // most), samples + 1) if samples % turns == 0)
        z = joined(inference.latents)
        z = ops.reshape(z, (turns, samples // turns, *z.shape[1:]))
        scored = ops.map(lambda z: inference.decode(z).log_prob(inference.x), z)
        return ops.reshape(scored, (samples, batch))


def first_of(log_weight: Tensor, samples: int, valid: Tensor) -> Tensor:
    """The logarithms of weights, (K, B), minus infinity but for those of the first `valid` of some samples.

    Args:
        log_weight: (K, B), K a multiple of `samples` where each has all labels.
        samples: how many.
        valid: how many of them count.
    """
    count = log_weight.shape[0]
    return ops.where(ops.arange(count, dtype="int32")[:, None] < valid * (count // samples), log_weight, -np.inf)


def _errors(log_sums, samples):
    """Standard errors of logarithms of means of weights, (N,), of the logarithms of their sums and sums of squares."""
    share = np.exp(log_sums[1] - 2 * log_sums[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.maximum(samples * share - 1, 0) / np.float64(samples - 1))
