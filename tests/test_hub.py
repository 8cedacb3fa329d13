"""Presets on the Hugging Face Hub: the real client against a small stand-in for the hub on this machine."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from compositions import COMPOSITIONS

import keras_vae as kv
import zoo
from keras_vae import presets

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

ROOT = Path(__file__).parent.parent
TOKEN = "hf_of_the_tests"
METRIC = {"value": -21.5, "unit": "nats", "split": "test", "images": 300, "samples": 50, "protocol": "sampling"}


class Repository:
    """Commits, {sha: {path: bytes}}, the last one being main; tags are shas by a name."""

    def __init__(self, private=False, gated=False):
        self.private, self.gated, self.commits, self.messages = private, gated, {}, []
        self.commit({".gitattributes": b""}, "initial commit")

    def commit(self, files, message):
        self.messages.append(message)
        self.sha = hashlib.sha1(repr((self.messages, sorted(files))).encode()).hexdigest()
        self.commits[self.sha] = files

    def files(self, revision):
        return self.commits.get(self.sha if revision == "main" else revision)


class Hub(ThreadingHTTPServer):
    """What of the hub's API the client needs for presets: {repo: Repository}, and which files were downloaded."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.downloaded = {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, value=None, status=200, body=None, **headers):
        body = json.dumps(value).encode() if body is None else body
        self.send_response(status)
        for name, header in ({"Content-Length": len(body)} | headers).items():
            self.send_header(name.replace("_", "-"), str(header))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer({"error": code}, status, X_Error_Code=code)

    @property
    def authorised(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def revision(self, repo, revision):
        """The repository and the files of that revision, or None once the request is refused."""
        found = self.server.repositories.get(repo)
        if found is None or (found.private and not self.authorised):
            return self.refuse(401, "RepoNotFound")
        if found.gated and not self.authorised:
            return self.refuse(403, "GatedRepo")
        files = found.files(revision)
        return self.refuse(404, "RevisionNotFound") if files is None else (found, files)

    def do_GET(self):
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/(\w+/[\w-]+)/(revision|tree)/(.+)", path):
            repo, kind, revision = match.groups()
            if (found := self.revision(repo, revision)) is None:
                return
            if kind == "revision":
                sha = found[0].sha if revision == "main" else revision
                return self.answer({"id": repo, "sha": sha, "private": found[0].private, "tags": [], "siblings": []})
            entries = ({"type": "file", "path": p, "size": len(b), "oid": git_id(b)} for p, b in found[1].items())
            return self.answer(list(entries))
        if match := re.fullmatch(r"/(\w+/[\w-]+)/resolve/(\w+)/(.+)", path):
            repo, revision, file = match.groups()
            if (found := self.revision(repo, revision)) is None:
                return
            if self.command == "GET":
                self.server.downloaded.append(file)
            content = found[1][file]
            return self.answer(body=content, ETag=f'"{git_id(content)}"', X_Repo_Commit=revision)
        self.refuse(404, "Unknown")

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if not self.authorised:
            return self.refuse(401, "Unauthorized")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            repo = f"{asked['organization']}/{asked['name']}"
            known = repo in self.server.repositories
            self.server.repositories.setdefault(repo, Repository(private=asked.get("visibility") == "private"))
            return self.answer({"url": f"{self.server.url}/{repo}"}, 409 if known else 200)
        repo, action = re.fullmatch(r"/api/models/(\w+/[\w-]+)/(preupload|commit)/main", self.path).groups()
        if action == "preupload":
            paths = [file["path"] for file in json.loads(body)["files"]]
            return self.answer(
                {"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]}
            )
        lines = [json.loads(line) for line in body.decode().splitlines()]
        repository = self.server.repositories[repo]
        files = dict(repository.files("main"))
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            if line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        repository.commit(files, lines[0]["value"]["summary"])
        url = f"{self.server.url}/{repo}/commit/{repository.sha}"
        self.answer({"success": True, "commitOid": repository.sha, "commitUrl": url})


def git_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def point_client_at(monkeypatch, url, folder):
    """Has the client, whose settings are read once, when it is imported, use another hub and an empty cache."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub without repositories, and the client pointed at it."""
    with Hub() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        point_client_at(monkeypatch, made.url, tmp_path)
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def vae():
    return COMPOSITIONS[0].model()


def push(model, repo="ada/digits", **given):
    about = {"title": "Small", "license": "MIT"}
    rest = {"about": about, "data": {"dataset": "digits"}, "results": {"metrics": {"log_prob": METRIC}}}
    return presets.push(model, repo, token=TOKEN, **rest | given)


LOAD = """
import sys
import numpy as np
import keras_vae as kv
np.save(sys.argv[2], kv.presets.fixed_batch_score(kv.VAE.from_preset(sys.argv[1])))
"""


@pytest.mark.long
def test_a_pushed_model_comes_back_in_a_fresh_process(server, vae, tmp_path):
    url = push(vae, commit_message="First")
    repository = server.repositories["ada/digits"]
    assert url == f"{server.url}/ada/digits/commit/{repository.sha}" and repository.messages[-1] == "First"
    assert set(repository.files("main")) == {".gitattributes", *presets.FILES}
    out = tmp_path / "score.npy"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    subprocess.run([sys.executable, "-c", LOAD, "hf://ada/digits", str(out)], check=True, env=environment, cwd=tmp_path)
    np.testing.assert_allclose(np.load(out), presets.fixed_batch_score(vae), rtol=1e-6)


def test_only_files_of_presets_are_downloaded(server, vae):
    push(vae)
    repository = server.repositories["ada/digits"]
    repository.commit(repository.files("main") | {"modeling.py": b"1 / 0", "weights.pkl": b"x"}, "Code")
    zoo.load("hf://ada/digits")
    assert sorted(server.downloaded) == sorted(presets.FILES)


def test_a_revision_is_a_commit(server, vae):
    push(vae)
    first = server.repositories["ada/digits"].sha
    push(COMPOSITIONS[0].model(seed=5), "hf://ada/digits")
    scores = [presets.fixed_batch_score(presets.load(f"hf://ada/digits{rest}")) for rest in ("", f"@{first}")]
    np.testing.assert_allclose(scores[1], presets.fixed_batch_score(vae), rtol=1e-6)
    assert np.abs(scores[0] - scores[1]).min() > 1e-3


def test_directions_of_weights_that_were_replaced_are_gone(server, vae):
    push(vae, attributes={"Smiling": np.float32([1, 2, 3])})
    np.testing.assert_array_equal(zoo.attributes("hf://ada/digits")["Smiling"], [1, 2, 3])
    push(vae)
    assert presets.ATTRIBUTES not in server.repositories["ada/digits"].files("main")
    assert zoo.attributes("hf://ada/digits") == {}


def test_the_card_is_one_of_the_hub(server, vae):
    push(vae)
    card = huggingface_hub.ModelCard(server.repositories["ada/digits"].files("main")[presets.CARD].decode())
    assert isinstance(card.data, huggingface_hub.ModelCardData)
    assert card.data.library_name == "keras" and card.data.license == "mit" and card.data.datasets == ["digits"]
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("log_prob", -21.5, "test")
    assert 'kv.VAE.from_preset("hf://ada/digits")' in card.text
    assert zoo.info("hf://ada/digits")["about"]["repository"] == "hf://ada/digits"


def test_a_private_repository_needs_its_token(server, vae, monkeypatch):
    push(vae, private=True)
    with pytest.raises(presets.PresetError, match=r"no such repository, or it is private.*Received: hf://ada/digits$"):
        presets.load("hf://ada/digits")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    presets.load("hf://ada/digits")


def test_a_preset_in_the_cache_needs_no_network(server, vae, monkeypatch, tmp_path):
    push(vae)
    presets.load("hf://ada/digits")
    point_client_at(monkeypatch, "http://127.0.0.1:9", tmp_path)
    presets.load("hf://ada/digits")


def test_what_goes_wrong_is_one_line(server, vae, monkeypatch, tmp_path):
    server.repositories["ada/gated"] = Repository(gated=True)
    server.repositories["ada/empty"] = Repository()
    for name, said in {
        "hf://ada/nothing": "no such repository",
        "hf://ada/gated": f"gated: ask for access at {server.url}/ada/gated",
        "hf://ada/empty@v9": "no such branch",
        "hf://ada/empty": r"no config\.json",
        "hf://ada": "Expected",
        "hf://ada/--": "Repo id must",
    }.items():
        with pytest.raises(presets.PresetError, match=rf"{said}.*Received: .*ada") as caught:
            kv.VAE.from_preset(name)
        assert "\n" not in str(caught.value)
    with pytest.raises(presets.PresetError, match=r"refuses this .*401.* token .*Received: hf://ada/digits"):
        presets.push(vae, "ada/digits", token="wrong")
    point_client_at(monkeypatch, "http://127.0.0.1:9", tmp_path / "empty")
    with pytest.raises(
        presets.PresetError, match=r"transfer failed .*127\.0\.0\.1:9\. Received: hf://ada/digits"
    ) as caught:
        presets.load("hf://ada/digits")
    assert "\n" not in str(caught.value)
    with pytest.raises(presets.PresetError, match=r"transfer failed .*Received: hf://ada/digits"):
        push(vae)


def test_without_huggingface_hub_the_error_names_the_extra(vae, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for use in (lambda: presets.load("hf://ada/digits"), lambda: presets.push(vae, "ada/digits")):
        with pytest.raises(ImportError, match=r'pip install "keras_vae\[hub\]".*Received: hf://ada/digits'):
            use()
