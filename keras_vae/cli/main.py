"""The command keras-vae."""

import argparse
import contextlib
import logging
import os
import shlex
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from keras_vae import files, presets
from keras_vae.cli import arguments
from keras_vae.names import Spec
from keras_vae.runs import directory, strategies
from keras_vae.runs.imports import find_parts, import_parts
from keras_vae.runs.recipe import UsageError, understood

# The last two are as a shell has them for what a signal ended.
FAILURE, INTERRUPTED, CLOSED = 1, 130, 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: its arguments; None: those of the process.

    Returns:
        The exit code: 0, 1 for a failure, 2 for arguments that cannot be meant, 130 after Ctrl-C, 141 when what reads
        the output has closed it.
    """
    started = time.monotonic()
    argv = sys.argv[1:] if argv is None else list(argv)
    options = vars(arguments.parser().parse_args(argv))
    command = options.pop("command")
    if command == "train":
        return _train(options, argv, started)
    with _one_line_errors() as failure:
        if command in ("export", "fit-prior", "round"):
            options["command"] = shlex.join(["keras-vae", *argv])
        imports = options.pop("imports", ())
        _check(command, options, imports)
        function = {"parts": _parts, "variants": _variants, "prepare": _prepare}.get(command) or _pretrained(command)
        if imports:
            _experiment()
            import_parts(imports)
        failure.code = FAILURE if function(**options) else 0
    return failure.code


def _check(command, options, imports):
    """Refuses what cannot be done before it waits for a framework."""
    find_parts(imports)
    if command == "evaluate":
        from keras_vae.cli import measure

        for name in measure.names(options["name"], options["every"]):
            _check_model(command, options | {"name": name})
    elif "name" in options:
        _check_model(command, options)
    paths = (*options.get("images", ()), *(options[key] for key in ("a", "b") if key in options))
    if paths:
        from keras_vae import data
    for path in paths:
        data.parted(path)[0].stat()


def _check_model(command, options):
    from keras_vae.cli import export, models

    models.check(options["name"])
    if command in ("card", "evaluate", "fit-prior", "move", "round"):
        models.complete(options["name"])
    if command == "fit-prior":
        understood(Spec.parse, options["spec"])
    if command in ("fit-prior", "round"):
        from keras_vae.cli import fit

        fit.check(*(options[key] for key in ("name", "preset", "overwrite")))
    if command == "export":
        export.check(*(options[key] for key in ("name", "out", "format", "overwrite")))


def _train(options, argv, started):
    from keras_vae.runs.plan import plan

    dataset, as_json = options.pop("dataset"), options.pop("as_json")
    for role, spec in (options.pop("variant") or {}).items():
        options[role] = options[role] or spec
    out = options.pop("out") or Path("runs") / Path(dataset).resolve().name
    again = shlex.join(["keras-vae", "train", dataset, "--out", str(out), "--resume"])
    command = shlex.join(["keras-vae", *argv])
    results = None
    with _one_line_errors(lambda: f"; go on with: {again}" if (out / presets.CONFIG).exists() else "") as failure:
        dataset, recipe = _recipe(dataset, options["imports"])
        if recipe:
            options = recipe | options | {"preset": options["preset"] or out / "preset"}
        strategies.check(options["strategy"])
        directory.check_free(out)
        plan(dataset, out, **{name: value for name, value in options.items() if name not in ("minutes", "strategy")})
        experiment = _experiment(options["strategy"])
        try:
            results = experiment.run(dataset, out, verbose=not as_json, command=command, started=started, **options)
        except experiment.Interrupted as stopped:
            results, failure.code = stopped.results, INTERRUPTED
    # Of several processes, one says what all did.
    if (failure.code and results is None) or not experiment.Machines(options["strategy"]).processes.is_chief:
        return failure.code
    if as_json:
        print(files.json_text(results))
    elif results:
        _report(results, out)
    if results is None:
        print(f"Stopped before the first step; with more --minutes: {again}", file=sys.stderr)
    elif results["epochs"] < results["epochs_planned"]:
        where = f"epoch {results['epochs'] + 1} of {results['epochs_planned']}"
        print(f"Stopped before the end of {where}; go on with: {again}", file=sys.stderr)
    return failure.code


def _parts(role, as_json):
    from keras_vae.cli import parts

    _experiment()
    parts.list_parts(role, as_json)


def _variants(as_json):
    from keras_vae.cli import parts

    parts.list_variants(as_json)


def _prepare(dataset, source, data_dir, as_json):
    from keras_vae import data

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _quiet(), contextlib.suppress(ImportError):
        import tensorflow  # noqa: F401 (which talks when it is imported)
    made = data.prepare_celeb_a64(source, data_dir, verbose=not as_json)
    if as_json:
        print(files.json_text({**made, "directory": str(made["directory"])}))
        return
    print(
        f"{dataset}: {made['train']:,} training, {made['validation']:,} validation and {made['test']:,} test images in "
        f"{made['directory']}"
    )


@contextlib.contextmanager
def _one_line_errors(hint=lambda: ""):
    """Turns what is raised inside into one line; yields an object whose `code` then is the exit code, 0 otherwise."""
    outcome = argparse.Namespace(code=0)
    shown, warnings.showwarning = warnings.showwarning, _show_warning
    try:
        yield outcome
        sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"\nkeras-vae: interrupted{hint()}", file=sys.stderr)
        outcome.code = INTERRUPTED
    except BrokenPipeError:
        # `| head` has had enough. Python would say so once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if told := hint():
            print(f"keras-vae: the output was closed{told}", file=sys.stderr)
        outcome.code = CLOSED
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        if os.environ.get("KERAS_VAE_DEBUG"):
            raise
        if sys.stdout.isatty():
            # Away from the progress bar.
            print()
        print(f"keras-vae: error: {' '.join(str(error).split())}", file=sys.stderr)
        outcome.code = getattr(error, "exit_code", FAILURE)
    finally:
        warnings.showwarning = shown


def _pretrained(command):
    """The function of a command on trained models."""
    from keras_vae.cli import describe, export, fit, measure, use

    functions = {
        "list": describe.list_entries,
        "info": describe.info,
        "card": describe.card,
        "evaluate": measure.evaluate,
        "fit-prior": fit.fit_prior,
        "round": fit.round_weights,
        "sample": use.sample,
        "reconstruct": use.reconstruct,
        "impute": use.impute,
        "interpolate": use.interpolate,
        "move": use.move,
        "encode": use.encode,
        "score": use.score,
        "export": export.export,
    }
    if command not in ("list", "info"):
        _experiment()
    return functions[command]


def _recipe(name, imports):
    """A data set's name and nothing, or those of the recipe that `name` is of, as arguments of `experiment.run`."""
    if not name.startswith(("zoo/", "hf://")) and not (Path(name) / presets.CONFIG).is_file():
        return name, {}
    found = presets.find(name, trained=False)
    config = presets.read_config(found / presets.CONFIG)
    if "dataset" not in config["recipe"]:
        raise UsageError(f"{presets.CONFIG} has no recipe with a dataset. Received: {name!r}")
    # A preset may come from anyone: what it names is imported only if the user names it, too.
    missing = [module for module in config["recipe"].get("imports", ()) if module not in (imports or ())]
    if missing:
        again = " ".join(f"--import {module}" for module in missing)
        raise UsageError(f"This recipe has parts of modules that you import yourself: add {again}. Received: {name!r}")
    about = {"name": found.resolve().name} | config["about"]
    return config["recipe"]["dataset"], {"defaults": config["recipe"], "about": about}


