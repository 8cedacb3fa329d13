import dataclasses
import re
import time
import warnings

import keras
import numpy as np
import pytest
from compositions import BY_NAME, COMPOSITIONS, LATENT, Composition
from matplotlib import image as matplotlib_image

import keras_vae as kv
from keras_vae.training import collapse

COMPOSITION = Composition("bernoulli")
IMAGES = COMPOSITION.images(96)
LABELS = np.arange(96) % 10


def fit(callbacks, epochs=2, model=None, **kwargs):
    model = model or COMPOSITION.model()
    return model, model.fit(IMAGES, batch_size=32, epochs=epochs, verbose=0, callbacks=callbacks, **kwargs).history


def names(directory):
    return sorted(path.name for path in directory.iterdir())


class Collapsed:
    """Encoder heads that make some units carry nothing: their mean and log-variance are 0 for every image."""

    @staticmethod
    def model(dead, seed=0):
        vae = COMPOSITION.model(seed)
        # The last weights before the posterior: (features, LATENT * 2), unit by unit.
        kernel, bias = vae.posterior.head.dense.kernel, vae.posterior.head.dense.bias
        keep = np.repeat([unit not in dead for unit in range(LATENT)], 2)
        kernel.assign(keras.ops.convert_to_numpy(kernel) * keep)
        bias.assign(keras.ops.convert_to_numpy(bias) * keep)
        # Steps of length zero: it stays as it is.
        vae.compile(keras.optimizers.SGD(0.0))
        return vae


def picture_callbacks(directory, **kwargs):
    return [
        kv.callbacks.SampleGrid(directory, count=4, **kwargs),
        kv.callbacks.ReconstructionGrid(directory, IMAGES[:5], **kwargs),
        kv.callbacks.LatentTraversal(directory, IMAGES[:20], **kwargs),
        kv.callbacks.LatentScatter(directory, IMAGES, LABELS, **kwargs),
    ]


def test_pictures_are_written_at_their_epochs_and_show_what_was_learnt(tmp_path):
    fit(picture_callbacks(tmp_path, every=2), epochs=5)
    kinds = ("latent", "reconstructions", "samples", "traversal")
    assert names(tmp_path) == [f"{kind}_{epoch:04d}.png" for kind in kinds for epoch in (2, 4)]
    for kind in kinds:
        before, after = (matplotlib_image.imread(tmp_path / f"{kind}_{epoch:04d}.png") for epoch in (2, 4))
        assert before.shape != after.shape or (before != after).any()


def test_pictures_of_the_same_model_are_the_same(tmp_path):
    model = COMPOSITION.model()
    model.compile(keras.optimizers.SGD(0.0))
    fit(picture_callbacks(tmp_path), epochs=2, model=model)
    for kind in ("latent", "reconstructions", "samples", "traversal"):
        one, two = ((tmp_path / f"{kind}_{epoch:04d}.png").read_bytes() for epoch in (1, 2))
        assert one == two
    # Another seed makes other samples.
    fit([kv.callbacks.SampleGrid(tmp_path / "other", count=4, seed=1)], epochs=1, model=model)
    assert (tmp_path / "other" / "samples_0001.png").read_bytes() != (tmp_path / "samples_0001.png").read_bytes()


def test_pictures_show_what_the_model_makes(tmp_path, monkeypatch):
    drawn = {}
    for name in ("image_grid", "reconstruction_grid", "traversal_grid", "latent_scatter"):
        figure = getattr(kv.plotting, name)

        def spy(*args, name=name, figure=figure, **kwargs):
            drawn[name] = args
            return figure(*args, **kwargs)

        monkeypatch.setattr(kv.plotting, name, spy)
    model, _ = fit(picture_callbacks(tmp_path, seed=7), epochs=1)
    means = model.encode(IMAGES[:20])
    units = np.argsort(-means.var(axis=0))
    np.testing.assert_array_equal(drawn["image_grid"][0], model.sample(4, seed=7))
    np.testing.assert_array_equal(drawn["reconstruction_grid"][0], IMAGES[:5])
    np.testing.assert_array_equal(drawn["reconstruction_grid"][1], model.reconstruct(IMAGES[:5]))
    np.testing.assert_allclose(drawn["latent_scatter"][0], model.encode(IMAGES), rtol=1e-5, atol=1e-6)
    images, shown, values = drawn["traversal_grid"]
    np.testing.assert_array_equal(shown, units)
    z = np.repeat(means[:1], LATENT * 7, axis=0).reshape(LATENT, 7, LATENT)
    for row, unit in zip(z, units, strict=True):
        row[:, unit] = values
    expected = model.decode(z.reshape(-1, LATENT)).reshape(LATENT, 7, 8, 8, 1)
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-5)


