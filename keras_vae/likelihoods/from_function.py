"""A likelihood of a user's own function."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_vae.backend import Tensor, tfd
from keras_vae.likelihoods.base import Likelihood
from keras_vae.names import plain
from keras_vae.parts import Head


@keras.saving.register_keras_serializable("keras_vae")
class FromFunction(Likelihood):
    """Any TFP distribution that a function makes from decoder features.

    Args:
        function: features (K, B, *F) -> distribution, batch (K, B), event (*X). To be saved it must be registered,
            `@keras.saving.register_keras_serializable("my_project")`.
        channels: numbers for each position that a linear layer makes of the decoder's output before `function` sees
            them (last axis); None: it sees the output itself.
        data: which data it may see, one of `keras_vae.training.checks.KINDS`.

    Raises:
        ValueError: when built, if what `function` makes is no such distribution; when saved, if it is not registered.

    Example: `FromFunction(lambda f: tfd.Independent(tfd.StudentT(5.0, f, 0.1), 3))`.
    """

    def __init__(
        self,
        function: Callable[[Tensor], tfd.Distribution],
        channels: int | None = None,
        data: str = "real",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function):
            raise ValueError(f"`function` must be a function of features. Received: {function!r}")
        self.function, self.channels, self._data = function, plain(channels), data
        if not self._registered():
            warnings.warn(
                f"This likelihood trains but cannot be saved: {self._advice()} Received: {function!r}", stacklevel=2
            )

    @property
    def data(self) -> str:
        """What the constructor was given."""
        return self._data

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        self.event_shape = tuple(event_shape)
        if self.channels is not None:
            self.head = Head((*self.event_shape[:-1], self.channels), name="head")
            self.head.build(features_shape)
        trial = self.distribution(ops.zeros((1, 1, *features_shape)))
        if not isinstance(trial, tfd.Distribution):
            raise ValueError(f"`function` must return a TFP distribution. Received: {trial!r}")
        if (tuple(trial.batch_shape), tuple(trial.event_shape)) != ((1, 1), self.event_shape):
            raise ValueError(
                f"From features of shape (1, 1, ...), `function` must make a distribution of batch shape (1, 1) and "
                f"event shape {self.event_shape}; wrap it in tfd.Independent, with the number of axes of an example. "
                f"Received: batch shape {tuple(trial.batch_shape)}, event shape {tuple(trial.event_shape)}"
            )

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        features = ops.cast(features, "float32")
        return self.function(features if self.channels is None else self.head(features)[..., 0])

    def get_config(self) -> dict:
        if not self._registered():
            raise ValueError(f"This likelihood cannot be saved: {self._advice()} Received: {self.function!r}")
        name = keras.saving.get_registered_name(self.function)
        return {**super().get_config(), "function": name, "channels": self.channels, "data": self._data}

    @classmethod
    def from_config(cls, config: dict) -> "FromFunction":
        function = keras.saving.get_registered_object(config["function"])
        if function is None:
            raise ValueError(
                "The likelihood's function is not registered in this process: import the module that registers it "
                f"before loading. Received: {config['function']!r}"
            )
        return cls(**config | {"function": function})

    def _registered(self):
        # Keras would save lambdas, unregistered functions and bound methods without a word, and not load them.
        name = keras.saving.get_registered_name(self.function)
        return keras.saving.get_registered_object(name) is self.function

    def _advice(self):
        return 'register its function, @keras.saving.register_keras_serializable("my_project").'
