"""The card of a preset: Markdown after YAML front matter, as model hubs show it, from config.json and results.json."""

import json

_TITLES = {
    "log_prob": "log p(x)",
    "elbo": "ELBO",
    "iwae": "importance-weighted bound",
    "log_likelihood": "E log p(x|z)",
    "kl": "KL",
    "bits_per_dim": "bits/dim",
    "bits_per_dim_elbo": "bits/dim (ELBO)",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "imputation_rmse": "root mean squared error of missing pixels",
}
# What ends the name of a metric that belongs to the prior before another one was fitted.
BEFORE = "_before"
_DENSITIES = ("log_prob", "elbo", "iwae", "log_likelihood")
_DECIMALS = {"active_units": 0, "bits_per_dim": 3, "ssim": 3, "imputation_rmse": 3}
_TASK = "unconditional-image-generation"
# {heading: its metrics, of which a preset has one}.
_COLUMNS = {
    "log p(x) or bits/dim": ("bits_per_dim", "log_prob"),
    "SSIM": ("ssim",),
}
# {mark: (words of a protocol, footnote)}; of two the first is shown.
_MARKS = {
    "‡": ("no density", "‡ The likelihood is a distance, and no density: comparable with nothing."),
    "†": (
        "not dequantised",
        "† Density of grey values that were not dequantised: it has no upper bound and is comparable with nothing, "
        "neither with bits/dim nor with densities reported elsewhere.",
    ),
}


def text(config: dict, results: dict) -> str:
    """The card.

    Args:
        config: what its config.json holds.
        results: what its results.json holds.
    """
    about = config["about"]
    sections = [
        f"---\n{front_matter(config, results)}\n---\n",
        f"# {about.get('title', about['name'])}\n",
        *([about["description"] + "\n"] if about.get("description") else []),
        _facts(config, results),
        _use(config),
        *([_pictures(results["pictures"])] if results.get("pictures") else []),
        *([_results(results)] if results["metrics"] else []),
        *([_training(config, results)] if config["recipe"] else []),
        "`keras-vae card` generates this page from `config.json` and `results.json`.\n",
    ]
    return "\n".join(sections)


def table(entries: list[dict]) -> str:
    """A Markdown table of presets, one a line, and what its marks mean.

    Args:
        entries: what `zoo.info` returns of each.
    """
    headings = ("name", "model", "parameters", *_COLUMNS)
    lines = [_row(headings), _row("---" if heading in headings[:2] else "--:" for heading in headings)]
    for entry in entries:
        metrics = entry["metrics"]
        what = (f"`{entry['name']}`", entry["about"].get("title", ""), f"{entry['parameters']:,}")
        lines.append(_row((*what, *(_cell(metrics, names) for names in _COLUMNS.values()))))
    lines += [
        "",
        "log p(x) is estimated by importance sampling, with K samples of z for each test image; ± is the "
        "standard error over test images.",
    ]
    lines += _footnotes(lines)
    return "\n".join(lines) + "\n"


def _cell(metrics, names):
    """ "-91.20 ± 0.22 nats, K=5,000": the first of these metrics that there is."""
    name = next((name for name in names if name in metrics), None)
    if name is None:
        return "–"
    result = metrics[name]
    value = f"{result['value']:.{_DECIMALS.get(name, 2)}f}"
    mark = _mark(name, result)
    if len(names) == 1:
        return value + mark
    return f"{value}{_error(result)} {result['unit']}, K={result['samples']:,}{mark}"


def _mark(name, result):
    """That of a number that is comparable with nothing, by what its protocol says."""
    said = [mark for mark, (words, _) in _MARKS.items() if words in result["protocol"]]
    return f" {said[0]}" if name.removesuffix(BEFORE) in _DENSITIES and said else ""


def _footnotes(lines):
    return [line for mark, (_, note) in _MARKS.items() if any(mark in row for row in lines) for line in ("", note)]


def _error(result):
    return f" ± {result['standard_error']:.2g}" if result.get("standard_error") else ""


def _row(cells):
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def metadata(config: dict, results: dict) -> dict:
    """What the front matter holds, as `ModelCardData` of huggingface_hub has it."""
    about, dataset = config["about"], config["data"].get("dataset", "unknown")
    splits = {}
    for name, result in results["metrics"].items():
        metric = {"type": name, "value": result["value"], "name": _described(name, result)}
        splits.setdefault(result["split"], []).append(metric)
    index = [
        {"task": {"type": _TASK}, "dataset": {"name": dataset, "type": dataset, "split": split}, "metrics": metrics}
        for split, metrics in splits.items()
    ]
    held = {
        "library_name": "keras",
        "license": about.get("license", "").lower(),
        "pipeline_tag": _TASK,
        "tags": ["keras", "keras_vae", "variational-autoencoder"],
        # A folder of images is no data set that others could look up.
        "datasets": [dataset] if dataset != "unknown" and "/" not in dataset else [],
        "model-index": [{"name": about["name"], "results": index}] if index else [],
    }
    return {key: value for key, value in held.items() if value}


