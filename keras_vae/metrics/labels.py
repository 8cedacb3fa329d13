"""How well labels can be told, when few of them are known."""

import numpy as np
from numpy.typing import ArrayLike


def accuracy(predicted: ArrayLike, labels: ArrayLike) -> float:
    """The share of labels that are guessed right.

    Args:
        predicted: labels, or probabilities of classes, of which the largest counts.
        labels: the true ones, whole numbers from 0.

    Shape:
        predicted: `(N,)` or `(N, classes)`; labels: `(N,)`.

    Raises:
        ValueError: if the two differ in length, or are empty.
    """
    predicted, labels = np.asarray(predicted), np.asarray(labels)
    # The largest of one probability says nothing: it is a column of labels.
    wrong = predicted.ndim not in (1, 2) or predicted.shape[1:] == (1,)
    if wrong or labels.shape != predicted.shape[:1] or not labels.size:
        raise ValueError(
            "Expected predicted (N,) or (N, classes), and labels (N,). "
            f"Received: shapes {predicted.shape} and {labels.shape}"
        )
    return float(np.mean((predicted.argmax(axis=1) if predicted.ndim == 2 else predicted) == labels))


def latent_classifier(z: ArrayLike, labels: ArrayLike, z_test: ArrayLike) -> np.ndarray:
    """Predicts labels of latents by a logistic regression on those whose labels are known (M1).

    Args:
        z: latents of training images, as from `vae.encode(images)`.
        labels: their labels, whole numbers from 0, -1 where they are not known.
        z_test: latents of other images.

    Shape:
        z: `(N, *D)`; labels: `(N,)`; z_test: `(M, *D)`.

    Returns:
        `(M,)` labels.

    Raises:
        ValueError: if the shapes do not fit, or fewer than two classes are known.

    Reference: Kingma et al. 2014, arXiv:1406.5298, section 2 (latent-feature discriminative model, there with a
    transductive SVM); computed by scikit-learn, the strength of its regularisation chosen by cross-validation where
    each class has five known labels. Latents are not standardised: units that are not active would be noise.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    z, labels, z_test = np.asarray(z), np.asarray(labels), np.asarray(z_test)
    if labels.shape != z.shape[:1] or z_test.shape[1:] != z.shape[1:]:
        raise ValueError(
            "Expected z (N, *D), labels (N,) and z_test (M, *D). "
            f"Received: shapes {z.shape}, {labels.shape} and {z_test.shape}"
        )
    known = labels >= 0
    counts = np.unique(labels[known], return_counts=True)[1]
    if len(counts) < 2:
        raise ValueError(f"Known labels of two classes or more are needed. Received: {len(counts)} of them")
    model = LogisticRegression(max_iter=2000)
    if counts.min() >= 5:
        model = GridSearchCV(model, {"C": (0.001, 0.01, 0.1, 1.0, 10.0)})
    model.fit(z[known].reshape(known.sum(), -1), labels[known])
    return model.predict(z_test.reshape(len(z_test), -1))


def named_clusters(probabilities: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Names clusters by the labels that are known in them: p(label|cluster).

    `vae.classify(x) @ named_clusters(...)` are the probabilities of labels of images.

    Args:
        probabilities: p(cluster|x) of images, as from `vae.classify(x)` with a mixture prior.
        labels: their labels, whole numbers from 0, -1 where they are not known.

    Shape:
        probabilities: `(N, clusters)`; labels: `(N,)`.

    Returns:
        `(clusters, classes)`; all labels are equally likely in a cluster in which none is known.

    Raises:
        ValueError: if the shapes do not fit, or no label is known.
    """
    probabilities, labels = np.asarray(probabilities, dtype="float64"), np.asarray(labels)
    known = labels >= 0
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not known.any():
        raise ValueError(
            "Expected probabilities (N, clusters) and labels (N,), some of them known. "
            f"Received: shapes {probabilities.shape} and {labels.shape}, {known.sum()} known"
        )
    counts = probabilities[known].T @ np.eye(labels.max() + 1)[labels[known]]
    # A trace of every label, for clusters in which none is known.
    counts += 1e-9
    return counts / counts.sum(axis=1, keepdims=True)
