"""Modules pushed to a Hub and loaded from it: huggingface_hub's client, a server on loopback."""

import os

import pytest
import torch
from huggingface_hub import ModelCard, constants

from spatial_transformers import SpatialTransformer

from .endpoint import TOKEN, serving
from .test_shared import Malicious, code_of, refusal, spline

NAME = "someone/straightener"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub without repositories, which huggingface_hub takes for its own."""
    with serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.chdir(tmp_path)
        yield hub


def weight(module):
    return module.localisation.head.weight


def test_what_is_pushed_is_loaded_at_any_revision(hub, tmp_path):
    first, second = spline(), spline()
    with torch.no_grad():
        weight(second).fill_(0.25)
    address = first.push_to_hub("straightener", token=TOKEN, license="mit", numbers={"error": 0.5})
    assert address == f"{hub.url}/{NAME}/commit/{hub.hash(NAME, 0)}"
    second.push_to_hub(NAME, token=TOKEN, ignore_patterns="README.md", commit_message="again")
    assert [{*files} for files in hub.commits[NAME]] == 2 * [
        {"README.md", "config.json", "model.safetensors"}
    ]
    assert torch.equal(weight(SpatialTransformer.from_pretrained(NAME)), weight(second))
    before = SpatialTransformer.from_pretrained(NAME, revision=hub.hash(NAME, 0))
    assert torch.equal(weight(before), weight(first))
    (tmp_path / "README.md").write_bytes(hub.commits[NAME][1]["README.md"])
    assert ModelCard.load(tmp_path / "README.md").data.license == "mit"  # the first one's, kept
    exec(code_of(tmp_path), found := {})
    assert torch.equal(weight(found["model"]), weight(second))


def test_tokens_and_caches_are_passed_through(hub, tmp_path):
    spline().push_to_hub(NAME, token=TOKEN)
    hub.requests.clear()
    SpatialTransformer.from_pretrained(NAME, token="hf_mine", cache_dir=tmp_path / "other")
    assert {token for *_, token in hub.requests} == {"Bearer hf_mine"}
    asked = len(hub.requests)
    SpatialTransformer.from_pretrained(NAME, local_files_only=True, cache_dir=tmp_path / "other")
    assert len(hub.requests) == asked
    options = {"force_download": True, "cache_dir": tmp_path / "other"}
    SpatialTransformer.from_pretrained(NAME, **options)
    assert sum(name.endswith("model.safetensors") for _, name, _ in hub.requests[asked:]) > 0


@pytest.mark.traced
def test_refusals(hub, tmp_path, monkeypatch):
    spline().push_to_hub(NAME, token=TOKEN)
    load = SpatialTransformer.from_pretrained
    for name, options, message in (
        ("someone/none", {}, "Repository Not Found"),
        (NAME, {"revision": "v9"}, "Revision Not Found"),
        (NAME, {"cache_dir": tmp_path / "empty", "local_files_only": True}, "Cannot find"),
        ("runs/stn/last", {}, "Repo id must be"),
        (str(tmp_path / "none"), {}, "Repo id must be"),
        ("", {}, "Repo id must"),
        ("no\nname", {}, "no\\nname: neither a folder here"),
    ):
        line = refusal(load, name, **options)
        assert message in line
        assert "neither a folder here nor a repository of the Hub" in line
    assert "the Hub does not take it" in refusal(spline().push_to_hub, NAME, token="hf_wrong")
    options = {"token": TOKEN, "picture": "none"}
    assert "picture for a card" in refusal(spline().push_to_hub, "someone/new", **options)
    assert [*hub.commits] == [NAME]
    assert len(hub.commits[NAME]) == 1
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "that can be read (" in refusal(load, "someone/else")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "that can be read (" in refusal(load, "someone/else")


@pytest.mark.traced
def test_what_a_repository_must_not_lack(hub, tmp_path):
    spline().save_pretrained(tmp_path / "x")
    files = {path.name: path.read_bytes() for path in (tmp_path / "x").iterdir()}
    torch.save(Malicious(tmp_path / "made"), tmp_path / "pickle")
    files["pytorch_model.bin"] = (tmp_path / "pickle").read_bytes()
    for name in ("README.md", "model.safetensors", "config.json"):
        hub.commit(NAME, {n: content for n, content in files.items() if n != name})
        line = refusal(SpatialTransformer.from_pretrained, NAME)
        assert name in line
    hub.commit(NAME, {"pytorch_model.bin": files["pytorch_model.bin"]})
    assert "README.md" in refusal(SpatialTransformer.from_pretrained, NAME)
    assert not any("pytorch_model.bin" in name for _, name, _ in hub.requests)
    assert not os.path.exists(tmp_path / "made")
