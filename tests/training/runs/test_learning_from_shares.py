"""Runs whose target is learned from the shares of its raters' votes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.hub_cards.terminal.report import print_report
from ser_meta.modeling_ser_meta.losses_ser_meta import classification_loss, labelled_rows
from ser_meta.training.learning.guards import leave_out_repeats
from ser_meta.training.planning.plan import load_rows, plan_run
from ser_meta.training.runs.judging import _tell_shares
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages

LABELS = ["angry", "neutral", "sad"]
SHORT = ["stages.metadata.epochs=0.5", "stages.emotion.epochs=1", "model.class_weights=balanced", "yardstick=false"]
SMOOTHED = ["model.label_smoothing=0.1", "data.validation=speaker"]


def voted(rows, votes_for):
    """The rows with a column of votes for each label; `votes_for` gives them by label of a row."""
    votes = [votes_for(number, label) for number, label in enumerate(rows["emotion"])]
    return rows.with_columns({f"emotion:{label}": [vote[label] for vote in votes] for label in LABELS})


def one_hot(_, label):
    return {name: float(name == label) for name in LABELS}


def quarrelling(number, label):
    """Four raters, of whom one in every second utterance says the next label; nobody rated the fifth."""
    votes = {name: 4.0 * (name == label) for name in LABELS}
    if number % 2:
        votes[label] -= 1
        votes[LABELS[(LABELS.index(label) + 1) % 3]] += 1
    return dict.fromkeys(LABELS, None) if number == 4 else votes


def read_config(run):
    return json.loads((run / "model" / "config.json").read_text())


def trained(recipe, rows, folder):
    return run_stages(recipe, folder, plan=plan_run(recipe, rows))


@pytest.mark.parametrize("cache", [False, True], ids=["heard", "kept states"])
def test_one_hot_shares_train_what_hard_labels_train_to_the_bit(recipe_file, tmp_path, cache):
    kept = [f"cache={tmp_path / 'cache'}"] if cache else []
    recipe = load_recipe(str(recipe_file), [*SHORT, *SMOOTHED, *kept])
    rows = load_rows(recipe)
    hard = trained(recipe, rows, tmp_path / "hard")
    recipe = replace(recipe, data=replace(recipe.data, votes="shares"))
    shares = trained(recipe, voted(rows, one_hot), tmp_path / "shares")
    assert [read_config(tmp_path / name)["scores_are_shares"] for name in ("hard", "shares")] == [False, True]
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("hard", "shares")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    logs = [json.loads((tmp_path / name / "state.json").read_text())["emotion"]["log"] for name in ("hard", "shares")]
    logs = [[{key: entry[key] for key in entry if "loss" in key} for entry in log] for log in logs]
    assert any("eval_loss" in entry for entry in logs[0]) and logs[0] == logs[1]
    votes = shares.metrics["emotion"].pop("votes")
    validated = shares.validation.metrics["emotion"].pop("votes")
    assert votes["n"] == shares.metrics["emotion"]["n"] and validated["n"]
    assert shares.metrics == hard.metrics and shares.validation.metrics == hard.validation.metrics
    assert shares.temperature.value == hard.temperature.value and shares.temperature.on_shares


def test_batches_hold_shares_and_weights_count_them(recipe_file, tmp_path):
    recipe = load_recipe(str(recipe_file), SHORT)
    recipe = replace(recipe, data=replace(recipe.data, votes="shares"))
    rows = voted(load_rows(recipe), quarrelling)
    rows = rows.with_columns({"emotion": [None if row == 4 else label for row, label in enumerate(rows["emotion"])]})
    prepared = prepare(recipe, plan_run(recipe, rows))
    collator = prepared.build_collator(prepared.new_model(), recipe.stages["emotion"])
    chosen = [3, 4, 5]
    labels = collator.labels([prepared.dataset[row] for row in chosen])["emotion"]
    for found, row in zip(labels.tolist(), chosen, strict=True):
        expected = [-100.0] * 3 if row == 4 else [(rows[f"emotion:{label}"][row]) / 4 for label in LABELS]
        assert found == expected
    counts = np.zeros(3)
    for row in prepared.sides["train"]:
        votes = [rows[f"emotion:{label}"][row] for label in LABELS]
        counts += np.zeros(3) if None in votes else np.array(votes) / 4
    np.testing.assert_allclose(prepared.class_weights, counts.sum() / (3 * counts))


@pytest.mark.parametrize("settings", [["model.target_loss=kl"], ["model.target_loss=focal", "model.focal_gamma=1"]])
def test_a_run_that_learns_from_shares_reports_on_them(recipe_file, tmp_path, settings, capsys):
    recipe = load_recipe(str(recipe_file), [*SHORT, *settings, "data.validation=speaker"])
    recipe = replace(recipe, data=replace(recipe.data, votes="shares"))
    report = trained(recipe, voted(load_rows(recipe), quarrelling), tmp_path / "run")
    votes = report.metrics["emotion"]["votes"]
    assert 0 < votes["jensen_shannon"] < 1 and 0.5 < votes["raters_agreement"] < 1
    assert votes["interval"] == {"speakers": 2}
    assert report.temperature.on_shares
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert (
        "### What raters said" in card and "a score is the share\nof people that it expects to name that label" in card
    )
    assert "People who heard the same utterance disagree about its emotion: two of them say the same in" in card
    assert f"| {votes['jensen_shannon']:.3f} |" in card and "plots/raters.png" in card
    assert "Beside the shares of all their votes it is" in card  # which of two calibration errors is which
    print_report(report)
    shown = capsys.readouterr().out
    assert "Jensen-Shannon" in shown and "less is nearer to" in shown


def test_what_another_process_repeats_counts_for_nobody():
    shares = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    batch = {"utterance_ids": ["a", "b"], "labels": {"emotion": shares.clone()}}
    leave_out_repeats(batch, utterances=3, processes=2, place=1)
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert labelled_rows(batch["labels"]["emotion"]).tolist() == [True, False]
    found = classification_loss(logits, batch["labels"]["emotion"])
    assert torch.equal(found, classification_loss(logits[:1], shares[:1]))


def test_smoothing_toward_raters_needs_what_they_said(recipe_file):
    settings = ["model.label_smoothing=0.2", "model.smoothing_toward=raters"]
    with pytest.raises(UserError, match=r"needs what the raters said: set data\.votes=shares"):
        load_recipe(str(recipe_file), settings)
    assert load_recipe(str(recipe_file), [*settings, "data.votes=shares"]).model.smoothing_toward == "raters"


def test_a_model_tells_the_shares_that_it_learned_from(recipe_file):
    recipe = load_recipe(str(recipe_file), ["data.votes=shares"])
    prepared = prepare(recipe, plan_run(recipe, voted(load_rows(recipe), quarrelling)))
    model = prepared.new_model()
    _tell_shares(prepared, model)
    rows = prepared.side("train")
    votes = np.array([rows[f"emotion:{label}"] for label in LABELS], dtype=float)
    certain = np.array([[float(label == name) for label in rows["emotion"]] for name in LABELS])
    shares = np.where(np.isnan(votes), certain, votes / votes.sum(axis=0)).sum(axis=1)
    assert model.config.label_shares == pytest.approx(shares / shares.sum(), abs=1e-6)
