"""What is minimised: a pass through a model in, named terms out."""

from keras_vae import parts
from keras_vae.objectives.adversarial import VAEGAN, Adversarial
from keras_vae.objectives.base import Objective
from keras_vae.objectives.constrained import Constrained
from keras_vae.objectives.covariance import DIP
from keras_vae.objectives.divergence import MMD, SWAE
from keras_vae.objectives.elbo import ELBO
from keras_vae.objectives.gradients import DReG, StickingTheLanding
from keras_vae.objectives.hamiltonian import Hamiltonian
from keras_vae.objectives.iwae import CIWAE, IWAE, MIWAE, PIWAE
from keras_vae.objectives.joint import JointCapacity
from keras_vae.objectives.regularized import RAE, Contractive
from keras_vae.objectives.total_correlation import Factor, TotalCorrelation

__all__ = [
    "CIWAE",
    "DIP",
    "ELBO",
    "IWAE",
    "MIWAE",
    "MMD",
    "PIWAE",
    "RAE",
    "SWAE",
    "VAEGAN",
    "Adversarial",
    "Constrained",
    "Contractive",
    "DReG",
    "Factor",
    "Hamiltonian",
    "JointCapacity",
    "Objective",
    "StickingTheLanding",
    "TotalCorrelation",
    "get",
]


def get(identifier: Objective | str) -> Objective:
    """An objective from an instance or a spec: "elbo:beta=4.0", "iwae:50"."""
    return parts.get(Objective, identifier)
