"""Every public part once, and users' own, in small models on real images: what the conformance tests loop over."""

import dataclasses
from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import own_parts
import pytest

import keras_vae as kv

LATENT = 3
# Of a table, one of each kind.
COLUMNS = [
    {"name": "a", "kind": "normal", "loc": 3.0, "scale": 2.0},
    {"name": "b", "kind": "categorical", "categories": ["x", "y", "z"]},
    {"name": "c", "kind": "counts", "loc": 4.0, "scale": 3.0},
    {"name": "d", "kind": "bernoulli", "categories": [False, True]},
    {"name": "e", "kind": "log_normal", "loc": 1.0, "scale": 0.5},
]


@dataclasses.dataclass(frozen=True)
class Composition:
    """A model, made anew for every test: a VAE by its parts, or any other by `make`.

    Args:
        name: of the composition.
        oracle: the test that holds its numbers against an independent source, "file::test" or "file::test[id]"; or
            "none: ..." with the reason. Every one of `COMPOSITIONS` has it.
        make: (image shape, seed) -> model, in the place of a VAE of the parts.
        colour: whether images have three channels.
        signal: whether they are sequences, (length, channels).
        labels: whether the model is conditional.
        given: further arguments of the VAE.
        few: whether its labels are whole numbers, of which some are not known.
        served: whether it differs from the others in what is exported, and not in its training alone.
    """

    name: str
    oracle: str = ""
    likelihood: Callable = lambda: kv.likelihoods.Bernoulli()
    posterior: Callable = lambda: kv.posteriors.DiagonalNormal(LATENT)
    prior: Callable = lambda: kv.priors.StandardNormal(LATENT)
    objective: Callable = lambda: kv.objectives.ELBO()
    network: Callable = lambda shape: kv.networks.mlp(shape, LATENT, widths=(16,))
    make: Callable | None = None
    colour: bool = False
    signal: bool = False
    labels: bool = False
    given: dict = dataclasses.field(default_factory=dict)
    few: bool = False
    served: bool = True

    def model(self, seed=0, **compiled):
        """A compiled model; equal seeds give equal weights and noise."""
        keras.utils.set_random_seed(seed)
        shape = self.images().shape[1:]
        if self.make is None:
            parts = self.posterior(), self.prior(), self.likelihood(), self.objective()
            model = kv.VAE(*self.network(shape), *parts, seed=seed, **self.given)
        else:
            model = self.make(shape, seed)
        model.compile(keras.optimizers.Adam(1e-2), **compiled)
        return model

    def moved(self):
        """A model with weights off their start, as a training leaves them, but in no time."""
        model, rng = self.model(), np.random.default_rng(0)
        for variable in model.trainable_variables:
            variable.assign_add(0.1 * rng.normal(size=variable.shape))
        return model

    def images(self, count=48):
        """Handwritten digits, as this composition's likelihood is to see them."""
        images = digits()[:count]
        if self.colour:
            images = np.concatenate([images, np.roll(images, 1, axis=1), 255 - images], axis=-1)
        if self.signal:
            images = np.reshape(images, (len(images), -1, 1))
        if self.likelihood().data == "table":
            return self.likelihood().made_up(np.reshape(images, (len(images), -1))[:, 10 : 10 + len(COLUMNS)])
        images = kv.data.convert(images, self.likelihood().data)
        return holed(images) if self.given.get("missing") else images

    def data(self, count=48):
        """What `fit` takes: (images,), or (images, one-hot labels) where the model is conditional, or classes."""
        images = self.images(count)
        if self.few:
            return images, np.where(np.arange(count) % 3, labels()[:count], -1)
        return (images, keras.utils.to_categorical(labels()[:count], 10)) if self.labels else (images,)


def holed(images, share=0.3):
    """Images of which each element is missing with that probability."""
    return np.where(np.random.default_rng(0).random(images.shape) < share, np.nan, images).astype("float32")


@cache
def digits():
    return kv.data.load("digits").train.images


@cache
def labels():
    return kv.data.load("digits").train.labels


def _likelihood(name, likelihood, oracle=None, **rest):
    return Composition(name, oracle or f"{_DENSITIES}[{name}]", likelihood=likelihood, **rest)


