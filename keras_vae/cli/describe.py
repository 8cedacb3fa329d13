"""The commands list, info and card: what is known of pretrained models."""

from keras_vae import files
from keras_vae.cli import models
from keras_vae.cli.output import say


def list_entries(pattern: str | None, as_json: bool, markdown: bool) -> None:
    """Prints the entries of the zoo, one a line."""
    import zoo

    entries = [zoo.info(name) for name in zoo.list_models(pattern)]
    if as_json:
        print(files.json_text(entries))
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


def info(name: str, as_json: bool) -> None:
    """Prints the data, paper, licence and results of a model."""
    entry = models.info(name)
    if as_json:
        print(files.json_text(entry))
        return
    facts = {**entry["about"], **entry["data"]}
    facts |= {key: entry[key] for key in ("parameters", "epochs", "sha256", "directory") if key in entry}
    for key, value in facts.items():
        print(f"{key:<20} {value}")
    for metric, result in entry["metrics"].items():
        protocol = ", ".join(f"{key} {result[key]}" for key in ("split", "images", "samples") if key in result)
        print(f"{metric:<20} {_value(result)} ({protocol})")


def card(name: str, write: bool, as_json: bool) -> None:
    """Prints the card of a model, or writes it to its directory."""
    from keras_vae import presets

    directory = models.complete(name)
    if write:
        presets.write_card(directory)
        say(directory / presets.CARD, as_json)
    elif as_json:
        print(files.json_text({"card": presets.card(directory)}))
    else:
        print(presets.card(directory), end="")


def _value(result):
    error = f" ± {result['standard_error']:.2g}" if result.get("standard_error") else ""
    return f"{result['value']:.5g}{error} {result.get('unit', '')}"


def _headline(metrics):
    for name in ("bits_per_dim", "log_prob", "elbo"):
        if name in metrics:
            return f"{name} {_value(metrics[name])}"
    return ""
