"""EmoBox's lists on miniature trees whose files and lines are named as its own."""

import json
from dataclasses import replace

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.protocol import Protocol
from ser_meta.configuration.recipe import CorpusRecipe
from ser_meta.configuration.recipe_files import load_recipe, read_corpus
from ser_meta.training.corpora import load_corpus, load_rows
from ser_meta.training.corpora.emobox import KNOWN, SPEAKERS, read_lists, with_emobox
from ser_meta.training.corpora.mixture import load_corpora
from ser_meta.training.planning.plan import find_folds, plan_run
from ser_meta.training.studies.leaderboard import ENCODERS, FIGURES, leaderboard

SPEECH = "downloads/ravdess/audio/Audio_Speech_Actors_01-24"
LABELS = {"Angry": "Angry", "Fearful": "Fear"}
CODES = {"Angry": "05", "Fearful": "06"}
TESTED_ON_ALL = Protocol.untold("ravdess")


def line(corpus, name, wav, emotion, **more):
    return {"key": f"{corpus}-{name}", "dataset": corpus, "wav": wav, "length": 1.0, "emo": emotion, **more}


def ravdess_line(actor, emotion, take=1):
    name = f"03-01-{CODES[emotion]}-01-01-0{take}-{actor}"
    return line("ravdess", name, f"{SPEECH}/Actor_{actor}/{name}.wav", emotion)


@pytest.fixture
def clone(tmp_path):
    """Writes a clone with one corpus: its label map, and by fold the lines of each side."""

    def make(corpus, labels, folds, maps="label_map.json"):
        folder = tmp_path / "EmoBox" / "data" / corpus
        for fold, sides in folds.items():
            (folder / fold).mkdir(parents=True)
            for side, lines in sides.items():
                path = folder / fold / f"{corpus}_{side}_{fold}.jsonl"
                path.write_text("".join(f"{json.dumps(each)}\n" for each in lines), encoding="utf-8")
        (folder / maps).write_text(json.dumps(labels), encoding="utf-8")
        return tmp_path / "EmoBox"

    return make


@pytest.fixture
def ravdess(clone, tmp_path):
    """RAVDESS's speech of two folds, actors 01 and 04 against 02 and 03; the clone, and the corpus with a song."""
    of_actor = {actor: [ravdess_line(actor, emotion) for emotion in LABELS] for actor in ("01", "02", "03", "04")}
    one, other = of_actor["04"] + of_actor["01"], of_actor["02"] + of_actor["03"]
    folds = {"fold_1": {"test": one, "train": other}, "fold_2": {"test": other, "train": one}}
    root = tmp_path / "ravdess"
    for actor in of_actor:
        for kind, channel in (("Audio_Speech_Actors_01-24", "01"), ("Audio_Song_Actors_01-24", "02")):
            (root / kind / f"Actor_{actor}").mkdir(parents=True)
            for code in CODES.values() if channel == "01" else ["05"]:
                (root / kind / f"Actor_{actor}" / f"03-{channel}-{code}-01-01-01-{actor}.flac").touch()
    return clone("ravdess", LABELS, folds), root


def test_a_corpus_takes_emoboxs_utterances_classes_and_folds(ravdess):
    emobox, root = ravdess
    rows = load_corpora([CorpusRecipe("ravdess", str(root), emobox=str(emobox))])
    assert len(rows) == 8 and set(rows["style"]) == {"speech"} and set(rows["emotion"]) == {"Angry", "Fear"}
    folds = dict(zip(rows["speaker"], rows["emobox"], strict=True))
    assert folds == {"01": "fold_1", "02": "fold_2", "03": "fold_2", "04": "fold_1"}
    assert rows.remarks["left out"] == {"ravdess: not in EmoBox's lists": "4 of 12 rows, such as 03-02-05-01-01-01-01"}


def test_the_label_map_of_a_recipe_is_of_emoboxs_classes(ravdess):
    emobox, root = ravdess
    source = CorpusRecipe("ravdess", str(root), emobox=str(emobox), label_map={"emotion": {"Fear": None}})
    assert set(load_corpora([source])["emotion"]) == {"Angry"}


def test_an_utterance_that_the_corpus_lacks_is_told(ravdess):
    emobox, root = ravdess
    (root / "Audio_Speech_Actors_01-24" / "Actor_02" / "03-01-06-01-01-01-02.flac").unlink()
    rows = with_emobox(load_rows("ravdess", root, channels="speech"), "ravdess", emobox)
    missing = {
        "ravdess: in EmoBox's lists and not in the corpus": "1 of 8 utterances, such as ravdess-"
        + "03-01-06-01-01-01-02"
    }
    assert rows.remarks["left out"] == missing and len(rows) == 7