def _objective(name, oracle, **arguments):
    return Composition(name, oracle, objective=lambda: kv.objectives.ELBO(**arguments), served=False)


def _by_objective(name, oracle, objective):
    oracle = f"test_objectives.py::test_{oracle}"
    return Composition(name, oracle, objective=objective, served=False)


_GRADIENTS = "gradients_have_the_expectation_of_the_plain_bound_and_less_noise"


def _fitted_mixture():
    prior = kv.priors.FittedMixture(LATENT, components=2, active=2)
    prior.build((8, 8, 1))
    prior.assign([0.3, 0.7], [[1, 0], [0, 1]], [np.eye(2), [[1, 0.5], [0.5, 1]]], np.array([True, False, True]))
    return prior


# A likelihood of each kind of data, a map of features, several groups of latents, labels, a part of each kind.
REPRESENTATIVES = (
    "bernoulli",
    "normal_optimal",
    "colour_mixture",
    "beta",
    "two_levels",
    "ladder",
    "conditional",
    "few_labels",
    "latent_map",
    "vamp_iaf",
    "power_spherical",
    "point",
    "moving_codebook",
    "fitted_mixture",
    "total_correlation",
    "vae_gan",
)


# Those that are written to files with other layers and operations than the rest.
WRITTEN = ("colour_mixture", "two_levels", "few_labels", "vamp_iaf", "fitted_mixture")


def over(compositions, chosen=REPRESENTATIVES):
    """Parameters of a test of what costs much: representatives, fewer on JAX, and by `--run-all` all compositions."""

    def marks(name):
        if name in WRITTEN and name in chosen:
            return ()
        return pytest.mark.long_on_jax if name in chosen else pytest.mark.long

    return [pytest.param(c, id=c.name, marks=marks(c.name)) for c in compositions]


_DENSITIES = "test_oracles.py::test_likelihoods_are_log_densities"
_SCHEDULES = "test_oracles.py::test_schedules"
_PLAIN = "none: the networks are Keras' own layers, and what surrounds them is checked with the likelihoods"

