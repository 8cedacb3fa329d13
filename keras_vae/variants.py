"""Published variants by their names: which parts each of them puts in the place of a plain VAE's.

No framework is imported before one is made, so that the command lists them at once.
"""

import dataclasses
from typing import Any

from keras_vae import names, sources

# What a recipe calls the parts, and the networks: an argument that several take goes to the last of these.
ROLES = ("model", "network", "posterior", "prior", "likelihood", "corruption", "objective")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A composition of parts under the name that its paper gives it.

    Args:
        name: in `get`, and on the command line.
        title: the paper's name for it.
        paper: authors, year, arXiv number.
        purpose: what it is for, in a line.
        parts: {role: spec} of the parts, and networks, that are not a plain VAE's.
        fitted: spec of the prior that its paper fits after the training, by `vae.fit_prior`; None: none.
    """

    name: str
    title: str
    paper: str
    purpose: str
    parts: dict[str, str]
    fitted: str | None = None

    def specs(self, **arguments: Any) -> dict[str, Any]:
        """{role: spec, or object} with other arguments.

        Args:
            **arguments: a part in the place of the variant's, by its role (`likelihood="normal"`); or an argument of
                one of its parts (`beta=6`), which goes to the part that takes it.

        Raises:
            ValueError: for an argument that none of its parts takes, naming the nearest ones.
        """
        specs = dict(self.parts) | {role: arguments.pop(role) for role in ROLES if role in arguments}
        specs = {role: specs[role] for role in ROLES if role in specs}
        taken = {}
        for role, spec in specs.items():
            if isinstance(spec, str):
                parsed = names.Spec.parse(spec)
                if known := sources.arguments(role).get(parsed.name):
                    parsed = names.Spec(parsed.name, options=names.matched(parsed, known))
                    taken |= dict.fromkeys(known, role)
                specs[role] = parsed
        for name, value in arguments.items():
            role = taken[names.one_of(name, (*taken, *ROLES), f"argument of {self.name}")]
            specs[role] = specs[role].replaced(**{name: value})
        return specs

    def __call__(
        self,
        image_shape: tuple[int, ...],
        latent_size: int | tuple[int, ...],
        network: str | None = None,
        seed: int | None = None,
        missing: bool = False,
        **arguments: Any,
    ) -> Any:
        """A model that is not compiled yet.

        Args:
            image_shape: *X, shape of one example.
            latent_size: D; of codes, how many, or (h, w).
            network: a spec of encoder and decoder; None: the variant's own, as a rule "mlp".
            seed, missing: as in `VAE`; networks then see masks of what is missing.
            **arguments: as in `specs`.

        Returns:
            A `VAE`; of networks with groups of latents, a `HierarchicalVAE`.

        Raises:
            ValueError: for arguments that cannot be meant, or parts that do not fit each other.
        """
        from keras_vae import networks  # noqa: F401 (which registers them)
        from keras_vae.models.kinds import composed

        specs = {"network": "mlp"} | self.specs(**arguments, **({} if network is None else {"network": network}))
        name = self.name.replace("-", "_")
        options = {"seed": seed, "missing": missing, "name": name}
        return composed(image_shape=image_shape, latent_size=latent_size, **options, **specs)


_VARIANTS = {
    variant.name: variant
    for variant in (
        Variant(
            "vae",
            "VAE",
            "Kingma and Welling 2014, arXiv:1312.6114",
            "the evidence lower bound, as it stands",
            {},
        ),
        Variant(
            "autoencoder",
            "Autoencoder",
            "Hinton and Salakhutdinov 2006",
            "reconstructions alone; the prior is fitted to the codes afterwards",
            {"posterior": "point", "objective": "elbo:beta=0.0"},
            fitted="mixture:components=10",
        ),
        Variant(
            "denoising",
            "Denoising VAE",
            "Im et al. 2017, arXiv:1511.06406",
            "images with pixels set to 0, or noisy ones, to clean ones",
            {"corruption": "masking"},
        ),
        Variant(
            "beta-vae",
            "beta-VAE",
            "Higgins et al. 2017",
            "a heavier KL, for units that each stand for one factor",
            {"objective": "elbo:beta=4.0"},
        ),
        Variant(
            "annealed-vae",
            "beta-VAE with a growing capacity",
            "Burgess et al. 2018, arXiv:1804.03599",
            "a KL held at so many nats, more as training goes on",
            {"objective": "elbo:beta=capacity(25.0,10000,gamma=1000.0)"},
        ),
        Variant(
            "geco",
            "VAE under a constraint",
            "Rezende and Viola 2018, arXiv:1810.00597",
            "the least KL that reconstructs as well as is asked: `limit` nats of -log p(x|z), 80 for binary digits",
            {"objective": "constrained:limit=80.0"},
        ),
        Variant(
            "beta-tc-vae",
            "beta-TC-VAE",
            "Chen et al. 2018, arXiv:1802.04942",
            "disentangling: weighs the dependence of units alone",
            {"objective": "total_correlation"},
        ),
        Variant(
            "factor-vae",
            "FactorVAE",
            "Kim and Mnih 2018, arXiv:1802.05983",
            "disentangling: a critic estimates the dependence of units",
            {"objective": "factor"},
        ),
        Variant(
            "dip-vae-i",
            "DIP-VAE-I",
            "Kumar et al. 2018, arXiv:1711.00848",
            "disentangling: uncorrelated means",
            {"objective": "dip:kind=i"},
        ),
        Variant(
            "dip-vae-ii",
            "DIP-VAE-II",
            "Kumar et al. 2018, arXiv:1711.00848",
            "disentangling: an uncorrelated aggregate posterior",
            {"objective": "dip:kind=ii"},
        ),
        Variant(
            "info-vae",
            "InfoVAE (MMD)",
            "Zhao et al. 2019, arXiv:1706.02262",
            "latents that keep information: the aggregate posterior, not each posterior, is to be the prior",
            {"objective": "mmd"},
        ),
        Variant(
            "wae-mmd",
            "WAE-MMD",
            "Tolstikhin et al. 2018, arXiv:1711.01558",
            "an autoencoder whose codes are distributed as the prior, by a kernel",
            {"posterior": "point", "objective": "mmd"},
        ),
        Variant(
            "swae",
            "SWAE",
            "Kolouri et al. 2019, arXiv:1804.01947",
            "an autoencoder whose codes are distributed as the prior, by projections",
            {"posterior": "point", "objective": "swae"},
        ),
        Variant(
            "aae",
            "Adversarial autoencoder",
            "Makhzani et al. 2016, arXiv:1511.05644",
            "an autoencoder whose codes are distributed as the prior, by a critic",
            {"posterior": "point", "objective": "adversarial"},
        ),
        Variant(
            "vae-gan",
            "VAE-GAN",
            "Larsen et al. 2016, arXiv:1512.09300",
            "sharp pictures: errors in the features of a critic, which tells images from samples",
            {"objective": "vae_gan"},
        ),
        Variant(
            "iwae",
            "IWAE",
            "Burda et al. 2016, arXiv:1509.00519",
            "a tighter bound by several samples",
            {"objective": "iwae:samples=50"},
        ),
        Variant(
            "miwae",
            "MIWAE",
            "Rainforth et al. 2018, arXiv:1802.04537",
            "a mean of importance-weighted bounds, for a better trained encoder",
            {"objective": "miwae"},
        ),
        Variant(
            "ciwae",
            "CIWAE",
            "Rainforth et al. 2018, arXiv:1802.04537",
            "between ELBO and importance-weighted bound",
            {"objective": "ciwae"},
        ),
        Variant(
            "piwae",
            "PIWAE",
            "Rainforth et al. 2018, arXiv:1802.04537",
            "one bound for the encoder, a tighter one for the decoder",
            {"objective": "piwae"},
        ),
        Variant(
            "dreg-iwae",
            "IWAE by doubly reparameterised gradients",
            "Tucker et al. 2019, arXiv:1810.04152",
            "the tighter bound with a gradient of less variance",
            {"objective": "dreg"},
        ),
        Variant(
            "sticking-the-landing",
            "Sticking the landing",
            "Roeder et al. 2017, arXiv:1703.09194",
            "the ELBO with a gradient that vanishes at the exact posterior",
            {"objective": "sticking_the_landing"},
        ),
        Variant(
            "mixture-prior",
            "Gaussian-mixture prior",
            "Tomczak and Welling 2018, arXiv:1705.07120, section 3 (their baseline)",
            "clusters in the latent space",
            {"prior": "mixture:components=10"},
        ),
        Variant(
            "vampprior",
            "VampPrior",
            "Tomczak and Welling 2018, arXiv:1705.07120",
            "a prior of posteriors at learned inputs: better samples and bounds",
            {"prior": "vamp:components=500"},
        ),
        Variant(
            "realnvp-prior",
            "RealNVP prior",
            "Dinh et al. 2017, arXiv:1605.08803; Huang et al. 2017",
            "a flow as the prior, fast both ways",
            {"prior": "flow:kind=realnvp"},
        ),
        Variant(
            "maf-prior",
            "MAF prior",
            "Papamakarios et al. 2017, arXiv:1705.07057; Chen et al. 2017, arXiv:1611.02731",
            "an autoregressive flow as the prior: the better density, slower to sample",
            {"prior": "flow:kind=maf"},
        ),
        Variant(
            "planar-flow",
            "VAE with planar flows",
            "Rezende and Mohamed 2015, arXiv:1505.05770",
            "posteriors that are no Normals, by planar maps",
            {"posterior": "planar"},
        ),
        Variant(
            "radial-flow",
            "VAE with radial flows",
            "Rezende and Mohamed 2015, arXiv:1505.05770",
            "posteriors that are no Normals, by radial maps",
            {"posterior": "radial"},
        ),
        Variant(
            "iaf",
            "VAE with inverse autoregressive flows",
            "Kingma et al. 2016, arXiv:1606.04934",
            "posteriors of any shape, fast to sample",
            {"posterior": "iaf"},
        ),
        Variant(
            "hamiltonian-vae",
            "Hamiltonian VAE",
            "Caterini et al. 2018, arXiv:1805.11328",
            "a tighter bound by z that follow the slope of log p(x, z)",
            {"objective": "hamiltonian"},
        ),
        Variant(
            "full-covariance",
            "VAE with a full covariance",
            "Kingma and Welling 2019, arXiv:1906.02691, section 2.5.1",
            "posteriors whose units depend on each other",
            {"posterior": "full_covariance_normal"},
        ),
        Variant(
            "s-vae",
            "Hyperspherical VAE",
            "Davidson et al. 2018, arXiv:1804.00891",
            "directions: latents on the sphere, by von Mises-Fisher distributions",
            {"posterior": "von_mises_fisher", "prior": "hyperspherical_uniform"},
        ),
        Variant(
            "power-spherical",
            "Hyperspherical VAE with power spherical posteriors",
            "De Cao and Aziz 2020, arXiv:2006.04437",
            "directions: latents on the sphere, stable in many dimensions",
            {"posterior": "power_spherical", "prior": "hyperspherical_uniform"},
        ),
        Variant(
            "poincare-vae",
            "Poincaré VAE",
            "Mathieu et al. 2019, arXiv:1901.06033",
            "hierarchies: latents in hyperbolic space, which has room for trees; a few units",
            {"posterior": "wrapped_normal", "prior": "wrapped_normal"},
        ),
        Variant(
            "rae-l2",
            "RAE-L2",
            "Ghosh et al. 2020, arXiv:1903.12436",
            "a smooth autoencoder by small weights; the prior is fitted afterwards",
            {"posterior": "point", "objective": "rae:regularizer=l2"},
            fitted="mixture:components=10",
        ),
        Variant(
            "rae-gp",
            "RAE-GP",
            "Ghosh et al. 2020, arXiv:1903.12436",
            "a smooth autoencoder by small gradients; the prior is fitted afterwards",
            {"posterior": "point", "objective": "rae:regularizer=gradient_penalty"},
            fitted="mixture:components=10",
        ),
        Variant(
            "rae-sn",
            "RAE-SN",
            "Ghosh et al. 2020, arXiv:1903.12436",
            "a smooth autoencoder by spectral norms; the prior is fitted afterwards",
            {"posterior": "point", "objective": "rae:regularizer=spectral_norm"},
            fitted="mixture:components=10",
        ),
        Variant(
            "contractive",
            "Contractive autoencoder",
            "Rifai et al. 2011",
            "codes that small changes of the image do not move",
            {"posterior": "point", "objective": "contractive"},
            fitted="mixture:components=10",
        ),
        Variant(
            "sigma-vae",
            "sigma-VAE",
            "Rybkin et al. 2021, arXiv:2006.13202",
            "grey values: the scale of the errors is fitted, so that the KL needs no weight",
            {"likelihood": "normal:scale=optimal"},
        ),
        Variant(
            "log-cosh-vae",
            "Log-cosh VAE",
            "Chen et al. 2019",
            "grey values: errors that outliers do not rule",
            {"likelihood": "log_cosh"},
        ),
        Variant(
            "ms-ssim-vae",
            "MS-SSIM VAE",
            "Snell et al. 2017, arXiv:1511.06409",
            "pictures: errors as the eye weighs them",
            {"likelihood": "ms_ssim"},
        ),
        Variant(
            "dfc-vae",
            "DFC-VAE",
            "Hou et al. 2017, arXiv:1610.00291",
            "pictures: errors in the features of a trained network, `features`; without one, of random filters",
            {"likelihood": "perceptual"},
        ),
        Variant(
            "mult-vae",
            "Mult-VAE",
            "Liang et al. 2018, arXiv:1802.05814",
            "counts over many items, such as what a user clicked",
            {"likelihood": "multinomial", "objective": "elbo:beta=linear_warmup(20000,end=0.2)"},
        ),
        Variant(
            "ladder",
            "Ladder VAE",
            "Sønderby et al. 2016, arXiv:1602.02282; Vahdat and Kautz 2020, arXiv:2007.03898",
            "better bounds and samples: groups of latents from the top down, maps of several sizes",
            {"network": "ladder", "objective": "elbo:free_bits=3.0,free_bits_per=group"},
        ),
        Variant(
            "vq-vae",
            "VQ-VAE",
            "van den Oord et al. 2017, arXiv:1711.00937",
            "codes of a learned codebook, `latent_size` of them or a map",
            {"posterior": "vector_quantizer:decay=0.99", "prior": "uniform_codes"},
            fitted="autoregressive_codes",
        ),
        Variant(
            "rq-vae",
            "RQ-VAE",
            "Lee et al. 2022, arXiv:2203.01941",
            "several codes for each vector, each of what the former left: finer pictures from a small codebook",
            {"posterior": "residual_quantizer:shared=true,decay=0.99", "prior": "uniform_codes"},
            fitted="autoregressive_codes",
        ),
        Variant(
            "fsq-vae",
            "VAE with finite scalar quantisation",
            "Mentzer et al. 2024, arXiv:2309.15505",
            "codes of a fixed grid, all of them in use, `latent_size` of them or a map",
            {"posterior": "finite_scalar", "prior": "uniform_codes"},
            fitted="autoregressive_codes",
        ),
        Variant(
            "gumbel-softmax",
            "Categorical VAE by Gumbel-softmax",
            "Jang et al. 2017, arXiv:1611.01144; Maddison et al. 2017, arXiv:1611.00712",
            "categories as latents, `latent_size` of them or a map",
            {"posterior": "one_hot", "prior": "uniform_codes"},
        ),
        Variant(
            "joint-vae",
            "JointVAE",
            "Dupont 2018, arXiv:1804.00104",
            "disentangling: units that are numbers, and beside them categories, such as styles and classes",
            {"posterior": "joint", "prior": "joint", "objective": "joint_capacity"},
        ),
        Variant(
            "conditional",
            "Conditional VAE",
            "Sohn et al. 2015",
            "images given labels, p(x|y): samples of a class that is asked for",
            {"model": "conditional"},
        ),
        Variant(
            "m2",
            "Semi-supervised VAE (M2)",
            "Kingma et al. 2014, arXiv:1406.5298",
            "a classifier from few labels: images of a class and a style, the class being a latent where it is unknown",
            {"model": "m2"},
        ),
        Variant(
            "m1-m2",
            "Stacked semi-supervised VAE (M1+M2)",
            "Kingma et al. 2014, arXiv:1406.5298",
            "a classifier from few labels, of the latents of a VAE: better than M2, and cheaper",
            {},
            fitted="m2",
        ),
        Variant(
            "vade",
            "VaDE",
            "Jiang et al. 2017, arXiv:1611.05148",
            "clusters, by a Gaussian-mixture prior: `classify` says to which one an image belongs",
            {"prior": "mixture:components=10"},
        ),
        Variant(
            "two-stage-vae",
            "Two-stage VAE",
            "Dai and Wipf 2019, arXiv:1903.05789",
            "better samples: a second VAE learns how the codes are distributed",
            {"likelihood": "normal:scale=learned"},
            fitted="two_stage",
        ),
    )
}


def get(name: str) -> Variant:
    """A variant by its name; upper case and underscores will do.

    Args:
        name: one of `list()`.

    Raises:
        ValueError: for an unknown name, naming the nearest ones.

    Example: `kv.variants.get("beta-vae")((28, 28, 1), latent_size=16, beta=6)`.
    """
    name = str(name).lower().replace("_", "-").replace(" ", "-")
    return _VARIANTS[names.one_of(name, tuple(_VARIANTS), "variant")]


def written(text: str) -> dict[str, str]:
    """{role: spec} of a variant as the command line has it: "beta-vae", "beta-vae:beta=6".

    Raises:
        ValueError: for an unknown name or argument, naming the nearest ones.
    """
    name, colon, rest = text.partition(":")
    variant = get(name)
    # Of a name that a spec may have.
    options = names.Spec.parse(f"variant:{rest}").options if colon else {}
    return {role: str(spec) for role, spec in variant.specs(**options).items()}


def list() -> tuple[str, ...]:
    """The names of all variants."""
    return tuple(_VARIANTS)