@pytest.fixture
def recipe(ravdess):
    emobox, root = ravdess
    settings = [f"data.root={root}", f"data.emobox={emobox}", "data.folds=emobox", "data.test_fold=fold_2"]
    return lambda *more: load_recipe(
        "ravdess-whisper-base-frozen", [*settings, "model.auxiliary_tasks=[gender]", *STAGES, *more]
    )


STAGES = [
    f"stages.{stage}.loss_weights.{task}=0"
    for stage in ("metadata", "emotion")
    for task in ("speaker", "style", "transcript")
]


def test_a_recipe_is_tested_on_the_fold_and_trained_on_the_others(recipe):
    assert find_folds(recipe()) == ["fold_1", "fold_2"]
    plan = plan_run(recipe())
    speakers = {side: {plan.rows["speaker"][row] for row in rows} for side, rows in plan.sides.items()}
    assert speakers == {"train": {"01", "04"}, "validation": set(), "test": {"02", "03"}}
    assert plan.tasks["emotion"]["labels"] == ["Angry", "Fear"]


def test_the_folds_need_the_lists(recipe):
    with pytest.raises(UserError, match=r"data.folds=emobox needs EmoBox's lists: set data.emobox to a clone"):
        recipe("data.emobox=null")
    with pytest.raises(UserError, match=r"data.corpus=emobox has EmoBox's folds, leave it out"):
        recipe("data.corpus=emobox")


def test_what_raters_said_is_refused_beside_the_lists(recipe, ravdess):
    for setting, told in (
        ("data.votes=shares", "data.votes=shares learns from raters' votes, and data.emobox has one class"),
        ("data.options.label=perceived", "no votes: leave out options.label=perceived"),
        ("data.options.votes=true", "no votes: leave out options.votes=true"),
    ):
        with pytest.raises(UserError, match=told):
            recipe(setting)
    emobox, root = ravdess
    with pytest.raises(UserError, match=r"no votes: leave out options\.label=perceived"):
        read_corpus("cremad", str(root), [f"emobox={emobox}", "options.label=perceived"])


def test_another_corpus_beside_it_is_trained_on_in_every_fold(recipe, ravdess, tmp_path):
    emobox, root = ravdess
    table = tmp_path / "more.csv"
    table.write_text("audio,emotion,speaker,gender\nx.wav,Angry,zoe,female\n")
    (tmp_path / "x.wav").touch()
    several = f"[{{corpus: ravdess, root: {root}, emobox: {emobox}}}, {{corpus: table, root: {table}}}]"
    both = recipe("data.corpus=null", "data.root=null", "data.emobox=null", f"data.corpora={several}")
    plan = plan_run(both)
    assert find_folds(both) == ["fold_1", "fold_2"] and len(plan.sides["test"]) == 4
    assert {plan.rows["speaker"][row] for row in plan.sides["train"]} == {"ravdess:01", "ravdess:04", "more:zoe"}
    assert leaderboard(both, TESTED_ON_ALL) == []


def emodb_line(name, emotion):
    return line("emodb", name, f"downloads/emodb/wav/{name}.wav", emotion)


def test_folds_that_share_speakers_are_refused_unless_asked_for(clone, tmp_path):
    one, other = [
        [emodb_line(f"03a0{n}{code}a", word) for code, word in (("F", "happy"), ("N", "neutral"))] for n in (1, 2)
    ]
    lists = {"fold_1": {"test": one, "train": other}, "fold_2": {"test": other, "train": one}}
    emobox = clone(
        "emodb", {"happy": "Happy", "Neutral": "Neutral"}, lists
    )  # its map and its lists differ in capitals
    (tmp_path / "wav").mkdir()
    for each in one + other:
        (tmp_path / "wav" / f"{each['key'].removeprefix('emodb-')}.wav").touch()
    changes = ["data.corpus=emodb", f"data.root={tmp_path / 'wav'}", f"data.emobox={emobox}", "data.folds=emobox"]
    asked = ["data.test_fold=fold_1", "model.auxiliary_tasks=[gender]", *STAGES]
    with pytest.raises(UserError, match=r"1 speakers are on two sides .*allow_speaker_overlap"):
        plan_run(load_recipe("ravdess-whisper-base-frozen", changes + asked))
    plan = plan_run(load_recipe("ravdess-whisper-base-frozen", [*changes, *asked, "data.allow_speaker_overlap=true"]))
    assert plan.tasks["emotion"]["labels"] == ["Happy", "Neutral"] and len(plan.sides["train"]) == 2