def test_labels_of_a_conditional_model_are_passed_on(tmp_path, monkeypatch):
    model = COMPOSITION.model()
    seen = {}
    for name in ("sample", "reconstruct", "encode", "decode"):
        method = getattr(model, name)

        def spy(*args, name=name, method=method, y=None, **kwargs):
            seen[name] = y
            return method(*args, **kwargs)

        monkeypatch.setattr(model, name, spy)
    y = np.arange(4)
    callbacks = [
        kv.callbacks.SampleGrid(tmp_path, count=4, y=y),
        kv.callbacks.ReconstructionGrid(tmp_path, IMAGES[:4], y=y),
        kv.callbacks.LatentTraversal(tmp_path, IMAGES[:4], y=y + 5, values=[-1, 1]),
    ]
    fit(callbacks, epochs=1, model=model)
    np.testing.assert_array_equal(seen["sample"], y)
    np.testing.assert_array_equal(seen["reconstruct"], y)
    np.testing.assert_array_equal(seen["encode"], y + 5)
    np.testing.assert_array_equal(seen["decode"], [5] * LATENT * 2)


ONE_HOT = np.eye(10, dtype="float32")[LABELS]


def conditional():
    """A VAE whose two networks see a label, too."""
    x, z, y = (keras.Input(shape) for shape in ((8, 8, 1), (LATENT,), (10,)))
    features = keras.layers.Dense(16, activation="relu")(keras.ops.concatenate([keras.layers.Flatten()(x), y], axis=-1))
    encoder = keras.Model([x, y], features)
    decoder = keras.Model([z, y], keras.layers.Dense(16, activation="relu")(keras.ops.concatenate([z, y], axis=-1)))
    vae = kv.VAE(encoder, decoder, seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


def callbacks_of_images(directory, y):
    """Every callback that uses the model, with labels as given."""
    few, all_ = (None, None) if y is None else (y[:4], y)
    return [
        kv.callbacks.SampleGrid(directory, count=4, y=few),
        kv.callbacks.ReconstructionGrid(directory, IMAGES[:4], y=few),
        kv.callbacks.LatentTraversal(directory, IMAGES[:4], y=few),
        kv.callbacks.LatentScatter(directory, IMAGES, LABELS, count=50, y=all_),
        kv.callbacks.ActiveUnits(IMAGES, count=50, y=all_),
        kv.callbacks.CollapseWarning(IMAGES, after=1, least_kl=0.0, least_units=1, y=all_),
    ]


def test_a_conditional_model_is_watched_with_its_labels(tmp_path):
    model = conditional()
    model.fit(IMAGES, ONE_HOT, batch_size=32, epochs=1, verbose=0, callbacks=callbacks_of_images(tmp_path, ONE_HOT))
    assert len(names(tmp_path)) == 4
    trained = int(model.step)
    for callback in callbacks_of_images(tmp_path, None):
        with pytest.raises(ValueError, match="Received: "):
            model.fit(IMAGES, ONE_HOT, batch_size=32, verbose=0, callbacks=[callback])
    assert int(model.step) == trained


def test_units_of_a_map_are_traversed_as_a_vector(tmp_path, monkeypatch):
    (composition,) = (c for c in COMPOSITIONS if c.name == "latent_map")
    drawn = []
    figure = kv.plotting.traversal_grid
    monkeypatch.setattr(kv.plotting, "traversal_grid", lambda *args: (drawn.append(args), figure(*args))[1])
    model, images = composition.model(), composition.images(96)
    callbacks = [kv.callbacks.LatentTraversal(tmp_path, images[:20], units=[5], values=[0.0, 2.0])]
    model.fit(images, batch_size=32, verbose=0, callbacks=callbacks)
    z = np.repeat(model.encode(images[:20])[:1], 2, axis=0)
    z[:, 0, 1, 2] = [0.0, 2.0]
    np.testing.assert_allclose(drawn[0][0][0], model.decode(z), rtol=1e-4, atol=1e-5)


def test_schedules_of_a_wrapped_objective_are_logged():
    class Wrapping(kv.objectives.Objective):
        """Twice the loss of another objective, with a weight of its own."""

        def __init__(self, objective, weight, **kwargs):
            super().__init__(samples=objective.samples, **kwargs)
            self.objective, self.weight = objective, weight

        def terms(self, inference):
            return {"loss": self.weight(inference.step) * self.objective.terms(inference)["loss"]}

    inner = kv.objectives.ELBO(beta=kv.schedules.Capacity(2.0, steps=12))
    wrapping = Wrapping(inner, kv.schedules.LinearWarmup(12, start=0.5))
    model = Composition("wrapped", objective=lambda: wrapping).model()
    _, history = fit([kv.callbacks.ScheduleLogger()], epochs=1, model=model)
    # After three of twelve steps.
    assert history["capacity"] == [0.5] and history["weight"] == [0.625]


def test_callbacks_leave_the_training_as_it_is(tmp_path):
    data = {"validation_data": IMAGES[:32]}
    plain, expected = fit([], epochs=3, **data)
    watchers = [
        *picture_callbacks(tmp_path / "pictures"),
        kv.callbacks.ActiveUnits(IMAGES),
        kv.callbacks.CollapseWarning(IMAGES, after=1, least_kl=0.0, least_units=1),
        kv.callbacks.ScheduleLogger(),
        kv.callbacks.BestCheckpoints(tmp_path / "best"),
    ]
    watched, history = fit(watchers, epochs=3, **data)
    assert {name: history[name] for name in expected} == expected
    for a, b in zip(plain.weights, watched.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_pictures_go_to_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import IMAGES as KIND
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    callbacks = [
        kv.callbacks.SampleGrid(tmp_path, count=4, tensorboard=tmp_path / "logs"),
        kv.callbacks.ReconstructionGrid(tmp_path, IMAGES[:3], tensorboard=tmp_path / "logs", every=2),
    ]
    fit(callbacks, epochs=2)
    for name, steps in (("samples", [1, 2]), ("reconstructions", [2])):
        events = EventAccumulator(str(tmp_path / "logs" / name), size_guidance={KIND: 0})
        events.Reload()
        shown = events.Images(name)
        assert [event.step for event in shown] == steps
        picture = (tmp_path / f"{name}_0002.png").read_bytes()
        height, width = matplotlib_image.imread(tmp_path / f"{name}_0002.png").shape[:2]
        assert (shown[-1].encoded_image_string, shown[-1].width, shown[-1].height) == (picture, width, height)


def test_without_tensorboard_pictures_go_to_files_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.warns(UserWarning, match="pip install tensorboard"):
        fit([kv.callbacks.SampleGrid(tmp_path, count=4, tensorboard=tmp_path / "logs")], epochs=1)
    assert names(tmp_path) == ["samples_0001.png"]


def test_a_diverged_model_has_no_picture_and_its_own_warning(tmp_path):
    model = COMPOSITION.model()
    model.compile(keras.optimizers.SGD(1e30))
    with pytest.warns(RuntimeWarning, match="NaN or infinite"):
        fit(picture_callbacks(tmp_path / "pictures"), epochs=2, model=model)
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: kv.callbacks.ReconstructionGrid(path, IMAGES[:4] * 255),
        lambda path: kv.callbacks.ReconstructionGrid(path, IMAGES[:4, :4]),
        lambda path: kv.callbacks.LatentTraversal(path, IMAGES[:4], units=[LATENT]),
        lambda path: kv.callbacks.LatentScatter(path, IMAGES[:0]),
        lambda path: kv.callbacks.ActiveUnits(IMAGES * 255),
        lambda path: kv.callbacks.CollapseWarning(IMAGES[:, :4]),
    ],
)
def test_what_cannot_be_shown_is_refused_before_the_training(tmp_path, make):
    model = COMPOSITION.model()
    with pytest.raises(ValueError, match="Received: "):
        fit([make(tmp_path)], model=model)
    assert int(model.step) == 0
    fit([], epochs=1, model=model)


