"""Models pushed to a Hub on the loopback address, and used from there by a process without this package."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, RepoCard, constants
from loopback_hub import Repository
from safetensors.torch import load, load_file

from ser_meta.hub_cards.hub.space import space_files
from ser_meta.modeling_ser_meta import SerMetaModel, SerMetaProcessor, SpeechEmotionPipeline


@pytest.fixture
def refused(push):
    """Asserts that a push is refused in one line with these parts."""

    def check(repository: str, *options: str, parts: list[str], printed: str = "", **folder: Path) -> None:
        code, out, errors = push(repository, *options, **folder)
        line = errors[-1] if errors else ""
        assert code == 2 and bool(out) == bool(printed) and printed in out, out
        assert line.startswith("ser-meta: "), errors
        assert not any("Traceback" in error for error in errors)
        for part in parts:
            assert part in line, line

    return check


def test_what_a_repository_holds(push, hub, finished_run):
    push("someone/held", "--private")
    repository = hub.repositories["someone/held"]
    tree, model = repository.tree(), finished_run / "model"
    sent = {path.relative_to(model).as_posix(): path for path in model.rglob("*") if path.is_file()}
    beside = {".gitattributes", "handler.py", "requirements.txt"}
    assert repository.private and set(tree) == beside | set(sent)
    assert {"model.safetensors", "processor_config.json", "pipeline_ser_meta.py", "plots/confusion.png"} <= set(tree)
    changed = {"README.md", "config.json", "model.safetensors"}  # see test_published.py
    assert all(tree[name] == path.read_bytes() for name, path in sent.items() if name not in changed)
    card = ModelCard(tree["README.md"].decode())
    assert card.data.eval_results[0].dataset_name == "speech" and card.data.model_name == "held"
    assert "someone/held" in card.text and "someone/held" not in (model / "README.md").read_text()


def test_a_second_push_is_one_more_commit_and_keeps_what_others_added(push, hub):
    push("someone/twice")
    repository = hub.repositories["someone/twice"]
    repository.commit("main", {**repository.tree(), "notes.txt": b"mine", "README.md": b"changed by hand"})
    code, _, _ = push("someone/twice", "--license", "apache-2.0")
    assert code == 0 and len(repository.commits) == 4
    assert repository.tree()["notes.txt"] == b"mine"
    assert ModelCard(repository.tree()["README.md"].decode()).data.license == "apache-2.0"


def test_a_branch_is_made_and_main_stays_as_it_was(push, hub):
    push("someone/branches")
    repository = hub.repositories["someone/branches"]
    before = repository.find("main")
    code, _, _ = push("someone/branches", "--revision", "next", "--license", "mit")
    assert code == 0 and repository.find("main") == before != repository.find("next")
    assert 'revision="next"' in repository.tree("next")["README.md"].decode()


@pytest.mark.parametrize("where", ["large-files", "/commit/"])
def test_an_interrupted_push_leaves_the_old_revision_whole(
    push, refused, hub, finished_run, tmp_path, monkeypatch, where
):
    name = f"someone/interrupted{where.count('/')}"
    push(name)
    repository = hub.repositories[name]
    before, tree = repository.find("main"), repository.tree()
    changed = other_weights(finished_run, tmp_path)
    hub.cut = where
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's pauses between its attempts
    refused(name, folder=changed, parts=[hub.url, "push again"])
    assert repository.find("main") == before and repository.tree() == tree
    hub.cut = ""
    code, _, _ = push(name, folder=changed)
    assert code == 0
    sent = load(repository.tree()["model.safetensors"])
    expected = load_file(changed / "model" / "model.safetensors")
    assert sent and all(torch.equal(sent[name], expected[name]) for name in sent)


def other_weights(run: Path, folder: Path) -> Path:
    from safetensors.torch import save_file

    copy = Path(shutil.copytree(run, folder / "changed"))
    weights = copy / "model" / "model.safetensors"
    tensors = {name: tensor + 1.0 for name, tensor in load_file(weights).items()}
    save_file(tensors, weights, metadata={"format": "pt"})
    return copy


def test_a_dry_run_lists_the_files_and_asks_nothing(push, hub, finished_run, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    before = (finished_run / "model" / "README.md").read_bytes()
    code, printed, _ = push("someone/dry", "--dry-run")
    assert code == 0 and not hub.requests and "someone/dry" not in hub.repositories
    *lines, total, _ = printed.splitlines()
    listed = {line.split()[1]: int(line.split()[0].replace(",", "")) for line in lines}
    assert listed["vocab.json"] == (finished_run / "model" / "vocab.json").stat().st_size
    assert list(listed)[-1] == "README.md" and total.endswith("someone/dry, revision main")
    assert (finished_run / "model" / "README.md").read_bytes() == before


def test_a_space_runs_the_commit_just_pushed(push, hub):
    code, printed, _ = push("someone/shown", "--space", "someone/page", "--private")
    model, space = hub.repositories["someone/shown"], hub.repositories["spaces/someone/page"]
    assert code == 0 and printed.split() == [
        f"{hub.url}/someone/shown/commit/{model.find('main')}",
        f"{hub.url}/spaces/someone/page/commit/{space.find('main')}",
    ]
    assert model.private and space.private and len(space.commits) == 2  # the Hub's own first, then one of ours
    app = space.tree()["app.py"].decode()
    assert "MODEL = 'someone/shown'" in app and f"revision={model.find('main')!r}" in app
    card = RepoCard(space.tree()["README.md"].decode())
    assert (card.data.sdk, card.data.app_file, card.data.models) == ("gradio", "app.py", ["someone/shown"])
    assert {"requirements.txt", "page/space_app.py", "page/timeline.py"} < set(space.tree())
    assert b"peft" in space.tree()["requirements.txt"]  # the model may be an adapter
    code, _, _ = push("someone/shown", "--space", "someone/page", "--revision", "next", "--license", "mit")
    assert code == 0 and f"revision={model.find('next')!r}" in space.tree()["app.py"].decode()
    assert list(space.branches) == ["main"] and len(space.commits) == 3 and model.find("next") != model.find("main")


def test_a_pushed_space_runs_without_this_package(push, hub, finished_run, speech_table, tmp_path):
    push("someone/running", "--space", "someone/page-running")
    for name, content in hub.repositories["spaces/someone/page-running"].tree().items():
        path = tmp_path / "space" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    hub.repositories["someone/running"].commit("main", {})  # what comes after the pinned commit does not count
    program = "import sys; sys.modules['ser_meta'] = None; import app; print(app.page.fns[0].fn(sys.argv[1])[0])"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "HF_TOKEN")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_MODULES_CACHE": str(tmp_path / "home" / "modules")}
    recording = speech_table.parent / "emil-angry-scripted.wav"
    command = [sys.executable, "-c", program, recording]
    done = subprocess.run(
        command, cwd=tmp_path / "space", env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    processor = SerMetaProcessor.from_pretrained(finished_run / "model")
    recognise = SpeechEmotionPipeline(model=SerMetaModel.from_pretrained(finished_run / "model"), processor=processor)
    expected = {entry["label"]: entry["score"] for entry in recognise(str(recording))["emotion"]}
    assert ast.literal_eval(done.stdout.splitlines()[-1]) == pytest.approx(expected, abs=1e-6)


def test_a_foreign_space_is_not_overwritten_and_no_model_is_sent(refused, hub):
    hub.repositories["spaces/someone/theirs"] = space = Repository(private=False)
    space.commit("main", {"README.md": b"---\nsdk: gradio\n---\n", "app.py": b"import gradio"})
    refused("someone/kept", "--space", "someone/theirs", parts=["someone/theirs", "than a ser-meta page (app.py)"])
    refused("someone/kept", "--space", "page", parts=["page does not say", "owner/name"])
    assert len(space.commits) == 1 and "someone/kept" not in hub.repositories
    assert not any(request.startswith(("POST", "PUT")) for request in hub.requests)


def test_an_interrupted_push_of_a_space_is_made_good_by_the_next(push, refused, hub, monkeypatch):
    hub.cut = "api/spaces/someone/late/commit"
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's pauses between its attempts
    refused(
        "someone/early", "--space", "someone/late", parts=[hub.url, "push again"], printed="/someone/early/commit/"
    )
    space = hub.repositories["spaces/someone/late"]
    assert set(space.tree()) == {".gitattributes", "README.md"}
    hub.cut = ""
    code, _, _ = push("someone/early", "--space", "someone/late")
    assert code == 0 and "page/space_app.py" in space.tree()


def test_a_dry_run_lists_the_spaces_files_too(push, hub):
    code, printed, _ = push("someone/dry", "--space", "someone/page-dry", "--revision", "v1", "--dry-run")
    _, listed = printed.split("someone/dry, revision v1\n")
    names = [line.split()[1] for line in listed.splitlines()[1:-1]]
    assert code == 0 and not hub.requests and {"app.py", "README.md", "page/space_app.py"} <= set(names)
    assert listed.splitlines()[-1].endswith("bytes would go to the Space someone/page-dry")
    assert "revision='v1'" in space_files("someone/dry", "v1")["app.py"].decode()


@pytest.mark.parametrize(
    "content", [{"config.json": b'{"model_type": "bert"}'}, {"data.csv": b"a,b"}, {"README.md": b"# mine"}]
)
def test_a_foreign_repository_is_not_overwritten(refused, hub, content):
    name = f"someone/foreign-{next(iter(content)).split('.')[0].lower()}"
    hub.repositories[name] = repository = Repository(private=False)
    repository.commit("main", content)
    refused(name, parts=[name, "something else than a ser-meta model", next(iter(content))])
    refused(name, "--revision", "next", parts=[name])
    assert list(repository.branches) == ["main"] and repository.tree() == content


def test_errors_of_the_hub_are_one_line(refused, hub, monkeypatch):
    refused("emotions", parts=["emotions", "owner/name"])
    refused("someone/a..b", parts=["someone/a..b", "repository's name"])
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    refused("someone/unknown", parts=["does not know the token", "hf auth login"])
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    refused("someone/emotions", parts=["no right to write"])
    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    refused("another/emotions", parts=["no right to write"])
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused("someone/emotions", parts=["no way to http://127.0.0.1:9", "network"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("someone/emotions", parts=["HF_HUB_OFFLINE"])
    monkeypatch.setattr("ser_meta.hub_cards.hub.push.get_token", lambda: None)
    refused("someone/emotions", parts=["no token", "hf auth login", "HF_TOKEN"])


def test_a_run_that_cannot_be_pushed_is_refused(refused, hub, finished_run, tmp_path):
    refused("someone/none", folder=tmp_path, parts=[str(tmp_path), "no finished run"])
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "model" / "optimizer.pt").write_bytes(b"")
    refused("someone/pickled", folder=run, parts=["optimizer.pt", "safetensors"])
    (run / "model" / "optimizer.pt").unlink()
    (run / "model" / "model.safetensors").unlink()
    refused("someone/empty", folder=run, parts=[str(run / "model"), "no weights"])
    assert not hub.requests


def test_a_result_for_a_benchmark_has_the_hubs_own_form(push, refused, hub, finished_run):
    if not hasattr(huggingface_hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub does not read them")
    code, _, _ = push("someone/benchmarked", "--benchmark", "owner/emotional-speech:four-classes")
    content = hub.repositories["someone/benchmarked"].tree()[".eval_results/emotional-speech.yaml"]
    (entry,) = huggingface_hub.parse_eval_result_entries(yaml.safe_load(content))
    report = json.loads((finished_run / "report.json").read_text())
    assert code == 0 and (entry.dataset_id, entry.task_id) == ("owner/emotional-speech", "four-classes")
    assert entry.value == report["metrics"]["emotion"]["ua"] and "UA" in entry.notes
    refused("someone/benchmarked", "--benchmark", "speech", parts=["--benchmark speech", "owner/dataset:task"])
