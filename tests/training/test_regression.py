"""A task that is a number, from the corpus to the report, learned on one corpus and judged on another."""

import csv
import json
from copy import deepcopy
from dataclasses import replace
from math import isnan, nan
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from transformers import AutoModel

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import Recipe
from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.report import read_report
from ser_meta.hub_cards.terminal.report import print_report
from ser_meta.modeling_ser_meta.losses_ser_meta import concordance_loss
from ser_meta.training.batches.collator import SpeechCollator
from ser_meta.training.corpora import load_corpus
from ser_meta.training.learning.arguments import training_arguments
from ser_meta.training.learning.trainer import SerMetaTrainer
from ser_meta.training.measures.metrics import evaluate_predictions, flatten, regression_metrics
from ser_meta.training.planning.evaluation import find_evaluation
from ser_meta.training.planning.labels import check_labels
from ser_meta.training.runs.evaluate import evaluate_model
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages

VALENCE = {"angry": 1.5, "sad": 2.0, "neutral": 3.0}
TASKS = {"valence": {"kind": "regression", "range": [1, 5]}}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, speech_table, recipe_file) -> Recipe:
    """The tiny recipe on two tables of other speakers and other names for one emotion; some ratings are missing."""
    folder = tmp_path_factory.mktemp("corpora")
    with speech_table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["valence"] = "" if number % 5 == 3 else VALENCE[row["emotion"]] + number % 3 / 2
    halves = {
        "east": rows[:18],
        "west": [row | {"emotion": row["emotion"].replace("sad", "low")} for row in rows[18:]],
    }
    for name, half in halves.items():
        pandas.DataFrame(half).to_csv(folder / f"{name}.csv", index=False)
    sources = [
        f"{{corpus: table, root: {folder / name}.csv, options: {{audio_root: {speech_table.parent}}}{label_map}}}"
        for name, label_map in (("east", ""), ("west", ", label_map: {emotion: {low: sad}}"))
    ]
    changes = (
        f"data.corpora=[{', '.join(sources)}]",
        "data.folds=corpus",
        "data.group_size=1",
        "data.test_fold=west",
        "model.auxiliary_tasks=[gender,valence,transcript]",
        "model.ranges.valence=[1,5]",
        "stages.metadata.loss_weights={gender: 1.0, valence: 1.0, speaker: 0, style: 0}",
        "stages.metadata.epochs=1",
        "stages.emotion.loss_weights={emotion: 1.0, valence: 0.5, speaker: 0, style: 0}",
        "stages.emotion.epochs=1",
    )
    return load_recipe(str(recipe_file), list(changes))


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory) -> Path:
    """The folder of the recipe's run."""
    folder = tmp_path_factory.mktemp("runs") / "numbers"
    run_stages(recipe, folder)
    return folder


def test_the_run_judges_numbers_on_the_corpus_that_was_left_out(run):
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert (report["protocol"]["folds"], report["protocol"]["test_fold"]) == ("corpus", "west")
    assert report["sides"] == {"train": 18, "validation": 0, "test": 18}
    predictions = pandas.read_parquet(run / "predictions.parquet")
    assert predictions["valence"].dtype == predictions["valence_predicted"].dtype == np.float64
    assert set(predictions["corpus"]) == {"west"} and predictions["speaker"].str.startswith("west:").all()
    assert set(predictions["emotion"]) == {"angry", "neutral", "sad"}
    known = predictions[predictions["valence"].notna()]
    expected = regression_metrics(known["valence"], known["valence_predicted"])
    assert report["metrics"]["valence"] == pytest.approx(expected) and 10 < expected["n"] < 18


def test_summary_and_card_show_numbers_as_numbers(run, capsys):
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    print_report(read_report(run / "report.json"))
    printed, card = capsys.readouterr().out, (run / "model" / "README.md").read_text(encoding="utf-8")
    for measure in ("ccc", "rmse"):
        assert measure.upper() in printed and measure.upper() in card
        shown = f"{report['metrics']['valence'][measure]:.3f}"
        assert shown in printed and shown in card


def test_the_model_is_whole_when_loaded_and_judged_again(run):
    loaded = AutoModel.from_pretrained(run / "model")
    assert loaded.config.tasks["valence"] == {"kind": "regression", "reported": True, "range": [1.0, 5.0]}
    east = load_recipe(str(run / "recipe.yaml")).data.corpora[0]
    options = [f"audio_root={east.options['audio_root']}"]
    again = evaluate_model(find_evaluation(run / "model", ["table", east.root, *options]))
    assert set(again.metrics["valence"]) == {"ccc", "rmse", "n"}


def test_labels_are_numbers_and_nan_where_missing(recipe):
    prepared = prepare(recipe)
    batch = SpeechCollator(prepared.processor, prepared.tasks)([prepared.dataset[row] for row in (2, 3, 4)])
    first, missing, last = batch["labels"]["valence"].tolist()
    assert (first, isnan(missing), last) == (4.0, True, 2.5)
    assert batch["labels"]["valence"].dtype == torch.float32


