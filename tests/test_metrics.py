import numpy as np
import pytest

from keras_vae import metrics


def test_active_units_are_those_whose_posterior_mean_varies():
    signs = np.array([-1.0, 1.0] * 50)
    # Variances 1, 0, 0.0081 and 0.0121 around means that do not count.
    means = signs[:, None] * [1.0, 0.0, 0.09, 0.11] + [0.0, 5.0, -3.0, 7.0]
    active = metrics.active_units(means)
    assert active.dtype == bool
    assert active.tolist() == [True, False, False, True]
    assert metrics.active_units(means, threshold=0.005).tolist() == [True, False, True, True]
    assert metrics.active_units(np.reshape(means, (100, 2, 1, 2))).tolist() == [[[True, False]], [[False, True]]]


def test_active_units_do_not_drown_in_rounding():
    # In float32 the variance around 1e4 is off by more than the threshold.
    means = np.float32(1e4) + np.random.default_rng(0).normal(0, 0.2, size=(1000, 1)).astype("float32")
    assert metrics.active_units(means, threshold=0.03).all() and not metrics.active_units(means, threshold=0.05).any()


@pytest.mark.parametrize("means", [np.zeros(4), np.zeros((1, 4)), np.full((3, 2), np.nan)])
def test_what_has_no_variance_is_refused(means):
    with pytest.raises(ValueError, match="Received: "):
        metrics.active_units(means)
