"""Keras callbacks: pictures while a model trains, what its latents carry, its best epochs, its end in time.

They look at the model at the ends of epochs only, with seeds of their own: a training with them ends with the same
weights, to the last bit, as one without.
"""

from keras_vae.callbacks.checkpoints import BestCheckpoints
from keras_vae.callbacks.deadline import Deadline, OutOfTime
from keras_vae.callbacks.latents import ActiveUnits, CollapseWarning
from keras_vae.callbacks.pictures import LatentScatter, LatentTraversal, Picture, ReconstructionGrid, SampleGrid
from keras_vae.callbacks.schedules import ScheduleLogger

__all__ = [
    "ActiveUnits",
    "BestCheckpoints",
    "CollapseWarning",
    "Deadline",
    "LatentScatter",
    "LatentTraversal",
    "OutOfTime",
    "Picture",
    "ReconstructionGrid",
    "SampleGrid",
    "ScheduleLogger",
]
