"""Specs, the registry that they are looked up in, and checks of arguments."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

import keras_vae as kv
from keras_vae import names, sources
from keras_vae.names import Spec
from keras_vae.runs import model
from keras_vae.runs.recipe import FIELDS


@pytest.fixture
def role(monkeypatch):
    """A role of the test's own, with one part."""
    monkeypatch.setattr(names.registry, "_REGISTRY", {})

    @names.known_as("toy", "ball", "sphere")
    def ball(
        size: int,
        radius: float = 1.0,
        colour: str | None = None,
        shades: int | tuple[int, ...] = (),
        kind: Literal["soft", "hard"] = "soft",
        round: bool = True,
        inner: float | str = 0.0,
        **others: Any,
    ):
        return {name: value for name, value in locals().items() if name != "others"}

    return "toy"


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("mlp", Spec("mlp")),
        ("iwae:50", Spec("iwae", (50,))),
        (" Normal : scale = learned ", Spec("normal", (), {"scale": "learned"})),
        ("mlp:widths=[500,300],activation=tanh", Spec("mlp", (), {"widths": (500, 300), "activation": "tanh"})),
        ("conv:dense=none,batch_norm=True", Spec("conv", (), {"dense": None, "batch_norm": True})),
        ("x:-1,2.5e-3,'two words',[]", Spec("x", (-1, 2.5e-3, "two words", ()))),
        ("elbo:beta=linear_warmup(1000,end=4)", Spec("elbo", (), {"beta": Spec("linear_warmup", (1000,), {"end": 4})})),
        ("a:b(c([1,d(2)]))", Spec("a", (Spec("b", (Spec("c", ((1, Spec("d", (2,))),)),)),))),
    ],
)
def test_specs_are_read_and_written(text, spec):
    assert Spec.parse(text) == spec
    assert Spec.parse(str(spec)) == spec and str(Spec.parse(str(spec))) == str(spec)
    assert hash(Spec.parse(text)) == hash(spec)


@pytest.mark.parametrize(
    "value", ["none", "True", "lambda", "two words", "", "it's", "3", True, None, 0.1, -7, (1, ("a",))]
)
def test_values_survive_a_spec(value):
    spec = Spec("x", (value,), {"y": value})
    assert Spec.parse(str(spec)) == spec


def test_numbers_of_numpy_are_written_as_numbers():
    assert str(Spec("x", (np.int64(3),), {"y": np.float64(0.5)})) == "x:3,y=0.5"


@pytest.mark.parametrize(
    "text",
    ["", ":", "mlp:", "two words", "3", "a-b", "a:b=", "a:b==1", "a:1)(2", "a:1)+(2", "a:**b", "a:*b", "a:b=1,b=2",
     "a:b.c", "a:b(1)(2)", "a:x[0]", "a:1+2", "a:b'c'", "a:{}", "a:lambda: 1", "a:1 #", "a:\x00", "lambda:1"],
)  # fmt: skip
def test_what_is_no_spec(text):
    with pytest.raises(ValueError, match=r'written "name".*Received: ') as error:
        Spec.parse(text)
    assert str(error.value).endswith(f"Received: {text!r}")


def test_a_spec_makes_a_part(role):
    assert names.make(role, "ball", 3)["radius"] == 1.0
    made = names.make(role, "sphere:2,colour=red,shades=[1,2],kind=hard,round=false", 3)
    assert made == {
        "size": 3, "radius": 2, "colour": "red", "shades": (1, 2), "kind": "hard", "round": False, "inner": 0.0
    }  # fmt: skip
    # Words are plain strings then.
    assert type(made["colour"]) is str
    assert names.make(role, Spec("ball").replaced(colour=None), 3)["colour"] is None
    # What is given suits; what is written, counts.
    assert names.make(role, "ball:4", 3, radius=5.0, colour="blue") == names.make(role, "ball:4,colour=blue", 3)
    assert names.make(role, "ball:inner=ball(1)", 3)["inner"] == Spec("ball", (1,))
    assert names.make(role, "ball:size=3") == names.make(role, "ball:3") == names.make(role, "ball", 3)


