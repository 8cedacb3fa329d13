"""What there is to reproduce: the systems of ../../docs/systems.md."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class System:
    """A system, and what it takes to show it.

    Args:
        name: its number.
        title: what it is, and where it comes from.
        source: the number that the source gives, or that it gives none.
        commands: {what a run is called: the command without `keras-vae` and `--out`}.
        metrics: {metric of these runs: what it is called}.
        script: a module beside this one whose `run(directory)` returns numbers.
        entries: {entry of the zoo: {metric: what it is called}}.
        published: {what others reached: the number}, a table beside ours.
        shown: commands that show what there is, where nothing is to be trained.
        picture: "ENTRY/FILE" of the zoo, or the name of a file that each of the runs leaves, or the script.
        remark: what falls short, by how much, and why.
    """

    name: str
    title: str
    source: str
    commands: dict[str, str] = dataclasses.field(default_factory=dict)
    metrics: dict[str, str] = dataclasses.field(default_factory=dict)
    script: str | None = None
    entries: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    published: dict[str, float] = dataclasses.field(default_factory=dict)
    shown: tuple[str, ...] = ()
    picture: str | None = None
    remark: str = ""

    @property
    def needs_run(self) -> bool:
        """Whether there is anything to train for it."""
        return bool(self.commands or self.script)


LOG_PROB = {"log_prob": "log p(x), nats"}
ERRORS = {"squared_error": "squared error", "ssim": "SSIM", "psnr": "PSNR, dB"}
PROJECTED = {"projected_squared_error": "squared error of projections"}
MLP = "--network mlp --latent-size 20 --epochs 15 --eval-images 1000"

SYSTEMS = (
    System(
        "S1",
        "a convolutional VAE with a latent plane, trained on summed squared errors (AEVB explained, 2023)",
        "no test number. Its pictures are a grid of samples and the latent plane over [-1.5, 1.5].",
        entries={"mnist_conv_2d": {**LOG_PROB, **ERRORS}},
        shown=("keras-vae train zoo/mnist_conv_2d", "keras-vae sample mnist_conv_2d -n 49 --out samples.png"),
        picture="mnist_conv_2d/plane.png",
    ),
    System(
        "S2",
        "a Bernoulli VAE with dense and with convolutional networks (Kingma and Welling 2014)",
        "-89.8 nats for a dense VAE of 40 latent units (as reported with the VampPrior, fixed binarisation).",
        entries={"mnist_mlp": LOG_PROB, "mnist_conv": LOG_PROB},
        shown=("keras-vae train zoo/mnist_mlp", "keras-vae train zoo/mnist_conv"),
        picture="mnist_mlp/samples.png",
        remark="Both priors were fitted after training, and the training images were binarised anew in each epoch.",
    ),
    System(
        "S3",
        "denoising: trained on corrupted inputs, scored against the clean ones",
        "pictures of noisy digits, no number.",
        script="denoising",
        picture="denoised.png",
        remark="Root mean squared errors of digits of 8x8 pixels between 0 and 1. [The guide](incomplete.md) explains "
        "them.",
    ),
    System(
        "S4",
        "labels from few: clusters of a mixture prior, named by 1% or 2% of the labels; M2, M1+M2 (Kingma et al. 2014)",
        "accuracy in percent, with 100 labels: M2 88.03, M1+M2 96.67; with 1,000: M2 96.40, M1+M2 97.60.",
        entries={"mnist_semi": {"accuracy": "M1+M2, 100 labels: test accuracy"}},
        commands={
            "mixture prior, 500 labels": "train mnist --variant vade --labels 500 --network mlp --latent-size 10 "
            "--epochs 20 --eval-images 1000",
            "mixture prior, 1,000 labels": "train mnist --variant vade --labels 1000 --network mlp --latent-size 10 "
            "--epochs 20 --eval-images 1000",
            "M2, 1,000 labels": "train mnist --variant m2 --labels 1000 --network mlp --latent-size 50 --epochs 10 "
            "--eval-images 100 --eval-samples 20",
        },
        metrics={
            "accuracy": "test accuracy",
            "cluster_accuracy": "test accuracy of named clusters",
            "latent_accuracy": "test accuracy of a classifier of z",
        },
        picture="mnist_semi/samples.png",
        remark="Accuracies are in percent. M2 falls short by far after ten epochs, with the paper's weight of known "
        "labels: its decoder can do without the class, and its samples of a class are not of it. More rows "
        "are in [labels](labels.md#mnist).",
    ),
    System(
        "S5",
        "walks in latent space: interpolations, and one attribute that moves",
        "pictures, no number.",
        entries={"celeba64_conv": {"psnr": "PSNR, dB"}},
        shown=(
            "keras-vae interpolate celeba64_conv a.png b.png --out between.png",
            "keras-vae move celeba64_conv face.png --attribute Smiling --out smile.png",
        ),
        picture="celeba64_conv/attribute.jpg",
    ),
    System(
        "S6",
        "a Normal posterior by log-variance and by softplus",
        "no number: both are the same model.",
        commands={
            "log-variance": f"train binarized_mnist {MLP}",
            "softplus": f"train binarized_mnist {MLP} --posterior diagonal_normal:parameterization=softplus",
        },
        metrics={"elbo": "ELBO, nats", **LOG_PROB},
        picture="samples.png",
    ),
    System(
        "S7",
        "a Normal decoder of fixed variance 1, of one learned variance, and of one for each pixel",
        "no number. With variance 1 posteriors collapse; learned variances use the latents (Rybkin et al. 2021).",
        commands={
            "variance 1": f"train mnist {MLP} --likelihood normal:1",
            "learned": f"train mnist {MLP} --likelihood normal:learned",
            "for each pixel": f"train mnist {MLP} --likelihood normal:per_pixel",
        },
        metrics={**LOG_PROB, "active_units": "active units", "squared_error": "squared error"},
        picture="samples.png",
        remark="These are densities of grey values that were not dequantised: they compare among each other alone.",
    ),
    System(
        "S8",
        "KL weights that rise, beta-VAE, and the constrained form, against collapse",
        "no number.",
        commands={
            "beta 4": f"train binarized_mnist {MLP} --objective elbo:beta=4.0",
            "warm-up": f"train binarized_mnist {MLP} --warmup-epochs 5",
            "constrained": f"train binarized_mnist {MLP} --variant geco",
        },
        metrics={"elbo": "ELBO, nats", "kl": "KL, nats", "active_units": "active units"},
        picture="samples.png",
    ),
    System(
        "S9",
        "log p(x) of a new point, by samples of the prior and by importance sampling",
        "no number; both are to agree within their error.",
        script="new_point",
        picture="new_point.png",
        remark="The samples of q(z|x) fall short of the integral on average, since q(z|x) covers one of the two parts "
        "of the plane that explain some images.",
        shown=("keras-vae score mnist_conv_2d digits/ --proposal both --samples 20000",),
    ),
    System(
        "S10",
        "a VAE of faces (PyTorch-VAE's recipe)",
        "a loss curve and samples, no test number.",
        entries={"celeba64_conv": {"bits_per_dim": "bits per dimension", **ERRORS}},
        shown=(
            "keras-vae train zoo/celeba64_conv",
            "keras-vae sample celeba64_conv -n 64 --out faces.png",
            "keras-vae train celeb_a64 --network conv:widths=[32,64,128,256,512],kernel_size=3,dense=none,"
            "activation=relu,batch_norm=true --likelihood normal:optimal --latent-size 128 --batch-size 64 --epochs 16 "
            "--learning-rate 0.002 --learning-rate-schedule exponential:0.95 --flip --out runs/faces",
        ),
        picture="celeba64_conv/samples.jpg",
        remark="The last command has the recipe's own networks, with batch normalisation: a squared error of 66.752, a "
        "PSNR of 23.07 dB and an SSIM of 0.694 on the test images. The entry has residual networks without. "
        "Its prior was fitted after training. Reconstructions are blurred, as the source's are.",
    ),
    System(
        "S11",
        "a dense VAE of CIFAR-10 with 3,543,552 parameters (a review of VAEs, 2022)",
        "SSIM 0.80 at the end.",
        entries={"cifar10_mlp": ERRORS, "cifar10_mlp_optimal": ERRORS},
        commands={
            "PCA of 256": "train cifar10 --baseline pca --latent-size 256",
            "PCA of 99": "train cifar10 --baseline pca --latent-size 99",
        },
        metrics={**ERRORS, **PROJECTED},
        picture="cifar10_mlp_optimal/curves.png",
        remark="With the variance of 1/2 that summed squared errors mean, `cifar10_mlp` uses 26 of 256 latent units; "
        "with the variance that fits, `cifar10_mlp_optimal` uses 99. No linear code does better than PCA of its "
        "length.",
    ),
    System(
        "S12",
        "PCA as the linear baseline, and a linear VAE beside probabilistic PCA (Lucas et al. 2019)",
        "a linear VAE reaches the likelihood of probabilistic PCA; no number for MNIST.",
        commands={
            "probabilistic PCA": "train mnist --baseline pca --latent-size 32",
            "linear VAE": "train mnist --network linear --likelihood normal:learned --latent-size 32 --epochs 30 "
            "--learning-rate 3e-3 --learning-rate-schedule cosine",
            "dense VAE": "train mnist --network mlp --likelihood normal:learned --latent-size 32",
        },
        metrics={**LOG_PROB, "squared_error": "squared error", **PROJECTED},
        picture="samples.png",
    ),
    System(
        "S13",
        "a beta-VAE in the features of a denoising autoencoder, for transfer (DARLA, Higgins et al. 2017)",
        "rewards in games, which are not tried here; its claim is that such codes keep more of their use in another "
        "domain than those of a beta-VAE of pixels.",
        script="darla",
        picture="darla.png",
        remark="In the other domain, of other colours and noise, features of the denoising autoencoder keep more than "
        "the codes of both.",
    ),
    System(
        "S14",
        "a decoder judged by a discriminator's features (VAE-GAN), and the adversarial autoencoder",
        "pictures, and densities that were fitted to samples, which compare with nothing here.",
        commands={
            "VAE-GAN": f"train mnist {MLP} --variant vae-gan",
            "adversarial autoencoder": f"train mnist {MLP} --variant aae",
        },
        metrics={"squared_error": "squared error", "active_units": "active units"},
        picture="samples.png",
        remark="After 15 epochs, errors in the VAE-GAN's discriminator's features leave out strokes.",
    ),
    System(
        "S15",
        "a convolutional VAE of one-dimensional series",
        "no number. The noise of these signals has a scale of 0.1.",
        script="series",
        picture="series.png",
    ),
    System(
        "S16",
        "named variants: all are compositions, [on one protocol](variants.md); here TD-VAE, which is not in that table",
        "pictures of moving digits.",
        script="td_vae",
        picture="td_vae.png",
    ),
    System(
        "S17",
        "generative models of CIFAR-10 side by side",
        "a table of published models; the two best have autoregressive decoders or some 40 levels of latents.",
        published={
            "convolutional VAE, bits per dimension": 4.54,
            "convolutional VAE, FID (not measured here)": 106.4,
            "VQ-VAE, bits per dimension": 4.67,
            "variational lossy autoencoder, bits per dimension": 2.95,
            "very deep VAE, bits per dimension": 2.87,
        },
        entries={name: {"bits_per_dim": "bits per dimension"} for name in ("cifar10_conv", "cifar10_ladder")},
        shown=("keras-vae evaluate cifar10_conv", "keras-vae evaluate cifar10_ladder"),
        picture="cifar10_ladder/samples.jpg",
    ),
    System(
        "two-stage",
        "a second VAE on the latents of the first (two-stage VAE, Dai and Wipf 2019)",
        "FID 44.4 on CelebA, of another feature space.",
        script="two_stage",
        picture="two_stage.png",
        remark="Fréchet distances of 1,000 samples to 2,500 test images, in the features of a small classifier of "
        "[attributes](results.md#faces). The first VAE was the `celeba64_conv` of 128 latent units that the zoo had "
        "before the present one.",
    ),
    System(
        "tokenizer",
        "what VAEs are used for most today: maps of latents, and a flow that makes them (Rombach et al. 2022)",
        "FID of a latent diffusion model that took days of GPUs; nothing here compares with it.",
        script="tokenizer",
        picture="tokenizer.png",
        remark="Fréchet distances, in 256 numbers, of 2,000 latents to draws of q(z|x) of 2,000 test images: the "
        "flow's are nearly as near as those of other images. Rows: images, their reconstructions, samples of N(0, I), "
        "samples of the flow. The first nine of its sixteen epochs had the learning rates of a longer run. "
        "[Tokenizers](tokenizers.md) tells how to make one.",
    ),
)