def test_any_corpus_is_read_from_its_lists_and_recordings(clone):
    def turn(side, dialogue, emotion, folder):
        return line("meld", f"dia{dialogue}_utt0-{side}", f"downloads/meld/{folder}/dia{dialogue}_utt0.mp4", emotion)

    sides = {
        "test": [turn("test", 0, "joy", "output_repeated_splits_test")],
        "train": [turn("train", 0, "anger", "train/train_splits"), turn("train", 1, "joy", "train/train_splits")],
        "valid": [turn("dev", 0, "anger", "dev_splits_complete")],
    }
    emobox = clone("meld", {"joy": "Happy", "anger": "Angry"}, {"fold_1": sides})
    for each in (each for lines in sides.values() for each in lines):
        path = emobox / each["wav"].replace(".mp4", ".flac")  # the sound of the video
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    rows = load_corpus("emobox", emobox, corpus="meld")
    assert rows["utterance_id"][:] == [
        "meld-dia0_utt0-train",
        "meld-dia1_utt0-train",
        "meld-dia0_utt0-dev",
        "meld-dia0_utt0-test",
    ]
    assert rows["emobox"][:] == ["train", "train", "validation", "fold_1"] and rows["emotion"][0] == "Angry"
    assert rows["audio"][3]["path"].endswith("output_repeated_splits_test/dia0_utt0.flac")
    changes = ["data.corpus=emobox", f"data.root={emobox}", "data.options={corpus: meld}", "data.folds=emobox"]
    asked = [
        "data.test_fold=fold_1",
        "model.auxiliary_tasks=[]",
        "stages.metadata=null",
        "stages.emotion.loss_weights.gender=0",
    ]
    for validation, held_back in (("none", 0), ("split", 1)):
        settings = [*changes, *asked, *STAGES[3:], f"data.validation={validation}"]
        plan = plan_run(load_recipe("ravdess-whisper-base-frozen", settings))
        assert {side: len(rows) for side, rows in plan.sides.items()} == {
            "train": 2,
            "validation": held_back,
            "test": 1,
        }


def test_parts_of_a_recording(clone):
    part = {"start_time": 2.5, "end_time": 4.0}
    lists = {
        "train": [line("pavoque", "a", "downloads/pavoque/p.flac", "sad")],
        "test": [line("pavoque", "b", "downloads/pavoque/p.flac", "sad", **part)],
    }
    (rows,) = [load_rows("emobox", clone("pavoque", {"sad": "Sad"}, {"fold_1": lists}), corpus="pavoque")]
    assert rows["start"] == [None, 2.5] and rows["end"] == [None, 4.0] and rows["speaker"] == ["pavoque"] * 2


