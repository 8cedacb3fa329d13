"""Models that are put together from networks and parts."""

import math
import warnings
import weakref
from typing import Any

import keras
import numpy as np

from keras_vae import backend, corruptions
from keras_vae.models import shapes
from keras_vae.models.base import LatentVariableModel
from keras_vae.models.scale import LatentScale
from keras_vae.names import one_of, plain
from keras_vae.parts import LatentPart, Part
from keras_vae.priors import Prior, fitting
from keras_vae.training import checks

# {part: a reference to its model}.
_OWNERS = weakref.WeakKeyDictionary()


class Composed(LatentVariableModel):
    """Base class: a model whose constructor takes pieces, networks and parts, which may be replaced later.

    A subclass says which `pieces` it has, and by `_fitted` how they go together. Each is an attribute.

    Attributes:
        pieces: names of the constructor's arguments that are networks, parts or tuples of them; the last two are
            "likelihood" and "objective".
        fixed: those of them that no others can replace.
    """

    pieces: tuple[str, ...]
    fixed: tuple[str, ...] = ()

    def _fitted(self, **given: Any) -> tuple:
        """The pieces in order, parts in the place of their specs, all of them built, if they fit each other."""
        raise NotImplementedError

    def _put_together(self, seed, **given):
        """Takes the pieces; the last thing in a subclass's constructor."""
        fitted = dict(zip(self.pieces, self._fitted(**given), strict=True))
        for name in self.pieces[:-2]:
            setattr(self, name, fitted[name])
        self._set_up(self.image_shape, fitted["likelihood"], fitted["objective"], seed)
        for piece in fitted.values():
            self._own(piece)

    def _take_data(self, missing, corruption, target, target_shape):
        """Takes what of the data is encoded and scored; before `_put_together`."""
        self.missing = bool(missing)
        self.target = None if target is None else one_of(target, ("y",), "target")
        if target_shape is not None and target is None:
            raise ValueError(f"Only a model with target='y' has targets. Received: target_shape={target_shape!r}")
        self._target_shape = None if target_shape is None else plain(tuple(target_shape))
        self.corruption = corruption

    def _check_data(self, corruption, likelihood, objective, features=None):
        """Refuses what does not go with the data that the model takes; `features` is as of `check_missing`."""
        kinds = {column["kind"] for column in likelihood.columns} if likelihood.data == "table" else set()
        corruptions.check(corruption, self.image_shape, likelihood.data, self.missing, kinds)
        if self.missing and features is not None:
            shapes.check_missing(likelihood, objective, features)

    def _data_shown(self):
        """What `_take_data` took, in words."""
        shown = ", NaN is missing" if self.missing else ""
        corruption = getattr(self.corruption, "spec", getattr(self.corruption, "name", None))
        shown += "" if corruption is None else f", corrupted by {corruption}"
        return shown + ("" if self.target is None else f", targets {self.target_shape}")

    def _own(self, piece):
        if isinstance(piece, (tuple, list)):
            for part in piece:
                self._own(part)
        if not isinstance(piece, Part):
            return
        owner = _OWNERS.get(piece, lambda: None)()
        if owner not in (None, self) and piece.weights:
            warnings.warn(
                f"This {piece.role} is a part of another model, too, and shares its weights with it: training one "
                "model changes the other. Make a new part for each, or name it by a spec, unless that is what you "
                f"want. Received: {piece!r}, of {owner.name!r} and {self.name!r}",
                stacklevel=4,
            )
        _OWNERS[piece] = weakref.ref(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.pieces and "settings" in vars(self):
            value = self._replacing(name, value)
        if name in ("missing", "target") and "settings" in vars(self):
            raise ValueError(f"What a model takes for data is decided when it is made. Received: {name}={value!r}")
        if name == "corruption":
            value = corruptions.get(value)
            if "settings" in vars(self):
                self._check_data(value, self.likelihood, self.objective)
        super().__setattr__(name, value)

    def _replacing(self, name, value):
        """`value` as the model takes it for its piece `name`."""
        if name in self.fixed:
            raise ValueError(
                f"The {name} of this model goes with its other networks and parts: make a new model. "
                f"Received: {name}={value!r}"
            )
        return self._taken(name, value)

    def _taken(self, name, value):
        given = {piece: getattr(self, piece) for piece in self.pieces} | {name: value}
        with backend.scope_of(self):
            value = dict(zip(self.pieces, self._fitted(**given), strict=True))[name]
        self._own(value)
        return value

    # The group of latents that no other one is above.

    def _top(self):
        """Its posterior and its prior."""
        raise NotImplementedError

    def _set_top(self, prior):
        """Takes another prior of its."""
        self.prior = prior

    @property
    def top_prior(self) -> Prior:
        """The prior that `fit_prior` replaces: the model's, or that of the top of several groups of latents."""
        return self._top()[1]

    def fit_prior(
        self,
        x: Any,
        prior: Prior | str = "mixture:components=10",
        y: Any = None,
        seed: int | None = None,
        verbose: int = 0,
        **training: int | float,
    ) -> Prior:
        """Fits a prior to draws z ~ q(z|x), all else staying as it is, and makes it the model's.

        It is a prior like any other: samples, ELBO, log p(x), files, presets and exports have it from then on. Where
        training has left the posteriors, over all images, off the prior, all of these get better. `latent_scale` is
        that of the same draws. Of several groups of latents it is the prior of the top, which no other group makes.

        Args:
            x: (N, *X), training images.
            prior: "mixture:components=10" or "normal", over the active units, the others staying N(0, 1); or a prior,
                or the spec of one, that has weights, which are then trained: of codes, "autoregressive_codes".
            y: (N, *label_shape), where the model is conditional; the prior is the same for all labels. Where it is not,
                and the prior is one of classes, "m2": whole numbers, (N,), -1 where they are not known.
            seed: int; None: another one at each call.
            verbose: 1 shows the epochs of a prior whose weights are trained.
            **training: epochs, batch_size and learning_rate of such a prior.

        Returns:
            The prior. A tenth of the draws, at most 1,000, is left out of the fit. Where the former prior is denser at
            these, there is a warning.

        Raises:
            ValueError: for latents on a sphere or a model without active units; for a prior that is no density of such
                latents; for too few images; where the model has a prior of labels, p(z|y), which the fitted one would
                not be, or a posterior relative to its prior; for a fit that diverges. The model keeps its prior.

        Reference: Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4; Dai and Wipf 2019.
        """
        posterior, former = self._top()
        shape = posterior.event_shape
        if former.label_shape is not None:
            raise ValueError(
                "A fitted prior takes no labels, and cannot stand for the p(z|y) of this model: take "
                f"prior='standard_normal' first if that is what you want. Received: {former!r}"
            )
        if not self.codes and posterior.support not in (None, LatentPart.support):
            raise ValueError(
                f"These latents lie on {posterior.support}, and a density over all of space has no meaning there: "
                f"keep the prior. Received: posterior={posterior.spec!r}"
            )
        if posterior.relative:
            raise ValueError(
                "The posterior of this model is relative to its prior, and would be another one with a fitted prior: "
                f"take posterior='diagonal_normal'. Received: posterior={posterior.spec!r}"
            )
        x, labels = self._checked(x), None
        support = posterior.support or LatentPart.support
        with backend.scope_of(self):
            prior = fitting.chosen(prior, shape[0] if len(shape) == 1 else shape, support, self.codes)
        if isinstance(prior, Prior):
            shapes.check_latents(posterior, prior)
        if self.label_shape is None and getattr(prior, "classes", None) is not None:
            y, labels = None, checks.checked_labels(y, len(x), (), True, prior.classes)
        seed = int(backend.seed_pair(seed)[0])
        tops = []

        def drawn():
            for pair in self._draws(x, y, seed):
                # Latents are one after the other from the top, and those below it may be a hundred times as many.
                tops.append([np.array(np.reshape(each, (len(each), -1))[:, : math.prod(shape)]) for each in pair])
                yield pair[0]

        scale = LatentScale.of(drawn())
        z, points = (np.reshape(np.concatenate(parts), (-1, *shape)) for parts in zip(*tops, strict=True))
        encode = self._encode_pseudo_inputs
        codes = fitting.Codes(z, points, self.image_shape, encode, seed, support, self.codes, labels)
        codes, held = codes.split()
        before = fitting.log_probs(former, held)
        # The model's own prior may be the one that is trained on.
        kept = [(v, np.array(v)) for v in former.variables] if prior is former else []
        try:
            with backend.scope_of(self):
                fitted = fitting.fit(prior, codes, verbose, **training)
            fitting.check_fit(fitted, former, before, held)
        except BaseException:
            for variable, value in kept:
                variable.assign(value)
            raise
        self._set_top(fitted)
        if not self.codes:
            self.latent_scale = scale
        return fitted

    def get_config(self) -> dict:
        data = {"missing": self.missing or None, "target": self.target, "target_shape": self._target_shape}
        data["corruption"] = self.corruption and keras.saving.serialize_keras_object(self.corruption)
        return {
            # Those alone that are not as in a plain model.
            **{name: value for name, value in data.items() if value is not None},
            **{piece: keras.saving.serialize_keras_object(getattr(self, piece)) for piece in self.pieces},
            "seed": self.seed,
            "image_shape": self.image_shape,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Composed":
        def restored(value):
            if not isinstance(value, (dict, list, tuple)):
                return value
            return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)

        return cls(**{key: restored(value) for key, value in config.items()})
