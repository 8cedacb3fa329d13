"""Tables: kinds of columns, rows and back, densities against scipy, models."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops
from scipy import stats

import keras_vae as kv
from keras_vae.cli import main as cli
from keras_vae.networks.table import Expanded
from keras_vae.parts import soft_clip
from keras_vae.runs import baselines
from keras_vae.runs import model as model_of_runs
from keras_vae.runs import run as experiment
from keras_vae.runs.recipe import Recipe, UsageError

ROWS = 400


def frame(seed=0, rows=ROWS):
    """A table of all kinds, whose columns depend on each other."""
    rng = np.random.default_rng(seed)
    group = rng.integers(3, size=rows)
    return pd.DataFrame(
        {
            "height": 170 + 8.0 * group + rng.normal(0, 4, rows),
            "income": np.exp(7 + group + rng.normal(0, 0.5, rows)),
            "smoker": rng.uniform(size=rows) < 0.2 + 0.2 * group,
            "town": pd.Categorical(np.array(["Aarau", "Bern", "Chur"])[(group + (rng.uniform(size=rows) < 0.2)) % 3]),
            "visits": rng.poisson(1 + 3 * group),
            "born": 1960 + rng.integers(40, size=rows),
            "word": np.array(["yes", "no", "perhaps", "never"], dtype=object)[rng.integers(4, size=rows)],
        }
    )


TABLE = frame()
SCHEMA = kv.data.schema(TABLE)
KINDS = ["normal", "log_normal", "bernoulli", "categorical", "counts", "normal", "categorical"]


def model(**parts):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        *kv.networks.table(SCHEMA, 3, widths=(32,)), likelihood=kv.likelihoods.Columns(SCHEMA, **parts), seed=0
    )
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


@pytest.fixture(scope="module")
def fitted():
    vae = model()
    return vae, vae.fit(SCHEMA.encode(TABLE), batch_size=50, epochs=25, verbose=0).history


class TestSchema:
    def test_kinds_are_those_of_the_values(self):
        assert [column.kind for column in SCHEMA] == KINDS
        assert SCHEMA["town"].categories == ("Aarau", "Bern", "Chur") and SCHEMA["smoker"].categories == (False, True)

    def test_rows_come_back(self):
        x = SCHEMA.encode(TABLE)
        assert x.dtype == np.float32 and x.shape == (ROWS, 7)
        np.testing.assert_allclose(x[:, 0].mean(), 0, atol=1e-5)
        np.testing.assert_allclose(np.delete(x, [2, 3, 4, 6], axis=1).std(axis=0), 1, rtol=1e-5)
        back = SCHEMA.decode(x)
        assert (back.dtypes == TABLE.dtypes).all()
        for name in TABLE:
            if TABLE[name].dtype == float:
                np.testing.assert_allclose(back[name], TABLE[name], rtol=1e-4)
            else:
                assert (back[name] == TABLE[name]).all(), name

    def test_what_is_missing_stays_so(self):
        holes = TABLE.copy()
        holes.loc[0, ["height", "income"]] = np.nan
        holes.loc[1, ["town", "word"]] = None
        x = SCHEMA.encode(holes)
        assert np.isnan(x[0, :2]).all() and np.isnan(x[1, [3, 6]]).all() and np.isnan(x).sum() == 4
        back = SCHEMA.decode(x)
        assert (back.isna() == holes.isna()).all(axis=None)
        assert [column.kind for column in kv.data.schema(holes)] == KINDS

    def test_a_kind_may_be_asked_for(self):
        schema = kv.data.schema(TABLE, born="categorical", visits="normal")
        assert len(schema["born"].categories) == 40 and schema["visits"].kind == "normal"
        schema["height"] = dataclasses.replace(schema["height"], scale=10.0)
        assert schema["height"].scale == 10
        np.testing.assert_allclose(schema.decode(schema.encode(TABLE))["visits"], TABLE["visits"])

    def test_files(self, tmp_path):
        SCHEMA.save(tmp_path / "schema.json")
        assert list(kv.data.Schema.load(tmp_path / "schema.json")) == list(SCHEMA)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"a": [1.0, 1.0]}, r"column 'a' has one value.*Received: 1.0"),
            ({"a": pd.to_datetime(["2020-01-01", "2021-01-01"])}, "has dates"),
            ({"a": ["2020-01-31", "2021-01-31 12:00:00"]}, "has dates"),
            ({"a": [f"name {i}" for i in range(100)]}, "another text in nearly every row"),
            ({"a": [1.0, np.inf, 2.0]}, "infinite"),
            ({}, "empty"),
        ],
    )
    def test_what_no_column_is(self, columns, message):
        with pytest.raises(ValueError, match=message):
            kv.data.schema(pd.DataFrame(columns))

    def test_values_that_do_not_fit(self):
        for kinds, message in (
            ({"height": "counts"}, "no column of counts"),
            ({"town": "normal"}, "no column of numbers"),
            ({"heigth": "normal"}, "Did you mean 'height'"),
            ({"height": "norml"}, "Did you mean 'normal'"),
        ):
            with pytest.raises(ValueError, match=message):
                kv.data.schema(TABLE, **kinds)
        with pytest.raises(ValueError, match=r"'town' has values that the schema does not know.*Received: 'Zug'"):
            SCHEMA.encode(TABLE.assign(town="Zug"))
        with pytest.raises(ValueError, match=r"lacks columns of the schema: 'town'"):
            SCHEMA.encode(TABLE.drop(columns="town"))


def test_densities_are_those_of_the_table_in_its_units():
    keras.utils.set_random_seed(0)
    likelihood = kv.likelihoods.Columns(SCHEMA)
    likelihood.build((5,), (7,))
    rng = np.random.default_rng(0)
    likelihood.log_dispersion.assign([0.7])
    features = ops.convert_to_tensor(rng.normal(size=(2, 3, 5)).astype("float32"))
    distribution = likelihood.distribution(features)
    assert tuple(distribution.batch_shape) == (2, 3) and tuple(distribution.event_shape) == (7,)
    rows = TABLE.iloc[:3]
    found = ops.convert_to_numpy(distribution.element_log_probs(ops.convert_to_tensor(SCHEMA.encode(rows))))
    raw = np.asarray(likelihood.head(features), "float64")[..., 0]
    loc, log_scale, logit, log_rate = raw[..., :3], raw[..., 3:6], raw[..., 6], raw[..., 7]
    scale = np.exp(ops.convert_to_numpy(soft_clip(ops.convert_to_tensor(log_scale, "float32"), -7.0, 7.0)))
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-3)
    for number, at, name in ((0, 0, "height"), (5, 2, "born")):
        column = SCHEMA[name]
        expected = stats.norm(column.loc + column.scale * loc[..., at], column.scale * scale[..., at])
        close(found[..., number], expected.logpdf(rows[name]))
    column = SCHEMA["income"]
    expected = stats.lognorm(column.scale * scale[..., 1], scale=np.exp(column.loc + column.scale * loc[..., 1]))
    close(found[..., 1], expected.logpdf(rows["income"]))
    close(found[..., 2], stats.bernoulli(1 / (1 + np.exp(-logit))).logpmf(rows["smoker"]))
    mean, r = SCHEMA["visits"].loc * np.exp(log_rate), np.exp(0.7)
    close(found[..., 4], stats.nbinom(r, r / (r + mean)).logpmf(rows["visits"]))
    for number, start, size in ((3, 8, 3), (6, 11, 4)):
        logits = raw[..., start : start + size]
        log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        codes = SCHEMA.encode(rows)[:, number].astype(int)
        close(found[..., number], log_probs[:, np.arange(3), codes])
    close(ops.convert_to_numpy(distribution.log_prob(SCHEMA.encode(rows))), found.sum(axis=-1))
    there = np.arange(7) != 1
    partial = distribution.log_prob_where(ops.convert_to_tensor(SCHEMA.encode(rows)), ops.convert_to_tensor(there))
    np.testing.assert_allclose(ops.convert_to_numpy(partial), found[..., there].sum(axis=-1), rtol=1e-5)


def test_draws_have_the_moments_of_the_density():
    keras.utils.set_random_seed(0)
    likelihood = kv.likelihoods.Columns(SCHEMA)
    likelihood.build((5,), (7,))
    features = ops.convert_to_tensor(np.random.default_rng(1).normal(size=(1, 1, 5)).astype("float32"))
    distribution = likelihood.distribution(features)
    with kv.backend.single_precision():
        drawn = ops.convert_to_numpy(distribution.sample(20_000, seed=kv.backend.seed_pair(0)))[:, 0, 0]
    likelihood.check(drawn)
    mean = ops.convert_to_numpy(distribution.mean())[0, 0]
    numbers = [0, 1, 2, 4, 5]
    spread = drawn.std(axis=0)[numbers] / np.sqrt(len(drawn))
    assert (np.abs(drawn.mean(axis=0) - mean)[numbers] < 5 * spread).all()
    mode = ops.convert_to_numpy(likelihood.image(distribution))[0, 0]
    for number in (2, 3, 6):
        values, counts = np.unique(drawn[:, number], return_counts=True)
        assert mode[number] == values[counts.argmax()]


def test_a_model_learns_what_columns_have_in_common(fitted):
    vae, history = fitted
    x = SCHEMA.encode(frame(seed=1))
    assert history["loss"][-1] < history["loss"][0] - 1
    log_prob = vae.log_prob(x, samples=100, seed=0).mean()
    # Columns one by one, each with its own density.
    independent = _independent(TABLE, frame(seed=1))
    assert log_prob > independent + 0.3, (log_prob, independent)
    assert np.isfinite(vae.reconstruct(x)).all()


def _independent(train, test):
    """The mean log-density of columns that do not know each other, fitted to one table, of another one."""
    total = 0.0
    for name in ("height", "born"):
        total += stats.norm(train[name].mean(), train[name].std()).logpdf(test[name]).mean()
    logarithms = np.log(train["income"])
    total += stats.lognorm(logarithms.std(), scale=np.exp(logarithms.mean())).logpdf(test["income"]).mean()
    total += stats.nbinom.logpmf(test["visits"], *_moments(train["visits"])).mean()
    for name in ("smoker", "town", "word"):
        total += np.log(test[name].map(train[name].value_counts(normalize=True)).astype(float)).mean()
    return total


def _moments(counts):
    mean, variance = counts.mean(), counts.var()
    r = mean**2 / (variance - mean)
    return r, r / (r + mean)


@pytest.mark.long_on_jax
def test_samples_are_a_table(fitted):
    vae, _ = fitted
    for mean in (True, False):
        table = SCHEMA.decode(vae.sample(50, mean=mean, seed=0))
        assert (table.dtypes == TABLE.dtypes).all() and set(table["town"]) <= {"Aarau", "Bern", "Chur"}
        assert (table["visits"] >= 0).all() and (table["income"] > 0).all()


@pytest.mark.long_on_jax
def test_saved_models_know_their_columns(fitted, tmp_path):
    vae, _ = fitted
    x = SCHEMA.encode(TABLE.iloc[:5])
    vae.save_to_preset(tmp_path / "preset")
    vae.save(tmp_path / "vae.keras")
    for loaded in (kv.VAE.from_preset(tmp_path / "preset"), keras.saving.load_model(tmp_path / "vae.keras")):
        np.testing.assert_array_equal(loaded.log_prob(x, seed=0), vae.log_prob(x, seed=0))
        assert list(kv.data.Schema(loaded.likelihood.columns)) == list(SCHEMA)


def test_rows_that_are_no_such_table_are_refused(fitted):
    vae, _ = fitted
    x = SCHEMA.encode(TABLE)
    for number, value, message in (
        (0, np.inf, "infinite"),
        (3, 3.0, r"'town' is categorical.*from 0 to 2.*largest 3"),
        (2, 0.5, "'smoker' is bernoulli"),
        (4, -1.0, "'visits' is counts"),
        (0, 1e5, "'height' is normal.*standardised"),
    ):
        wrong = x.copy()
        wrong[7, number] = value
        with pytest.raises(ValueError, match=message):
            vae.fit(wrong, verbose=0)
        if value != 1e5:
            with pytest.raises(ValueError, match=message):
                vae.log_prob(wrong)
    with pytest.raises(ValueError, match="7 columns"):
        kv.VAE(*kv.networks.mlp((6,), 2), likelihood=kv.likelihoods.Columns(SCHEMA))
    with pytest.raises(ValueError, match="two categories"):
        kv.likelihoods.Columns([{"name": "a", "kind": "bernoulli"}])


def test_numbers_have_no_digits_that_float32_has_not():
    frame = pd.DataFrame({"a": [14.23, 0.1, 13.2, 12.0], "b": [1e5 + 0.1, 3e4, 7e5, 2e4], "c": [0.001, 0.5, 90.3, 7e3]})
    schema = kv.data.schema(frame, c="log_normal")
    pd.testing.assert_frame_equal(schema.decode(schema.encode(frame)), frame, rtol=0, atol=0)
    rows = np.asarray(schema.encode(frame), "float64") + 1e-9
    assert schema.decode(rows)["a"][0] != 14.23


def test_a_network_sees_categories_as_vectors():
    x = SCHEMA.encode(TABLE.iloc[:4])
    seen = ops.convert_to_numpy(Expanded(list(SCHEMA))(ops.convert_to_tensor(x)))
    assert seen.shape == (4, 12) == Expanded(list(SCHEMA)).compute_output_shape((4, 7))
    np.testing.assert_array_equal(seen[:, 3:6].argmax(axis=1), x[:, 3])
    np.testing.assert_allclose(seen[:, 6], np.log1p(x[:, 4]) - np.log1p(SCHEMA["visits"].loc), rtol=1e-5)


@pytest.mark.parametrize("scale", ["per_row", pytest.param("learned", marks=pytest.mark.long)])
def test_missing_values_are_filled_in(scale):
    keras.utils.set_random_seed(0)
    likelihood = kv.likelihoods.Columns(SCHEMA, scale=scale)
    vae = kv.VAE(*kv.networks.table(SCHEMA, 3, widths=(32,), missing=True), likelihood=likelihood, missing=True, seed=0)
    vae.compile(keras.optimizers.Adam(1e-2))
    x = SCHEMA.encode(TABLE)
    holes = np.where(np.random.default_rng(0).uniform(size=x.shape) < 0.2, np.nan, x)
    vae.fit(holes, batch_size=50, epochs=8, verbose=0)
    filled = vae.impute(holes, samples=50)
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[~np.isnan(holes)], holes[~np.isnan(holes)])
    assert np.isfinite(vae.log_prob(holes, samples=5, seed=0)).all()
    # All missing, so that q(z|x) is wide: the most frequent category of draws, and their means, not those of modes.
    nothing = np.full((1, 7), np.nan, "float32")
    (filled,) = vae.impute(nothing, samples=2000, seed=0)
    drawn = vae.impute(nothing, samples=1000, draws=1000, seed=1)[:, 0]
    for place, column in enumerate(SCHEMA):
        if column.kind in ("bernoulli", "categorical"):
            # Within five standard errors of the most frequent one.
            share = np.bincount(drawn[:, place].astype(int), minlength=len(column.categories)) / 1000
            assert share[int(filled[place])] > share.max() - 5 / np.sqrt(1000) * 0.7
        elif column.kind == "counts":
            assert abs(filled[place] - drawn[:, place].mean()) < 5 * drawn[:, place].std() / np.sqrt(1000) + 0.05


@pytest.fixture(scope="module")
def run_of_a_table(tmp_path_factory):
    """A run of a .csv file with missing values."""
    folder = tmp_path_factory.mktemp("table")
    holes = TABLE.mask(np.random.default_rng(0).uniform(size=TABLE.shape) < 0.05)
    holes.to_csv(folder / "people.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_export", lambda *_: None)
        results = experiment.run(
            folder / "people.csv", folder / "run", epochs=3, eval_samples=10, precision="float32", verbose=False
        )
    return folder, holes, results


@pytest.mark.long_on_jax
def test_a_run_of_a_file_has_rows_and_a_baseline(run_of_a_table):
    folder, _, results = run_of_a_table
    metrics = results["metrics"]
    assert metrics["log_prob"]["images"] == metrics["baseline_log_prob"]["images"] == 40
    assert "squared_error" not in metrics and "of values missing" in results["preprocessing"]
    assert results["training_images"] == 320
    rows = pd.read_csv(folder / "run" / "samples.csv")
    assert list(rows.columns) == list(TABLE.columns) and set(rows["town"]) <= {"Aarau", "Bern", "Chur"}


def test_commands_read_and_write_tables(run_of_a_table, capsys):
    folder, holes, _ = run_of_a_table
    holes[:5].to_csv(folder / "new.csv", index=False)
    assert cli.main(["score", str(folder / "run"), str(folder / "new.csv"), "--samples", "5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    vae = kv.VAE.from_preset(folder / "run")
    x = kv.data.Schema(vae.likelihood.columns).encode(holes[:5])
    np.testing.assert_allclose(told["log_prob"], vae.log_prob(x, samples=5, seed=0), rtol=1e-5)
    assert told["images"][3].endswith("new.csv[3]")
    assert cli.main(["sample", str(folder / "run"), "-n", "4", "--out", str(folder / "made.csv")]) == 0
    assert pd.read_csv(folder / "made.csv").shape == (4, 7)
    holes[:5].assign(town="Zug").to_csv(folder / "other.csv", index=False)
    assert cli.main(["score", str(folder / "run"), str(folder / "other.csv")]) != 0
    assert "values that the schema does not know" in capsys.readouterr().err
    assert (
        cli.main(["impute", str(folder / "run"), str(folder / "people.csv"), "--out", str(folder / "whole.csv")]) == 0
    )
    whole = pd.read_csv(folder / "whole.csv")
    assert holes.isna().any().all() and not whole.isna().any().any()
    given = pd.read_csv(folder / "people.csv")
    pd.testing.assert_frame_equal(whole.where(given.notna()), given, check_dtype=False, check_exact=True)


def test_a_value_is_the_same_whatever_type_it_is_read_as():
    rng = np.random.default_rng(0)
    columns = {
        "truth": rng.uniform(size=40) < 0.5,
        "bits": rng.integers(0, 2, 40),
        "rooms": np.array(["1", "2", "many"], object)[rng.integers(0, 3, 40)],
        "level": rng.integers(0, 3, 40),
    }
    table = pd.DataFrame(columns)
    schema = kv.data.schema(table, level="categorical")
    rows = schema.encode(table)
    other = table.assign(truth=table["truth"].astype(int), bits=table["bits"].astype(bool))
    other["level"] = other["level"].astype(str)
    np.testing.assert_array_equal(schema.encode(other), rows)
    few = table[table["rooms"] != "many"]
    for dtype in ("int64", "float64", "Int64"):
        np.testing.assert_array_equal(schema.encode(few.astype({"rooms": dtype})), rows[few.index])
    with pytest.raises(ValueError, match=r"'truth' has values that the schema does not know.*2"):
        schema.encode(other.assign(truth=2))
    with pytest.raises(ValueError, match=r"'height' holds numbers.*abc"):
        SCHEMA.encode(TABLE[:2].astype({"height": object}).assign(height=["abc", 170.0]))
    numbered = pd.DataFrame(rng.normal(size=(20, 3)))
    schema = kv.data.schema(numbered)
    np.testing.assert_allclose(schema.decode(schema.encode(numbered)), numbered, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "Int8", "Int64", "float32"])
def test_draws_keep_to_the_types_of_columns(dtype):
    given = pd.Series(np.random.default_rng(0).integers(30, 100, 60)).astype(dtype)
    schema = kv.data.schema(pd.DataFrame({"a": given, "b": np.random.default_rng(1).normal(size=60)}))
    drawn = schema.decode(np.array([[1000, 0], [-1000, 0], [0.3, 0]], "float32"))["a"]
    assert drawn.dtype == given.dtype
    column = schema["a"]
    expected = np.array([1000, -1000, 0.3], "float32") * column.scale + column.loc
    if "nt" in dtype:
        expected = np.clip(np.round(expected), np.iinfo(dtype.lower()).min, np.iinfo(dtype.lower()).max)
    np.testing.assert_allclose(drawn.to_numpy("float64"), expected, rtol=1e-5)
    missing = schema.decode(np.array([[np.nan, 0], [0, 0]], "float32"))["a"]
    assert missing.isna().tolist() == [True, False]


def test_categories_that_are_declared_and_not_there():
    given = pd.Categorical(["a", "b"] * 10, categories=["a", "b", "z"])
    schema = kv.data.schema(pd.DataFrame({"c": given, "x": np.random.default_rng(0).normal(size=20)}))
    assert schema["c"].kind == "categorical" and schema["c"].categories == ("a", "b", "z")
    ranges = pd.DataFrame({"age": ["18-25", "26-40", "41-"] * 5})
    assert kv.data.schema(ranges)["age"].kind == "categorical"
    days = pd.DataFrame({"day": ["2020-01-31", "2020-02-01", "2020-02-02"] * 5})
    assert kv.data.schema(days, day="categorical")["day"].kind == "categorical"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a,b\n1,2,\n3,4,\n", {"a": [1, 3], "b": [2, 4]}),
        ("a;b;\n1,5;2;\n2,5;3;\n", {"a": [1.5, 2.5], "b": [2, 3]}),
        ("a;b\n1,5;2;\n2,5;3;\n", {"a": [1.5, 2.5], "b": [2, 3]}),
        ("a,b\nr1,1,2\nr2,3,4\n", {"a": [1, 3], "b": [2, 4]}),
        ("2001,2002\n1,2\n3,4\n", {"2001": [1, 3], "2002": [2, 4]}),
        ("a,b\n1,2,3,4\n5,6,7,8\n", "more fields"),
        ("a,b\nr1,1,2\nr1,3,4\n", "more fields"),
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "first line has numbers, 5.1, 3.5,"),
        ("0,0,0\n1,2,3\n", "first line has numbers"),
    ],
    ids=["ends", "all ends", "semicolons", "names of R", "years", "longer", "no names", "of numbers", "of text"],
)
def test_no_column_is_taken_for_its_neighbour_and_no_row_for_names(text, wanted, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    if isinstance(wanted, str):
        with pytest.raises(kv.data.DataError, match=wanted):
            kv.data.read_frames([tmp_path / "t.csv"])
    else:
        assert kv.data.read_frames([tmp_path / "t.csv"]).to_dict("list") == wanted


def test_what_spreadsheets_and_pandas_write(tmp_path):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"h": rng.normal(size=60).round(3), "n": rng.choice(list("xyz"), 60)})
    table.to_csv(tmp_path / "index.csv")
    table.to_csv(tmp_path / "comma.CSV", sep=";", decimal=",", index=False)
    table.to_csv(tmp_path / "point.csv", sep=";", index=False)
    for name in ("index.csv", "comma.CSV", "point.csv"):
        pd.testing.assert_frame_equal(kv.data.read_frames([tmp_path / name]), table)
        assert len(kv.data.load(tmp_path / name).schema) == 2


def test_a_row_that_is_far_out_is_scored(fitted):
    vae, _ = fitted
    rows = SCHEMA.encode(TABLE[:3].assign(height=[170.0, -1e6, 180.0]))
    log_prob = vae.log_prob(rows, samples=5, seed=0)
    assert np.isfinite(log_prob).all() and log_prob[1] < -1e8 < log_prob[[0, 2]].min()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "Several columns have one name.*'a'"),
        (lambda: pd.DataFrame({"a": [[1], [2]]}), "'a' holds neither numbers nor text.*list"),
        (lambda: pd.Series([1, 2]), "pandas DataFrame. Received: Series"),
        (lambda: pd.DataFrame({"id": np.arange(5, 65), "x": np.random.default_rng(0).normal(size=60)}), "'id' counts"),
    ],
)
def test_what_has_no_schema(make, message):
    with pytest.raises(ValueError, match=message):
        kv.data.schema(make())


def test_files_that_are_no_tables(tmp_path):
    for content, message in (
        ("", "cannot be read"),
        ("a,b\n1,2\n1,3\n", "'a' has one value"),
        ("a\n1\n2\n", "ten rows"),
    ):
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(kv.data.DataError, match=message):
            kv.data.load(tmp_path / "t.csv")
    with pytest.raises(UsageError, match="is for tables"):
        model_of_runs.build(Recipe("digits", likelihood="columns", network="mlp:4"), (8, 8, 1), 1, None)


def test_the_baseline_is_a_gaussian_and_frequencies():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(5, 2, 4000), "b": rng.integers(3, size=4000).astype(str)})
    frame["c"] = frame["a"] + rng.normal(0, 1, 4000)
    schema = kv.data.schema(frame, a="normal", c="normal")
    x = schema.encode(frame)
    test = frame[:50].copy()
    test.loc[:9, "a"] = np.nan
    test.loc[5:14, "b"] = np.nan
    found = baselines.of_table(schema, x, schema.encode(test))
    covariance = np.cov(frame[["a", "c"]].T)
    expected = np.log(1 / 3) * test["b"].notna().to_numpy()
    both = stats.multivariate_normal(frame[["a", "c"]].mean(), covariance)
    alone = stats.norm(frame["c"].mean(), np.sqrt(covariance[1, 1]))
    expected = expected + np.where(test["a"].isna(), alone.logpdf(test["c"]), both.logpdf(test[["a", "c"]].fillna(0)))
    np.testing.assert_allclose(found, expected, atol=0.06)
