"""The likelihood of tables, one kind of density for each column."""

import dataclasses
import math
from typing import Any

import numpy as np
from keras import ops

from keras_vae import distributions
from keras_vae.backend import Tensor, tfd
from keras_vae.columns import as_columns
from keras_vae.distributions.columns import Block
from keras_vae.likelihoods.base import LOG_SCALE_BOUND, Likelihood
from keras_vae.names import one_of
from keras_vae.parts import register, soft_clip

_LOG_RATE_BOUND = 15.0
# Standard deviations from the mean, which rows have that were not standardised; squares of more are too large.
_FAR, _FARTHEST = 1e4, 1e9


@register()
class Columns(Likelihood):
    """Independent columns of a table, each with a density or mass of its kind, in the units of the table.

    Real columns are Normal, or log-normal; counts negative binomial, with one dispersion for each column; the others
    Bernoulli and categorical. x is what `Schema.encode` makes of a table. log p(x) counts the units of each real
    column, so that it compares with densities of the table as it is.

    Args:
        columns: `kv.data.schema(frame)`, or a list of the fields of its columns.
        scale: of real columns: "per_row", given by the decoder, or "learned", one for each column.

    Reference: Nazábal, Olmos, Ghahramani and Valera 2020, "Handling incomplete heterogeneous data using VAEs",
    arXiv:1807.03653, section 2.1.
    """

    data = "table"
    SCALES = ("per_row", "learned")

    def __init__(self, columns: Any, scale: str = "per_row", **kwargs: Any):
        super().__init__(**kwargs)
        self._columns = as_columns(columns)
        self.columns = [dataclasses.asdict(column) for column in self._columns]
        self.scale = one_of(scale, self.SCALES, "scale")

    def build(self, features_shape: tuple[int, ...], event_shape: tuple[int, ...]) -> None:
        if tuple(event_shape) != (len(self._columns),):
            raise ValueError(
                f"These {len(self._columns)} columns are rows of shape ({len(self._columns)},): give the encoder that "
                f"input. Received: rows of shape {tuple(event_shape)}"
            )
        self._places = {
            "real": self._of("normal", "log_normal"),
            "binary": self._of("bernoulli"),
            "counts": self._of("counts"),
        }
        sizes = sorted({len(c.categories) for c in self._columns if c.kind == "categorical"})
        self._categories = {
            size: [i for i in self._of("categorical") if len(self._columns[i].categories) == size] for size in sizes
        }
        super().build(features_shape, event_shape)
        real, counts = (len(self._places[kind]) for kind in ("real", "counts"))
        if real and self.scale == "learned":
            self.log_scale = self.add_weight(name="log_scale", shape=(real,), initializer="zeros")
        if counts:
            self.log_dispersion = self.add_weight(name="log_dispersion", shape=(counts,), initializer="zeros")

    def _of(self, *kinds):
        return [number for number, column in enumerate(self._columns) if column.kind in kinds]

    def head_shape(self, event_shape: tuple[int, ...]) -> tuple[int, ...]:
        """All parameters of all columns."""
        return (sum(size for _, size in self._sizes()),)

    def _sizes(self):
        """(name, numbers that the decoder gives) in order."""
        real = len(self._places["real"])
        yield "loc", real
        yield "log_scale", real if self.scale == "per_row" else 0
        yield "logits", len(self._places["binary"])
        yield "log_rate", len(self._places["counts"])
        for size, places in self._categories.items():
            yield f"categories_{size}", size * len(places)

    def network_input(self, x: Tensor) -> Tensor:
        return ops.cast(x, "float32")

    def distribution(self, features: Tensor, x: Tensor | None = None, training: bool = False) -> tfd.Distribution:
        raw, given, start = self.head(features)[..., 0], {}, 0
        for name, size in self._sizes():
            given[name] = raw[..., start : start + size]
            start += size
        blocks = []
        if places := self._places["real"]:
            columns = [self._columns[i] for i in places]
            log_scale = given["log_scale"] if self.scale == "per_row" else self.log_scale
            scale = ops.exp(soft_clip(log_scale, -LOG_SCALE_BOUND, LOG_SCALE_BOUND))
            normal = tfd.Normal(given["loc"], scale * ops.ones_like(given["loc"]))
            # log |dx / d(standardised)|, of a logarithm log(scale) + log x, log x = loc + scale * standardised.
            logarithm = np.array([column.kind == "log_normal" for column in columns], "float32")
            scales, locs = (np.array([getattr(c, name) for c in columns], "float32") for name in ("scale", "loc"))
            blocks.append(Block(tuple(places), "real", normal, np.log(scales) + logarithm * locs, logarithm * scales))
        if places := self._places["binary"]:
            blocks.append(Block(tuple(places), "binary", tfd.Bernoulli(logits=given["logits"], dtype="float32")))
        if places := self._places["counts"]:
            # Rates begin at the column's mean.
            start = np.log([max(self._columns[i].loc, 1e-3) for i in places]).astype("float32")
            log_rate = soft_clip(given["log_rate"] + start, -_LOG_RATE_BOUND, _LOG_RATE_BOUND)
            log_r = soft_clip(self.log_dispersion, -LOG_SCALE_BOUND, LOG_SCALE_BOUND) * ops.ones_like(log_rate)
            counts = distributions.NegativeBinomial(ops.exp(log_r), log_rate - log_r)
            blocks.append(Block(tuple(places), "counts", counts))
        for size, places in self._categories.items():
            logits = given[f"categories_{size}"]
            logits = ops.reshape(logits, (*ops.shape(logits)[:-1], len(places), size))
            blocks.append(Block(tuple(places), "categories", tfd.Categorical(logits=logits)))
        return distributions.Columns(tuple(blocks))

    def image(self, distribution: tfd.Distribution) -> Tensor:
        """A row that a table may hold: means of real columns, of logarithms where they are log-normal, else modes."""
        return distribution.mode()

    def averaged(self, distribution: tfd.Distribution) -> Tensor:
        """Means of numbers, and the probability of each category."""
        return distribution.expectations()

    def settled(self, mean: np.ndarray) -> np.ndarray:
        """The most probable categories, and the means of numbers, those of counts too."""
        rows, start = np.empty((len(mean), len(self._columns)), mean.dtype), 0
        sizes = {**dict.fromkeys(self._places, 1), **{size: size for size in self._categories}}
        for name, places in {**self._places, **self._categories}.items():
            end = start + sizes[name] * len(places)
            part = mean[:, start:end].reshape(len(mean), len(places), sizes[name])
            start = end
            if name == "binary":
                rows[:, places] = part[..., 0] > 0.5
            else:
                rows[:, places] = part[..., 0] if name in self._places else part.argmax(axis=-1)
        return rows

    def made_up(self, levels: np.ndarray) -> np.ndarray:
        """Rows that a table may hold, of whole numbers from 0 to 255, (N, C)."""
        rows = (levels / 128 - 1).astype("float32")
        for number, column in enumerate(self._columns):
            if column.kind in ("bernoulli", "categorical"):
                rows[:, number] = levels[:, number] % len(column.categories)
            elif column.kind == "counts":
                rows[:, number] = levels[:, number] // 16
        return rows

    def check(self, x: np.ndarray, whole: bool = False) -> None:
        """Refuses rows that no table of these columns is written as; NaN stands for what is missing.

        Args:
            x: rows, (N, C).
            whole: whether they are a whole data set, of which none is 10,000 standard deviations from its mean. Single
                rows may be, and should be found by their log p(x).

        Raises:
            ValueError: naming the column.
        """
        for number, column in enumerate(self._columns):
            values = x[:, number]
            values = values[~np.isnan(values)]
            if column.kind in ("normal", "log_normal"):
                fits = np.isfinite(values).all() and (np.abs(values) < (_FAR if whole else _FARTHEST)).all()
                wanted = "standardised numbers, as Schema.encode gives them"
            else:
                most = math.inf if column.kind == "counts" else len(column.categories) - 1
                fits = ((values >= 0) & (values <= most) & (values == np.round(values))).all()
                wanted = f"whole numbers from 0{'' if math.isinf(most) else f' to {most}'}"
            if not fits:
                raise ValueError(
                    f"The column {column.name!r} is {column.kind}: its values are {wanted}. "
                    f"Received: smallest {values.min()}, largest {values.max()}"
                )
