"""Kinds of models, by names: what labels are to them."""

from collections.abc import Sequence
from typing import Any

from keras_vae import names
from keras_vae.models.composed import Composed
from keras_vae.models.hierarchical import composed_of, of_networks
from keras_vae.models.semisupervised import SemiSupervisedVAE
from keras_vae.models.vae import VAE
from keras_vae.networks import labelled
from keras_vae.posteriors import Posterior


def composed(
    network: str | names.Spec,
    image_shape: tuple[int, ...],
    latent_size: int | tuple[int, ...],
    posterior: Posterior | str | names.Spec = "diagonal_normal",
    model: str | names.Spec = "vae",
    suiting: dict[str, Any] | None = None,
    labels: dict[str, Any] | None = None,
    columns: Any = None,
    missing: bool = False,
    **given: Any,
) -> Composed:
    """The model of a network and a kind that are named.

    Args:
        network: spec.
        image_shape: *X.
        latent_size: D, or the shape of a map; of codes, how many, or (h, w).
        posterior: as of a `VAE`.
        model: spec of the kind.
        suiting: arguments of the network that its spec may replace.
        labels: arguments of the kind that its spec may replace, for kinds that take them.
        columns: of a table, for networks that see them in the place of a shape.
        missing: whether elements of x may be missing, of which networks then see a mask, where they take one.
        **given: other arguments of all classes of models.
    """
    size, posterior = of_networks(posterior, latent_size)
    parsed = names.Spec.parse(network) if isinstance(network, str) else network
    of_columns = names.arguments(names.find("network", parsed.name))[0].name == "columns"
    if of_columns and columns is None:
        raise ValueError(f"This network is for tables: give `columns`, kv.data.schema(frame). Received: {network}")
    masked = missing and "missing" in [
        argument.name for argument in names.arguments(names.find("network", parsed.name))
    ]
    suiting = {**(suiting or {}), **({"missing": True} if masked else {})}
    networks = names.make("network", network, columns if of_columns else image_shape, size, **suiting)
    spec = names.Spec.parse(model) if isinstance(model, str) else model
    taken = [argument.name for argument in names.arguments(names.find("model", spec.name))]
    labels = {name: value for name, value in (labels or {}).items() if name in taken}
    return names.make("model", spec, networks, **labels, posterior=posterior, missing=missing, **given)


@names.known_as("model", "vae")
def unlabelled(networks: Sequence, **given: Any) -> Composed:
    """A `VAE`, p(x); of networks with groups of latents, a `HierarchicalVAE`."""
    return composed_of(networks, **given)


@names.known_as("model", "conditional")
def conditional(networks: Sequence, label_shape: int | tuple[int, ...], **given: Any) -> Composed:
    """A `VAE` of images given their labels, p(x|y): its networks see the labels, too.

    Reference: Sohn, Lee and Yan 2015 (CVAE).
    """
    return VAE(*labelled(*_two(networks), label_shape), **given)


@names.known_as("model", "m2")
def m2(networks: Sequence, classes: int, alpha: float = 0.1, **given: Any) -> Composed:
    """A `SemiSupervisedVAE`, p(x, y), of few labels; its classifier is another encoder like the one that is given.

    Reference: Kingma et al. 2014, arXiv:1406.5298 (M2).
    """
    for name in ("missing", "corruption"):
        if value := given.pop(name, None):
            raise ValueError(f"The model m2 takes whole images as they are: leave out {name}. Received: {value!r}")
    encoder, decoder = _two(networks)
    return SemiSupervisedVAE(*labelled(encoder, decoder, classes), classifier=encoder, alpha=alpha, **given)


def _two(networks):
    if len(networks) != 2:
        raise ValueError(
            "Labels join the networks of a VAE, an encoder and a decoder, and not those of a hierarchy. "
            f"Received: {len(networks)} networks"
        )
    return networks
