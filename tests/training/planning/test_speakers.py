"""What reports, cards and the terminal say of the speakers that a figure was measured on, and of its protocol."""

import json

import pytest
from huggingface_hub import ModelCard

from ser_meta.configuration.records import from_json, to_json
from ser_meta.configuration.report import Report, read_report
from ser_meta.hub_cards.wording import speakers_line
from ser_meta.training.corpora.rows import gather
from ser_meta.training.planning.sides import describe_styles
from ser_meta.training.planning.speakers import not_judged, speaker_facts, speakers_not_known, together

BRIEF = ["stages.metadata.epochs=0.2", "stages.emotion.epochs=0.2", "data.speed_factors=[1.0]"]
NONE_SEEN = "speaker-independent: none of the 2 test speakers was trained on"
ALL_SEEN = "speaker-dependent: 6 of 6 test speakers were trained on"
NOT_KNOWN = "speaker-dependent, as far as is known: nothing tells whether these speakers were trained on"


def line(*sides, repeated=0):
    return speakers_line(speaker_facts(*sides, repeated=repeated))


def test_it_is_counted_from_the_rows():
    assert line(["a", "b"], ["c", "d"]) == NONE_SEEN
    assert line(["a", "b", "b"], ["b", "c"]) == "speaker-dependent: 1 of 2 test speakers were trained on"
    assert line(["a"], ["b"], ["a"]) == "speaker-dependent: 1 of 1 test speakers are on the validation side"
    assert line(["a"], ["a"], repeated=3) == (
        "speaker-dependent: 1 of 1 test speakers were trained on; 3 of the utterances were trained on themselves"
    )


def test_what_is_not_known_is_no_independence():
    assert line(["a", None, None], ["b"]) == (
        "speaker-dependent, as far as is known: the speaker of 2 test utterances is not known"
    )
    assert line(["a"], ["b", None]).endswith("the speaker of 1 training utterances is not known")
    assert line(["a", None], ["a"]) == (
        "speaker-dependent: 1 of 1 test speakers were trained on; the speaker of 1 test utterances is not known"
    )
    assert speakers_line(speakers_not_known(["a"])) == NOT_KNOWN
    assert speakers_line(None) == ""


def test_folds_are_added_up_and_the_speaker_task_is_judged_where_all_were_trained_on():
    apart, mixed = speaker_facts(["a", "b"], ["c"]), speaker_facts(["a", "b"], ["a"])
    everyone = speaker_facts(["a", "b"], ["a", "b"])
    assert speakers_line(together([apart, apart])) == (
        "speaker-independent: none of the 4 test speakers was trained on in its fold"
    )
    assert speakers_line(together([apart, mixed])) == (
        "speaker-dependent: 1 of 4 test speakers were trained on, counted fold by fold"
    )
    assert not_judged(together([apart])) == {"speaker": "none of the 2 test speakers was trained on"}
    assert not_judged(together([everyone, mixed])) == {"speaker": "3 of the 4 test speakers were trained on"}
    assert not_judged(together([everyone, everyone])) == {}


@pytest.fixture(scope="module")
def shared_speakers(recipe_file, tmp_path_factory):
    """A run on parts of the utterances, in which everybody is on both sides."""
    from ser_meta.configuration.recipe_files import load_recipe
    from ser_meta.training.runs.stages import run_stages

    folder = tmp_path_factory.mktemp("runs") / "shared"
    overrides = ["data.folds=utterances", "data.fold_count=3", "data.group_size=1", "data.test_fold.place=0"]
    run_stages(load_recipe(str(recipe_file), [*overrides, *BRIEF]), folder)
    return folder


def read(run):
    return read_report(run / "report.json")


def test_a_run_whose_test_speakers_were_trained_on_says_so_first(shared_speakers, command_line, recipe_file):
    report, card = read(shared_speakers), ModelCard.load(shared_speakers / "model" / "README.md")
    assert speakers_line(report.speakers) == ALL_SEEN
    measured = report.metrics["speaker"]
    assert measured["n"] == report.sides["test"] == 12 and len(measured["recall"]) == 6
    assert card.text.strip().splitlines()[2] == f"{ALL_SEEN[0].upper()}{ALL_SEEN[1:]}."
    assert card.data.eval_results[0].dataset_args["speakers"] == ALL_SEEN
    assert "independent" not in card.text and "Not applicable to speaker" not in card.text


def test_a_run_whose_test_speakers_were_not_trained_on_says_so_first(finished_run, speech_table, command_line):
    report, card = read(finished_run), ModelCard.load(finished_run / "model" / "README.md")
    assert speakers_line(report.speakers) == NONE_SEEN
    assert report.metrics["speaker"] == {"not_applicable": "none of the 2 speakers here is among the model's labels"}
    assert card.text.strip().splitlines()[2] == f"{NONE_SEEN[0].upper()}{NONE_SEEN[1:]}."
    assert report.metrics["emotion"]["interval"] == {"speakers": 2}
    assert "No interval: 2 speakers are too few." in card.text and "95 % interval" not in card.text


