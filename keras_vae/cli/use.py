"""The commands sample, reconstruct, impute, interpolate, move, encode and score: a trained model on images."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_vae import files
from keras_vae.cli import bulk, models
from keras_vae.cli.output import save_frame, save_images, say


def sample(name: str, out: Path, n: int, seed: int, temperature: float, label: int | None, as_json: bool) -> None:
    """Writes samples: the mean of p(x|z) for draws of z from the prior; without a label, of each class in turn."""
    model = models.load(name)
    y = _labels(model, label, n, in_turn=True)
    # A row of means is none of a table.
    images = model.sample(n, y=y, seed=seed, temperature=temperature, mean=model.likelihood.data != "table")
    save_images(out, images, model)
    say(out, as_json, shape=images.shape, seed=seed, temperature=temperature)


def _labels(model, label, count, in_turn=False):
    """What a model takes for labels of `count` images of one class, or of each in turn; None: none, or unknown ones.

    Raises:
        UsageError: for a label that the model does not take, and for none where it cannot do without.
    """
    from keras_vae.runs import labelling
    from keras_vae.runs.recipe import UsageError

    if label is None and (model.label_shape is None or model.labels_optional):
        return None
    if model.label_shape is None:
        raise UsageError(f"This model takes no labels: leave out --label. Received: --label {label}")
    if label is None and not in_turn:
        raise UsageError("This model is conditional: say the class of the images, --label 3. Received: no --label")
    return labelling.taken(model, np.arange(count) % model.label_shape[0] if label is None else np.full(count, label))


def reconstruct(name: str, images: Sequence[Path], out: Path, label: int | None, as_json: bool) -> None:
    """Writes reconstructions; a picture shows each image above its reconstruction."""
    from keras_vae import data

    model = models.load(name)
    x = data.read_images(images, model)
    made = model.reconstruct(x, _labels(model, label, len(x)))
    alone = out.suffix.lower() == ".npy" or model.likelihood.data == "table"
    save_images(out, made if alone else np.concatenate([x, made], axis=1), model)
    say(out, as_json, shape=made.shape)


def impute(
    name: str, images: Sequence[Path], out: Path, samples: int, seed: int, label: int | None, as_json: bool
) -> None:
    """Writes images with what is missing of them filled in: its mean, or mode, given what is there."""
    from keras_vae import data

    model = models.load(name)
    x = data.read_images(images, model)
    made = model.impute(x, samples=samples, y=_labels(model, label, len(x)), seed=seed)
    if model.likelihood.data == "table" and all(data.is_table(path) for path in images):
        # What is there, to the last digit.
        save_frame(out, data.Schema(model.likelihood.columns).filled(data.read_frames(images), made))
    else:
        save_images(out, made, model)
    missing = int(np.isnan(x).sum()) if np.issubdtype(x.dtype, np.floating) else 0
    say(out, as_json, shape=made.shape, missing=missing, samples=samples, seed=seed)


def interpolate(
    name: str, a: Path, b: Path, out: Path, steps: int, spherical: bool, label: int | None, as_json: bool
) -> None:
    """Writes images decoded along the path between the latents of two images."""
    from keras_vae import data

    model = models.load(name)
    ends = [data.read_images([path], model) for path in (a, b)]
    if any(len(end) != 1 for end in ends):
        raise ValueError(f"One image at each end is expected. Received: {len(ends[0])} and {len(ends[1])}")
    y = _labels(model, label, 1)
    y = None if y is None else y[0]
    images = model.interpolate(ends[0][0], ends[1][0], steps=steps, spherical=spherical, y=y)
    save_images(out, images, model, steps)
    say(out, as_json, shape=images.shape)


def move(name: str, images: Sequence[Path], out: Path, attribute: str, amounts: Sequence[float], as_json: bool) -> None:
    """Writes images with an attribute moved by each amount; a picture has a row for each image."""
    import zoo
    from keras_vae import data
    from keras_vae.names import one_of
    from keras_vae.runs.recipe import UsageError

    directions = zoo.attributes(models.complete(name))
    if not directions:
        raise UsageError(f"The images that this model was trained on have no attributes. Received: {name!r}")
    try:
        one_of(attribute, tuple(directions), "attribute")
    except ValueError as error:
        raise UsageError(str(error)) from error
    model = models.load(name)
    z = model.encode(data.read_images(images, model))
    moved = np.stack([z + amount * directions[attribute] for amount in amounts], axis=1)
    made = model.decode(moved.reshape(-1, *z.shape[1:]))
    save_images(out, made, model, columns=len(amounts))
    say(out, as_json, shape=made.shape, attribute=attribute, amounts=amounts)


def encode(name: str, images: Sequence[Path], out: Path | None, label: int | None, as_json: bool) -> None:
    """Writes the posterior means, (N, D), or prints them, one image a line."""
    from keras_vae import data

    model = models.load(name)
    if out is not None:
        given, shape = data.Given(images, model), tuple(model.latent_shape)

        def encoded(x, _):
            return np.reshape(model.encode(x, _labels(model, label, len(x))), (len(x), -1))

        columns = [f"z{unit}" for unit in range(math.prod(shape))]
        made_by = {"encode": name, "weights": models.digest(model), "label": label}
        bulk.write(out, given, encoded, columns, made_by, shape, verbose=not as_json)
        say(out, as_json, shape=(len(given), *shape))
        return
    x = data.read_images(images, model)
    z = model.encode(x, _labels(model, label, len(x)))
    if as_json:
        print(files.json_text({"latents": z.tolist()}))
        return
    for row in z:
        print(" ".join(f"{value:.6g}" for value in row.ravel()))


def score(
    name: str,
    images: Sequence[Path],
    out: Path | None,
    samples: int,
    proposal: str,
    seed: int,
    label: int | None,
    as_json: bool,
) -> None:
    """Prints log p(x) of each image in nats, and bits per dimension if the likelihood is a mass over levels.

    By samples of the posterior, of the prior, or of both, and whether the two agree. With a file for them, they are
    written as they come.
    """
    from keras_vae import data, metrics

    model = models.load(name)
    proposals = ("posterior", "prior") if proposal == "both" else (proposal,)
    if out is not None:
        _write_scores(model, data.Given(images, model), out, samples, proposals, seed, label, as_json, name)
        return
    x, names = data.read_named(images, model)
    y = _labels(model, label, len(x))
    found = {p: model.log_prob(x, samples=samples, y=y, seed=seed, proposal=p, errors=True) for p in proposals}
    log_prob, errors = found[proposals[0]]
    bits = metrics.bits_per_dim(log_prob, math.prod(model.image_shape)).tolist() if model.likelihood.discrete else None
    compared = metrics.agreement(*found.values()) if len(found) > 1 else None
    if as_json:
        told = {"images": names, "log_prob": log_prob.tolist(), "bits_per_dim": bits}
        told |= {"standard_errors": errors.tolist(), "proposal": proposals[0]}
        if compared is not None:
            both = zip(("log_prob", "standard_errors"), found["prior"], strict=True)
            told |= {"by_prior": {key: values.tolist() for key, values in both}, "agreement": compared._asdict()}
        print(files.json_text({**told, "samples": samples, "seed": seed}))
        return
    for index, image in enumerate(names):
        estimates = "  ".join(f"{value[index]:.4f}" for value, _ in found.values())
        print(f"{estimates} nats" + (f"  {bits[index]:.4f} bits/dim" if bits else "") + f"  {image}")
    for kind, (value, _) in found.items():
        if len(value) > 1:
            error = value.std(ddof=1) / math.sqrt(len(value))
            by = "" if len(found) == 1 else f", by the {kind}"
            print(f"mean {value.mean():.4f} ± {error:.2g} nats, {len(value)} images, {samples} samples of z each{by}")
    if compared is not None:
        print(_verdict(compared, len(names)))


def _write_scores(model, given, out, samples, proposals, seed, label, as_json, name):
    from keras_vae import metrics

    def scored(x, keys):
        y, columns = _labels(model, label, len(x)), []
        for proposal in proposals:
            options = {"samples": samples, "y": y, "seed": seed, "keys": keys, "proposal": proposal}
            columns += model.log_prob(x, errors=True, **options)
        if model.likelihood.discrete:
            columns.append(metrics.bits_per_dim(columns[0], math.prod(model.image_shape)))
        return np.stack(columns, axis=1)

    columns = [f"{what}{by}" for by in ("", "_by_prior")[: len(proposals)] for what in ("log_prob", "standard_error")]
    columns += ["bits_per_dim"] if model.likelihood.discrete else []
    made_by = {"score": name, "weights": models.digest(model), "samples": samples, "proposals": list(proposals)}
    made_by |= {"seed": seed, "label": label}
    bulk.write(out, given, scored, columns, made_by, verbose=not as_json)
    say(out, as_json, images=len(given), samples=samples, seed=seed, columns=columns)


def _verdict(compared, count):
    if compared.agrees is None:
        return "not to be compared: too few samples of the prior explain these images; more --samples may"
    verdict = "agree" if compared.agrees else "DIFFER"
    of = f"{compared.images} of {count} images, those whose standard errors are known"
    return f"the estimates {verdict}: prior less posterior {compared.difference:.4f} ± {compared.error:.2g} nats, {of}"
