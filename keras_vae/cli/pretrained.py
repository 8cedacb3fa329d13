"""What the command does with a pretrained model: an entry of the zoo by its name, or the directory of a preset.

Frameworks are imported where they are needed: to list the zoo takes none.
"""

import json
import math
from pathlib import Path

import numpy as np

# What an exported model was made of.
NOTE = "served_from.json"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


def list_entries(pattern, as_json, markdown):
    """Prints the entries of the zoo, one a line."""
    import zoo

    entries = [zoo.info(name) for name in zoo.list_models(pattern)]
    if as_json:
        print(json.dumps(entries))
        return
    if markdown:
        from keras_vae.presets import cards

        print(cards.table(entries), end="")
        return
    for entry in entries:
        print(f"{entry['name']:<20} {entry['data'].get('dataset', ''):<18} {_headline(entry['metrics'])}")
    untrained = sorted(set(zoo.list_recipes()) - set(zoo.list_models()))
    if untrained and pattern is None:
        print(f"recipes without weights: {', '.join(untrained)}")


def info(name, as_json):
    """Prints what is known of an entry."""
    import zoo

    entry = zoo.info(name)
    if as_json:
        print(json.dumps(entry))
        return
    facts = {**entry["about"], **entry["data"], "parameters": entry["parameters"]}
    for key, value in (facts | {"sha256": entry["sha256"], "directory": entry["directory"]}).items():
        print(f"{key:<20} {value}")
    for metric, result in entry["metrics"].items():
        protocol = ", ".join(f"{key} {result[key]}" for key in ("split", "images", "samples") if key in result)
        print(f"{metric:<20} {_value(result)} ({protocol})")


def card(name, write, as_json):
    """Prints the card of an entry, or writes it into its directory."""
    import zoo
    from keras_vae import presets

    directory = zoo.find(name)
    if write:
        presets.write_card(directory)
        _say(directory / presets.CARD, as_json)
    elif as_json:
        print(json.dumps({"card": presets.card(directory)}))
    else:
        print(presets.card(directory), end="")


def evaluate(name, write, as_json, command, **options):
    """Measures an entry again and prints where results.json differs; returns whether it does."""
    import zoo
    from keras_vae import presets
    from keras_vae.runs import evaluation as measuring

    directory = zoo.find(name)
    _, stored = presets.read(directory)
    measured = measuring.measure_again(directory, verbose=not as_json, **options)
    rows = measuring.compare(stored, measured)
    if as_json:
        print(json.dumps(rows))
    else:
        print(f"{'metric':<20} {'results.json':>14} {'now':>14}")
        for row in rows:
            values = ("-" if row[key] is None else f"{row[key]:.5f}" for key in ("stored", "now"))
            print(f"{row['metric']:<20} {' '.join(f'{value:>14}' for value in values)}  {row['verdict']}")
    if write:
        presets.update_results(directory, measured | {"command": command})
    return any(row["verdict"].startswith("differs") for row in rows)


def sample(name, out, n, seed, temperature, as_json):
    """Writes images of the model's own."""
    model = _model(name)
    made = model.sample(n, seed=seed, temperature=temperature)
    write_images(out, made, model)
    _say(out, as_json, shape=made.shape, seed=seed, temperature=temperature)


def reconstruct(name, images, out, as_json):
    """Writes images by way of their latents; a picture shows each above its reconstruction."""
    model = _model(name)
    x = read_images(images, model)
    made = model.reconstruct(x)
    write_images(out, made if out.suffix == ".npy" else np.concatenate([x, made], axis=1), model)
    _say(out, as_json, shape=made.shape)


def interpolate(name, a, b, out, steps, spherical, as_json):
    """Writes the images on the way from the first to the second, by way of their latents."""
    model = _model(name)
    ends = [read_images([path], model) for path in (a, b)]
    if any(len(end) != 1 for end in ends):
        raise ValueError(f"One image at each end is expected. Received: {len(ends[0])} and {len(ends[1])}")
    made = model.interpolate(ends[0][0], ends[1][0], steps=steps, spherical=spherical)
    write_images(out, made, model, steps)
    _say(out, as_json, shape=made.shape)


def move(name, images, out, attribute, amounts, as_json):
    """Writes images with an attribute moved by each amount; a picture has a row for each image."""
    import zoo
    from keras_vae.names import one_of
    from keras_vae.runs.recipe import UsageError

    model, directions = _model(name), zoo.attributes(name)
    if not directions:
        raise UsageError(f"The images that this model was trained on have no attributes. Received: {name!r}")
    try:
        one_of(attribute, tuple(directions), "attribute")
    except ValueError as error:
        raise UsageError(str(error)) from error
    z = model.encode(read_images(images, model))
    moved = np.stack([z + amount * directions[attribute] for amount in amounts], axis=1)
    made = model.decode(moved.reshape(-1, *z.shape[1:]))
    write_images(out, made, model, columns=len(amounts))
    _say(out, as_json, shape=made.shape, attribute=attribute, amounts=amounts)


def encode(name, images, out, as_json):
    """Writes the posterior means, (N, D), or prints them, one image a line."""
    model = _model(name)
    z = model.encode(read_images(images, model))
    if out is not None:
        _save_array(out, z)
        _say(out, as_json, shape=z.shape)
        return
    if as_json:
        print(json.dumps({"latents": z.tolist()}))
        return
    for row in z:
        print(" ".join(f"{value:.6g}" for value in row.ravel()))


