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

_ADVICE = 'register its function, @keras.saving.register_keras_serializable("my_project").'


@keras.saving.register_keras_serializable("keras_vae")
class FromFunction(Likelihood):
    """Any TFP distribution that a function makes from decoder features.

    Args:
        function: features (K, B, *F) -> distribution, batch (K, B), event (*X). To be saved it must be registered,
            `@keras.saving.register_keras_serializable("my_project")`.
        channels: numbers for each position that a linear layer makes of the decoder's output before `function` sees
            them (last axis); None: it sees the output itself.
        data: which data it may see, one of `keras_vae.training.values.KINDS`.
        image: distribution -> tensor (K, B, *X), what stands for it in pictures, `sample` and `reconstruct`, registered
            as `function` is; None: its mean.

    Raises:
        ValueError: when built, if what `function` makes is no such distribution, or has no mean and there is no
            `image`; when saved, if a function is not registered.

    Example: `FromFunction(lambda f: tfd.Independent(tfd.StudentT(5.0, f, 0.1), 3))`.
    """

    def __init__(
        self,
        function: Callable[[Tensor], tfd.Distribution],
        channels: int | None = None,
        data: str = "real",
        image: Callable[[tfd.Distribution], Tensor] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if not callable(function) or not (image is None or callable(image)):
            raise ValueError(
                "`function` must be a function of features, and `image` of a distribution. "
                f"Received: function={function!r}, image={image!r}"
            )
        self.function, self.channels, self._data, self._image = function, plain(channels), data, image
        for one in self._unregistered():
            warnings.warn(f"This likelihood trains but cannot be saved: {_ADVICE} Received: {one!r}", stacklevel=2)

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
        try:
            shown = tuple(self.image(trial).shape)
        except (NotImplementedError, AttributeError) as error:
            raise ValueError(
                "The distribution has no mean to be shown: give `image`, a function of it, such as "
                "`lambda d: d.distribution.quantile(0.5)`, its median. "
                f"Received: {type(trial).__name__}, {str(error).strip().splitlines()[0]}"
            ) from error
        if shown != (1, 1, *self.event_shape):
            raise ValueError(
                f"`image` must make (K, B, *X), here {(1, 1, *self.event_shape)}. Received: a tensor of shape {shown}"
            )

    def argument(self, name: str) -> Any:
        # The method of that name is what the function is for.
        return self._image if name == "image" else super().argument(name)

    def image(self, distribution: tfd.Distribution) -> Tensor:
        """What a picture of `distribution` shows: its mean, or what the constructor's `image` makes of it."""
        return super().image(distribution) if self._image is None else self._image(distribution)

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        features = ops.cast(features, "float32")
        return self.function(features if self.channels is None else ops.squeeze(self.head(features), axis=-1))

    def get_config(self) -> dict:
        for one in self._unregistered():
            raise ValueError(f"This likelihood cannot be saved: {_ADVICE} Received: {one!r}")
        given = {"function": self.function, "image": self._image}
        names = {key: keras.saving.get_registered_name(one) for key, one in given.items() if one is not None}
        return {**super().get_config(), **names}

    @classmethod
    def from_config(cls, config: dict) -> "FromFunction":
        config = dict(config)
        for key in ("function", "image"):
            name = config.get(key)
            if name is None:
                continue
            config[key] = keras.saving.get_registered_object(name)
            if config[key] is None:
                raise ValueError(
                    f"The likelihood's {key} is not registered in this process: import the module that registers it "
                    f"before loading. Received: {name!r}"
                )
        return super().from_config(config)

    def _unregistered(self):
        # Keras would save lambdas, unregistered functions and bound methods without a word, and not load them.
        for one in (self.function, self._image):
            if one is not None:
                name = keras.saving.get_registered_name(one)
                if keras.saving.get_registered_object(name) is not one:
                    yield one