def _experiment(strategy=None):
    """Imports `keras_vae.runs.run`, with what TensorFlow says while it starts kept off the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _quiet():
        import keras

        from keras_vae.runs import run as experiment

        # Before the first operation, which looks for devices.
        experiment.Machines(strategy)
        keras.ops.zeros(())
    # tensorflow-datasets warns its users there of what only its authors can change.
    logging.getLogger("absl").setLevel(logging.ERROR)
    # TensorFlow counts the steps of all models as one function, which then seems to be traced too often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return experiment


@contextlib.contextmanager
def _quiet():
    # TensorFlow 2.21 heeds TF_CPP_MIN_LOG_LEVEL only after its start, and writes past sys.stderr; what connects JAX's
    # processes writes past sys.stdout.
    if os.environ.get("KERAS_VAE_DEBUG"):
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {descriptor: os.dup(descriptor) for descriptor in (1, 2)}
    try:
        with open(os.devnull, "wb") as null:
            for descriptor in kept:
                os.dup2(null.fileno(), descriptor)
        yield
    finally:
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)


def _show_warning(message, category, *_):
    if category in (UserWarning, RuntimeWarning):
        print(f"keras-vae: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _report(results, out):
    titles = {
        "elbo": "ELBO",
        "log_likelihood": "log-likelihood",
        "kl": "KL",
        "log_prob": "log p(x)",
        "baseline_log_prob": "its baseline",
        "bits_per_dim_elbo": "bits/dim (ELBO)",
        "bits_per_dim": "bits/dim",
        "baseline_bits_per_dim": "its baseline",
        "active_units": "active units",
        "squared_error": "squared error",
        "projected_squared_error": "of projections",
        "psnr": "PSNR",
        "ssim": "SSIM",
        "imputation_rmse": "error filling in",
        "accuracy": "accuracy",
        "latent_accuracy": "accuracy of z",
        "cluster_accuracy": "clusters",
    }
    print("\nTest split")
    metrics = results["metrics"]
    for name in filter(metrics.get, titles):
        result = metrics[name]
        error = f"± {result['standard_error']:.2g}" if result.get("standard_error") else ""
        drawn = f", samples of z each: {result['samples']}" if result["samples"] else ""
        print(
            f"  {titles[name]:<16} {result['value']:>10.2f} {error:<8} {result['unit']:<9} "
            f"images: {result['images']}{drawn}"
        )
    if "baseline_log_prob" in metrics and metrics["baseline_log_prob"]["value"] > metrics["log_prob"]["value"]:
        print(f"A simpler model is better ({metrics['baseline_log_prob']['protocol'].split(';')[0]}).")
        print("Try fewer --latent-size and a smaller --network, a --corruption, or more --epochs.")
    each = f", {results['seconds_per_epoch']:.3g} s each" if "seconds_per_epoch" in results else ""
    print(f"Epochs: {results['epochs']}{each}, {results['training_seconds']:.0f} s in all. Files: {out}/")