@pytest.mark.parametrize(
    "make",
    [
        lambda: kv.callbacks.SampleGrid("pictures", every=0),
        lambda: kv.callbacks.SampleGrid("pictures", count=0),
        lambda: kv.callbacks.LatentScatter("pictures", IMAGES, LABELS[:5]),
        lambda: kv.callbacks.LatentScatter("pictures", IMAGES, projection="umap"),
        lambda: kv.callbacks.ActiveUnits(IMAGES[:1]),
        lambda: kv.callbacks.BestCheckpoints("best", k=0),
        lambda: kv.callbacks.BestCheckpoints("best", monitor="val_beta"),
        lambda: kv.callbacks.BestCheckpoints("best", mode="highest"),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ValueError, match="Received: "):
        make()


@pytest.mark.parametrize(("dead", "active"), [((), 3), ((1,), 2), ((0, 1, 2), 0)])
def test_active_units_of_a_model_with_known_dead_ones(dead, active):
    model = Collapsed.model(dead)
    _, history = fit([kv.callbacks.ActiveUnits(IMAGES, threshold=1e-4)], model=model)
    assert history["active_units"] == [active, active]
    assert (np.var(model.encode(IMAGES), axis=0) > 1e-4).sum() == active


def test_active_units_are_logged_in_every_epoch_and_measured_in_some(monkeypatch):
    model = COMPOSITION.model()
    sizes = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda x, y=None: (sizes.append(len(x)), encode(x))[1])
    _, history = fit([kv.callbacks.ActiveUnits(IMAGES, count=40, every=3)], epochs=6, model=model)
    assert len(history["active_units"]) == 6
    assert history["active_units"][3] == history["active_units"][2]
    # Before the training; then after the first epoch, the third, the sixth.
    assert sizes == [40, 40, 40, 40]


