"""Models that are put together from networks and parts."""

import warnings
import weakref
from typing import Any

import keras

from keras_vae import corruptions
from keras_vae.models import shapes
from keras_vae.models.base import LatentVariableModel
from keras_vae.names import one_of, plain
from keras_vae.parts import Part

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
        corruptions.check(corruption, self.image_shape, likelihood.data, self.missing)
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
        given = {piece: getattr(self, piece) for piece in self.pieces} | {name: value}
        value = dict(zip(self.pieces, self._fitted(**given), strict=True))[name]
        self._own(value)
        return value

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
