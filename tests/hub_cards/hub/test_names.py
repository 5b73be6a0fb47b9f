"""Models by their name on a Hub on the loopback address: in every command, without the network, and the refusals."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from loopback_hub import Repository
from safetensors.torch import load, save

from ser_meta.configuration.errors import UserError
from ser_meta.hub_cards.hub.names import ADAPTER, find_model


@pytest.fixture
def published(hub, own_cache, finished_run) -> Repository:
    """A model on the Hub as `someone/emotions`, with code beside it that would tell that it ran."""
    files = {path.name: path.read_bytes() for path in (finished_run / "model").iterdir() if path.is_file()}
    repository = hub.repositories["someone/emotions"] = Repository(private=False)
    repository.commit("main", {**files, "modeling_ser_meta.py": b"raise SystemExit('foreign code')"})
    return repository


@pytest.fixture
def recording(speech_table) -> Path:
    return speech_table.parent / "emil-angry-scripted.wav"


@pytest.fixture
def offline(monkeypatch):
    """After a call of it, HF_HUB_OFFLINE is set."""
    forget = getattr(huggingface_hub.utils, "reset_sessions", lambda: None)  # older releases look once a session

    def go() -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        forget()

    yield go
    monkeypatch.undo()
    forget()


def test_a_folder_goes_before_a_repository(published, hub, finished_run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run / "model", tmp_path / "someone" / "emotions")
    found = find_model("someone/emotions")
    assert found.folder == Path("someone/emotions") and found.identity == str(tmp_path / "someone" / "emotions")
    assert found.title == "emotions" and not hub.requests


def test_predictions_by_name_are_those_of_the_folder_and_no_code_is_fetched(
    published, hub, command_line, finished_run, recording
):
    code, named, _ = command_line("predict", "someone/emotions", recording, "--json")
    assert code == 0 and named == command_line("predict", finished_run / "model", recording, "--json")[1]
    assert any(request.endswith("model.safetensors") for request in hub.requests)
    assert not any(request.endswith(".py") for request in hub.requests)


def test_evaluation_by_name(published, command_line, finished_run, speech_table):
    judged = [
        json.loads(command_line("evaluate", model, "table", speech_table, "--json")[1])["metrics"]
        for model in ("someone/emotions", finished_run / "model")
    ]
    assert judged[0] == judged[1] and judged[0]["emotion"]["n"] == 36


def test_an_export_by_name(published, command_line, tmp_path):
    pytest.importorskip("onnxruntime")
    code, _, _ = command_line("export", "someone/emotions@main", "--output", tmp_path / "onnx")
    assert code == 0 and (tmp_path / "onnx" / "model.onnx").is_file()


def test_an_adaptation_by_name_writes_our_own_code(published, command_line, finished_run, speech_table, tmp_path):
    config = json.loads(published.tree()["config.json"])
    adapt = ["adapt", "someone/emotions", speech_table.parent / "finn-*.wav", "--output", tmp_path / "adapted"]
    code, _, errors = command_line(*adapt)
    assert code == 2 and "someone/emotions is not centred by speakers" in errors[-1]
    tensors = load(published.tree()["model.safetensors"])
    layers, width = config["speech_config"]["num_hidden_layers"], config["speech_config"]["hidden_size"]
    tensors |= {
        "standardization.mean": torch.zeros(layers, width),
        "standardization.deviation": torch.ones(layers, width),
    }
    centred = {**config, "standardize_states": True, "center_by": ["speaker"]}
    files = {"config.json": json.dumps(centred).encode(), "model.safetensors": save(tensors, {"format": "pt"})}
    published.commit("main", {**published.tree(), **files})
    code, _, errors = command_line(*adapt)
    assert code == 0, errors
    own = (finished_run / "model" / "modeling_ser_meta.py").read_bytes()
    assert (tmp_path / "adapted" / "modeling_ser_meta.py").read_bytes() == own


def test_a_page_by_name(published, hub, tmp_path):
    httpx = pytest.importorskip("httpx")
    pytest.importorskip("gradio")
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-u", "-m", "ser_meta.training", "serve", "someone/emotions", "--port", port]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as page:
        try:
            url = next(line.split()[-1] for line in page.stdout if "http://127.0.0.1" in line)
            assert "someone/emotions" in httpx.get(url).text
        finally:
            page.send_signal(signal.SIGTERM)
    assert not list(tmp_path.rglob("*.py"))


def test_a_revision_is_that_branch_or_commit_and_a_branch_is_asked_for_anew(published, finished_run):
    first = published.find("main")
    assert find_model("someone/emotions").identity == f"someone/emotions@{first}"
    second = published.commit("main", dict(published.tree()))
    assert find_model("someone/emotions").folder.name == find_model("someone/emotions@main").folder.name == second
    assert find_model(f"someone/emotions@{first}").folder.name == first


@pytest.mark.parametrize("why", ["HF_HUB_OFFLINE is set", "status 503", "no way to http://127.0.0.1:9"])
def test_without_the_hub_the_cached_copy_is_used_and_told(
    published, hub, command_line, offline, no_hub, recording, why
):
    _, before, _ = command_line("predict", "someone/emotions", recording, "--json")
    if "OFFLINE" in why:
        offline()
    elif "503" in why:
        hub.status = 503
    else:
        no_hub()
    code, printed, errors = command_line("predict", "someone/emotions", recording, "--json")
    assert code == 0 and printed == before
    (told,) = [line for line in errors if "cached copy" in line]
    assert told.startswith("ser-meta: someone/emotions: ") and why in told and published.find("main")[:7] in told


def test_a_download_that_breaks_off_leaves_the_copy_of_before(published, hub, offline, monkeypatch, capfd):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's pauses between its attempts
    first = find_model("someone/emotions").identity
    changed = {**published.tree(), "model.safetensors": b"other weights"}
    second = published.commit("main", changed)
    hub.cut = "model.safetensors"
    assert find_model("someone/emotions").identity == first
    assert "the cached copy of commit" in capfd.readouterr().err
    hub.cut = ""
    assert find_model("someone/emotions").identity == f"someone/emotions@{second}"
    (find_model("someone/emotions").folder / "model.safetensors").unlink()
    offline()
    with pytest.raises(UserError, match=r"by half \(model.safetensors is missing\), and HF_HUB_OFFLINE"):
        find_model("someone/emotions")


def test_names_that_the_hub_knows_nothing_of(own_cache, offline):
    for name in ("runs/mine/model", "./model", "someone", "someone/emotions@", "/nowhere/model"):
        with pytest.raises(UserError, match=f"^{name} is no folder: give the `model` folder of a run, or owner/name"):
            find_model(name)
    offline()
    with pytest.raises(
        UserError, match=r"^someone/new is no folder here and not in the cache of the Hub, and HF_HUB_"
    ):
        find_model("someone/new")


def test_what_the_hub_refuses_is_one_line_with_the_remedy(published, hub, monkeypatch):
    def refused(name: str, *parts: str) -> None:
        with pytest.raises(UserError) as told:
            find_model(name)
        assert all(part in str(told.value) for part in (name.partition("@")[0], *parts)), told.value

    refused("someone/absent", "no folder here", "check the name", "hf auth login")
    refused("someone/emotions@v9", "no revision v9", f"{hub.url}/someone/emotions")
    refused("someone/a..b", "cannot be a model's name")
    for name, content in {"notes": {"a.txt": b""}, "bert": {"config.json": b'{"model_type": "bert"}'}}.items():
        hub.repositories[f"someone/{name}"] = Repository(private=False)
        hub.repositories[f"someone/{name}"].commit("main", {**content, "model.safetensors": b"many bytes"})
    refused("someone/notes", "no config.json")
    refused("someone/bert", "of the type 'bert', not ser_meta")
    assert not any(request.endswith("bert/resolve/main/model.safetensors") for request in hub.requests)
    published.commit("pickled", {"config.json": published.tree()["config.json"], "pytorch_model.bin": b""})
    refused("someone/emotions@pickled", "no weights (model.safetensors)")
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    hub.repositories["someone/mine"] = Repository(private=True)
    hub.repositories["someone/mine"].commit("main", published.tree())
    refused("someone/mine", "private", "hf auth login")
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert find_model("someone/mine").title == "someone/mine"
    published.gated = True
    refused("someone/emotions", "is gated", f"agree to its terms at {hub.url}/someone/emotions")


def test_a_cache_that_cannot_be_written_is_told_as_such(published, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match=r"someone/emotions cannot be kept in .*/file/cache \(Not a directory\)"):
        find_model("someone/emotions")


def test_an_adapter_is_fetched_with_what_stands_above_its_encoder(
    hub, own_cache, command_line, finished_run, encoder_folder, recording, tmp_path
):
    pytest.importorskip("peft")
    from ser_meta.modeling_ser_meta import SerMetaModel
    from ser_meta.modeling_ser_meta.adapters_ser_meta import ADAPTER_FILES, ADAPTER_FOLDER

    assert [f"{ADAPTER_FOLDER}/{name}" for name in ADAPTER_FILES] == ADAPTER
    folder = Path(shutil.copytree(finished_run / "model", tmp_path / "model"))
    model = SerMetaModel.from_pretrained(folder)
    model.add_encoder_adapter(rank=2)
    model.save_adapter(folder, str(encoder_folder))
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.repositories["someone/adapter"] = repository = Repository(private=False)
    repository.commit("main", files)
    named = command_line("predict", "someone/adapter", recording, "--json")
    assert named[0] == 0 and named[1] == command_line("predict", folder, recording, "--json")[1]
    assert not any("plots" in request or request.endswith(".py") for request in hub.requests)
    repository.commit("main", {name: content for name, content in files.items() if name != ADAPTER[1]})
    with pytest.raises(UserError, match=r"no weights \(adapter/adapter_model.safetensors\)"):
        find_model("someone/adapter")


def test_a_damaged_copy_in_the_cache_says_what_to_remove(published, command_line, recording):
    folder = find_model("someone/emotions").folder
    weights = folder / "model.safetensors"
    content = weights.read_bytes()[:1000]
    weights.unlink()
    weights.write_bytes(content)
    code, _, errors = command_line("predict", "someone/emotions", recording)
    assert code == 2 and f"remove {folder.parent.parent}, and the next call fetches it anew" in errors[-1]