def test_only_a_collapsed_model_is_warned_of_once_and_after_its_time():
    with pytest.warns(RuntimeWarning, match="LinearWarmup") as caught:
        fit([kv.callbacks.CollapseWarning(IMAGES, after=2)], epochs=4, model=Collapsed.model((0, 1, 2)))
    (message,) = [str(w.message) for w in caught if "collapsed" in str(w.message)]
    assert "after epoch 2 the KL is 0 nats and 0 of 3 latent units are active" in message
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fit([kv.callbacks.CollapseWarning(IMAGES, after=5)], epochs=4, model=Collapsed.model((0, 1, 2)))
        # One unit left is no collapse.
        callback = kv.callbacks.CollapseWarning(IMAGES, after=1, least_kl=1e-6)
        callback._measure._threshold = 1e-4
        fit([callback], epochs=2, model=Collapsed.model((0, 1)))


def test_fit_itself_warns_of_a_collapse(monkeypatch):
    monkeypatch.setattr(collapse, "_AFTER", 3)

    def told(*callbacks, model=None, epochs=4):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _, history = fit(list(callbacks), epochs=epochs, model=model or Collapsed.model((0, 1, 2)))
        return [str(w.message) for w in caught if "collapsed" in str(w.message)], history

    (message,), history = told()
    assert "normal" in message.lower() and "after epoch" in message and history["kl"][-1] == 0
    # One that was asked for takes its place; models that use their latents are told nothing.
    assert told(kv.callbacks.CollapseWarning(after=100))[0] == []
    assert told(model=COMPOSITION.model())[0] == []
    monkeypatch.setattr(collapse, "_AFTER", 1000)
    assert told()[0] == []


def test_a_low_capacity_is_no_collapse():
    def collapsed(epsilon):
        model = Collapsed.model((0, 1, 2))
        model.objective = kv.objectives.ELBO(beta=kv.schedules.Capacity(epsilon))
        model.trackers["capacity"] = keras.metrics.Mean(name="capacity")
        model.compile(keras.optimizers.SGD(0.0))
        return model

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        fit([kv.callbacks.CollapseWarning(after=1)], epochs=1, model=collapsed(0.0))
    with pytest.warns(RuntimeWarning, match="collapsed"):
        fit([kv.callbacks.CollapseWarning(after=1)], epochs=1, model=collapsed(5.0))


def test_schedules_and_the_learning_rate_are_logged_as_they_are_at_the_end_of_the_epoch():
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([3], [0.5, 0.25])
    model = Composition("constant", objective=lambda: kv.objectives.ELBO(beta=2.0)).model()
    model.compile(keras.optimizers.SGD(rate, global_clipnorm=1e-3))
    _, history = fit([kv.callbacks.ScheduleLogger()], epochs=3, model=model)
    # Three steps in an epoch: after the first one the fourth is to come.
    assert history["beta"] == [2.0] * 3 and history["learning_rate"] == [0.5, 0.25, 0.25]

    warmed = Composition("warmup", objective=lambda: kv.objectives.ELBO(beta=kv.schedules.LinearWarmup(9))).model()
    _, history = fit([kv.callbacks.ScheduleLogger()], epochs=2, model=warmed)
    # The mean over the epoch, as the objective logs it: steps 0, 1, 2 and 3, 4, 5 of 9.
    np.testing.assert_allclose(history["beta"], [1 / 9, 4 / 9], rtol=1e-5)
    np.testing.assert_allclose(history["learning_rate"], [1e-2] * 2, rtol=1e-6)


