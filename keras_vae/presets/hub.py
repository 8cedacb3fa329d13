"""Presets on the Hugging Face Hub, by `huggingface_hub`, which is imported only here and only when it is needed."""

import contextlib
import re
from pathlib import Path

from keras_vae.presets.schema import ATTRIBUTES, CARD, CONFIG, FILES, PresetError

SCHEME = "hf://"


def download(name: str) -> Path:
    """The directory, in the hub's cache, of a preset that is there; only files of presets are downloaded, no code.

    Args:
        name: "hf://user/repo", or "hf://user/repo@revision" for a branch, a tag or a commit.

    Raises:
        PresetError: if it cannot be downloaded.
        ImportError: if huggingface_hub is not installed.
    """
    repo, revision = _parsed(name)
    with _one_line_errors(repo, revision) as client:
        directory = Path(client.snapshot_download(repo, revision=revision, allow_patterns=[*FILES, ATTRIBUTES]))
    if not (directory / CONFIG).is_file():
        raise PresetError(f"The repository holds no preset: it has no {CONFIG}. Received: {name}")
    return directory


def upload(
    directory: Path, repo: str, private: bool = False, token: str | None = None, commit_message: str | None = None
) -> str:
    """Uploads a preset as one commit.

    Args:
        directory: that of the preset; its card's front matter is written anew by the hub's `ModelCardData`.
        repo: "user/repo"; it is made if need be.
        private: whether a new repository can be seen by its owner only.
        token: of the user; None: that of `hf auth login`.
        commit_message: what the commit is called.

    Returns:
        The URL of the commit.

    Raises:
        PresetError: if it cannot be uploaded.
        ImportError: if huggingface_hub is not installed.
    """
    repo, _ = _parsed(repo)
    with _one_line_errors(repo) as client:
        # Which refuses results that the hub could not show.
        client.ModelCard.load(directory / CARD).save(directory / CARD)
        api = client.HfApi(token=token)
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=directory,
            commit_message=commit_message or "Upload a keras_vae preset",
            # Directions of the weights that are replaced.
            delete_patterns=[ATTRIBUTES],
        )
    return commit.commit_url


def _parsed(name):
    """ "hf://user/repo@revision" as ("user/repo", "revision"); the scheme and the revision may be missing."""
    match = re.fullmatch(r"(?:hf://)?([\w.-]+/[\w.-]+)/?(?:@(.+))?", name)
    if match is None:
        raise PresetError(f'Expected "{SCHEME}user/repo" or "{SCHEME}user/repo@revision". Received: {name!r}')
    return match[1], match[2]


@contextlib.contextmanager
def _one_line_errors(repo, revision=None):
    """Yields the module huggingface_hub; what it raises becomes a `PresetError` of one line."""
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
    except ImportError as error:
        raise ImportError(
            f'Presets on the hub need huggingface_hub: pip install "keras_vae[hub]". Received: {SCHEME}{repo}'
        ) from error
    try:
        yield huggingface_hub
    except (errors.HTTPError, OSError, ValueError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__).strip()[:300]
        explanations = {
            errors.GatedRepoError: f"The repository is gated: ask for access at {constants.ENDPOINT}/{repo}, then log "
            "in by `hf auth login`.",
            errors.RepositoryNotFoundError: "There is no such repository, or it is private: check the name, or log in "
            "by `hf auth login`.",
            errors.RevisionNotFoundError: "The repository has no such branch, tag or commit.",
            errors.HfHubHTTPError: f"The hub refuses this ({reason}): log in by `hf auth login`, or give a token that "
            "permits it.",
            ValueError: reason,
            # Of the client's base class HTTPError are also connections that fail.
            Exception: f"The transfer failed ({reason}): check the connection to {constants.ENDPOINT}.",
        }
        said = next(text for kind, text in explanations.items() if isinstance(error, kind))
        received = f"{SCHEME}{repo}{f'@{revision}' if revision else ''}"
        raise PresetError(f"{said} Received: {received}") from error
