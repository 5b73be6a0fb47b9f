import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from ser_meta.configuration.errors import UserError
from ser_meta.training.corpora import load_corpus
from ser_meta.training.corpora.espeak import EMOTIONS, plan, recordings
from ser_meta.training.corpora.espeak_synthesis import Speech, synthesize
from ser_meta.training.corpora.espeak_voices import GROUPS, speakers

pytest.importorskip("espeakng_loader", reason='needs espeakng-loader: pip install "ser-meta[demo]"')

BREATHY = {"Alicia", "f3", "f5", "victor"}  # the demo's voices with noise in them


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    load_corpus("espeak", folder, voices="tuning", utterances=192)
    return folder


def test_rows_have_all_metadata_and_16_khz_mono_audio(folder):
    dataset = load_corpus("espeak", folder, voices="tuning", utterances=192)
    assert Counter(dataset["emotion"]) == dict.fromkeys(EMOTIONS, 48)
    assert Counter(dataset["style"]) == {"scripted": 96, "improvised": 96}
    assert Counter(dataset["gender"]) == {"female": 96, "male": 96}
    assert set(dataset["language"]) == {"en"}
    assert len(set(dataset["transcript"])) > 40
    for row in dataset:
        info = soundfile.info(row["audio"]["path"])
        assert (info.samplerate, info.channels) == (16000, 1)
        assert 0.4 < info.duration < 8


def test_a_second_call_reads_what_the_first_wrote(folder):
    written = {file: file.stat().st_mtime_ns for file in folder.rglob("*.flac")}
    load_corpus("espeak", folder, voices="tuning", utterances=192)
    assert len(written) == 192
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.flac")} == written


def test_a_folder_of_other_options_is_refused(folder):
    with pytest.raises(UserError, match="choose another folder"):
        load_corpus("espeak", folder, voices="tuning", utterances=192, seed=1)


def test_a_missing_recording_is_named(tmp_path):
    dataset = load_corpus("espeak", tmp_path, voices="tuning", utterances=2)
    lost = dataset[1]["audio"]["path"]
    next(tmp_path.rglob("tuning-000001.flac")).unlink()
    with pytest.raises(UserError, match=lost):
        load_corpus("espeak", tmp_path, voices="tuning", utterances=2)


def test_another_seed_speaks_other_samples():
    first, other = (list(recordings(plan("demo", 6, seed), seed)) for seed in (0, 1))
    assert not any(np.array_equal(one, two) for one, two in zip(first, other, strict=True))


def test_the_same_seed_speaks_the_same_samples_whatever_the_clock_says():
    planned = [utterance for utterance in plan("demo", 240, seed=0) if utterance.speaker.variant in BREATHY]
    assert {utterance.speaker.variant for utterance in planned} == BREATHY
    started, first = int(time.time()), list(recordings(planned, 0))
    while int(time.time()) == started:  # the library would seed its noise from the clock, in whole seconds
        list(recordings(planned, 0))
    again = list(recordings(planned, 0))
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))


def test_of_several_that_ask_at_once_one_speaks_and_nobody_reads_half_a_file(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(load_corpus, "espeak", tmp_path, voices="tuning", utterances=24) for _ in range(3)]
        times = []
        for loaded in asked:
            loaded.result()
            times.append({file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.flac")})
    assert times[0] == times[1] == times[2]
    assert len(times[0]) == 24


def test_what_was_cut_off_while_it_was_spoken_is_spoken_anew(tmp_path, monkeypatch):
    def cut_off(file, waveform, rate):
        soundfile_write(file, waveform, rate)
        if "000002" in file.name:
            raise KeyboardInterrupt

    soundfile_write = soundfile.write
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(soundfile, "write", cut_off)
        load_corpus("espeak", tmp_path, voices="tuning", utterances=4)
    assert sorted(file.stem for file in tmp_path.rglob("*.flac")) == ["tuning-000000", "tuning-000001"]
    load_corpus("espeak", tmp_path, voices="tuning", utterances=4)
    assert sorted(file.stem for file in tmp_path.rglob("*.flac")) == [f"tuning-00000{number}" for number in range(4)]


def test_groups_and_sessions_share_no_voice():
    sides = [{speaker.variant for speaker in speakers(group)} for group in GROUPS]
    sessions = {}
    for speaker in speakers("demo"):
        sessions.setdefault(speaker.session, set()).add(speaker.variant)
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert sum(map(len, sessions.values())) == len(set.union(*sessions.values())) == 30


def test_sessions_balance_genders_and_names_are_unique():
    demo = speakers("demo")
    assert Counter((speaker.session, speaker.gender) for speaker in demo) == {
        (session, gender): 12 for session in "12345" for gender in ("female", "male")
    }
    for group in GROUPS:
        names = [speaker.name for speaker in speakers(group)]
        assert len(names) == len(set(names))


def test_every_speaker_speaks_every_emotion_in_every_style():
    planned = plan("demo", 120 * 8 * 2, seed=0)
    crossed = Counter((u.speaker.name, u.emotion, u.style) for u in planned)
    assert set(crossed.values()) == {2}
    assert len(crossed) == 120 * 8


def test_pretraining_speech_has_no_emotion_and_many_voices():
    planned = plan("pretraining", 400, seed=0)
    assert {utterance.emotion for utterance in planned} == {None}
    assert len({utterance.speaker for utterance in planned}) == 400


def test_emotions_sound_as_they_are_described():
    planned = plan("tuning", 96, seed=0)
    measured = {emotion: [] for emotion in EMOTIONS}
    for utterance, waveform in zip(planned, recordings(planned, 0), strict=True):
        spectrum = np.abs(np.fft.rfft(waveform)) ** 2
        above_1_khz = spectrum[len(waveform) // 16 :].sum() / spectrum.sum()
        measured[utterance.emotion].append([np.log(np.mean(waveform**2)), np.log(above_1_khz)])
    loudness, brightness = np.array([np.mean(measured[emotion], axis=0) for emotion in ("sad", "neutral", "angry")]).T
    assert list(loudness) == sorted(loudness)
    assert list(brightness) == sorted(brightness)


@pytest.mark.parametrize(("options", "named"), [({"voices": "robots"}, "robots"), ({"utterances": 0}, "utterances=0")])
def test_impossible_options_are_named_and_write_nothing(tmp_path, options, named):
    with pytest.raises(UserError, match=named):
        load_corpus("espeak", tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match=r"ser-meta\[demo\]"):
        load_corpus("espeak", tmp_path / "new", utterances=2)
    assert not (tmp_path / "new").exists()


def test_a_voice_that_the_library_lacks_is_named():
    speech = Speech("<speak>yes.</speak>", "xx+nobody", rate=200, pitch=50, pitch_range=50)
    with pytest.raises(UserError, match="xx\\+nobody"):
        list(synthesize([speech]))
