"""A model that starts from a trained one keeps what fits of it."""

import logging

import pytest
import torch

from ser_meta.modeling_ser_meta import SerMetaModel

TASKS = {
    "emotion": {"labels": ["neutral", "happy", "angry", "sad"]},
    "gender": {"labels": ["female", "male"]},
    "transcript": {"kind": "ctc"},
    "valence": {"kind": "regression", "range": [1, 5]},
}
OPTIONS = {"coattention_heads": 4, "head_hidden_size": 16, "classifier_hidden_size": 24, "standardize_states": True}


@pytest.fixture(scope="module")
def trained(encoder_folder, tmp_path_factory):
    """A folder with a model of which every weight is unlike that of a new one."""
    folder = tmp_path_factory.mktemp("trained")
    model = SerMetaModel.from_backbone_pretrained(str(encoder_folder), tasks=TASKS, **OPTIONS)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    model.save_pretrained(folder)
    return folder


def start(folder, tasks=TASKS, **options):
    return SerMetaModel.from_backbone_pretrained(str(folder), tasks=tasks, **OPTIONS | options)


def assert_new_are(model, trained, *parts):
    """Those parts differ from the trained model's, weight by weight, and all else is the same."""
    assert {part for part, kept in model.inherited.items() if not kept} == set(parts)
    old = SerMetaModel.from_pretrained(trained).state_dict()
    for name, weight in model.state_dict().items():
        equal = name in old and torch.equal(weight, old[name])
        assert equal != name.startswith(tuple(f"{part}." for part in parts)), name


def test_the_same_model_is_kept_as_a_whole(trained, caplog):
    with caplog.at_level(logging.INFO, logger="ser_meta"):
        model = start(trained)
    assert_new_are(model, trained)
    assert caplog.messages == [f"{trained}: new in a model that starts from it: []"]
    assert model.config.calibration_temperature == 1.0


@pytest.mark.parametrize(
    ("tasks", "new"),
    [
        ({"emotion": {"labels": ["happy", "neutral", "angry", "sad"]}}, ["classifier.4"]),
        ({"emotion": {"labels": ["calm", "happy", "angry", "sad"]}}, ["classifier.4"]),
        ({"emotion": {"labels": ["yes", "no"]}}, ["classifier.4"]),
        ({"gender": {"labels": ["male", "female"]}}, ["heads.gender.classifier"]),
        ({"transcript": {"kind": "ctc", "vocab_size": 40}}, ["heads.transcript.classifier"]),
        ({"valence": {"kind": "regression", "range": [1, 7]}}, ["heads.valence.classifier"]),
    ],
)
def test_other_labels_have_a_new_last_layer(trained, tasks, new):
    assert_new_are(start(trained, TASKS | tasks), trained, *new)


def test_another_task_is_new_and_what_it_feeds(trained, caplog):
    tasks = {name: task for name, task in TASKS.items() if name != "valence"} | {"style": {"labels": ["a", "b"]}}
    with caplog.at_level(logging.INFO, logger="ser_meta"):
        model = start(trained, tasks)
    new = ["heads.style.dense", "heads.style.classifier", "classifier.1", "classifier.4"]
    assert_new_are(model, trained, *new)
    assert str(new) in caplog.messages[0]
    # the classifier reads the tasks in their order
    turned = {name: TASKS[name] for name in ("emotion", "valence", "gender", "transcript")}
    assert_new_are(start(trained, turned), trained, "classifier.1", "classifier.4")


@pytest.mark.parametrize(
    ("options", "new"),
    [
        ({"layer_fusion": "weighted_sum"}, ["layer_fusion"]),
        ({"ari_weighting": "channel"}, ["layer_fusion"]),
        ({"classifier_hidden_size": 0}, ["classifier.1"]),
        ({"coattention": False}, ["frame_pooling", "classifier.1", "classifier.4"]),
        ({"coattention_heads": 2}, ["coattention"]),
        ({"dropout": 0.5, "label_smoothing": 0.1}, []),
        ({"standardize_states": False}, []),
    ],
)
def test_other_settings_are_new_where_they_matter(trained, options, new):
    model = start(trained, **options)
    new = [part for part in new if any(name.startswith(f"{part}.") for name in model.state_dict())]
    assert_new_are(model, trained, *new)


def test_a_model_starts_in_single_precision_with_the_attention_that_is_asked_for(trained):
    model = start(trained, attention="eager")
    assert model.encoder.backbone.config._attn_implementation == "eager"
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_a_new_model_inherits_nothing(encoder_folder):
    assert start(encoder_folder).inherited is None