@pytest.mark.parametrize(
    ("options", "first"),
    [
        (["--side", "test"], NONE_SEEN),
        (
            ["--side", "train"],
            "speaker-dependent: 4 of 4 test speakers were trained on; 24 of the utterances were trained on themselves",
        ),
        ([], "speaker-dependent: 24 of the utterances have names of ones that it was trained on"),
    ],
)
def test_judging_says_first_whom_the_model_was_trained_on(options, first, finished_run, speech_table, command_line):
    split = ["--split", finished_run / "split.json"] if options else []
    evaluate = ["evaluate", finished_run / "model", "table", speech_table, *split, *options]
    _, printed, _ = command_line(*evaluate)
    assert " ".join(printed.split()).startswith(first)
    report = from_json(Report, json.loads(command_line(*evaluate, "--json")[1]), "report")
    assert speakers_line(report.speakers) == first
    speaker = report.metrics["speaker"]
    # a published model has numbers for the speakers, so that those of its training are not among its labels either
    reason = f"none of the {4 if 'train' in options else 2} speakers here is among the model's labels"
    not_known = "nothing here tells whether these speakers were trained on"
    assert speaker == {"not_applicable": reason if options else not_known}


def test_training_speakers_that_the_corpus_lacks_are_not_known(
    finished_run, changed_table, speech_table, command_line
):
    table = changed_table(lambda row: row if row["speaker"] in ("emil", "finn") else None)
    command = ["evaluate", finished_run / "model", "table", table, f"audio_root={speech_table.parent}"]
    printed = command_line(*command, "--split", finished_run / "split.json", "--json")[1]
    assert speakers_line(from_json(Report, json.loads(printed), "report").speakers) == (
        "speaker-dependent, as far as is known: the speaker of 24 training utterances is not known"
    )


def test_unknown_speakers_are_told(changed_table, recipe_file, speech_table, tmp_path):
    from ser_meta.configuration.recipe_files import load_recipe
    from ser_meta.training.runs.stages import run_stages

    table = changed_table(lambda row: row | {"speaker": "", "session": row["speaker"][0]})
    settings = [f"data.root={table}", f"data.options.audio_root={speech_table.parent}", "data.folds=session"]
    no_speaker = ["model.auxiliary_tasks=[gender,style,transcript]"]
    no_speaker += [f"stages.{stage}.loss_weights.speaker=0" for stage in ("metadata", "emotion")]
    report = run_stages(load_recipe(str(recipe_file), [*settings, *no_speaker, *BRIEF]), tmp_path / "run")
    assert speakers_line(report.speakers) == (
        "speaker-dependent, as far as is known: the speaker of 12 test utterances is not known; "
        "the speaker of 24 training utterances is not known"
    )
    assert report.metrics["emotion"]["interval"] == {"speakers": None}


def test_the_protocol_has_all_that_changes_what_a_figure_means(recipe_file, tmp_path, speech_table):
    from ser_meta.configuration.recipe_files import load_recipe
    from ser_meta.configuration.run_folder import write_json
    from ser_meta.training.runs.judging import protocol_of
    from ser_meta.training.runs.preparation import prepare

    quarantined = tmp_path / "quarantine.json"
    names = {"anna-angry-scripted.wav": "silent", "bela-sad-scripted.wav": "silent", "nobody.wav": "silent"}
    write_json(quarantined, {"kind": "quarantine", "corpus": "table", "utterances": names})
    settings = [
        f"data.quarantine={quarantined}",
        "data.label_map={emotion: {sad: null, angry: furious}}",
        "data.longest=0.5",
        "data.validation=speaker",
        "data.allow_speaker_overlap=true",
        "searched=the rate, on three speakers",
    ]
    prepared = prepare(load_recipe(str(recipe_file), settings))
    protocol = to_json(protocol_of(prepared))
    longer = protocol.pop("longest")
    assert protocol == {
        "corpus": "speech",
        "label_map": "emotion: sad left out, angry as furious",
        "left_out": {"speech: quarantine": "2 of 36 rows", "speech: emotion mapped to null": "11 of 34 rows"},
        "folds": "groups of 2 speakers",
        "test_fold": "emil+finn",
        "allow_speaker_overlap": True,
        "styles": "improvised, scripted",
        "searched": "the rate, on three speakers",
        "validation": "speaker",
        "validation_fraction": 0.2,
        "epoch_rule": "last epoch of 2",
        "seed": 1,
    }
    whole = prepare(load_recipe(str(recipe_file), [*settings[:2], *settings[3:]]))
    left_out = len(whole.sides["train"]) - len(prepared.sides["train"])
    assert left_out > 0 and longer == f"0.5 s: {left_out} longer utterances were not trained on"


def test_styles_that_are_trained_on_and_not_judged_are_told():
    def spoken(*styles):
        return gather([{"audio": "x.wav", "utterance_id": str(n), "style": style} for n, style in enumerate(styles)])

    assert describe_styles(spoken("song", "speech", None), spoken("speech")) == "speech; trained on song, speech"
    assert describe_styles(spoken("speech"), spoken("speech")) == describe_styles(None, spoken("speech")) == "speech"
    assert (
        describe_styles(spoken("song"), spoken(None)) == "song" and describe_styles(spoken(None), spoken(None)) is None
    )