def test_several_capacities_and_rates_are_logged_each():
    objective = "joint_capacity:continuous_weight=capacity(5,100),categorical_weight=capacity(1,1000)"
    joint = dataclasses.replace(BY_NAME["joint"], objective=lambda: objective).model()
    adam, sgd = keras.optimizers.Adam(1e-3), keras.optimizers.SGD(1e-4)
    joint.compile(keras.optimizers.MultiOptimizer(lambda v: sgd if "likelihood/" in v.path else adam))
    _, history = fit([kv.callbacks.ScheduleLogger()], epochs=2, model=joint)
    np.testing.assert_allclose(history["continuous_weight"], [0.15, 0.3], rtol=1e-5)
    np.testing.assert_allclose(history["categorical_weight"], [0.003, 0.006], rtol=1e-5)
    rates = sorted(history[name] for name in history if name.startswith("learning_rate_"))
    np.testing.assert_allclose(rates, [[1e-4] * 2, [1e-3] * 2], rtol=1e-5)


def test_schedules_count_updates():
    objective = "joint_capacity:continuous_weight=linear_warmup(16),categorical_weight=2.0"
    joint = dataclasses.replace(BY_NAME["joint"], objective=lambda: objective).model()
    joint.compile(keras.optimizers.Adam(1e-3, gradient_accumulation_steps=3))
    _, history = fit([kv.callbacks.ScheduleLogger()], epochs=2, model=joint)
    # Three steps an epoch are one update.
    np.testing.assert_allclose(history["continuous_weight"], [1 / 16, 2 / 16], rtol=1e-6)


def test_weights_that_a_callback_puts_back_stay():
    model = Composition("averaged").model()
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9))
    stop = keras.callbacks.EarlyStopping("val_kl", mode="min", patience=2, restore_best_weights=True)
    _, history = fit([stop], epochs=6, model=model, validation_data=IMAGES)
    again = model.evaluate(IMAGES, batch_size=32, verbose=0, return_dict=True)["kl"]
    np.testing.assert_allclose(again, history["val_kl"][stop.best_epoch], rtol=1e-5)


class Logs(keras.callbacks.Callback):
    """Puts given numbers into the logs of the epochs."""

    def __init__(self, name, values):
        super().__init__()
        self._name, self._values = name, values

    def on_epoch_end(self, epoch, logs=None):
        if self._values[epoch] is not None:
            logs[self._name] = self._values[epoch]


@pytest.mark.parametrize(
    ("monitor", "mode", "values", "kept"),
    [
        pytest.param("val_elbo", None, [-5.0, -3.0, np.nan, -4.0, -6.0], [2, 4], marks=pytest.mark.long),
        ("val_loss", None, [5.0, 3.0, np.inf, 4.0, 6.0], [2, 4]),
        ("val_ssim", "min", [0.5, 0.5, 0.5, 0.4, 0.6], [4, 1]),
        ("val_elbo", None, [None, -1e-7, None, -123456.78, None], [2, 4]),
    ],
)
def test_the_best_k_are_kept(tmp_path, monitor, mode, values, kept):
    checkpoints = kv.callbacks.BestCheckpoints(tmp_path / "best", monitor=monitor, mode=mode)
    assert checkpoints.best is None
    ours = [Logs(monitor, values), checkpoints]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit(ours, epochs=5)
    found = [int(re.search(r"epoch_(\d+)", path.name)[1]) for path in checkpoints.kept]
    assert found == kept and len(names(tmp_path / "best")) == 2
    assert checkpoints.best == checkpoints.kept[0]