@pytest.mark.parametrize(
    ("corpus", "wav", "speaker"),
    [
        ("ravdess", f"{SPEECH}/Actor_11/03-01-07-02-02-02-11.wav", "11"),
        ("aesdd", "downloads/aesdd/anger/a06 (5)b.wav", "5"),
        ("casia", "downloads/casia/wangzhe/neutral/239.wav", "wangzhe"),
        ("emovdb", "downloads/emovdb/sam_Amused/amused_367-392_0384.wav", "sam"),
        ("enterface", "downloads/enterface/subject 3/fear/sentence 5/s_3_fe_5.avi", "3"),
        ("iemocap", "downloads/iemocap/Session2/sentences/wav/Ses02M_impro05/Ses02M_impro05_F020.wav", "Ses02F"),
        ("mead", "downloads/mead/W019/audio/neutral/level_1/020.m4a", "W019"),
        ("subesco", "downloads/subesco/F_10_FAHMEE_S_6_FEAR_5.wav", "F_10"),
        ("turevdb", "downloads/turevdb/Sound Source/Angry/1234_sk_koku.wav", "1234"),
        ("resd", "downloads/resd/train/sadness_disgust_16/16_sadness_disgust_s_012.wav", None),
    ],
)
def test_the_path_tells_the_speaker_where_it_can(clone, corpus, wav, speaker):
    lists = {"train": [line(corpus, "a", wav, "x")], "test": [line(corpus, "b", wav, "x")]}
    assert load_rows("emobox", clone(corpus, {"x": "X"}, {"fold_1": lists}), corpus=corpus)["speaker"] == [speaker] * 2


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda lists: lists["fold_1"]["train"].pop(), "fold_1 does not train on all that it does not test .1 utter"),
        (lambda lists: lists["fold_2"].update(test=lists["fold_1"]["test"]), "tests ravdess-.* in two folds"),
        (lambda lists: lists["fold_1"].pop("train"), "no such file: .*ravdess_train_fold_1.jsonl; expected a clone"),
        (
            lambda lists: lists["fold_1"]["test"][0].pop("emo"),
            "line 1 of .*ravdess_test_fold_1.jsonl has no key, wav, emo",
        ),
        (lambda lists: lists["fold_1"]["test"][0].update(emo="Bored"), "has the label 'Bored', which .* does not map"),
        (lambda lists: lists["fold_1"]["test"][0].update(wav="../x.wav"), "the path '../x.wav', which leads out of"),
    ],
)
def test_lists_that_are_not_emoboxs_are_refused(clone, change, refusal):
    one, other = [ravdess_line("01", "Angry")], [ravdess_line("02", "Fearful")]
    lists = {"fold_1": {"test": one, "train": list(other)}, "fold_2": {"test": other, "train": list(one)}}
    change(lists)
    with pytest.raises(UserError, match=refusal):
        read_lists(clone("ravdess", LABELS, lists), "ravdess")


def test_what_is_no_clone_or_no_corpus_is_refused(ravdess, tmp_path):
    emobox, root = ravdess
    with pytest.raises(UserError, match=r"no folds in .*; expected a clone of https"):
        read_lists(tmp_path, "ravdess")
    with pytest.raises(UserError, match=r"there is no corpus 'ravdes': set options.corpus to one of aesdd"):
        load_rows("emobox", emobox, corpus="ravdes")
    with pytest.raises(UserError, match="unknown option 'root' for the corpus 'emobox': choose among corpus, audio"):
        load_rows("emobox", emobox, **{"root": root})
    with pytest.raises(UserError, match=r"name one of its corpora with options.corpus: aesdd, ased"):
        load_rows("emobox", emobox)
    with pytest.raises(UserError, match="EmoBox has no folds of the corpus 'nemo': choose one of ravdess, "):
        with_emobox(load_rows("ravdess", root), "nemo", emobox)
    foreign = load_rows("ravdess", root, channels="song")
    with pytest.raises(
        UserError, match=r"not one utterance is in EmoBox's lists, which have 03-01-05-01-01-01-02.wav"
    ):
        with_emobox(foreign, "ravdess", emobox)


def test_the_leaderboard_is_of_the_corpora_that_emobox_has(recipe):
    assert set(FIGURES) == set(SPEAKERS) >= set(KNOWN.values())
    assert all(len(values) == len(ENCODERS) and max(values) < 100 for rows in FIGURES.values() for values in rows)
    best, *others = leaderboard(recipe(), TESTED_ON_ALL)
    assert best == {"encoder": "Whisper large v3", "ua": 0.7532, "wa": 0.7587, "macro_f1": 0.7519} and len(others) == 9
    assert leaderboard(recipe("data.folds=speaker"), TESTED_ON_ALL) == []


def test_the_leaderboard_stands_beside_figures_of_the_same_utterances_alone(recipe, ravdess):
    _, root = ravdess
    plan = plan_run(recipe())
    assert list(plan.left_out) == ["ravdess: not in EmoBox's lists"]
    assert len(leaderboard(recipe(), replace(TESTED_ON_ALL, left_out=plan.left_out))) == 10
    (root / "Audio_Speech_Actors_01-24" / "Actor_02" / "03-01-06-01-01-01-02.flac").unlink()
    for change in (
        {"left_out": plan_run(recipe()).left_out},
        {"left_out": {"ravdess: quarantine": "1 of 12 rows"}},
        {"judged_on": "the validation sides"},
        {"folds_left_out": {"fold_2": "no utterance of Angry"}},
    ):
        assert leaderboard(recipe(), replace(TESTED_ON_ALL, **change)) == [], change
    weights = ["stages.emotion.loss_weights={emotion: 0, gender: 1}", "stages.metadata=null"]
    of_gender = recipe("model.target_task=gender", "model.auxiliary_tasks=[emotion]", *weights)
    assert leaderboard(of_gender, TESTED_ON_ALL) == []
