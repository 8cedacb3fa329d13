"""A temporal-difference VAE of digits that move: what is believed at one time is made to agree with a later one.

Sequences are digits of MNIST that move to the left or to the right by a pixel a step, around the edge. One frame does
not tell the direction; a belief over several does. The model jumps: from z at time t1 straight to z at t2 = t1 + d.

Reference: Gregor, Papamakarios, Besse, Buesing and Weber 2019, "Temporal difference variational auto-encoder",
arXiv:1806.03107, equation 8 and section 4.3.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

import keras_vae as kv
from keras_vae.backend import Tensor, tfd

STEPS, JUMP = 20, 4
LATENT_SIZE, BELIEF = 16, 128


def moving(images: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (N, 20, 28, 28, 1) of moving images (N, 28, 28, 1), and their directions, -1 or 1, (N,)."""
    direction = np.random.default_rng(seed).choice((-1, 1), len(images))
    left, right = (np.stack([np.roll(images, sign * t, axis=2) for t in range(STEPS)], axis=1) for sign in (-1, 1))
    return np.where((direction > 0)[:, None, None, None, None], right, left), direction


class TDVAE(keras.Model):
    """The model; `fit(x)` of sequences (B, 20, 28, 28, 1).

    Args:
        seed: of times and noise.
    """

    def __init__(self, seed: int = 0):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(seed)
        self.frame = keras.Sequential([layers.Flatten(), layers.Dense(256, "relu"), layers.Dense(128, "relu")])
        self.belief = layers.LSTM(BELIEF, return_sequences=True)
        inputs = {"believed": BELIEF, "smoothed": LATENT_SIZE + 2 * BELIEF + 1, "moved": LATENT_SIZE + 1}
        self.heads = {name: _gated(size, 2 * LATENT_SIZE) for name, size in inputs.items()}
        self.decoder = keras.Sequential([layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(784)])

    def beliefs(self, x: Tensor) -> Tensor:
        """(B, T, 28, 28, 1) -> what is believed after each frame, (B, T, BELIEF)."""
        features = self.frame(ops.reshape(x, (-1, 28, 28, 1)))
        return self.belief(ops.reshape(features, (-1, x.shape[1], features.shape[-1])))

    def normal(self, name: str, *inputs: Tensor) -> tfd.Distribution:
        """p_B(z | b), q(z1 | z2, b1, b2, d) or p_T(z2 | z1, d): a diagonal Normal."""
        loc, raw = ops.split(self.heads[name](ops.concatenate(inputs, axis=-1)), 2, axis=-1)
        return tfd.MultivariateNormalDiag(loc, ops.softplus(raw) + 1e-3)

    def frames(self, z: Tensor) -> tfd.Distribution:
        """p_D(x | z)."""
        logits = ops.reshape(self.decoder(z), (-1, 28, 28, 1))
        return tfd.Independent(tfd.Bernoulli(logits=logits), reinterpreted_batch_ndims=3)

    def call(self, x: Tensor) -> Tensor:
        """The loss of each sequence, (B,), nats: equation 8 at one pair of times."""
        batch = ops.shape(x)[0]
        first = keras.random.randint((batch,), 0, STEPS - JUMP, seed=self.seeds)
        jump = keras.random.randint((batch,), 1, JUMP + 1, seed=self.seeds)
        b, distance = self.beliefs(x), ops.cast(jump, "float32")[:, None] / JUMP

        def at(sequence, time):
            mask = ops.reshape(ops.one_hot(time, STEPS), (-1, STEPS, *[1] * (len(sequence.shape) - 2)))
            return ops.sum(sequence * mask, axis=1)

        b1, b2 = at(b, first), at(b, first + jump)
        now, later = self.normal("believed", b1), self.normal("believed", b2)
        z2 = self._draw(later)
        smoothed = self.normal("smoothed", z2, b1, b2, distance)
        z1 = self._draw(smoothed)
        moved = self.normal("moved", z1, distance)
        bound = self.frames(z2).log_prob(at(x, first + jump)) - tfd.kl_divergence(smoothed, now)
        return -(bound + moved.log_prob(z2) - later.log_prob(z2))

    def _draw(self, normal):
        return normal.mean() + normal.stddev() * keras.random.normal(ops.shape(normal.mean()), seed=self.seeds)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return ops.mean(y_pred)

    def roll_out(self, x: Tensor, count: int) -> Tensor:
        """Mean frames of `count` steps after those seen, (B, T, 28, 28, 1) -> (B, count, 28, 28, 1)."""
        z = self._draw(self.normal("believed", self.beliefs(x)[:, -1]))
        step = ops.full((ops.shape(z)[0], 1), 1 / JUMP)
        shown = []
        for _ in range(count):
            z = self._draw(self.normal("moved", z, step))
            shown.append(self.frames(z).mean())
        return ops.stack(shown, axis=1)


def _gated(inputs, size):
    """A hidden layer, a gated one, and a linear one, as the paper has them."""
    seen = keras.Input((inputs,))
    h = layers.Dense(128, "relu")(seen)
    h = layers.Dense(128, "tanh")(h) * layers.Dense(128, "sigmoid")(h)
    return keras.Model(seen, layers.Dense(size)(h))


def directions(frames: np.ndarray) -> np.ndarray:
    """How frames (N, T, 28, 28, 1) move, -1, 0 or 1, from the shift that fits successive ones best."""
    shifts = np.array([-1, 0, 1])
    fits = [np.mean(np.roll(frames[:, :-1], shift, axis=3) * frames[:, 1:], axis=(1, 2, 3, 4)) for shift in shifts]
    return shifts[np.argmax(fits, axis=0)]


def run(out: Path, epochs: int = 20) -> dict:
    """Trains it; returns its numbers, and writes `td_vae.png` into `out`: frames seen, and a roll-out of each."""
    digits = kv.data.load("mnist")
    train, test = (kv.data.convert(split.images, "binary") for split in (digits.train, digits.test))
    keras.utils.set_random_seed(0)
    model = TDVAE()
    model.compile(keras.optimizers.Adam(5e-4))

    class Sequences(keras.utils.PyDataset):
        def __len__(self):
            return len(train) // 100

        def __getitem__(self, index):
            return (moving(train[index * 100 : (index + 1) * 100], seed=index)[0],)

    # Its weights must be there before those of an interrupted run can take their place.
    model(ops.convert_to_tensor(moving(train[:2], seed=0)[0]))
    model.fit(
        Sequences(),
        epochs=epochs,
        callbacks=[keras.callbacks.BackupAndRestore(out / "backup", delete_checkpoint=False)],
        verbose=2,
    )
    x, direction = moving(test[:1000], seed=10**6)
    seen = x[:, :8]
    rolled = ops.convert_to_numpy(model.roll_out(ops.convert_to_tensor(seen), 12))
    loss = model.evaluate(x, batch_size=100, verbose=0)
    rows = np.concatenate([seen[:6, 4:], rolled[:6]], axis=1)
    figure = kv.plotting.image_grid(rows.reshape(-1, 28, 28, 1), columns=rows.shape[1])
    kv.plotting.save(figure, out / "td_vae.png")
    return {
        "loss of TD-VAE, nats": float(loss),
        "roll-outs in the right direction": float(np.mean(directions(rolled) == direction)),
    }