def front_matter(config: dict, results: dict) -> str:
    """`metadata` as YAML, written here so that a card is the same with and without huggingface_hub."""
    return "\n".join(_yaml(metadata(config, results)))


def _yaml(value):
    """The lines of a dictionary or list in block style."""
    if isinstance(value, dict):
        for key, item in value.items():
            nested = isinstance(item, (dict, list))
            yield f"{key}:" if nested else f"{key}: {_scalar(item)}"
            yield from (f"  {line}" for line in (_yaml(item) if nested else ()))
    else:
        for item in value:
            first, *rest = _yaml(item) if isinstance(item, dict) else [_scalar(item)]
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def _scalar(value):
    written = json.dumps(value, ensure_ascii=False)
    # "1e-07" would be a string in YAML 1.1.
    return written.replace("e", ".0e") if isinstance(value, float) and "." not in written else written


def _described(name, result):
    mark = _mark(name, result).strip()
    warning = f", {_MARKS[mark][0]}: comparable with nothing" if mark else ""
    return f"{_title(name)} ({result['unit']}{warning})"


def _title(name):
    base = name.removesuffix(BEFORE)
    title = _TITLES.get(base, base.replace("_", " "))
    return title if base == name else f"{title} with the former prior"


def _facts(config, results):
    about, data = config["about"], config["data"]
    rows = {
        "paper": about.get("paper"),
        "data set": data.get("dataset"),
        "preprocessing": data.get("preprocessing"),
        "prior": about.get("prior"),
        "weights": about.get("rounding"),
        "licence": about.get("license"),
        "use": about.get("use"),
        "parameters": f"{results['weights']['parameters']:,}",
        "sha256 of the weights": f"`{results['weights']['sha256']}`",
    }
    return "\n".join(["| | |", "|---|---|", *(_row(item) for item in rows.items() if item[1]), ""])


def _use(config):
    # Of classes of the user's own keras_vae knows only the base.
    registered = config["model"]["registered_name"] or ""
    kind = registered.removeprefix("keras_vae>") if registered.startswith("keras_vae>") else "LatentVariableModel"
    source = config["about"].get("repository", config["about"]["name"])
    shape = config["model"]["config"].get("label_shape")
    classes = shape[0] if isinstance(shape, (list, tuple)) and len(shape) == 1 else None
    keras = "import keras\n" if classes else ""
    labels = f"y=keras.utils.to_categorical([0] * 16, {classes}), " if classes else ""
    return f"""## Use

```python
{keras}import keras_vae as kv

vae = kv.{kind}.from_preset("{source}")  # or the path of a copy of this directory
images = vae.sample(16, {labels}seed=0){"  # of class 0" if classes else ""}
```
"""


def _pictures(pictures):
    shown = (f"![{caption}]({name})\n\n{caption[:1].upper()}{caption[1:]}.\n" for name, caption in pictures.items())
    return "\n".join(["## Pictures", "", *shown])


def _results(results):
    lines = ["## Results", "", _row(("metric", "value", "split", "images", "samples of z", "protocol"))]
    lines.append(_row(["---"] * 6))
    for name, result in results["metrics"].items():
        value = f"{result['value']:.5g}{_error(result)}{_mark(name, result)}"
        samples = f"{result['samples']:,}" if result["samples"] else "–"
        title = f"{_title(name)} ({result['unit']})"
        lines.append(_row((title, value, result["split"], f"{result['images']:,}", samples, result["protocol"])))
    lines += _footnotes(lines)
    versions = ", ".join(f"{key} {value}" for key, value in results.get("versions", {}).items() if value)
    lines += ["", f"Versions: {versions}."] if versions else []
    return "\n".join([*lines, ""])


def _training(config, results):
    lines = ["## Training", "", "```json", json.dumps(config["recipe"], indent=2), "```", ""]
    if results.get("command"):
        lines += [f"Trained with `{results['command']}`.", ""]
    if before := results.get("epochs_before"):
        lines += [
            f"The training began with the weights of `{config['recipe']['start']}`, which had {before:,} epochs: "
            f"{before + results['epochs']:,} in all.",
            "",
        ]
    return "\n".join(lines)
