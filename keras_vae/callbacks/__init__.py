"""Keras callbacks: pictures, active units, schedules, the best checkpoints, and a deadline.

They use the model only at the ends of epochs, with separate seeds, so that training with them gives the same weights,
to the last bit, as training without.
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
