"""Pushes that break off anywhere, that meet, and whose files change meanwhile: the old revision stays whole."""

import threading
from pathlib import Path

import pytest
import torch
from loopback_hub import LoopbackHub, Repository
from safetensors.torch import load_file, save_file

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.run_folder import RunFolder
from ser_meta.hub_cards.hub.push import Files, push
from ser_meta.training.runs.hub import prepare_publication


@pytest.fixture(autouse=True)
def no_pauses(own_cache, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # the client's, between its attempts


@pytest.fixture
def files(finished_run, tmp_path) -> Files:
    """What a push sends, with weights in a file of its own."""
    found = dict(prepare_publication(RunFolder(finished_run), with_speakers=True, repository="someone/emotions").files)
    return with_weights(found, finished_run / "model" / "model.safetensors", tmp_path / "model.safetensors")


def with_weights(files: Files, source: Path, path: Path, change: float = 0.0) -> Files:
    save_file({name: tensor + change for name, tensor in load_file(source).items()}, path, {"format": "pt"})
    return files | {"model.safetensors": type(files["model.safetensors"]).listed(path)}


def pushed(hub: LoopbackHub, files: Files, name: str) -> tuple[Repository, dict[str, bytes]]:
    push(files, name)
    repository = hub.repositories[name]
    return repository, repository.tree()


def test_a_push_that_breaks_off_at_any_request_leaves_the_old_revision_whole(hub, files, tmp_path):
    repository, before = pushed(hub, files, "someone/cut")
    changed = with_weights(files, tmp_path / "model.safetensors", tmp_path / "changed.safetensors", 1.0)
    requests = 0
    while True:
        hub.calm()
        hub.lasts = requests
        try:
            push(changed, "someone/cut")
            break
        except UserError as error:
            assert str(error).startswith(f"no way to {hub.url} (") and str(error).endswith("and push again")
            assert repository.tree() == before and len(repository.branches["main"]) == 2
        requests += 1
    assert requests >= 6  # whose is it, what lies there, the large file's address, its bytes, the commit
    assert repository.tree()["model.safetensors"] == (tmp_path / "changed.safetensors").read_bytes()


def test_of_a_new_repository_nothing_is_there_before_the_commit(hub, files):
    requests = 0
    while True:
        hub.calm()
        hub.lasts = requests
        try:
            push(files, "someone/new")
            break
        except UserError:
            repository = hub.repositories.get("someone/new")
            assert repository is None or set(repository.tree()) == {".gitattributes"}
        requests += 1
    assert set(files) < set(hub.repositories["someone/new"].tree())


def test_a_commit_whose_answer_is_lost_is_whole_and_the_line_says_what_to_do(hub, files, tmp_path):
    repository, _ = pushed(hub, files, "someone/lost")
    changed = with_weights(files, tmp_path / "model.safetensors", tmp_path / "changed.safetensors", 1.0)
    hub.unanswered = "/commit/"
    with pytest.raises(UserError, match=r"no way to .*: check the network, and push again"):
        push(changed, "someone/lost")
    assert len(repository.branches["main"]) == 3
    assert repository.tree()["model.safetensors"] == (tmp_path / "changed.safetensors").read_bytes()
    hub.calm()
    push(changed, "someone/lost")


def test_of_two_pushes_at_once_one_is_whole_and_the_other_told(hub, files, tmp_path):
    repository, _ = pushed(hub, files, "someone/two")
    both = threading.Barrier(2, timeout=60)
    arrived = threading.local()

    def meet() -> None:  # each commit waits for the other once; one of them is then the first
        if not hasattr(arrived, "met"):
            arrived.met = True
            both.wait()

    hub.before_commit = meet
    versions = [
        with_weights(files, tmp_path / "model.safetensors", tmp_path / f"{change}.safetensors", change)
        for change in (1.0, 2.0)
    ]
    told: list[str | None] = [None, None]

    def run(which: int) -> None:
        try:
            push(versions[which], "someone/two")
        except UserError as error:
            told[which] = str(error)

    threads = [threading.Thread(target=run, args=[which]) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (won,) = [which for which in (0, 1) if told[which] is None]
    assert told[1 - won] == "someone/two: somebody has pushed to it meanwhile: look what, and push again"
    assert repository.tree()["model.safetensors"] == versions[won]["model.safetensors"].path.read_bytes()
    assert len(repository.branches["main"]) == 3


def test_a_branch_that_is_moved_while_files_are_sent_is_not_written_over(hub, files, tmp_path):
    repository, before = pushed(hub, files, "someone/moved")
    changed = with_weights(files, tmp_path / "model.safetensors", tmp_path / "changed.safetensors", 1.0)
    hub.before_commit = lambda: repository.commit("main", {**before, "notes.txt": b"somebody's"})
    with pytest.raises(UserError, match="pushed to it meanwhile"):
        push(changed, "someone/moved")
    assert repository.tree() == {**before, "notes.txt": b"somebody's"}


@pytest.mark.parametrize("when", ["before it is sent", "while it is sent", "taken away"])
def test_a_file_that_changes_after_it_was_listed_is_not_published(hub, files, tmp_path, when):
    name = f"someone/changing-{when.split()[0]}"
    repository, before = pushed(hub, files, name)
    path = tmp_path / "changed.safetensors"
    changed = with_weights(files, tmp_path / "model.safetensors", path, 1.0)

    def change() -> None:
        if when == "taken away":
            path.unlink(missing_ok=True)
        else:
            save_file({"other": torch.zeros(3)}, path)

    if when == "while it is sent":
        batch = hub.large_files
        hub.large_files = Telling(batch, change)
    else:
        change()
    with pytest.raises(UserError, match=f"{path} has changed since the push began, and nothing was published"):
        push(changed, name)
    assert repository.tree() == before


class Telling(dict):
    """The large files of a Hub, which tells that one of them is asked for."""

    def __init__(self, files: dict, tell):
        super().__init__(files)
        self.tell = tell

    def __contains__(self, oid: object) -> bool:
        self.tell()
        return super().__contains__(oid)
