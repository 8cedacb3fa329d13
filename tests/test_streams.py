"""What is done to arrays, done to streams of batches: the same numbers, whatever the batches are."""

import gc
import weakref

import keras
import numpy as np
import pytest
from compositions import BY_NAME

import keras_vae as kv
from keras_vae.data import DataError, from_dicts
from keras_vae.training import stream as streaming

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y=None, size=5):
        super().__init__()
        self.x, self.y, self.size = x, y, size

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, index):
        rows = slice(index * self.size, (index + 1) * self.size)
        return (self.x[rows],) if self.y is None else (self.x[rows], self.y[rows])


class Loader:
    """What other libraries have: iterable again and again, of a length."""

    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        return (list(self.batches[index]) for index in range(len(self.batches)))


def streams(x, y=None):
    yield Batches(x, y)
    yield Loader(Batches(x, y, size=4))
    yield (Batches(x, y)[index] for index in range(-(-len(x) // 5)))
    if ON_TENSORFLOW:
        import tensorflow as tf

        yield tf.data.Dataset.from_tensor_slices((x,) if y is None else (x, y)).batch(3)


@pytest.fixture(scope="module", params=["bernoulli", "conditional"])
def vae(request):
    return BY_NAME[request.param].model(), BY_NAME[request.param].data(12)


def test_numbers_are_those_of_one_array(vae):
    model, (x, *y) = vae
    y = y[0] if y else None
    uses = {
        "encode": model.encode(x, y),
        "reconstruct": model.reconstruct(x, y),
        "log_prob": model.log_prob(x, 6, y, seed=3),
    }
    for name, expected in uses.items():
        given = {"samples": 6, "seed": 3} if name == "log_prob" else {}
        for stream in streams(x, y):
            found = list(getattr(model, name)(stream, **given))
            assert len(found) > 1
            np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-5, atol=1e-4)
    if y is None:
        z = uses["encode"]
        np.testing.assert_allclose(np.concatenate(list(model.decode(z[i : i + 4] for i in (0, 4, 8)))), model.decode(z))
        # One seed for a whole stream.
        twice = np.concatenate(list(model.log_prob(Batches(np.repeat(x[:1], 10, axis=0)), samples=2)))
        assert len(np.unique(twice)) > 5


class Dictionaries(Batches):
    """Batches as dictionaries, of keys that are nobody's."""

    def __getitem__(self, index):
        return {"colour": "red", **dict(zip(("image", "label"), super().__getitem__(index), strict=False))}


def dictionaries(x, y=None):
    stream = Dictionaries(x, y)
    yield stream
    yield [stream[index] for index in range(len(stream))]
    yield (stream[index] for index in range(len(stream)))
    if ON_TENSORFLOW:
        import tensorflow as tf

        given = {"image": x, **({} if y is None else {"label": y})}
        yield tf.data.Dataset.from_tensor_slices(given).batch(5)


def test_dictionaries_are_streams_of_their_arrays(vae):
    model, (x, *y) = vae
    label = "label" if y else None
    expected = model.log_prob(x, y=y[0] if y else None, samples=3, seed=0)
    for stream in dictionaries(x, *y):
        found = np.concatenate(list(model.log_prob(from_dicts(stream, "image", y=label), samples=3, seed=0)))
        np.testing.assert_array_equal(found, expected)
    model.compile()
    model.fit(from_dicts(Dictionaries(x, *y), "image", y=label), verbose=0)


def test_of_dictionaries_without_the_key_the_nearest_is_told():
    x = np.zeros((5, 2))
    for stream in dictionaries(x):
        with pytest.raises(DataError, match=r"'image'.*'imgae'"):
            found = from_dicts(stream, "imgae")
            # Those of others are known when they come.
            found[0] if isinstance(found, keras.utils.PyDataset) else next(iter(found))
    with pytest.raises(DataError, match=r"no dictionaries.*ndarray"):
        next(iter(from_dicts([x], "image")))


def test_what_a_stream_has_not_beside_it(vae):
    model, (x, *_) = vae
    with pytest.raises(ValueError, match=r"Received: keys, beside x of type Batches"):
        model.log_prob(Batches(x), keys=np.arange(12))


def test_loaders_of_other_libraries_are_checked_and_trained_on():
    model = BY_NAME["bernoulli"].model()
    x = BY_NAME["bernoulli"].images(12)
    model.fit(Loader(Batches(x)), epochs=2, validation_data=Loader(Batches(x)), verbose=0)
    assert int(model.step) == 6
    assert model.evaluate(Loader(Batches(x)), verbose=0, return_dict=True)["elbo"] < 0
    levels = Loader(Batches(np.arange(12 * 64).reshape(12, 8, 8, 1) % 256))
    for use in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match="Bernoulli expects binary"):
            use(levels, verbose=0)
    with pytest.raises(ValueError, match="empty"):
        model.fit(Loader(Batches(x[:0])), verbose=0)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="on JAX batches are made of the array itself")
def test_large_arrays_are_not_copied(monkeypatch):
    losses = []
    for most in (streaming._COPIED, 0):
        monkeypatch.setattr(streaming, "_COPIED", most)
        model = BY_NAME["conditional"].model()
        losses.append(model.fit(*BY_NAME["conditional"].data(12), batch_size=5, epochs=2, verbose=0).history["loss"])
    assert losses[0] == losses[1]


FORMS = {
    "arrays": lambda x: x,
    "memory map": lambda x: x,
    "PyDataset": lambda x: Batches(x, size=8),
    "tf.data": lambda x: pytest.importorskip("tensorflow").data.Dataset.from_tensor_slices(x).batch(8),
}


@pytest.mark.parametrize(
    "form", [form if form == "arrays" else pytest.param(form, marks=pytest.mark.long) for form in FORMS]
)
def test_nothing_is_kept_of_former_data_and_models(form, monkeypatch):
    if form == "memory map":
        monkeypatch.setattr(streaming, "_COPIED", 0)
    models, arrays = weakref.WeakSet(), []
    for seed in range(2):
        vae = kv.VAE(*kv.networks.mlp((8, 8, 1), 2, widths=(4,)), seed=seed)
        vae.compile("sgd")
        models.add(vae)
        for _ in range(3):
            x = (np.random.default_rng(seed).random((16, 8, 8, 1)) < 0.5).astype("float32")
            arrays.append(weakref.ref(x))
            vae.fit(FORMS[form](x), batch_size=8, validation_data=FORMS[form](x), verbose=0)
            vae.evaluate(FORMS[form](x), batch_size=8, verbose=0)
    del x
    gc.collect()
    # The model can make the batches of its last training again.
    assert len(models) == 1 and sum(array() is not None for array in arrays) <= 1
