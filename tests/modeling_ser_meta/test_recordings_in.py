"""The recordings of a folder: those in linked folders too, and what of it cannot be opened."""

import os
from pathlib import Path

import pytest

from ser_meta.modeling_ser_meta.audio_ser_meta import AudioError, cannot_be_read, recordings_in


def make(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"RIFF")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_folder_is_looked_through_once_however_many_links_lead_to_it(here):
    names = "abcdefgh"
    make(*(f"calls/{name}/call.wav" for name in names), "elsewhere/call.wav")
    for one in names:
        for other in names:
            if one != other:
                Path(f"calls/{one}/{other}").symlink_to(Path(f"calls/{other}").absolute())
        Path(f"calls/{one}/z").symlink_to(Path("elsewhere").absolute())
    Path("calls/A").symlink_to("a")
    found, passed_over = recordings_in(Path("calls"))
    assert passed_over == [] and len(found) == len(names) + 1
    assert {Path(f"calls/{name}/call.wav") for name in names} < set(found)  # by their own names rather than by links


def test_linked_folders_are_followed(here):
    make("calls/own.wav", "archive/2024/a.wav", "archive/2024/more/b.wav")
    Path("calls/2024").symlink_to(Path("archive/2024").absolute())
    Path("archive/2024/more/all").symlink_to(Path("calls").absolute())  # in a circle
    Path("calls/itself").symlink_to("itself")
    found, passed_over = recordings_in(Path("calls"))
    assert found == [Path("calls/2024/a.wav"), Path("calls/2024/more/b.wav"), Path("calls/own.wav")]
    assert passed_over == [Path("calls/itself")]


def test_what_is_hidden_or_a_systems_own_is_not_looked_at(here):
    make("a.WAV", "._a.wav", ".trash/b.wav", "__MACOSX/c.wav", "lost+found/d.wav", "notes.txt")
    assert recordings_in(Path()) == ([Path("a.WAV")], [])


def test_a_recording_that_a_link_does_not_find_is_none_that_is_passed_over(here):
    make("a.wav")
    Path("b.wav").symlink_to("gone.wav")
    assert recordings_in(Path()) == ([Path("a.wav"), Path("b.wav")], [])  # so that reading it is refused


def test_a_folder_that_cannot_be_opened_is_told(locked):
    make("calls/a.wav", "calls/sub/b.wav")
    Path("links").mkdir()
    Path("links/in").symlink_to(Path("calls/sub/below").absolute())
    locked("calls/sub")
    found, passed_over = recordings_in(Path("calls"))
    assert (found, passed_over) == ([Path("calls/a.wav")], [Path("calls/sub")])
    assert cannot_be_read(passed_over) == (
        "calls/sub cannot be opened: see to the permissions, and that the disk answers"
    )
    with pytest.raises(AudioError, match=r"^links holds no sound files that can be read: links/in cannot be opened"):
        recordings_in(Path("links"))


def test_what_is_passed_over_is_told_in_one_line(here):
    make("a.m4a", "b.amr")
    os.mkdir("sub")
    told = cannot_be_read([Path("a.m4a"), Path("b.amr"), Path("sub"), Path("gone")])
    Path("link.m4a").symlink_to("gone.m4a")
    assert cannot_be_read([Path("link.m4a")]).startswith("link.m4a is of a kind that libsndfile does not read")
    assert told.startswith("2 files such as a.m4a are of a kind that libsndfile does not read (.amr, .m4a): ")
    assert told.endswith("; 2 folders such as sub cannot be opened: see to the permissions, and that the disk answers")
