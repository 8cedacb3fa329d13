import csv
import io
import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest
import scipy.stats
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from keras_vae import plotting
from keras_vae.plotting import grids


def rgb(figure, **kwargs):
    """Render a figure as it would be saved, (height, width, 3) in 0..255."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", **kwargs)
    buffer.seek(0)
    return np.rint(255 * matplotlib.image.imread(buffer)[..., :3]).astype(int)


def levels(n=5, shape=(8, 8, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, size=(n, *shape), dtype="uint8")


def cell(picture, row, column, image_shape, scale, top=0):
    """Cut the pixels of one image out of a grid, one per square of scale x scale."""
    height, width = (scale * n for n in image_shape[:2])
    y = grids.GAP + top + row * (height + grids.GAP)
    x = grids.GAP + column * (width + grids.GAP)
    return picture[y : y + height, x : x + width].reshape(image_shape[0], scale, image_shape[1], scale, 3)


@pytest.mark.parametrize(("shape", "scale"), [((8, 8, 1), 12), ((12, 6, 3), 8)])
def test_every_pixel_of_an_image_is_a_sharp_square_in_its_place(shape, scale):
    images = levels(5, shape)
    figure = plotting.image_grid(images, columns=3)
    picture = rgb(figure)
    for i, image in enumerate(images):
        squares = cell(picture, i // 3, i % 3, shape, scale)
        expected = np.broadcast_to(image[:, None, :, None], squares.shape)
        np.testing.assert_array_equal(squares, expected)
    assert (cell(picture, 1, 2, shape, scale) == 255).all()
    twice = rgb(figure, dpi=2 * figure.dpi)
    np.testing.assert_array_equal(twice, picture.repeat(2, axis=0).repeat(2, axis=1))


def test_means_that_overshoot_are_no_levels():
    means = np.linspace(-1.3, 3.0, 4 * 64).reshape(4, 8, 8, 1)
    np.testing.assert_array_equal(plotting.arrays.checked_images("means", means), means.clip(0, 1))


def test_the_same_picture_from_levels_and_from_the_unit_interval():
    images = levels()
    expected = rgb(plotting.image_grid(images))
    for same in (images.astype("float32"), images / 255, (images / np.float32(255)).tolist()):
        np.testing.assert_array_equal(rgb(plotting.image_grid(same)), expected)
    # Means of a Gaussian likelihood leave the interval a little, and are then clipped, not taken for levels.
    beyond = np.where(images > 127, 1.3, -0.2)
    np.testing.assert_array_equal(rgb(plotting.image_grid(beyond)), rgb(plotting.image_grid((images > 127) * 1)))


def test_a_grid_is_square_by_default_and_grows_by_its_title():
    plain = rgb(plotting.image_grid(levels(9)))
    assert plain.shape[0] == plain.shape[1]
    titled = rgb(plotting.image_grid(levels(9), title="digits"))
    added = titled.shape[0] - plain.shape[0]
    np.testing.assert_array_equal(titled[added + grids.GAP :], plain[grids.GAP :])
    assert (titled[:added] < 128).any()
    assert (rgb(plotting.image_grid(levels(1), title="wider than one digit"))[:, :2] == 255).all()


def test_rows_can_have_names():
    plain = rgb(plotting.image_grid(levels(6), columns=3))
    figure = plotting.image_grid(levels(6), columns=3, row_names=["prior", "posterior"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["prior", "posterior"]
    named = rgb(figure)
    # The same grid, with room at its left.
    margin = named.shape[1] - plain.shape[1]
    np.testing.assert_array_equal(named[:, margin + grids.GAP :], plain[:, grids.GAP :])
    assert (named[:, :margin] < 255).any()


def test_each_reconstruction_stands_under_its_original():
    originals, reconstructions = levels(5), levels(5, seed=1) / 255
    figure = plotting.reconstruction_grid(originals, reconstructions, columns=3)
    assert [text.get_text() for text in figure.axes[0].texts] == ["original", "reconstruction"] * 2
    picture = rgb(figure)
    step = grids.GAP + 96
    blocks = [
        picture[y : y + 96, x : x + 96][6::12, 6::12, 0]
        for first in (grids.GAP, picture.shape[0] - 2 * step)
        for y in (first, first + step)
        for x in (picture.shape[1] - (3 - i) * step for i in range(3))
    ]
    white = np.full((1, 8, 8, 1), 255)
    under = np.rint(255 * reconstructions)
    expected = [*originals[:3], *under[:3], *originals[3:], *white, *under[3:], *white]
    for block, image in zip(blocks, expected, strict=True):
        np.testing.assert_array_equal(block, image[..., 0])


def test_signals_are_lines_on_one_scale():
    signals = np.stack([np.linspace(0, 1, 20), np.linspace(0, 0.5, 20)])[..., None] * [50, -50]
    ax = plotting.image_grid(signals, columns=2).axes[0]
    rises = [np.ptp(line.get_ydata()) for line in ax.lines]
    assert all(grids.GAP < y < grids.GAP + grids.CELL for line in ax.lines for y in line.get_ydata())
    np.testing.assert_allclose(rises, np.array([1, 1, 0.5, 0.5]) * rises[0])
    # Pixels count downwards: the first channel rises, the second falls.
    assert [np.sign(line.get_ydata()[-1] - line.get_ydata()[0]) for line in ax.lines] == [-1, 1, -1, 1]
    colours = [line.get_color() for line in ax.lines]
    assert colours[:2] == colours[2:] and colours[0] != colours[1]
    constant = plotting.image_grid(np.ones((1, 20, 1)))
    assert np.isfinite(constant.axes[0].lines[0].get_ydata()).all()


def test_latents_are_projected_on_their_principal_components():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    z = rng.normal(size=(400, 5)) * [4, 2, 0.1, 0.1, 0.1] @ rotation + 7
    ax = plotting.latent_scatter(z).axes[0]
    eigenvalues = np.sort(np.linalg.eigvalsh(np.cov(z.T)))[::-1]
    drawn = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(np.var(drawn, axis=0, ddof=1), eigenvalues[:2], rtol=1e-6)
    share = eigenvalues / eigenvalues.sum()
    assert f"{share[0]:.0%}" in ax.get_xlabel() and f"{share[1]:.0%}" in ax.get_ylabel()


def test_labels_become_a_legend_or_a_colour_bar():
    z = np.random.default_rng(0).normal(size=(60, 2))
    names = np.array(["no smile", "smile"])[(z[:, 0] > 0).astype(int)]
    ax = plotting.latent_scatter(z, names, title="faces").axes[0]
    assert [text.get_text() for text in ax.get_legend().texts] == ["no smile", "smile"]
    points, colours = ax.collections[0].get_offsets(), ax.collections[0].get_facecolors()
    legend_colours = [handle.get_color() for handle in ax.get_legend().legend_handles]
    for point, colour in zip(points, colours, strict=True):
        np.testing.assert_allclose(colour[:3], legend_colours[int(point[0] > 0)])

    figure = plotting.latent_scatter(z, z[:, 1])
    assert len(figure.axes) == 2 and figure.axes[0].get_legend() is None
    scatter = figure.axes[0].collections[0]
    np.testing.assert_allclose(scatter.get_array(), scatter.get_offsets()[:, 1])


def test_a_single_latent_can_be_drawn():
    assert rgb(plotting.latent_scatter(np.ones((1, 3)))).size


def test_curves_pair_training_with_validation_and_put_the_bound_first():
    history = {
        "kl": [1.0, 2.0, 3.0, 4.0],
        "learning_rate": [0.1] * 4,
        "loss": [9.0, 8.0, np.nan, 7.0],
        "val_loss": [9.5, 8.5],
        "val_ssim": [0.1, 0.2, 0.3, 0.4],
    }
    panels = plotting.curves(history).axes
    assert [ax.get_title() for ax in panels] == ["loss", "kl", "learning rate", "ssim"]
    training, validation = panels[0].lines
    np.testing.assert_array_equal(training.get_xydata(), np.c_[[1, 2, 3, 4], history["loss"]])
    np.testing.assert_array_equal(validation.get_xydata(), [[2, 9.5], [4, 8.5]])
    assert [text.get_text() for text in panels[0].get_legend().texts] == ["training", "validation"]
    assert [ax.get_ylabel() for ax in panels] == ["nats", "nats", "", ""]


def test_the_plane_is_at_the_priors_quantiles_or_linear():
    z = plotting.plane_latents(5)
    quantiles = scipy.stats.norm.ppf([0.1, 0.3, 0.5, 0.7, 0.9])
    assert z.shape == (25, 2) and z.dtype == np.float32
    # In reading order: z_1 to the right, z_2 upwards.
    np.testing.assert_allclose(z[:, 0].reshape(5, 5), np.tile(quantiles, (5, 1)), atol=1e-6)
    np.testing.assert_allclose(z[:, 1].reshape(5, 5), np.tile(quantiles[::-1, None], (1, 5)), atol=1e-6)
    z = plotting.plane_latents(14, limit=1.5)
    np.testing.assert_allclose(np.unique(z[:, 0]), np.linspace(-1.5, 1.5, 14), atol=1e-6)


def test_the_plane_shows_each_image_at_its_latent():
    z = plotting.plane_latents(3, limit=1.0)
    images = levels(9, (8, 6, 1))
    figure = plotting.latent_plane(images, z)
    ax = figure.axes[0]
    canvas = np.asarray(ax.images[0].get_array())
    scale = canvas.shape[0] // 24
    tiles = canvas.reshape(3, 8, scale, 3, 6, scale, 3).transpose(0, 3, 1, 4, 2, 5, 6)
    for i, image in enumerate(images):
        tile = tiles[i // 3, i % 3]
        np.testing.assert_array_equal(tile, np.broadcast_to(image[..., None, None], tile.shape))
    # A tick stands in the middle of the images with its value; pixels count downwards.
    for axis, size, values in ((ax.xaxis, 6, [-1, 0, 1]), (ax.yaxis, 8, [1, 0, -1])):
        np.testing.assert_allclose(axis.get_ticklocs(), scale * size * np.array([0.5, 1.5, 2.5]))
        ticks = [float(tick.get_text().replace("\N{MINUS SIGN}", "-")) for tick in axis.get_ticklabels()]
        assert ticks == values
    # Every pixel of the canvas is one of the picture; ticks touch the outermost ones.
    picture = rgb(figure)
    margin = grids.PLANE_MARGIN
    shown = picture[picture.shape[0] - margin - canvas.shape[0] : -margin, margin : margin + canvas.shape[1]]
    np.testing.assert_array_equal(shown[1:-1:7, 1:-1:5], canvas[1:-1:7, 1:-1:5])


def test_a_traversal_moves_one_unit_in_each_row():
    anchor = np.array([1.0, 2.0, 3.0])
    z = plotting.traversal_latents(anchor, units=[2, 0], values=[-1.0, 0.0])
    np.testing.assert_array_equal(z, [[1, 2, -1], [1, 2, 0], [-1, 2, 3], [0, 2, 3]])
    np.testing.assert_array_equal(plotting.traversal_latents(anchor)[:7, 0], [-3, -2, -1, 0, 1, 2, 3])
    images = levels(6).reshape(2, 3, 8, 8, 1)
    figure = plotting.traversal_grid(images, units=[2, 0], values=[-1.5, 0.0, 1.5])
    texts = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert texts["z[2]"][1] < texts["z[0]"][1]
    assert texts["\N{MINUS SIGN}1.5"][0] < texts["0.0"][0] < texts["1.5"][0]
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    x, y = (int(v) for v in (texts["1.5"][0], texts["z[0]"][1]))
    # The middle of the last image of the second row is at its labels' crossing.
    np.testing.assert_array_equal(canvas[y - 48 : y + 48 : 12, x - 48 : x + 48 : 12, 0], images[1, 2, ..., 0])


def test_neighbours_stand_beside_their_original():
    z = np.array([[0.0, 0.0], [100.0, -100.0]])
    near = plotting.neighbourhood_latents(z, count=500, scale=0.1, seed=3)
    noise = near.reshape(2, 500, 2) - z[:, None]
    assert abs(noise.std() - 0.1) < 0.005 and abs(noise.mean()) < 0.01
    np.testing.assert_array_equal(near, plotting.neighbourhood_latents(z, count=500, scale=0.1, seed=3))

    originals, neighbours = levels(2), levels(6, seed=1)
    canvas = np.asarray(plotting.neighbourhood_grid(originals, neighbours).axes[0].images[0].get_array())
    rows = [canvas[y : y + 96 : 12, ..., 0] for y in (grids.GAP + grids.LINE, 2 * grids.GAP + grids.LINE + 96)]
    for i, row in enumerate(rows):
        np.testing.assert_array_equal(row[:, grids.GAP : grids.GAP + 96 : 12], originals[i, ..., 0])
        for k in range(3):
            x = grids.GAP + (k + 1) * (96 + grids.GAP) + 3 * grids.GAP
            np.testing.assert_array_equal(row[:, x : x + 96 : 12], neighbours[3 * i + k, ..., 0])


def test_a_path_is_a_row_from_its_beginning_to_its_end():
    paths = levels(6).reshape(2, 3, 8, 8, 1)
    figure = plotting.interpolation_grid(paths)
    assert [text.get_text() for text in figure.axes[0].texts if text.get_text()] == ["0.00", "0.50", "1.00"]
    picture = rgb(figure)
    np.testing.assert_array_equal(cell(picture, 1, 2, (8, 8, 1), 12, top=grids.LINE)[:, 0, :, 0, :1], paths[1, 2])
    np.testing.assert_array_equal(rgb(plotting.interpolation_grid(paths[0]))[:100], picture[:100])


def test_an_animation_has_a_frame_for_each_image_there_and_back(tmp_path):
    paths = levels(8).reshape(2, 4, 8, 8, 1)
    for back, order in ((True, [0, 1, 2, 3, 2, 1]), (False, [0, 1, 2, 3])):
        plotting.save_gif(paths, tmp_path / "run" / "path.gif", milliseconds=70, back=back)
        with Image.open(tmp_path / "run" / "path.gif") as gif:
            assert (gif.n_frames, gif.info["loop"], gif.info["duration"]) == (len(order), 0, 70)
            for frame, t in enumerate(order):
                gif.seek(frame)
                picture = np.asarray(gif.convert("RGB")).astype(int)
                expected = rgb(plotting.image_grid(paths[:, t], columns=2))
                # 256 colours hold the greys of two small images, and the border.
                np.testing.assert_allclose(picture, expected, atol=2)
    plotting.save_gif(np.sin(np.arange(120)).reshape(3, 40, 1), tmp_path / "signal.gif")
    with Image.open(tmp_path / "signal.gif") as gif:
        assert gif.n_frames == 4


def test_frames_share_one_scale(tmp_path):
    # A dark image of levels is no bright one of the unit interval.
    plotting.save_gif(np.stack([np.full((8, 8, 1), v) for v in (1, 255)]), tmp_path / "dark.gif", back=False)
    with Image.open(tmp_path / "dark.gif") as gif:
        assert np.asarray(gif.convert("RGB"))[50, 50].max() <= 1


def test_projections_are_those_of_scikit_learn():
    z = np.random.default_rng(0).normal(size=(60, 5)) * [1, 2, 3, 4, 5] + 2
    np.testing.assert_allclose(plotting.project(z), PCA(2, svd_solver="full").fit_transform(z), atol=1e-9)
    # The units of a hierarchy are too many for their covariances.
    maps = np.random.default_rng(1).normal(size=(8, 50_000)) * np.geomspace(5, 1, 8)[:, None]
    np.testing.assert_allclose(plotting.project(maps), PCA(2, svd_solver="full").fit_transform(maps), atol=1e-6)
    np.testing.assert_array_equal(plotting.project(np.ones((4, 3))), np.zeros((4, 2)))
    expected = TSNE(perplexity=(60 - 1) / 3, init="pca", random_state=5).fit_transform(z)
    np.testing.assert_allclose(plotting.project(z, "tsne", seed=5), expected, rtol=1e-4, atol=1e-3)
    for method in ("pca", "tsne"):
        np.testing.assert_array_equal(plotting.project(z[:, :2], method), z[:, :2])
    ax = plotting.latent_scatter(z, projection="tsne", seed=5).axes[0]
    assert ax.get_xlabel() == "t-SNE 1"
    drawn = np.asarray(ax.collections[0].get_offsets())
    np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(expected[:, 0]), rtol=1e-4, atol=1e-3)


def test_bars_are_sorted_by_kl_and_inactive_units_grey():
    kl = np.array([0.5, 3.0, 0.001, 2.0])
    figure = plotting.unit_kl(kl, np.array([True, True, False, True]))
    ax = figure.axes[0]
    assert [bar.get_height() for bar in ax.patches] == [3.0, 2.0, 0.5, 0.001]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "3", "0", "2"]
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[1] == colours[2] != colours[3]
    assert [text.get_text() for text in ax.get_legend().texts] == ["active (3)", "inactive (1)"]
    assert "nats" in ax.get_ylabel() and ax.get_title() == "5.5 nats in 4 units"
    assert plotting.unit_kl(kl).axes[0].get_legend() is None


def test_curves_of_some_metrics_in_their_order():
    history = {"loss": [1.0], "ssim": [0.5], "val_squared_error": [9.0], "squared_error": [8.0]}
    panels = plotting.curves(history, ["squared_error", "ssim"]).axes
    assert [ax.get_title() for ax in panels] == ["squared error", "ssim"]
    assert [len(ax.lines) for ax in panels] == [2, 1]


@pytest.mark.parametrize(("first", "missing"), [(1, ""), (0, "NA")])
def test_curves_from_a_file(tmp_path, first, missing):
    path = tmp_path / "history.csv"
    with open(path, "w", newline="") as file:
        rows = [{"epoch": e + first, "elbo": -e, "val_elbo": missing if e % 2 == 0 else -e - 0.5} for e in range(4)]
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (ax,) = plotting.curves(path).axes
    training, validation = ax.lines
    np.testing.assert_array_equal(training.get_xydata(), [[1, 0], [2, -1], [3, -2], [4, -3]])
    np.testing.assert_array_equal(validation.get_xydata(), [[2, -1.5], [4, -3.5]])
    path.write_text("loss\n1\n")
    with pytest.raises(ValueError, match="Received: "):
        plotting.curves(path)


@pytest.mark.parametrize(
    ("draw", "arguments"),
    [
        (plotting.image_grid, [np.zeros((4, 8))]),
        (plotting.image_grid, [np.zeros((4, 8, 8))]),
        (plotting.image_grid, [np.zeros((4, 8, 8, 2))]),
        (plotting.image_grid, [np.zeros((0, 8, 8, 1))]),
        (plotting.image_grid, [np.full((1, 8, 8, 1), np.nan)]),
        (plotting.image_grid, [np.zeros((1, 8, 8, 1)), 0]),
        (plotting.reconstruction_grid, [np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8, 3))]),
        (plotting.reconstruction_grid, [np.zeros((1, 8, 8, 1)), np.full((1, 8, 8, 1), np.inf)]),
        (plotting.latent_scatter, [np.zeros((4, 1))]),
        (plotting.latent_scatter, [np.zeros((0, 2))]),
        (plotting.latent_scatter, [np.full((4, 2), np.nan)]),
        (plotting.latent_scatter, [np.zeros((4, 2)), [0, 1, 2]]),
        (plotting.latent_scatter, [np.zeros((30, 2)), [f"class {i}" for i in range(30)]]),
        (plotting.curves, [{}]),
        (plotting.curves, [{"loss": []}]),
        (plotting.curves, [{"loss": 1.0}]),
        (plotting.curves, [{"loss": [1.0]}, ["ssim"]]),
        (plotting.curves, [{"loss": [1.0]}, []]),
        (plotting.latent_scatter, [np.zeros((4, 3)), None, None, "umap"]),
        (plotting.project, [np.zeros((3, 5)), "tsne"]),
        (plotting.unit_kl, [np.zeros((2, 3))]),
        (plotting.unit_kl, [[1.0, np.nan]]),
        (plotting.unit_kl, [[1.0, 2.0], np.array([True])]),
        (plotting.unit_kl, [[1.0, 2.0], [0, 1]]),
        (plotting.plane_latents, [1]),
        (plotting.plane_latents, [3, 0.0]),
        (plotting.latent_plane, [np.zeros((4, 8, 8, 1)), np.zeros((4, 2))]),
        (plotting.latent_plane, [np.zeros((4, 8, 8, 1)), plotting.plane_latents(2)[::-1]]),
        (plotting.latent_plane, [np.zeros((5, 8, 8, 1)), plotting.plane_latents(2)]),
        (plotting.traversal_latents, [np.zeros((2, 2))]),
        (plotting.traversal_latents, [np.zeros(2), [2]]),
        (plotting.traversal_latents, [np.zeros(2), [-1]]),
        (plotting.traversal_latents, [np.zeros(2), [0.5]]),
        (plotting.traversal_grid, [np.zeros((6, 8, 1))]),
        (plotting.traversal_grid, [np.zeros((2, 3, 8, 8, 1)), [0]]),
        (plotting.traversal_grid, [np.zeros((2, 3, 8, 8, 1)), None, [0.0]]),
        (plotting.image_grid, [np.zeros((4, 8, 8, 1)), 2, None, ["one row"]]),
        (plotting.interpolation_grid, [np.zeros((4, 8))]),
        (plotting.neighbourhood_grid, [np.zeros((2, 8, 8, 1)), np.zeros((3, 8, 8, 1))]),
        (plotting.neighbourhood_grid, [np.zeros((2, 8, 8, 1)), np.zeros((4, 8, 8, 3))]),
        (plotting.save_gif, [np.zeros((2, 8, 8, 1)), "a.png"]),
        (plotting.save, [Figure(), "figure.pdf"]),
        (plotting.save_pixels, [np.zeros((2, 8, 1), "uint8"), "a.png"]),
        (plotting.save_pixels, [np.zeros((2, 8, 8, 1)), "a.png"]),
        (plotting.save_pixels, [np.zeros((2, 8, 8, 1), "uint8"), "a.jpg"]),
        (plotting.save_pixels, [np.zeros((2, 8, 8, 1), "uint8"), "a.png", 0]),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, arguments):
    with pytest.raises(ValueError, match="Received: "):
        draw(*arguments)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "run" / "grid.png"
    figure = plotting.image_grid(levels())
    plotting.save(figure, path)
    whole = path.read_bytes()
    assert whole.startswith(b"\x89PNG")
    height, width = rgb(figure).shape[:2]
    # The IHDR chunk: a grid is saved at the resolution at which it is sharp.
    assert (int.from_bytes(whole[16:20]), int.from_bytes(whole[20:24])) == (width, height)

    class Broken:
        def savefig(self, file, **kwargs):
            with open(file, "wb") as stream:
                stream.write(b"half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        plotting.save(Broken(), path)
    assert path.read_bytes() == whole
    assert [p.name for p in path.parent.iterdir()] == ["grid.png"]


@pytest.mark.parametrize("shape", [(8, 6, 1), (8, 6, 3)])
def test_pixels_are_written_as_they_are(tmp_path, shape):
    images = levels(5, shape)
    plotting.save_pixels(images, tmp_path / "all.png", columns=3)
    picture = np.asarray(Image.open(tmp_path / "all.png")).reshape(16, 18, -1)
    for i, image in enumerate(images):
        top, left = i // 3 * 8, i % 3 * 6
        np.testing.assert_array_equal(picture[top : top + 8, left : left + 6], image)
    assert not picture[8:, 12:].any()
    plotting.save_pixels(images, tmp_path / "each")
    paths = sorted((tmp_path / "each").iterdir())
    assert [path.name for path in paths] == [f"{i:05d}.png" for i in range(5)]
    np.testing.assert_array_equal(np.asarray(Image.open(paths[4])).reshape(shape), images[4])
    # As many columns as there are images, at most.
    plotting.save_pixels(images[:2], tmp_path / "few.png", columns=9)
    assert Image.open(tmp_path / "few.png").size == (12, 8)


def test_drawing_leaves_nothing_in_pyplot_and_waits_until_it_is_needed(tmp_path):
    # Keras imports pyplot itself, where it finds it.
    code = """
import sys
import keras_vae as kv
assert "keras_vae.plotting" not in sys.modules
import matplotlib, matplotlib.pyplot as plt
before = dict(matplotlib.rcParams)
kv.plotting.save(kv.plotting.image_grid([[[[0.5]]]]), sys.argv[1])
kv.plotting.curves({"loss": [1.0, 2.0]}), kv.plotting.latent_scatter([[0.0, 1.0]]), kv.plotting.unit_kl([1.0])
assert plt.get_fignums() == [] and dict(matplotlib.rcParams) == before
"""
    target = tmp_path / "dot.png"
    subprocess.run([sys.executable, "-c", code, str(target)], check=True)
    assert target.exists()
