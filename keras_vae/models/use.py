"""What a trained model is used for: arrays in, arrays out."""

import math
from typing import Any

import numpy as np
from keras import ops

from keras_vae import backend
from keras_vae.backend import padded, power_of_two
from keras_vae.models.scale import LatentScale
from keras_vae.models.streams import over_streams
from keras_vae.names import check_number, check_whole
from keras_vae.samplers import Sampler
from keras_vae.training import checks, values

# Samples of the prior that have one seed.
BLOCK = 16
# Images that posteriors are drawn of at a time, with one seed.
CHUNK = 256


class Use:
    """Encoding, decoding and sampling, all by `run`; mixed into `LatentVariableModel`."""

    def _checked(self, x):
        return checks.checked_x(self, x)

    def _labels(self, y, count):
        return checks.checked_labels(y, count, self.label_shape, self.labels_optional, self.classes)

    @over_streams
    def encode(self, x: Any, y: Any = None, batch_size: int = 256, standardized: bool = False) -> np.ndarray:
        """The point that stands for each image, the posterior's mean as a rule, (N, *latent_shape).

        Args:
            x: (N, *X); or a stream of batches, for each of which it is yielded.
            y: (N, *label_shape), where the model is conditional.
            batch_size: how many are encoded at a time.
            standardized: whether latents have mean 0 and standard deviation 1 over the data, by `latent_scale`.
        """
        check_whole(batch_size=batch_size)
        scale = self._scale() if standardized else None
        x = self._checked(x)
        z = self._functions.map(self._encode, int(batch_size), x, self._labels(y, len(x)))
        return scale.standardized(z) if standardized else z

    def _draws(self, x, y, seed):
        """For parts of the images, a draw of q(z|x) for each, and what `encode` returns, each (n, *latent_shape)."""
        x = self._checked(x)
        y = self._labels(y, len(x))
        size = min(CHUNK, power_of_two(len(x)))
        drawn = self._functions(self._codes)
        for start in range(0, len(x), size):
            batch = [padded(a[start : start + size], size) for a in (x, y) if a is not None]
            codes = ops.convert_to_numpy(drawn(backend.seed_pair(seed, start // size), *batch))[: len(x) - start]
            yield codes[:, 0], codes[:, 1]

    def fit_latent_scale(self, x: Any, y: Any = None, seed: int | None = None) -> LatentScale:
        """Measures mean and standard deviation of latents over the data, of each unit, or channel of a latent map.

        They are those of draws z ~ q(z|x), one for each image; files and presets keep them. Do it again after training.

        Args:
            x: (N, *X), training images; some thousands will do.
            y: (N, *label_shape), where the model is conditional.
            seed: int; None: another one at each call.

        Returns:
            What `latent_scale` is from then on.

        Reference: Rombach, Blattmann, Lorenz, Esser and Ommer 2022, appendix G (rescaled latents).
        """
        if self.has_codes:
            raise ValueError(
                "Codes, which are whole numbers, have neither mean nor scale. "
                f"Received: a model with latents of type {self.latent_dtype}"
            )
        self.latent_scale = LatentScale.of(z for z, _ in self._draws(x, y, int(backend.seed_pair(seed)[0])))
        return self.latent_scale

    def _scale(self):
        if self.latent_scale is None:
            raise ValueError(
                "The scale of latents is not known yet: measure it on training images, vae.fit_latent_scale(x). "
                "Received: standardized=True"
            )
        return self.latent_scale

    @over_streams
    def decode(self, z: Any, y: Any = None, batch_size: int = 256, standardized: bool = False) -> np.ndarray:
        """The image of each latent, (N, *X), in the units of the likelihood's data.

        Args:
            z: (N, *latent_shape), as `encode` returns them; or a stream of batches, for each of which it is yielded.
            y: (N, *label_shape), where the model is conditional.
            batch_size: how many are decoded at a time.
            standardized: whether they are as `encode(..., standardized=True)` returns them.
        """
        check_whole(batch_size=batch_size)
        scale = self._scale() if standardized else None
        given = np.asarray(z)
        if given.shape[1:] != tuple(self.latent_shape) or len(given) == 0:
            expected = ", ".join(map(str, self.latent_shape))
            raise ValueError(f"Expected latents of shape (N, {expected}). Received: shape {given.shape}")
        z = self._checked_latents(given)
        z = scale.restored(z) if standardized else z
        return self._functions.map(self._decode, int(batch_size), z, self._labels(y, len(z)))

    @over_streams
    def reconstruct(self, x: Any, y: Any = None, batch_size: int = 256) -> np.ndarray:
        """Each image by way of the point that stands for it, (N, *X), in the units of the likelihood's data.

        Args:
            x: (N, *X); or a stream of batches, for each of which it is yielded.
            y: (N, *label_shape), where the model is conditional.
            batch_size: how many are made at a time.
        """
        check_whole(batch_size=batch_size)
        x = self._checked(x)
        return self._functions.map(self.call, int(batch_size), x, self._labels(y, len(x)))

    def interpolate(self, a: Any, b: Any, steps: int = 10, spherical: bool = False, y: Any = None) -> np.ndarray:
        """Images on the way from `a` to `b`, by way of their latents.

        Args:
            a, b: one image each, (*X), or as many of each, (N, *X).
            steps: images on the way, both ends (as reconstructions) included.
            spherical: along the great circle instead of the straight line.
            y: (*label_shape), or (N, *label_shape), the label of both ends, where the model is conditional.

        Returns:
            (steps, *X), or (N, steps, *X).

        Raises:
            ValueError: for images of different shapes, or a model whose latents are codes.

        Reference: White 2016, "Sampling generative networks", section 2.1 (spherical).
        """
        a, b = (values.as_array(end, self.missing) for end in (a, b))
        if a.shape != b.shape:
            raise ValueError(f"Expected as many images on both sides. Received: shapes {a.shape} and {b.shape}")
        check_whole(least=2, steps=steps)
        steps = int(steps)
        if self.has_codes:
            raise ValueError(
                "Between codes, which are whole numbers, there is no way: this model cannot interpolate. "
                f"Received: latents of type {self.latent_dtype}"
            )
        single = a.shape == self.image_shape
        if single:
            a, b, y = a[None], b[None], None if y is None else np.asarray(y)[None]
        ends = [self.encode(images, y) for images in (a, b)]
        path = _slerp if spherical else _lerp
        z = np.stack([path(*ends, t) for t in np.linspace(0.0, 1.0, steps, dtype="float32")], axis=1)
        labels = None if y is None else np.repeat(y, steps, axis=0)
        images = self.decode(np.reshape(z, (-1, *z.shape[2:])), labels)
        images = np.reshape(images, (len(z), steps, *images.shape[1:]))
        return images[0] if single else images

    def sample(
        self,
        n: int,
        y: Any = None,
        seed: int | None = None,
        temperature: float = 1.0,
        batch_size: int = 256,
        mean: bool = True,
        sampler: Sampler | None = None,
        given: dict[int, Any] | None = None,
    ) -> np.ndarray:
        """Samples: the mean of p(x|z), or a draw from it, for each of `n` draws of z from the prior, or a sampler.

        Args:
            n: how many.
            y: (n, *label_shape), where the model is conditional.
            seed: int; None: another one at each call. The first samples are the same whatever `n` and `batch_size`.
            temperature: factor on the prior's standard deviation.
            batch_size: how many are made at a time.
            mean: whether they are means (`likelihood.image`), as pictures show them; False: draws, such as counts, bits
                or levels, with all the noise that the likelihood has.
            sampler: of `keras_vae.samplers`, which draws z in the place of the prior, and has no temperature.
            given: {number of a group, from 0 at the top: z, (n, *D), or (*D) for all of them} of groups that are held,
                as `split` gives them; the others are drawn, given those above them.

        Returns:
            (n, *X), in the units of the likelihood's data.
        """
        check_whole(n=n, batch_size=batch_size)
        check_number(temperature=temperature)
        n, batch_size = int(n), int(batch_size)
        held = self._held(given, n)
        if sampler is not None:
            return self._sampled(sampler, n, y, int(backend.seed_pair(seed)[0]), temperature, batch_size, mean, held)
        y = self._labels(y, n)
        size = max(BLOCK, min(batch_size // BLOCK * BLOCK, power_of_two(n)))
        seed = int(backend.seed_pair(seed)[0])
        temperature = np.float32(temperature)
        draw = self._functions(self._sample, n=size, mean=bool(mean), held=tuple(held))
        arrays = [*held.values(), *([] if y is None else [y])]
        chunks = []
        for start in range(0, n, size):
            given = [padded(a[start : start + size], size) for a in arrays]
            seeds = backend.seed_pairs(seed, range(start // BLOCK, (start + size) // BLOCK))
            chunks.append(draw(temperature, seeds, *given))
        return np.concatenate([ops.convert_to_numpy(c) for c in chunks])[:n]

    def draw(self, n: int, **options: Any) -> np.ndarray:
        """Data drawn from p(x|z), for z drawn from the prior: bits, levels, whole numbers of counts, rows of a table.

        Args:
            n: how many.
            **options: y, seed, temperature, batch_size, given, as of `sample`.

        Returns:
            (n, *X), in the units of the likelihood's data.
        """
        return self.sample(n, mean=False, **options)

    def _checked_latents(self, z):
        """Latents in the type of the model's; refuses what is not finite, and codes that there are not."""
        with np.errstate(invalid="ignore", over="ignore"):
            cast = z.astype(self.latent_dtype)
        whole = self.latent_dtype != "float32"
        fits = np.isfinite(cast).all()
        if whole:
            fits = fits and np.array_equal(cast, z) and cast.min(initial=0) >= 0 and cast.max(initial=0) < self.codes
        if not fits:
            expected = f"codes, whole numbers from 0 to {self.codes - 1}" if whole else "finite"
            raise ValueError(f"Latents must be {expected}. Received: smallest {z.min()}, largest {z.max()}")
        return cast

    def _held(self, given, n):
        """{number of a group: z, (n, *D)}, checked, from the top."""
        held, groups = {}, self.group_shapes if given else ()
        for group, z in sorted((given or {}).items()):
            if group not in range(len(groups)):
                raise ValueError(
                    f"The groups of this model are 0 to {len(groups) - 1}, from the top. Received: given of {group!r}"
                )
            z = np.asarray(z)
            if z.shape not in (groups[group], (n, *groups[group])):
                raise ValueError(
                    f"Expected latents of shape {groups[group]} or {(n, *groups[group])} for group {group}. "
                    f"Received: shape {z.shape}"
                )
            z = self._checked_latents(z)
            held[int(group)] = np.broadcast_to(z, (n, *groups[group]))
        return held

    def split(self, z: Any) -> list[np.ndarray]:
        """The groups of latents, (N, *D) each, from the top, that `encode` returns as one.

        Args:
            z: (N, *latent_shape).
        """
        z, sizes = np.asarray(z), [math.prod(shape) for shape in self.group_shapes]
        if z.shape[1:] != tuple(self.latent_shape):
            raise ValueError(f"Expected latents of shape (N, *{self.latent_shape}). Received: shape {z.shape}")
        groups = np.split(np.reshape(z, (len(z), sum(sizes))), np.cumsum(sizes)[:-1], axis=1)
        return [np.reshape(g, (len(z), *shape)) for g, shape in zip(groups, self.group_shapes, strict=True)]

    def _sampled(self, sampler, n, y, seed, temperature, batch_size, mean, held):
        """`sample` with latents of a sampler."""
        if not isinstance(sampler, Sampler):
            raise ValueError(f"`sampler` must be one of `keras_vae.samplers`. Received: {sampler!r}")
        if temperature != 1 or not mean or held:
            raise ValueError(
                "A sampler draws all groups, knows no temperature, and makes means of p(x|z) only: leave out the other "
                f"arguments. Received: temperature={temperature!r}, mean={mean!r}, given of {list(held)}"
            )
        of_sampler = self.label_shape is None and sampler.label_shape is not None
        if y is not None:
            y = checks.checked_labels(y, n, sampler.label_shape) if of_sampler else self._labels(y, n)
        z, y = sampler.draw(self, n, y, seed)
        y = None if of_sampler else y
        return self.decode(z, y, batch_size=batch_size)

    def _sample(self, temperature, seed, *arrays, n, mean, held):
        given = dict(zip(held, arrays, strict=False))
        y = arrays[len(held)] if len(arrays) > len(held) else None
        features = self.generate(n, y=y, seed=seed, temperature=temperature, given=given)
        if mean:
            return self.likelihood.image(self.likelihood.distribution(features))
        # Block by block, as z is drawn, so that no draw depends on how many there are.
        blocks = ops.split(features, n // BLOCK)
        seeds = backend.folded(seed, 2**15)
        with backend.single_precision():
            draws = [self.likelihood.distribution(block).sample(seed=seeds[i]) for i, block in enumerate(blocks)]
        return ops.concatenate([ops.cast(draw, "float32") for draw in draws])


def _lerp(a, b, t):
    return (1.0 - t) * a + t * b


def _slerp(a, b, t):
    flat_a, flat_b = (np.reshape(v, (len(v), -1)) for v in (a, b))
    norms = np.linalg.norm(flat_a, axis=1) * np.linalg.norm(flat_b, axis=1)
    cosine = np.sum(flat_a * flat_b, axis=1) / np.maximum(norms, 1e-12)
    angle = np.reshape(np.arccos(np.clip(cosine, -1.0, 1.0)), (-1,) + (1,) * (a.ndim - 1))
    sine = np.sin(angle)
    # Along one ray the circle is the line.
    straight = sine < 1e-4
    sine = np.where(straight, 1.0, sine)
    curve = (np.sin((1.0 - t) * angle) * a + np.sin(t * angle) * b) / sine
    return np.where(straight, _lerp(a, b, t), curve).astype("float32")