def score(name, images, samples, seed, as_json):
    """Prints log p(x) of each image, nats, and bits per dimension where the likelihood is a mass over levels."""
    from keras_vae import metrics

    model = _model(name)
    log_prob = model.log_prob(read_images(images, model), samples=samples, seed=seed)
    dims = math.prod(model.image_shape)
    bits = [metrics.bits_per_dim(value, dims) for value in log_prob] if model.likelihood.discrete else None
    if as_json:
        print(json.dumps({"log_prob": log_prob.tolist(), "bits_per_dim": bits, "samples": samples, "seed": seed}))
        return
    for index, value in enumerate(log_prob):
        print(f"{value:.4f} nats" + (f"  {bits[index]:.4f} bits/dim" if bits else ""))
    if len(log_prob) > 1:
        error = log_prob.std(ddof=1) / math.sqrt(len(log_prob))
        print(f"mean {log_prob.mean():.4f} ± {error:.2g} nats, {len(log_prob)} images, {samples} samples of z each")


def export(name, out, format, command, as_json):
    """Writes a SavedModel or ONNX files, and beside them which weights they are of."""
    import zoo
    from keras_vae import files

    folder = {"tf_saved_model": "savedmodels", "onnx": "onnxmodels"}[format]
    out = out or Path(folder) / zoo.find(name).name
    model, entry = _model(name), zoo.info(name)
    # The note stands only beside what is whole.
    (out / NOTE).unlink(missing_ok=True)
    model.export(str(out), format=format)
    note = {
        "name": entry["name"],
        "weights_sha256": entry["sha256"],
        "format": format,
        "images": {"shape": model.image_shape, "values": model.likelihood.data},
        "latents": {"shape": model.posterior.event_shape},
        "command": command,
    }
    files.write_json(out / NOTE, note)
    _say(out, as_json, **note)


def _say(out, as_json, **facts):
    """Prints what was written: the path, or, for programs, the path and the facts."""
    print(json.dumps({"out": str(out), **facts}) if as_json else out)


def _model(name):
    import zoo

    return zoo.load(name)


def _value(result):
    error = f" ± {result['standard_error']:.2g}" if result.get("standard_error") else ""
    return f"{result['value']:.5g}{error} {result.get('unit', '')}"


def _headline(metrics):
    for name in ("bits_per_dim", "log_prob", "elbo"):
        if name in metrics:
            return f"{name} {_value(metrics[name])}"
    return ""


# Images


def read_images(paths, model):
    """Images as `model` sees them, (N, *X).

    Args:
        paths: pictures, folders of them, and .npy files of one or of many images: 8-bit levels, which are converted
            (binarised with seed 0, where the model's images are binary), or floats in the units of the model's data.
        model: whose images they are to be.

    Raises:
        ValueError: for what is no image.
    """
    from keras_vae import data

    arrays = []
    for path in map(Path, paths):
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in PICTURES) if path.is_dir() else [path]
        arrays += [_read_image(file, model.image_shape) for file in files]
    if not arrays:
        raise ValueError(f"There are no images. Received: {', '.join(map(str, paths))}")
    if len({a.dtype == np.uint8 for a in arrays}) > 1 or len({a.shape[1:] for a in arrays}) > 1:
        found = sorted({f"{a.dtype} {a.shape[1:]}" for a in arrays})
        raise ValueError(f"Images must be of one shape and kind. Received: {', '.join(found)}")
    images = np.concatenate(arrays)
    if images.dtype != np.uint8:
        return images
    kind = model.likelihood.data
    return data.convert(images, kind, seed=0, binary=kind == "binary" and images.max(initial=0) <= 1)


def _read_image(path, image_shape):
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        return array[None] if array.shape == image_shape else array
    from PIL import Image, ImageOps, UnidentifiedImageError

    height, width, channels = image_shape
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
            if image.size != (width, height):
                image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
            return np.asarray(image, dtype="uint8").reshape(1, height, width, channels)
    except UnidentifiedImageError as error:
        raise ValueError(f"This is neither a picture nor a .npy file. Received: {path}") from error


def write_images(out, images, model, columns=None):
    """Writes images (N, *X) in the units of the model's data.

    Args:
        out: a .npy file; a .png, for a grid of them, pixel by pixel; or a directory, for a .png of each.
        images: the images.
        model: whose they are.
        columns: of the grid; None: about as many as rows.
    """
    if out.suffix == ".npy":
        _save_array(out, images)
    elif out.suffix.lower() == ".png":
        out.parent.mkdir(parents=True, exist_ok=True)
        columns = columns or math.ceil(math.sqrt(len(images)))
        _save_picture(out, _tiled(_levels(images, model), columns))
    else:
        out.mkdir(parents=True, exist_ok=True)
        for index, image in enumerate(_levels(images, model)):
            _save_picture(out / f"{index:05d}.png", image)


def _save_array(out, array):
    out.parent.mkdir(parents=True, exist_ok=True)
    # By a file, since numpy adds .npy to names without it.
    with open(out, "wb") as file:
        np.save(file, array, allow_pickle=False)


def _levels(images, model):
    if images.ndim != 4:
        raise ValueError(f"Signals are no pictures: write them to a .npy file. Received: shape {images.shape}")
    scale = 1 if model.likelihood.data == "8-bit levels" else 255
    return np.clip(np.rint(images * scale), 0, 255).astype("uint8")


def _tiled(images, columns):
    rows = -(-len(images) // columns)
    blank = np.zeros((rows * columns - len(images), *images.shape[1:]), images.dtype)
    grid = np.concatenate([images, blank]).reshape(rows, columns, *images.shape[1:])
    grid = grid.swapaxes(1, 2)
    return grid.reshape(rows * images.shape[1], columns * images.shape[2], images.shape[3])


def _save_picture(path, levels):
    from PIL import Image

    Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels).save(path)
