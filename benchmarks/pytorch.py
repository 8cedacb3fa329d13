"""The networks of the benchmarks in PyTorch, and as Pythae takes them."""

import contest
import torch
from torch import nn


def networks(network: str) -> tuple[nn.Module, nn.Module, int]:
    """Encoder, decoder of logits (B, 784), and the encoder's features, with the layers that keras_vae's have."""
    if network == "mlp":
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU())
        decoder = nn.Sequential(nn.Linear(contest.LATENT, 512), nn.ReLU(), nn.Linear(512, 784))
        return encoder, decoder, 512
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(64 * 49, 256), nn.ReLU(),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(contest.LATENT, 64 * 49), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), nn.ReLU(), nn.ConvTranspose2d(32, 32, 3, 2, 1, 1), nn.ReLU(),
        nn.Conv2d(32, 1, 1), nn.Flatten(),
    )  # fmt: skip
    return encoder, decoder, 256


def images(count: int) -> torch.Tensor:
    """Random binary images, channels first."""
    return torch.from_numpy(contest.images(count)).permute(0, 3, 1, 2).contiguous()


def pythae_vae(network: str) -> nn.Module:
    """Pythae's VAE of these networks."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    features, logits, size = networks(network)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.features = features
            self.mean, self.log_variance = (nn.Linear(size, contest.LATENT) for _ in range(2))

        def forward(self, x):
            hidden = self.features(x)
            # Under autocast what follows is to be in float32, as it is in keras_vae.
            return ModelOutput(embedding=self.mean(hidden).float(), log_covariance=self.log_variance(hidden).float())

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.logits = logits

        def forward(self, z):
            probabilities = torch.sigmoid(self.logits(z).float())
            return ModelOutput(reconstruction=probabilities.reshape(-1, 1, 28, 28))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=contest.LATENT, reconstruction_loss="bce")
    return VAE(config, Encoder(), Decoder())


def autocast(precision: str) -> torch.autocast:
    """Mixed precision on the processor, which Pythae's own `amp` is not for."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16")