def test_a_kept_model_is_that_of_its_epoch(tmp_path):
    checkpoints = kv.callbacks.BestCheckpoints(tmp_path, k=1, monitor="val_elbo")
    fit([Logs("val_elbo", [-2.0, -1.0, -3.0]), checkpoints], epochs=3)
    assert names(tmp_path) == ["epoch_0002_val_elbo=-1.keras"]
    expected, _ = fit([], epochs=2)
    loaded = keras.saving.load_model(checkpoints.best)
    for a, b in zip(expected.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_resumed_run_goes_on_with_the_files_it_finds(tmp_path):
    (tmp_path / "epoch_0001_notes.keras").write_text("somebody else's")
    (tmp_path / "epoch_0001_val_loss=0.1.keras").write_text("another monitor's")
    model, _ = fit([Logs("val_elbo", [-2.0, -1.0]), kv.callbacks.BestCheckpoints(tmp_path)], epochs=2)
    resumed = [Logs("val_elbo", [None, None, -1.5, -9.0]), kv.callbacks.BestCheckpoints(tmp_path)]
    fit(resumed, epochs=4, model=model, initial_epoch=2)
    kept = {"epoch_0002_val_elbo=-1.keras", "epoch_0003_val_elbo=-1.5.keras"}
    assert set(names(tmp_path)) == kept | {"epoch_0001_notes.keras", "epoch_0001_val_loss=0.1.keras"}


def test_a_checkpoint_is_whole_or_not_there(tmp_path, monkeypatch):
    model = COMPOSITION.model()
    save = model.save

    def dies(path, *args, **kwargs):
        save(path, *args, **kwargs)
        raise OSError("disk full")

    checkpoints = kv.callbacks.BestCheckpoints(tmp_path, k=1, monitor="elbo")
    fit([checkpoints], epochs=1, model=model)
    before = names(tmp_path)
    monkeypatch.setattr(model, "save", dies)
    with pytest.raises(OSError, match="disk full"):
        fit([checkpoints], epochs=1, model=model)
    assert names(tmp_path) == before


def test_a_number_that_is_not_logged_is_said_once(tmp_path):
    with pytest.warns(UserWarning, match=r"val_elbo.*Received: .*elbo") as caught:
        fit([kv.callbacks.BestCheckpoints(tmp_path)], epochs=3)
    assert len([w for w in caught if "val_elbo" in str(w.message)]) == 1
    assert names(tmp_path) == []


def test_callbacks_of_keras_know_which_way_is_better(tmp_path):
    stop = keras.callbacks.EarlyStopping("val_elbo", patience=2)
    keep = keras.callbacks.ModelCheckpoint(
        tmp_path / "{epoch}.weights.h5", "val_elbo", save_best_only=True, save_weights_only=True
    )
    low = keras.callbacks.EarlyStopping("kl", patience=9, mode="min")
    _, history = fit([Logs("val_elbo", [-3.0, -1.0, -2.0, -1.5, 0.0]), stop, keep, low], epochs=5)
    assert len(history["loss"]) == 4 and stop.best == keep.best == -1.0 and low.mode == "min"
    assert names(tmp_path) == ["1.weights.h5", "2.weights.h5"]
    with pytest.raises(ValueError, match=r"monitor=kl.*Pass `mode='max'`"):
        fit([keras.callbacks.EarlyStopping("kl")], epochs=1)


def test_a_deadline_stops_at_a_step_unless_it_cannot_be_saved():
    asked = []

    def save(answers=iter((False, True))):  # noqa: B008 (one iterator is what is meant)
        # By the callback's model: on JAX the loop has the state of any other.
        asked.append(int(deadline.model.step))
        return next(answers)

    model = COMPOSITION.model()
    deadline = kv.callbacks.Deadline(time.monotonic() - 1, save)
    with pytest.raises(kv.callbacks.OutOfTime):
        fit([deadline], model=model)
    assert asked == [1, 2] and int(model.step) == 2

    class Stops(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            deadline.stop = True

    model, deadline = COMPOSITION.model(), kv.callbacks.Deadline()
    with pytest.raises(kv.callbacks.OutOfTime):
        fit([Stops(), deadline], model=model)
    assert int(model.step) == 3


def test_the_bar_of_several_steps_at_a_time_ends_at_the_last(capsys):
    vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), seed=0)
    vae.compile("adam", steps_per_execution=4)
    x = (np.random.default_rng(0).random((60, 8, 8, 1)) < 0.3).astype("float32")
    vae.fit(x, batch_size=10, epochs=1, validation_data=x, verbose=1)
    vae.evaluate(x, batch_size=10, verbose=1)
    said = capsys.readouterr().out
    assert said.count("6/6") >= 2 and "8/6" not in said
    vae.fit(x, batch_size=10, epochs=1, verbose=0)
    assert capsys.readouterr().out == ""