def test_what_would_be_called_is_checked_and_not_called(role):
    made, options = names.bound(role, "ball:2,kind=hard", 3, colour="red")
    assert made is names.find(role, "ball") and options == {"radius": 2, "kind": "hard", "colour": "red"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("bal", "Unknown toy. Did you mean 'ball'?"),
        ("ball:radius_=2", "ball has no argument 'radius_'. Did you mean 'radius'? It takes radius, colour"),
        ("ball:others=2", "ball has no argument 'others'"),
        ("ball:1,radius=2", "`radius` of ball is given twice"),
        ("ball:1,red,1,soft,true,0,9", "ball takes radius, colour, shades, kind, round, inner"),
        ("ball:radius=big", "ball's `radius` must be a finite number"),
        ("ball:radius=true", "ball's `radius` must be a finite number"),
        ("ball:radius=1e999", "ball's `radius` must be a finite number"),
        ("ball:radius=ball(1)", "ball's `radius` must be a finite number"),
        ("ball:colour=3", "ball's `colour` must be a word or none"),
        ("ball:shades=2.5", "ball's `shades` must be a whole number or a list, each of it a whole number"),
        ("ball:shades=[1,x]", "ball's `shades` must be a whole number or a list, each of it a whole number"),
        ("ball:kind=sift", "ball's `kind` must be 'soft' or 'hard'"),
        ("ball:round=yes", "ball's `round` must be true or false"),
        ("ball:round=1", "ball's `round` must be true or false"),
    ],
)
def test_what_a_part_does_not_take(role, spec, said):
    with pytest.raises(ValueError, match=r"Received: .+") as error:
        names.make(role, spec, 3)
    assert str(error.value).startswith(said)


def test_what_a_part_needs(role):
    with pytest.raises(ValueError, match=r"ball needs size\. Received: 'ball:radius=1'"):
        names.make(role, "ball:radius=1")
    with pytest.raises(ValueError, match="ball's `size` must be a whole number"):
        names.make(role, "ball", (3, 3))


def test_a_name_belongs_to_one_part(role):
    assert list(names.known(role)) == ["ball"] and names.name_of(role, names.find(role, "sphere")) == "ball"
    with pytest.raises(ValueError, match=r"another toy of this name.*Received: 'sphere'"):
        names.known_as(role, "sphere")(dict)
    # The same definition again, as a notebook's cell is executed again.
    for _ in range(2):

        @names.known_as(role, "cube")
        def cube():
            return "cube"

    assert names.make(role, "cube") == "cube" and names.roles() == ("toy",)
    assert names.name_of(role, Spec) == "spec"


@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        (3, int, True), (np.int64(3), int, True), (3.0, int, False), (True, int, False), ("3", int, False),
        (3, float, True), (np.float32(3), float, True), (math.nan, float, False), (math.inf, float, False),
        ([1, 2], tuple[int, ...], True), ((1, 2.5), tuple[int, ...], False), ([1], list, True), ("ab", list, False),
        (None, int | None, True), (None, int, False), ({}, dict, True), ("relu", str | Callable, True),
        (max, str | Callable, True), (3, str | Callable, False), (object(), Any, True),
    ],
)  # fmt: skip
def test_types(value, hint, fits):
    if fits:
        names.check_type("x", value, hint)
    else:
        with pytest.raises(ValueError, match=r"`x` must be .*Received: x="):
            names.check_type("x", value, hint)


def test_the_nearest_names():
    assert names.one_of("a", ("a", "b"), "letter") == "a"
    with pytest.raises(
        ValueError, match=r"^Unknown letter\. Did you mean 'alpha'\? Known: 'alpha', 'beta'\. Received: 'alpa'$"
    ):
        names.one_of("alpa", ("alpha", "beta"), "letter")
    with pytest.raises(ValueError, match=r"^Unknown letter\. Known: 'alpha'\. Received: 7$"):
        names.one_of(7, ("alpha",), "letter")
    assert names.snake_case("DiagonalNormal") == "diagonal_normal" and names.snake_case("IWAE") == "iwae"


def test_whole_numbers():
    names.check_whole(a=1, b=np.int32(2))
    names.check_whole(least=0, a=0)
    for value in (0, -1, 1.0, True, "1", None):
        with pytest.raises(ValueError, match="`a` must be a whole number of at least 1"):
            names.check_whole(a=value)


@pytest.mark.parametrize("role", sorted({f.metadata["role"] for f in FIELDS.values() if "role" in f.metadata}))
def test_parts_are_found_in_the_source_as_in_the_registry(role):
    _ = kv.VAE, model
    known = names.registry._REGISTRY[role].items()
    ours = {name: made for name, made in known if made.__module__.startswith("keras_vae.")}
    assert sources.arguments(role) == {
        name: [p.name for p in names.arguments(made)][names.LEADING[role] :] for name, made in ours.items()
    }
