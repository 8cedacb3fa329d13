"""What compiled functions were made with, and whether it is still what is set."""

import numbers
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_vae.parts import UNREAD, Part
from keras_vae.schedules import Schedule

# What `compile`, `fit` and `predict` set themselves, and `save`, which asks networks whether XLA may compile them.
_OF_TRAINING = {*vars(keras.Model()), "optimizer", "stop_training", "history", "training_batches"}
_PLAIN = (numbers.Number, str, type(None), Schedule)
_BY_IDENTITY = (keras.Variable, keras.layers.Layer, np.ndarray)


class Settings:
    """What the compiled functions of a model may have read while they were traced: attributes, its own and its layers'.

    What they read when they run, variables and the numbers that objectives hold in variables, is none of it.

    Args:
        model: a `keras.Model`.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        # Set by the model where a layer of its own is replaced.
        self.version = 0
        self.note()

    def note(self) -> None:
        """Remembers what is set now."""
        layers = self._model._flatten_layers(include_self=False)
        self._parts = [layer for layer in layers if isinstance(layer, Part)]
        # Kept, so that no other ones can get their identities.
        self._variables = self._model.variables
        self._noted, self._count = self._read(layers), self._versions()

    def changed(self) -> bool:
        """Whether anything is set otherwise than when it was noted."""
        return not _same(self._read(self._model._flatten_layers(include_self=False)), self._noted)

    def part_changed(self) -> bool:
        """`changed`, but for the attributes of layers that are no parts; quick enough for each step."""
        count = self._versions()
        if count == self._count:
            return False
        self._count = count
        return self.changed()

    def same_variables(self) -> bool:
        """Whether the model has the variables that it had, those of them trainable that were."""
        return [id(v) for v in self._model.variables] == [id(v) for v in self._variables]

    def _read(self, layers):
        own = {n: v for n, v in vars(self._model).items() if n[0] != "_" and n not in _OF_TRAINING and _counts(v)}
        return own, *map(_settings, layers)

    def _versions(self):
        return self.version + sum(part.version for part in self._parts)


class Renewed:
    """Compiled functions that are made anew where what they were traced with is set otherwise; mixed into a model.

    Attributes:
        settings: the `Settings`; none before the model is set up.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        for former, layer in _replaced(vars(self).get(name), value) if "settings" in vars(self) else ():
            # Keras would go on counting its weights; in its place, weights keep their order.
            if self._tracker.is_in_store("layers", layer):
                self._tracker.untrack(former)
            else:
                self._tracker.replace_tracked_value("layers", former, layer)
            self.settings.version += 1
        super().__setattr__(name, value)

    def renew(self) -> None:
        """Makes all compiled functions anew if what they were traced with is no longer what is set.

        Raises:
            ValueError: for weights that were added or replaced while `fit` or `evaluate` is under way.
        """
        if not self.settings.changed():
            return
        if self._in_loop and not (self.settings.same_variables() and set(self.objective.names) <= set(self.trackers)):
            raise ValueError(
                "Weights were added, frozen or replaced, or the objective logs other terms, since `fit` or `evaluate` "
                "began: set such things between two calls, and call `compile` after new weights. (A schedule of "
                f"keras_vae.schedules changes beta within one.) Received: objective={self.objective.spec}"
            )
        self._take(self.objective)
        self.settings.note()
        self._functions.clear()
        for kind in ("train", "test", "predict"):
            if getattr(self, f"{kind}_function") is not None:
                getattr(self, f"make_{kind}_function")(force=True)

    def make_train_function(self, force: bool = False) -> None:
        """Keras' own, but that it heeds what is set later; so do the two that follow."""
        self._make("train", super().make_train_function, force)

    def make_test_function(self, force: bool = False) -> None:
        self._make("test", super().make_test_function, force)

    def make_predict_function(self, force: bool = False) -> None:
        self._make("predict", super().make_predict_function, force)

    def _make(self, kind, make, force):
        name = f"{kind}_function"
        if getattr(self, name) is None or force:
            make(force)
            setattr(self, name, Watched(self, getattr(self, name), name))

    def _has_own_optimizer(self):
        """Whether the optimizer, if there is one, was made for the weights that the model has now."""
        return not self.compiled or tuple(map(id, self.trainable_variables)) == self._compiled_weights

    def _check_compiled(self):
        if not self._has_own_optimizer():
            raise ValueError(
                "The optimizer was made for other weights than the model has now (a part or network was replaced, "
                "frozen, quantised or given LoRA weights): call `compile` again before `fit`. "
                f"Received: {len(self._compiled_weights)} trainable variables then, {len(self.trainable_variables)} now"
            )


class Watched:
    """A compiled step of a model, which is made anew where what it was traced with has changed.

    Args:
        model: a `LatentVariableModel`.
        step: the compiled step.
        name: of the model's attribute that holds it.
    """

    def __init__(self, model: keras.Model, step: Callable, name: str):
        self._model, self._step, self._name = model, step, name
        self._traced = False

    def __call__(self, *args: Any) -> Any:
        settings = self._model.settings
        if settings.part_changed():
            self._model.renew()
            return getattr(self._model, self._name)(*args)
        result = self._step(*args)
        if not self._traced:
            # Tracing may set attributes, too.
            settings.note()
            self._traced = True
        return result


class Renewal(keras.callbacks.Callback):
    """Heeds at the beginning of each epoch what callbacks before it have set."""

    def __init__(self, model: keras.Model):
        super().__init__()
        # Not `self.model`, which on JAX takes the state out of the running loop at each look.
        self._watched = model

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._watched.renew()


def _replaced(former, value):
    """The layers that others come in the place of, with those: single ones, or of tuples of as many."""
    pairs = zip(former, value, strict=True) if _are_tuples(former, value) else [(former, value)]
    return [pair for pair in pairs if pair[0] is not pair[1] and all(isinstance(v, keras.layers.Layer) for v in pair)]


def _are_tuples(former, value):
    return isinstance(former, tuple) and isinstance(value, tuple) and len(former) == len(value)


def _settings(layer):
    held = vars(layer._held) if isinstance(layer, Part) else ()
    unread = UNREAD | _OF_TRAINING if isinstance(layer, keras.Model) else UNREAD
    values = {
        name: type(value) if name in held else value
        for name, value in vars(layer).items()
        if name not in unread and _counts(value)
    }
    return layer, layer.trainable, layer.dtype_policy, values


def _counts(value):
    return isinstance(value, (*_PLAIN, *_BY_IDENTITY, tuple)) or callable(value)


def _same(a, b):
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return all(_same(_flag(a, name), _flag(b, name)) for name in a.keys() | b.keys())
    return isinstance(a, (*_PLAIN, keras.DTypePolicy)) and a == b


def _flag(values, name):
    # What is not there is as good as False: loading weights leaves such flags in layers.
    value = values.get(name)
    return None if value is False else value
