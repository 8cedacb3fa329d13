"""Arrays in, matplotlib figures out.

Figures are made without pyplot: they need no display, and do not stay in memory.
"""

from keras_vae.plotting.arrays import NotFiniteError, can_show
from keras_vae.plotting.charts import curves, latent_scatter, unit_kl
from keras_vae.plotting.files import save, save_gif, save_pixels
from keras_vae.plotting.grids import (
    image_grid,
    interpolation_grid,
    latent_plane,
    neighbourhood_grid,
    reconstruction_grid,
    traversal_grid,
)
from keras_vae.plotting.latents import PROJECTIONS, neighbourhood_latents, plane_latents, project, traversal_latents

__all__ = [
    "PROJECTIONS",
    "NotFiniteError",
    "can_show",
    "curves",
    "image_grid",
    "interpolation_grid",
    "latent_plane",
    "latent_scatter",
    "neighbourhood_grid",
    "neighbourhood_latents",
    "plane_latents",
    "project",
    "reconstruction_grid",
    "save",
    "save_gif",
    "save_pixels",
    "traversal_grid",
    "traversal_latents",
    "unit_kl",
]