COMPOSITIONS = (
    _likelihood("bernoulli", lambda: kv.likelihoods.Bernoulli()),
    _likelihood(
        "soft_bernoulli",
        lambda: kv.likelihoods.Bernoulli(soft=True),
        oracle="none: the formula of bernoulli, at values between 0 and 1",
        served=False,
    ),
    _likelihood("continuous_bernoulli", lambda: kv.likelihoods.ContinuousBernoulli()),
    _likelihood("normal", lambda: kv.likelihoods.Normal(scale=0.5)),
    _likelihood("normal_learned", lambda: kv.likelihoods.Normal(scale="learned")),
    _likelihood("normal_per_pixel", lambda: kv.likelihoods.Normal(scale="per_pixel")),
    _likelihood(
        "normal_optimal",
        lambda: kv.likelihoods.Normal(scale="optimal"),
        oracle="test_oracles.py::test_optimal_scale_is_the_root_mean_squared_error",
    ),
    _likelihood("laplace", lambda: kv.likelihoods.Laplace(scale="learned")),
    _likelihood("discretized_logistic", lambda: kv.likelihoods.DiscretizedLogistic()),
    _likelihood(
        "logistic_mixture",
        lambda: kv.likelihoods.DiscretizedLogisticMixture(components=3),
        oracle="test_distributions.py::test_coupled_mixture_agrees_with_float64_reference",
    ),
    _likelihood(
        "colour_mixture",
        lambda: kv.likelihoods.DiscretizedLogisticMixture(components=3),
        oracle="test_distributions.py::test_coupled_mixture_agrees_with_float64_reference",
        network=lambda shape: kv.networks.conv(shape, LATENT, widths=(4, 8), dense=None),
        colour=True,
    ),
    _likelihood("categorical", lambda: kv.likelihoods.Categorical()),
    _likelihood("beta", lambda: kv.likelihoods.Beta()),
    _likelihood("student_t", lambda: kv.likelihoods.StudentT(freedom=3.0), served=False),
    _likelihood("log_cosh", lambda: kv.likelihoods.LogCosh(), served=False),
    _likelihood("poisson", lambda: kv.likelihoods.Poisson(), served=False),
    _likelihood("negative_binomial", lambda: kv.likelihoods.NegativeBinomial()),
    _likelihood(
        "zero_inflated",
        lambda: kv.likelihoods.ZeroInflatedNegativeBinomial("per_pixel", offset=True),
        oracle="test_counts.py::test_rates_are_shares_of_the_total",
    ),
    _likelihood(
        "multinomial",
        lambda: kv.likelihoods.Multinomial(),
        oracle="test_counts.py::test_the_multinomial_is_scipys",
    ),
    _likelihood(
        "ms_ssim", lambda: kv.likelihoods.MultiScaleSSIM(), oracle="test_features.py::test_ms_ssim_is_tensorflows"
    ),
    _likelihood(
        "perceptual",
        lambda: kv.likelihoods.Perceptual(own_parts.edges((8, 8, 1)), scale=0.5),
        oracle="test_features.py::test_the_identity_is_a_normal",
    ),
    _likelihood(
        "from_function",
        lambda: kv.likelihoods.FromFunction(own_parts.student_t, channels=1),
        oracle="test_two_levels.py::test_a_function_of_features_is_the_density_it_makes",
    ),
    Composition(
        "softplus",
        "test_oracles.py::test_softplus_parameterises_the_variance",
        posterior=lambda: kv.posteriors.DiagonalNormal(LATENT, parameterization="softplus"),
    ),
    Composition(
        "full_covariance",
        "test_oracles.py::test_full_covariance_kl_is_the_closed_form",
        posterior=lambda: kv.posteriors.FullCovarianceNormal(LATENT),
    ),
    # Two parts at a time, each with an oracle of its own.
    Composition(
        "vamp_iaf",
        "test_two_levels.py::test_a_prior_made_of_the_encoder_is_the_mean_of_its_posteriors",
        posterior=lambda: kv.posteriors.InverseAutoregressiveFlow(LATENT, widths=(8,)),
        prior=lambda: kv.priors.VampPrior(LATENT, components=4, weighted=True),
    ),
    Composition(
        "mixture_planar",
        "test_flows.py::test_mixture_is_the_sum_of_its_normals",
        posterior=lambda: kv.posteriors.PlanarFlow(LATENT, steps=2),
        prior=lambda: kv.priors.NormalMixture(LATENT, components=5),
    ),
    Composition(
        "realnvp_radial",
        "test_flows.py::test_log_determinants_are_those_of_the_jacobian_and_inverses_invert[radial]",
        posterior=lambda: kv.posteriors.RadialFlow(LATENT, steps=2),
        prior=lambda: kv.priors.FlowPrior(LATENT, steps=2, widths=(8,)),
    ),
    Composition(
        "maf",
        "test_flows.py::test_log_determinants_are_those_of_the_jacobian_and_inverses_invert[maf]",
        prior=lambda: kv.priors.FlowPrior(LATENT, "maf", steps=2, widths=(8,)),
    ),
    Composition(
        "power_spherical",
        "test_spheres.py::test_densities_integrate_to_one",
        posterior=lambda: kv.posteriors.PowerSpherical(LATENT),
        prior=lambda: kv.priors.HypersphericalUniform(LATENT),
    ),
    Composition(
        "von_mises_fisher",
        "test_spheres.py::test_von_mises_fisher_is_that_of_bessel_functions",
        posterior=lambda: kv.posteriors.VonMisesFisher(LATENT),
        prior=lambda: kv.priors.HypersphericalUniform(LATENT),
    ),
    Composition(
        "wrapped_normal",
        "test_poincare.py::test_the_density_integrates_to_one",
        posterior=lambda: kv.posteriors.WrappedNormal(LATENT, curvature=0.5),
        prior=lambda: kv.priors.WrappedNormalPrior(LATENT, curvature=0.5),
    ),
    Composition(
        "point",
        "test_flows.py::test_an_autoencoder_pays_for_its_codes_by_the_prior",
        posterior=lambda: kv.posteriors.Point(LATENT),
    ),
    Composition(
        "vector_quantizer",
        "test_codes.py::test_codes_are_the_nearest_of_the_book",
        posterior=lambda: kv.posteriors.VectorQuantizer(LATENT, codes=6, vector=4),
        prior=lambda: kv.priors.UniformCodes(LATENT, codes=6),
        network=lambda shape: kv.networks.mlp(shape, LATENT * 4, widths=(16,)),
    ),
    Composition(
        "moving_codebook",
        "test_codes.py::test_a_moving_codebook_is_numpys",
        posterior=lambda: kv.posteriors.VectorQuantizer((2, 2), codes=6, vector=4, decay=0.9),
        prior=lambda: kv.priors.UniformCodes((2, 2), codes=6),
        network=lambda shape: kv.networks.resnet(shape, (2, 2, 4), widths=(4, 8), blocks=(0, 1)),
    ),
    Composition(
        "residual_quantizer",
        "test_codes.py::test_each_level_quantises_what_the_former_left",
        posterior=lambda: kv.posteriors.ResidualQuantizer(LATENT, levels=2, codes=6, vector=4, decay=0.9),
        prior=lambda: kv.priors.UniformCodes((LATENT, 2), codes=6),
        network=lambda shape: kv.networks.mlp(shape, LATENT * 4, widths=(16,)),
    ),
    Composition(
        "finite_scalar",
        "test_codes.py::test_finite_scalars_are_rounded_by_hand",
        posterior=lambda: kv.posteriors.FiniteScalar(LATENT, levels=(4, 3)),
        prior=lambda: kv.priors.UniformCodes(LATENT, codes=12),
        network=lambda shape: kv.networks.mlp(shape, LATENT * 2, widths=(16,)),
    ),
    Composition(
        "autoregressive_codes",
        "test_codes.py::test_autoregressive_codes_sum_to_one_and_begin_uniform",
        posterior=lambda: kv.posteriors.FiniteScalar(LATENT, levels=(4, 3)),
        prior=lambda: kv.priors.AutoregressiveCodes(LATENT, codes=12, width=8),
        network=lambda shape: kv.networks.mlp(shape, LATENT * 2, widths=(16,)),
    ),
    Composition(
        "one_hot",
        "test_codes.py::test_gumbel_noise_draws_the_categories",
        posterior=lambda: kv.posteriors.OneHot(LATENT, classes=4),
        prior=lambda: kv.priors.UniformCodes(LATENT, codes=4),
        network=lambda shape: kv.networks.mlp(shape, LATENT * 4, widths=(16,)),
    ),
    Composition(
        "joint",
        "test_joint.py::test_the_kl_is_the_sum_of_both_parts",
        posterior=lambda: kv.posteriors.Joint(4, categorical="one_hot:classes=5", count=2),
        prior=lambda: kv.priors.JointPrior(4, codes=5, coded=2),
        objective=lambda: kv.objectives.JointCapacity(
            continuous_weight="capacity:1.0,gamma=2.0", categorical_weight=2.0
        ),
        network=lambda shape: kv.networks.mlp(shape, 12, widths=(16,)),
    ),
    Composition(
        "conditional_normal",
        "test_flows.py::test_conditional_normal_is_linear_in_the_label",
        prior=lambda: kv.priors.ConditionalNormal(LATENT, 10),
        labels=True,
    ),
    _objective("several_samples", "test_oracles.py::test_elbo_is_its_two_terms", samples=3),
    _objective("free_bits", "test_oracles.py::test_free_bits_floor_each_unit", free_bits=0.5),
    _objective("constant", _SCHEDULES, beta=kv.schedules.Constant(4.0)),
    _objective("linear_warmup", _SCHEDULES, beta=kv.schedules.LinearWarmup(10, start=0.1)),
    _objective("cyclical", _SCHEDULES, beta=kv.schedules.Cyclical(10, start=0.1)),
    _objective("sigmoid", _SCHEDULES, beta=kv.schedules.Sigmoid(10)),
    _objective(
        "capacity",
        "test_oracles.py::test_capacity_penalises_the_distance",
        beta=kv.schedules.Capacity(epsilon=5.0, steps=10, gamma=10.0),
    ),
    Composition(
        "iwae",
        "test_oracles.py::test_iwae_is_the_log_mean_weight",
        objective=lambda: kv.objectives.IWAE(samples=5),
        served=False,
    ),
    _by_objective("miwae", "miwae_is_the_mean_of_the_bounds_of_its_parts", lambda: kv.objectives.MIWAE(4, 2)),
    _by_objective("ciwae", "miwae_is_the_mean_of_the_bounds_of_its_parts", lambda: kv.objectives.CIWAE(3)),
    _by_objective("piwae", "piwae_has_the_gradients_of_two_bounds", lambda: kv.objectives.PIWAE(4, 2)),
    _by_objective("dreg", _GRADIENTS, lambda: kv.objectives.DReG(3)),
    _by_objective("sticking_the_landing", _GRADIENTS, lambda: kv.objectives.StickingTheLanding()),
    _by_objective(
        "hamiltonian",
        "the_hamiltonian_bound_is_an_estimate_of_the_evidence",
        lambda: kv.objectives.Hamiltonian(steps=2),
    ),
    _by_objective(
        "total_correlation",
        "total_correlation_is_that_of_a_correlated_normal",
        lambda: kv.objectives.TotalCorrelation(data_size=48),
    ),
    _by_objective(
        "factor", "the_best_critic_gives_the_total_correlation", lambda: kv.objectives.Factor(gamma=5, widths=(8,))
    ),
    _by_objective("dip", "dip_is_the_distance_of_a_covariance_from_the_identity", lambda: kv.objectives.DIP()),
    _by_objective("mmd", "mmd_is_its_closed_form", lambda: kv.objectives.MMD(weight=10.0)),
    _by_objective("swae", "sliced_wasserstein_is_its_closed_form", lambda: kv.objectives.SWAE(projections=5)),
    _by_objective("rae", "gradient_penalty_is_the_squared_jacobian_of_the_decoder", lambda: kv.objectives.RAE()),
    _by_objective(
        "contractive",
        "contraction_is_the_squared_jacobian_of_the_encoder",
        lambda: kv.objectives.Contractive(beta=1.0),
    ),
    _by_objective(
        "constrained",
        "the_multiplier_grows_while_the_constraint_is_not_met",
        lambda: kv.objectives.Constrained(limit=30.0),
    ),
    _by_objective(
        "aae", "a_discriminator_of_latents_and_the_encoder_have_a_game", lambda: kv.objectives.Adversarial(widths=(8,))
    ),
    _by_objective(
        "vae_gan",
        "a_discriminator_of_images_and_the_decoder_have_a_game",
        lambda: kv.objectives.VAEGAN(widths=(4,), game="hinge", spectral_norm=True, balanced=True),
    ),
    Composition(
        "conv", _PLAIN, network=lambda shape: kv.networks.conv(shape, LATENT, widths=(4, 8), dense=8), served=False
    ),
    Composition("conv1d", _PLAIN, network=lambda shape: kv.networks.conv1d(shape, LATENT, widths=(4, 8)), signal=True),
    Composition(
        "latent_map",
        "none: the same distributions as of a vector, checked there, over more axes",
        posterior=lambda: kv.posteriors.DiagonalNormal((2, 2, LATENT)),
        prior=lambda: kv.priors.StandardNormal((2, 2, LATENT)),
        network=lambda shape: kv.networks.resnet(shape, (2, 2, LATENT), widths=(4, 8), blocks=(0, 1)),
    ),
    Composition(
        "labelled",
        "test_labels.py::test_a_label_joins_the_channels_of_maps",
        network=lambda shape: kv.networks.labelled(*kv.networks.conv(shape, LATENT, widths=(4,), dense=None), 10),
        labels=True,
    ),
    Composition(
        "few_labels",
        "test_labels.py::test_the_bound_of_few_labels_is_a_sum_over_the_classes",
        make=lambda shape, seed: kv.variants.get("m2")(shape, LATENT, classes=10, network="mlp:16", seed=seed),
        few=True,
    ),
    Composition(
        "linear",
        "test_linear.py::test_log_prob_is_scikit_learns_whatever_is_sampled",
        likelihood=lambda: kv.likelihoods.Normal(),
        network=lambda shape: kv.networks.linear(shape, LATENT),
    ),
    Composition(
        "standardized",
        "test_standardized.py::test_it_is_the_likelihood_of_standardised_data_in_the_units_of_the_data",
        likelihood=lambda: kv.likelihoods.Standardized("student_t"),
    ),
    Composition(
        "table",
        "test_table.py::test_densities_are_those_of_the_table_in_its_units",
        likelihood=lambda: kv.likelihoods.Columns(COLUMNS),
        network=lambda shape: kv.networks.table(COLUMNS, LATENT, widths=(16,)),
    ),
    Composition("resnet", _PLAIN, network=lambda shape: kv.networks.resnet(shape, LATENT, widths=(4, 8), blocks=1)),
    Composition(
        "fitted_mixture", "test_fitted_priors.py::test_the_density_is_scikit_learns", prior=lambda: _fitted_mixture()
    ),
    Composition(
        "two_stage",
        "test_fitted_priors.py::test_a_second_stage_that_is_linear_is_a_normal",
        prior=lambda: kv.priors.TwoStage(LATENT, widths=(8,), latent_size=2, scale="per_unit", samples=4),
    ),
    Composition(
        "m2_prior",
        "test_fitted_priors.py::test_a_second_stage_of_classes_is_a_mixture_of_them",
        prior=lambda: kv.priors.M2(LATENT, classes=3, widths=(8,), latent_size=2, samples=2),
    ),
    # What is encoded is another thing than what is scored.
    Composition(
        "missing",
        "test_missing.py::test_log_prob_of_what_is_there_is_the_exact_marginal",
        network=lambda shape: kv.networks.mlp(shape, LATENT, widths=(16,), missing=True),
        given={"missing": True, "corruption": "masking:rate=0.2,value=none"},
    ),
    Composition(
        "gaussian_noise",
        "test_corruptions.py::test_corruptions_are_what_they_say",
        given={"corruption": "gaussian"},
        served=False,
    ),
    Composition(
        "salt_and_pepper",
        "test_corruptions.py::test_corruptions_are_what_they_say",
        given={"corruption": "salt_and_pepper"},
        served=False,
    ),
    # Users' own.
    Composition(
        "two_levels",
        "test_two_levels.py::test_log_prob_of_two_levels_agrees_with_quadrature",
        make=lambda shape, seed: own_parts.TwoLevels(shape, seed=seed),
    ),
    Composition(
        "conditional",
        "test_two_levels.py::test_log_prob_given_labels_is_the_exact_one",
        network=lambda shape: own_parts.conditional_mlp(shape, LATENT),
        labels=True,
    ),
    Composition(
        "squares",
        "test_two_levels.py::test_a_posterior_says_what_stands_for_x_what_is_decoded_and_what_it_costs",
        posterior=lambda: own_parts.Squares(LATENT),
        network=lambda shape: (
            kv.networks.mlp(shape, LATENT, widths=(16,))[0],
            kv.networks.mlp(shape, 2 * LATENT, widths=(16,))[1],
        ),
    ),
    Composition(
        "adversarial",
        "test_two_levels.py::test_two_players_share_one_loss",
        objective=lambda: own_parts.Adversarial(),
    ),
    Composition(
        "residual",
        "test_hierarchical.py::test_a_residual_posterior_is_relative_to_its_prior",
        posterior=lambda: kv.posteriors.ResidualNormal(LATENT),
        prior=lambda: kv.priors.ConditionalNormal(LATENT, 10),
        labels=True,
        served=False,
    ),
    Composition(
        "ladder",
        "test_hierarchical.py::test_log_prob_of_a_linear_hierarchy_is_the_exact_one",
        make=lambda shape, seed: kv.HierarchicalVAE(
            *kv.networks.ladder(shape, LATENT, ((2, 2, 1), (4, 1, 1)), widths=(4, 6)),
            objective="elbo:free_bits=0.5,free_bits_per=group",
            seed=seed,
        ),
    ),
)
BY_NAME = {composition.name: composition for composition in COMPOSITIONS}
