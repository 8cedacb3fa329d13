"""The weights of a preset rounded to as few bits as its log-likelihood needs, and written as a preset."""

from pathlib import Path

import numpy as np

from keras_vae import presets
from keras_vae.presets import weights
from keras_vae.runs import evaluation, labelling
from keras_vae.runs.recipe import UsageError
from keras_vae.training.stream import evenly

# Bits of mantissa of all arrays to begin with; and of one of them, when the others have theirs.
LEAST, LEAST_OF_ONE = 3, 2
# An array with fewer of the weights is not tried alone.
_SHARE = 0.01
_SAMPLES = 16


def round_preset(
    directory: Path,
    preset: Path,
    *,
    within: float = 0.01,
    eval_images: int = 500,
    data_dir: str | None = None,
    command: str | None = None,
) -> dict:
    """Rounds the weights of a preset, and writes the model with them as another one; what was measured stays.

    All arrays get the fewest bits that will do; then the larger ones, one after another, as many fewer as the others
    leave them.

    Args:
        directory: of the preset.
        preset: the directory to write to, the same one say.
        within: nats that the mean log p(x) of test images may move by, one standard error included.
        eval_images: how many test images that is measured on, by 16 samples each, with equal noise.
        data_dir: in the place of the recipe's.
        command: what the preset says that it was made by.

    Returns:
        {"bits" and "least_bits", the most and the fewest of an array, "moved" (nats), "standard_error", "before" and
        "after" (bytes)}.

    Raises:
        UsageError: if the preset has no recipe, or its numbers need all bits.
    """
    vae, _, images, test = evaluation.prepared(directory, data_dir, None, None)
    x, y = evenly(eval_images, test), labelling.needed(vae, images.test.labels)
    y = None if y is None else evenly(eval_images, y)

    def log_prob():
        return np.asarray(vae.log_prob(x, y=y, samples=_SAMPLES, seed=0), "float64")

    before, size = log_prob(), (directory / presets.WEIGHTS).stat().st_size

    def moved():
        """How far it moved, and the standard error; None: too far."""
        difference = log_prob() - before
        mean, error = difference.mean(), difference.std() / np.sqrt(len(difference))
        return (mean, error) if abs(mean) + error < within else None

    if not weights.large(vae):
        raise UsageError(
            f"No array of these weights has {weights.SMALL:,} numbers, and smaller ones keep their bits. "
            f"Received: {directory}"
        )
    exact = [np.array(value) for value in vae.get_weights()]
    for bits in range(LEAST, weights.MANTISSA):
        vae.set_weights(exact)
        weights.round_weights(vae, bits)
        if found := moved():
            break
    else:
        raise UsageError(f"These weights need all of their bits to stay within {within} nats. Received: {directory}")
    least, (mean, error) = _fewer(vae, exact, bits, moved, found)
    told = (
        f"{spread(least, bits)} of mantissa, moving log p(x) of {len(x):,} test images by {mean:.1g} ± {error:.1g} nats"
    )
    told = f"{told}, by `{command}`" if command else told
    known = presets.described(directory)
    # What was measured belongs to the exact weights, from which each rounding leads further away.
    rounding = "; before that, ".join([told, *filter(None, [known["about"].get("rounding")])])
    about = known["about"] | {"name": preset.resolve().name, "rounding": rounding}
    presets.save(vae, preset, **known | {"about": about})
    after = (preset / presets.WEIGHTS).stat().st_size
    return {"bits": bits, "least_bits": least, "moved": mean, "standard_error": error, "before": size, "after": after}


def spread(least: int, most: int) -> str:
    """How many bits arrays have, in words."""
    return f"{most} bits" if least == most else f"{least} to {most} bits"


def _fewer(vae, exact, bits, moved, found):
    """Takes bits of the larger arrays, one of each in turn, while `moved` allows it.

    Returns:
        The fewest bits of an array, and what `moved` said last.
    """
    values = {id(variable): value for variable, value in zip(vae.weights, exact, strict=True)}
    arrays = sorted(weights.large(vae), key=lambda variable: values[id(variable)].size, reverse=True)
    enough, least = _SHARE * sum(values[id(variable)].size for variable in arrays), bits
    arrays = [variable for variable in arrays if values[id(variable)].size >= enough]
    for fewer in range(bits - 1, LEAST_OF_ONE - 1, -1):
        tried, arrays = arrays, []
        for variable in tried:
            value = values[id(variable)]
            variable.assign(weights.rounded(value, fewer))
            if now := moved():
                found, least = now, fewer
                arrays.append(variable)
            else:
                variable.assign(weights.rounded(value, fewer + 1))
    return least, found
