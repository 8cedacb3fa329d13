import numpy as np
import pytest
import scipy.linalg

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


def images(shape=(3, 16, 20, 3)):
    rng = np.random.default_rng(0)
    x = rng.uniform(size=shape)
    return x, np.clip(x + rng.normal(0, 0.1, size=shape), 0, 1)


def test_squared_error_is_a_sum_over_pixels():
    x, y = images()
    np.testing.assert_allclose(metrics.squared_error(x, y), ((x - y) ** 2).sum(axis=(1, 2, 3)), rtol=1e-12)


def test_psnr_is_that_of_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio

    x, y = images()
    expected = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(metrics.psnr(x, y), expected, rtol=1e-12)
    assert metrics.psnr(x, x).tolist() == [np.inf] * 3


@pytest.mark.parametrize("metric", [metrics.squared_error, metrics.psnr, metrics.ssim])
def test_levels_are_not_taken_for_values_up_to_one_and_single_pixels_may_be_far_out(metric):
    x, y = images()
    for pair in ((255 * x, 255 * y), (255 * x, y), (x, 255 * y)):
        with pytest.raises(ValueError, match="give data_range=255 for 8-bit levels"):
            metric(*pair)
    np.testing.assert_allclose(metric(255 * x, 255 * y, data_range=255), metric(x, y), rtol=1e-6)
    # As the mean of a Normal may be.
    y[0, 3, 4] = 7.0
    assert np.isfinite(metric(x, y)).all()


def test_ssim_is_that_of_the_paper():
    # Section III.B written out, at the one position whose window lies within an image of 11 x 11.
    x, y = (a[..., :1] for a in images((2, 11, 11, 3)))
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window = (window / window.sum())[None, ..., None]

    def mean(a):
        return (window * a).sum(axis=(1, 2, 3))

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    np.testing.assert_allclose(metrics.ssim(x, y), expected, rtol=1e-7)
    np.testing.assert_allclose(metrics.ssim(x, x), 1)


def test_pairs_that_do_not_fit_are_refused():
    x, _ = images()
    for compare in (metrics.squared_error, metrics.psnr, metrics.ssim):
        with pytest.raises(ValueError, match=r"same shape.*Received"):
            compare(x, x[:, 1:])
        with pytest.raises(ValueError, match=r"finite.*Received"):
            compare(x, np.where(x > 0.5, np.nan, x))
    with pytest.raises(ValueError, match=r"11 pixels.*Received"):
        metrics.ssim(x[:, :10], x[:, :10])


def test_an_attribute_direction_is_the_difference_of_means():
    rng = np.random.default_rng(0)
    has = rng.uniform(size=200) < 0.3
    step = np.array([1.0, 0.0, -2.0])
    means = rng.normal(size=(200, 3))
    means -= np.where(has[:, None], means[has].mean(axis=0), means[~has].mean(axis=0))
    np.testing.assert_allclose(metrics.attribute_direction(means + has[:, None] * step, has), step, atol=1e-6)
    with pytest.raises(ValueError, match=r"with and without.*Received: 3 of 3"):
        metrics.attribute_direction(np.zeros((3, 2)), [True] * 3)
    with pytest.raises(ValueError, match=r"Received: shapes"):
        metrics.attribute_direction(np.zeros((3, 2)), [True] * 2)


def test_numbers_that_are_none_are_refused():
    x = np.array([[np.nan, 1.0], [2.0, 3.0]])
    for function in (lambda: metrics.frechet_distance(x, x), lambda: metrics.attribute_direction(x, [0, 1])):
        with pytest.raises(ValueError, match="must be finite"):
            function()
    with pytest.raises(ValueError, match=r"Received: shapes \(3, 1\)"):
        metrics.accuracy(np.array([[1], [2], [0]]), [1, 2, 0])


def test_the_frechet_distance_is_that_of_gaussians():
    """Against scipy's root of a matrix, and, of diagonal covariances, |m - n|^2 + |s - t|^2."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4)), rng.normal(size=(200, 4)) + 1
    a, b = np.cov(x.T), np.cov(y.T)
    expected = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2) + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert metrics.frechet_distance(x, 3 * x + 2) == pytest.approx(
        np.sum((2 * x.mean(axis=0) + 2) ** 2) + 4 * np.trace(a), rel=1e-9
    )
    # More features than images: the covariance has no full rank.
    assert np.isfinite(metrics.frechet_distance(rng.normal(size=(3, 8)), rng.normal(size=(5, 8))))
    # So many that covariances would take 80 GB: all variance lies in the plane of the images.
    few, others, plane = (
        rng.normal(size=(3, 2)),
        rng.normal(size=(5, 2)),
        np.linalg.qr(rng.normal(size=(100_000, 2)))[0].T,
    )
    expected = metrics.frechet_distance(few, others)
    assert metrics.frechet_distance(few @ plane, others @ plane) == pytest.approx(expected, rel=1e-9)
    for other in (y[:, :3], y[:1], y[0]):
        with pytest.raises(ValueError, match="Received: shapes"):
            metrics.frechet_distance(x, other)
