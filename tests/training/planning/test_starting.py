"""A training that starts from a trained model, and what that model has heard."""

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import read_json
from ser_meta.training.planning.plan import plan_run
from ser_meta.training.planning.starting import (
    check_encoder,
    describe_parts,
    describe_start,
    heard_again,
    refuse_heard,
)

ONE_STEP = [f"stages.{stage}.epochs=0.1" for stage in ("metadata", "emotion")]


def test_a_training_goes_on_from_a_model(finished_run, recipe_file, command_line, tmp_path):
    settings = [f"model.encoder={finished_run / 'model'}", *ONE_STEP]
    code, _, errors = command_line("train", recipe_file, *settings, "--output", tmp_path / "run")
    told = (
        f"model.encoder={finished_run / 'model'}: what it has learned is kept, but heads.speaker.classifier start anew"
    )
    assert code == 0 and told in errors  # a model that leaves its run names no speaker
    report = read_json(tmp_path / "run" / "report.json")
    assert report["model"]["new_parts"] == ["heads.speaker.classifier"]
    assert report["protocol"]["started_from"] == "a model that was trained on none of the test utterances"
    split = read_json(finished_run / "split.json")
    assert read_json(tmp_path / "run" / "heard-before.json") == sorted(split["train"] + split["validation"])
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "It started from a ser-meta model that had been trained before" in card
    assert str(finished_run) not in card


def test_what_starts_anew_is_said():
    assert describe_parts("runs/x/model", ["classifier.4"]) == (
        "model.encoder=runs/x/model: what it has learned is kept, but classifier.4 start anew"
    )


def test_a_model_is_not_tested_on_what_it_was_trained_on(finished_run, recipe_file, tmp_path):
    model = finished_run / "model"
    elsewhere = [f"model.encoder={model}", "data.test_fold=anna+bela"]
    with pytest.raises(UserError, match="was trained on 12 of the 12 utterances that would test it, such as anna-"):
        plan_run(load_recipe(str(recipe_file), elsewhere))
    sides = plan_run(load_recipe(str(recipe_file), [*elsewhere, "data.allow_speaker_overlap=true"])).sides
    assert len(sides["test"]) == 12
    assert plan_run(load_recipe(str(recipe_file), [f"model.encoder={model}"])).test_fold == "emil+finn"
    trained = read_json(finished_run / "split.json")["train"]
    assert describe_start(str(model), trained[:3]) == "a model that was trained on 3 of the test utterances"
    assert describe_start("demo-encoder", trained) is describe_start("facebook/wav2vec2-base", trained) is None


def test_what_came_before_the_model_counts_too(finished_run, tmp_path):
    for name, encoder in (("second", finished_run / "model"), ("third", tmp_path / "second" / "model")):
        folder = tmp_path / name
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "config.json").write_text('{"model_type": "ser_meta"}')
        (folder / "split.json").write_text(f'{{"train": ["{name}"], "validation": [], "test": []}}')
        (folder / "recipe.yaml").write_text(f"model: {{encoder: {encoder}}}")
    third = str(tmp_path / "third" / "model")
    for utterance in ("third", "second", "anna-angry-scripted.wav"):
        with pytest.raises(UserError, match=f"1 of the 1 utterances that would test it, such as {utterance}"):
            refuse_heard(third, [utterance])
    refuse_heard(third, ["emil-angry-scripted.wav"])
    second = tmp_path / "second"
    (second / "recipe.yaml").write_text("model: {encoder: runs/first/model}")  # as seen from another folder
    assert "not recorded" in describe_start(third, ["third"])
    for heard, words in (('["first"]', "1 of the test"), ("[]", "none of the test"), ("null", "not recorded")):
        (second / "heard-before.json").write_text(heard)
        assert words in describe_start(third, ["first"])
    (second / "split.json").unlink()
    assert "not recorded" in describe_start(third, ["third"])


def test_an_utterance_is_the_same_alone_and_among_several_corpora():
    alone, together = {"1.wav", "2.wav"}, {"my:1.wav", "your:3.wav"}
    assert heard_again(alone, ["my:2.wav", "my:4.wav"]) == ["my:2.wav"]
    assert heard_again(together, ["1.wav", "2.wav"]) == ["1.wav"]
    assert heard_again(together, ["my:1.wav", "our:3.wav"]) == ["my:1.wav"]


def test_of_a_trained_model_on_the_hub_nothing_is_known_of_what_it_has_heard():
    assert describe_start("someone/emotions", ["a"], trained=True) == (
        "a trained model, of which it is not recorded what it was trained on"
    )
    assert describe_start("openai/whisper-base", ["a"]) is None


def test_a_revision_is_a_setting_of_its_own():
    with pytest.raises(UserError, match=r"give model.encoder=someone/emotions model.revision=v1"):
        check_encoder("someone/emotions@v1")
