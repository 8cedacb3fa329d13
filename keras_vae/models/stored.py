"""Models as files: copies, presets, exports."""

import math
from pathlib import Path
from typing import Any, Self

import h5py
import keras
import numpy as np

from keras_vae import export, files, presets
from keras_vae.models.scale import LatentScale
from keras_vae.parts import policy_scope
from keras_vae.training.processes import on_its_own

# Bytes that HDF5 takes for an array and its group, beside its numbers.
_ROOM = 2048


class Stored:
    """What is written of a model, and made of what was written; mixed into `LatentVariableModel`."""

    def in_float32(self) -> Self:
        """The model itself if it computes in float32; otherwise a copy that does, with the same weights, not compiled.

        The weights of mixed precision are in float32. A copy runs where bfloat16 is slow, and gives the same numbers on
        every machine.
        """
        if all(layer.compute_dtype == "float32" for layer in self._flatten_layers()):
            return self
        return self.bare(_in_float32(self.get_config()))

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Self:
        """Keras' own; layers that the model makes for itself get the policy of the model, where its config has it."""
        if "dtype" not in config:
            return super().from_config(config, custom_objects)
        policy = keras.dtype_policies.get(config["dtype"])
        with policy_scope(policy):
            return super().from_config(config | {"dtype": policy}, custom_objects)

    def _lost_policies(self):
        """The policies of layers that compute in half precision, and will not when the model is loaded."""
        policies = {
            v.dtype_policy.name for v in self._flatten_layers(include_self=False) if v.compute_dtype != "float32"
        }
        if not policies:
            return policies
        try:
            config = repr(keras.saving.serialize_keras_object(self))
        except (NotImplementedError, TypeError):
            # Of no config, and of one with objects that have none: it is a model that is not to be saved.
            return set()
        return {policy for policy in policies if repr(policy) not in config}

    def bare(self, config: dict | None = None) -> Self:
        """A copy of what was learnt, without an optimizer: the same weights and latent scale, not compiled.

        Args:
            config: of the copy; None: that of the model.
        """
        copy = type(self).from_config(self.get_config() if config is None else config)
        here = {variable.path: variable for variable in self.weights}
        there = {variable.path: variable for variable in copy.weights}
        if len(here) == len(self.weights) and here.keys() == there.keys():
            # What is quantised has its weights in another order when it is made anew.
            for path, variable in there.items():
                variable.assign(here[path])
        else:
            copy.set_weights(self.get_weights())
        copy.latent_scale = self.latent_scale
        return copy

    def export(self, filepath: str | Path, format: str = "tf_saved_model", **kwargs: Any) -> None:
        """Writes the model to a directory, for serving where keras_vae is not installed; see `keras_vae.export`.

        Args:
            filepath: the directory.
            format: "tf_saved_model", with all endpoints; or "onnx", a file for each of encode, decode and serve.
        """
        if format not in export.FORMATS or kwargs:
            raise ValueError(
                f"`format` is {' or '.join(map(repr, export.FORMATS))}, and there are no other options. "
                f"Received: format={format!r}, {kwargs}"
            )
        export.FORMATS[format](self, filepath)

    def save_to_preset(self, directory: str | Path, **described: Any) -> None:
        """Writes the model to a directory that `from_preset` loads, for others to use.

        Args:
            directory: where; it is made if need be.
            **described: what else it holds, see `keras_vae.presets.save`: about, data, recipe, results, history.

        Raises:
            PresetError: for the directory of a run, and one that cannot be written.
        """
        presets.check_no_run(directory)
        on_its_own(presets.save, self, directory, **described)

    def push_to_hub(self, repo: str, **options: Any) -> str:
        """Uploads the model as a preset to the Hugging Face Hub, where `from_preset("hf://user/repo")` finds it.

        Args:
            repo: "user/repo"; it is made if need be.
            **options: private, token, commit_message, and what `save_to_preset` takes; see `keras_vae.presets.push`.

        Returns:
            The URL of the commit.

        Raises:
            PresetError: if the preset cannot be uploaded.
            ImportError: if huggingface_hub is not installed.
        """
        return presets.push(self, repo, **options)

    @classmethod
    def from_preset(cls, name: str | Path) -> Self:
        """The model of a preset, its weights verified, not compiled.

        Args:
            name: "mnist_mlp", an entry of the zoo; a directory; or "hf://user/repo", "hf://user/repo@revision".

        Raises:
            PresetError: if there is none of this name, or for a file that is missing, damaged, or of a newer format.
            ValueError: if it is a model of another class.

        Example: `kv.VAE.from_preset("mnist_mlp").sample(16)`.
        """
        model = presets.load(name)
        if not isinstance(model, cls):
            raise ValueError(
                f"The preset is no {cls.__name__}: load it by {type(model).__name__}.from_preset. Received: {name}"
            )
        return model

    # State

    def save(self, filepath: str | Path, *args: Any, **options: Any) -> None:
        """Keras' own; one of several processes may call it alone, and so the one that follows.

        Raises:
            ValueError: for a file of the former format, .h5, which holds no parts.
        """
        if str(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(f"Models are saved as .keras files, their weights as .weights.h5. Received: {filepath}")
        on_its_own(super().save, filepath, *args, **options)

    def save_weights(self, filepath: str | Path, *args: Any, **options: Any) -> None:
        """Keras' own.

        Raises:
            OSError: if the disk has no room for the file.
        """
        written = [*self.variables, *getattr(getattr(self, "optimizer", None), "variables", ())]
        files.check_room(Path(filepath), sum(_ROOM + 4 * math.prod(v.shape) for v in written))
        on_its_own(super().save_weights, filepath, *args, **options)

    def load_weights(self, filepath: str | Path, skip_mismatch: bool = False, **options: Any) -> None:
        """Keras' own; where processes train one model together, all call it.

        Raises:
            ValueError: for a file that has weights of another prior, say, for which the model has no place.
        """
        if not skip_mismatch and str(filepath).endswith(".weights.h5") and Path(filepath).is_file():
            self._check_places(filepath)
        on_its_own(super().load_weights, filepath, skip_mismatch=skip_mismatch, **options)

    def _check_places(self, filepath):
        # Keras reads what it finds of each layer, and says nothing of what is left.
        found = []
        with h5py.File(filepath) as file:
            file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        held = [name for name in found if not name.startswith(("vars/", "optimizer/"))]
        own = len(self._trainable_variables) + len(self._non_trainable_variables)
        if len(held) > len(self.weights) - own:
            raise ValueError(
                f"{filepath} has weights for which this model has no place: make the model of the parts that it was "
                "saved with (fit_prior puts another prior into it), or take what fits by kv.take_weights. "
                f"Received: {len(held)} arrays, of {', '.join(sorted(_layers_of(held)))}"
            )

    def _seed_states(self):
        others = {id(v) for v in (*self.weights, *self.objective.held)}
        return [v for v in self.non_trainable_variables if id(v) not in others]

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        # Keras saves no seed's state, and a resumed run would draw its noise again from the beginning.
        for index, variable in enumerate(self._seed_states()):
            store[f"seed_{index}"] = variable
        if self.latent_scale is not None:
            for name, value in vars(self.latent_scale).items():
                store[f"latent_{name}"] = value

    def load_own_variables(self, store: Any) -> None:
        seeds = {key: store[key] for key in store.keys() if key.startswith("seed_")}  # noqa: SIM118 (no real mapping)
        scale = {key: store[key] for key in store.keys() if key.startswith("latent_")}  # noqa: SIM118
        others = {key: store[key] for key in store.keys() if key not in seeds | scale}  # noqa: SIM118
        super().load_own_variables(others)
        scale = {key.removeprefix("latent_"): np.array(value, "float32") for key, value in scale.items()}
        if scale and scale["mean"].shape != self.latent_shape[-1:]:
            raise ValueError(
                f"The scale of latents is one of {self.latent_shape[-1]} units or channels. Received: a mean of shape "
                f"{scale['mean'].shape}"
            )
        if self.steps < 0:
            raise ValueError(f"The step is that of updates, at least 0. Received: {self.steps}")
        self.latent_scale = LatentScale(**scale) if scale else None
        states = self._seed_states()
        if len(states) == len(seeds):
            for index, variable in enumerate(states):
                variable.assign(seeds[f"seed_{index}"])


def _layers_of(names):
    """The layers, or lists of them, to which the datasets of a file of weights belong."""
    return {parts[1] if parts[0] == "layers" else parts[0] for parts in (name.split("/") for name in names)}


def _in_float32(config):
    """A serialised model all of whose layers compute in float32; what is quantised stays so."""
    if isinstance(config, dict):
        if str(config.get("class_name")).endswith("DTypePolicy"):
            if "source_name" in config["config"]:
                return config | {"config": config["config"] | {"source_name": "float32"}}
            return keras.dtype_policies.serialize(keras.DTypePolicy("float32"))
        return {key: _in_float32(value) for key, value in config.items()}
    return type(config)(map(_in_float32, config)) if isinstance(config, (list, tuple)) else config
