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
}
# What a table has room for.
_HEADLINES = ("bits_per_dim", "bits_per_dim_elbo", "log_prob", "elbo", "kl", "active_units", "psnr", "ssim")
_DECIMALS = {"active_units": 0, "bits_per_dim": 3, "bits_per_dim_elbo": 3, "ssim": 3}


def text(config, results):
    """The card.

    Args:
        config: what its config.json holds.
        results: what its results.json holds.
    """
    about, name = config["about"], config["about"]["name"]
    sections = [
        _front_matter(name, config, results),
        f"# {about.get('title', name)}\n",
        *([about["description"] + "\n"] if about.get("description") else []),
        _facts(config, results),
        _use(name),
        *([_pictures(results["pictures"])] if results.get("pictures") else []),
        *([_results(results)] if results["metrics"] else []),
        *([_training(config, results)] if config["recipe"] else []),
        "This card is written by `keras-vae card` from `config.json` and `results.json`.\n",
    ]
    return "\n".join(sections)


def table(entries):
    """A Markdown table of presets, one a line.

    Args:
        entries: what `zoo.info` returns of each.
    """
    lines = ["| name | what | parameters | test results |", "|---|---|---|---|"]
    for entry in entries:
        shown = [metric for metric in _HEADLINES if metric in entry["metrics"]]
        results = "<br>".join(_sentence(metric, entry["metrics"][metric]) for metric in shown)
        lines.append(f"| `{entry['name']}` | {entry['about']['title']} | {entry['parameters']:,} | {results} |")
    return "\n".join(lines) + "\n"


def _sentence(metric, result):
    """ "log p(x) -91.20 ± 0.22 nats (10,000 images, 5,000 samples each)"."""
    error = f" ± {result['standard_error']:.2g}" if result.get("standard_error") else ""
    samples = f", {result['samples']:,} samples each" if result["samples"] > 1 else ""
    unit = "" if metric == "ssim" or metric.startswith("bits") else f" {result['unit']}"
    name = _TITLES.get(metric, metric.replace("_", " "))
    return f"{name} {result['value']:.{_DECIMALS.get(metric, 2)}f}{error}{unit} ({result['images']:,} images{samples})"


def _front_matter(name, config, results):
    """YAML; strings are written as JSON, which YAML contains."""
    dataset = config["data"].get("dataset")
    lines = ["---", "library_name: keras"]
    if config["about"].get("license"):
        lines.append(f"license: {json.dumps(config['about']['license'].lower())}")
    lines += ["tags:", "- keras", "- keras_vae", "- variational-autoencoder"]
    if dataset:
        lines += ["datasets:", f"- {json.dumps(dataset)}"]
    if results["metrics"]:
        lines += ["model-index:", f"- name: {json.dumps(name)}", "  results:"]
    for metric, result in results["metrics"].items():
        lines += [
            "  - task:",
            "      type: unconditional-image-generation",
            "    dataset:",
            f"      name: {json.dumps(dataset or 'unknown')}",
            f"      type: {json.dumps(dataset or 'unknown')}",
            f"      split: {json.dumps(result.get('split', 'test'))}",
            "    metrics:",
            f"    - type: {json.dumps(metric)}",
            f"      name: {json.dumps(_described(metric, result))}",
            f"      value: {json.dumps(result['value'])}",
        ]
    return "\n".join([*lines, "---", ""])


def _described(metric, result):
    return f"{_TITLES.get(metric, metric.replace('_', ' '))} ({result.get('unit', 'no unit')})"


def _facts(config, results):
    about, data = config["about"], config["data"]
    rows = {
        "paper": about.get("paper"),
        "data set": data.get("dataset"),
        "preprocessing": data.get("preprocessing"),
        "licence": about.get("license"),
        "use": about.get("use"),
        "parameters": f"{results['weights']['parameters']:,}",
        "sha256 of the weights": f"`{results['weights']['sha256']}`",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items() if value), ""])


def _use(name):
    return f"""## Use

```python
import keras_vae as kv

vae = kv.VAE.from_preset("{name}")  # this directory; an entry of the zoo: zoo.load("{name}")
images = vae.sample(16, seed=0)
```
"""


def _pictures(pictures):
    shown = (f"![{caption}]({name})\n\n{caption[:1].upper()}{caption[1:]}.\n" for name, caption in pictures.items())
    return "\n".join(["## Pictures", "", *shown])


def _results(results):
    lines = [
        "## Results",
        "",
        "| metric | value | split | images | samples of z | protocol |",
        "|---|---|---|---|---|---|",
    ]
    for metric, result in results["metrics"].items():
        error = f" ± {result['standard_error']:.2g}" if result.get("standard_error") else ""
        cells = (
            _described(metric, result),
            f"{result['value']:.5g}{error}",
            *(result.get(key, "") for key in ("split", "images", "samples", "protocol")),
        )
        lines.append(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |")
    versions = ", ".join(f"{key} {value}" for key, value in results.get("versions", {}).items() if value)
    lines += ["", f"Versions: {versions}."] if versions else []
    return "\n".join([*lines, ""])


def _training(config, results):
    lines = ["## Training", "", "```json", json.dumps(config["recipe"], indent=2), "```", ""]
    if results.get("command"):
        lines += [f"Trained by `{results['command']}`.", ""]
    return "\n".join(lines)