def test_a_step_weighs_each_batch_by_its_labelled_rows(recipe, tmp_path):
    prepared = prepare(recipe)
    stage = recipe.stages["emotion"]
    trainer = SerMetaTrainer(
        loss_weights={"emotion": 1.0, "valence": 0.5},
        encoder_learning_rate=1e-4,
        model=prepared.new_model().eval(),
        args=training_arguments(recipe, stage, tmp_path, 18, validates=False),
        processing_class=prepared.processor,
        data_collator=SpeechCollator(prepared.processor, prepared.tasks),
        train_dataset=prepared.side("train"),
    )
    batch = trainer.data_collator([prepared.dataset[row] for row in range(6)])
    losses = trainer.model(**batch).task_losses
    counts = {"emotion": torch.tensor(12), "valence": torch.tensor(10)}  # of two batches of a step
    expected = losses["emotion"] * 6 / 12 + 0.5 * losses["valence"] * 5 / 10
    torch.testing.assert_close(trainer.compute_loss(trainer.model, batch, num_items_in_batch=counts), expected)


@pytest.mark.parametrize("size", [1, 5, 18])
def test_the_loss_of_a_side_is_that_of_all_its_numbers_together(recipe, tmp_path, size):
    prepared = prepare(recipe)
    stage = replace(recipe.stages["emotion"], batch_size=size)
    trainer = SerMetaTrainer(
        loss_weights={"valence": 0.5},
        encoder_learning_rate=1e-4,
        model=prepared.new_model(),
        args=training_arguments(recipe, stage, tmp_path, 18, validates=False),
        processing_class=prepared.processor,
        data_collator=SpeechCollator(prepared.processor, prepared.tasks),
    )
    table, loss = trainer.predict_table(prepared.side("test"))
    ccc = evaluate_predictions(table, TASKS)["valence"]["ccc"]
    assert loss == pytest.approx(0.5 * (1 - ccc), abs=1e-6)


def test_a_number_on_another_scale_is_refused(recipe):
    dataset = load_corpus("table", recipe.data.corpora[0].root, **recipe.data.corpora[0].options)
    check_labels(dataset, TASKS)
    check_labels(dataset, {"valence": {"kind": "regression", "range": [1.5, 3.5]}})  # a little off its own scale
    with pytest.raises(
        UserError, match=r"anna-\S+ has the valence \S+, which is no number on the task's scale from 0"
    ):
        check_labels(dataset, {"valence": {"kind": "regression", "range": [0, 1]}})
    with pytest.raises(UserError, match=r"has the gender 'female', which is no number .*model\.ranges\.gender"):
        check_labels(dataset, {"gender": TASKS["valence"]})


def test_numbers_without_a_scale_are_refused(recipe):
    own = deepcopy(recipe)
    own.model.ranges = {}
    with pytest.raises(UserError, match=r"valence holds numbers: .* as model\.ranges\.valence=\[lowest,highest\]"):
        prepare(own)


def test_concordance_by_hand():
    chance = np.random.default_rng(0)
    reference = chance.uniform(1, 7, 50)
    predicted = 3 + 0.3 * reference + chance.normal(scale=0.5, size=50)
    measures = regression_metrics(reference, predicted)
    correlation = np.corrcoef(reference, predicted)[0, 1]
    spread = reference.var() + predicted.var() + (reference.mean() - predicted.mean()) ** 2
    assert measures["ccc"] == pytest.approx(2 * correlation * reference.std() * predicted.std() / spread)
    assert measures["rmse"] == pytest.approx(np.linalg.norm(reference - predicted) / 50**0.5)
    assert measures["n"] == 50
    assert regression_metrics([1, 2, 4], [1, 2, 4])["ccc"] == 1
    assert regression_metrics([1, 2, 3], [5, 5, 5])["ccc"] == 0
    assert regression_metrics([1, 3], [3, 1])["ccc"] == -1


def test_references_that_do_not_differ_have_no_concordance():
    reason = {"ccc": "every one of the 1 references is 2.5"}
    assert regression_metrics([2.5], [2.0]) == {"ccc": None, "rmse": 0.5, "n": 1, "undefined": reason}


def test_the_loss_that_trains_and_the_figure_that_judges_are_one():
    chance = np.random.default_rng(1)
    reference, predicted = chance.uniform(1, 5, 30), chance.uniform(1, 5, 30)
    loss = concordance_loss(torch.tensor(predicted), torch.tensor(reference), 1, 5)
    assert loss.item() == pytest.approx(1 - regression_metrics(reference, predicted)["ccc"], abs=1e-6)


def test_missing_numbers_are_not_judged():
    predictions = pandas.DataFrame({"valence": [1.0, nan, 3.0], "valence_predicted": [1.0, 9.0, 3.0]})
    metrics = evaluate_predictions(predictions, TASKS)
    assert metrics == {"valence": {"ccc": 1.0, "rmse": 0.0, "n": 2}}
    assert flatten(metrics) == {"valence_ccc": 1.0, "valence_rmse": 0.0}
    assert "not_applicable" in evaluate_predictions(predictions.assign(valence=nan), TASKS)["valence"]
