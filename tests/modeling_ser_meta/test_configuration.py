"""What a configuration accepts, derives and refuses."""

import pytest
from torch import nn
from transformers import BertConfig, HubertConfig
from transformers.utils import ModelOutput

from ser_meta.modeling_ser_meta import SerMetaConfig
from ser_meta.modeling_ser_meta.settings_ser_meta import task_name_faults

MANY = [f"label {index}" for index in range(12, 0, -1)]


def test_defaults():
    config = SerMetaConfig()
    assert config.speech_config.model_type == "wav2vec2"
    assert config.tasks["emotion"]["labels"] == ["neutral", "happy", "angry", "sad"]
    assert (config.layer_fusion, config.ari_weighting, config.ari_join) == ("ari", "matrix", "add")
    assert config.auxiliary_tasks == [] and config.reported_tasks == ["emotion"]


def test_label_order_is_the_target_tasks():
    config = SerMetaConfig(tasks={"gender": {"labels": ["f", "m"]}, "emotion": {"labels": MANY}})
    assert config.num_labels == 12
    assert config.id2label == dict(enumerate(MANY)) and config.label2id["label 12"] == 0
    again = SerMetaConfig.from_dict(config.to_dict())
    assert again.id2label == config.id2label


def test_a_config_file_keeps_the_tasks_order(tmp_path):
    tasks = {"style": {"labels": ["b", "a"]}, "emotion": {"labels": MANY}, "age": {"labels": ["old", "young"]}}
    SerMetaConfig(tasks=tasks).save_pretrained(tmp_path)
    loaded = SerMetaConfig.from_pretrained(tmp_path)
    assert list(loaded.tasks) == ["style", "emotion", "age"] and loaded.auxiliary_tasks == ["style", "age"]
    assert loaded.id2label == dict(enumerate(MANY))
    assert loaded.tasks["style"]["labels"] == ["b", "a"]


def test_tasks_are_completed():
    tasks = {"mood": {"labels": [0, 1]}, "speaker": {"labels": ["x"]}, "text": {"kind": "ctc"}}
    config = SerMetaConfig(tasks=tasks, target_task="mood")
    assert config.tasks["mood"] == {"kind": "classification", "labels": ["0", "1"], "reported": True}
    assert config.tasks["text"] == {"kind": "ctc", "vocab_size": 30, "reported": True}
    assert config.reported_tasks == ["mood", "text"]  # who speaks is nobody's business unless asked for
    shown = {**tasks, "speaker": {"labels": ["x"], "reported": True}}
    assert "speaker" in SerMetaConfig(tasks=shown, target_task="mood").reported_tasks
    assert (
        SerMetaConfig(tasks={**tasks, "text": {"kind": "ctc", "vocab_size": 44}}, target_task="mood").tasks["text"][
            "vocab_size"
        ]
        == 44
    )


def test_a_speech_config_is_a_class_or_a_dict():
    given = HubertConfig(hidden_size=64)
    for speech_config in (given, given.to_dict(), {"model_type": "hubert", "hidden_size": 64}):
        config = SerMetaConfig(speech_config=speech_config)
        assert isinstance(config.speech_config, HubertConfig) and config.speech_config.hidden_size == 64


def test_no_task_can_have_the_name_of_an_attribute():
    """Of the module that holds the heads, or of the mapping that holds their logits."""
    attributes = {name for owner in (nn.ModuleDict(), ModelOutput) for name in dir(owner) if name[0] != "_"}
    assert {"type", "train", "items"} < attributes
    assert [name for name in attributes if not list(task_name_faults([name]))] == []
    assert not list(task_name_faults(["emotion", "corpus", "speaking style", "stimmung", "valence_arousal"]))


REFUSED = {
    "calibration_temperature=0 must be above 0": {"calibration_temperature": 0},
    r"class_weights=\[1.0\] must be a number above 0 for each of": {"class_weights": [1.0]},
    r"class_weights=\[0.0, .* must be a number above 0": {"class_weights": [0, 1, 1, 1]},
    "layer_fusion='sum' must be one of ari, weighted_sum, last_hidden": {"layer_fusion": "sum"},
    "ari_weighting='vector' must be one of matrix, channel": {"ari_weighting": "vector"},
    "ari_join='mul' must be one of add, concat": {"ari_join": "mul"},
    "frame_pooling='max' must be one of mean, deviation": {"frame_pooling": ["max"]},
    r"frame_pooling=\[\] must name at least one statistic": {"frame_pooling": []},
    r"frame_pooling=\[.mean., .mean.\] must name": {"frame_pooling": ["mean", "mean"]},
    r"tasks\['a'\]\['kind'\]='tags' must be one of": {"tasks": {"a": {"kind": "tags"}}, "target_task": "a"},
    r"tasks\['emotion'\] needs labels, each once, not \[\]": {"tasks": {"emotion": {}}},
    r"needs labels, each once, not \['a', 'a'\]": {"tasks": {"emotion": {"labels": ["a", "a"]}}},
    r"needs two or more labels, not \['a'\]": {"tasks": {"emotion": {"labels": ["a"]}}},
    r"unknown keys \['classes'\]": {"tasks": {"emotion": {"labels": ["a", "b"], "classes": 2}}},
    "target_task='mood' must name a classification": {
        "tasks": {"emotion": {"labels": ["a", "b"]}},
        "target_task": "mood",
    },
    "target_task='text' must name a classification": {"tasks": {"text": {"kind": "ctc"}}, "target_task": "text"},
    r"task_order=\['emotion', 'style'\] must name each": {
        "tasks": {"emotion": {"labels": ["a", "b"]}},
        "task_order": ["emotion", "style"],
    },
    "no task can be called 'type': results or modules have something else": {
        "tasks": {"type": {"labels": ["a", "b"]}}
    },
    "no task can be called 'silent'": {"tasks": {"silent": {"labels": ["a", "b"]}}},
    "no task can be called 'a.b': rename it": {"tasks": {"a.b": {"labels": ["a", "b"]}}},
    "no task can be called ''": {"tasks": {"": {"labels": ["a", "b"]}}},
    "no task can be called '_a'": {"tasks": {"_a": {"labels": ["a", "b"]}}},
    "coattention_heads=0 must be a whole number of 1 or more": {"coattention_heads": 0},
    "coattention_heads=-4 must be a whole number": {"coattention_heads": -4},
    "coattention_heads=8.0 must be a whole number": {"coattention_heads": 8.0},
    "head_hidden_size=0 must be a whole number of 1 or more": {"head_hidden_size": 0},
    "classifier_hidden_size=-1 must be a whole number of 0 or more": {"classifier_hidden_size": -1},
    "initializer_range=inf must be a number above 0": {"initializer_range": float("inf")},
    r"class_weights=\[inf, .* must be a number above 0": {"class_weights": [float("inf"), 1, 1, 1]},
    "calibration_temperature=inf must be above 0": {"calibration_temperature": float("inf")},
    "needs a vocab_size of 2 or more, the blank and a character, not 0": {
        "tasks": {"emotion": {"labels": ["a", "b"]}, "text": {"kind": "ctc", "vocab_size": 0}}
    },
    r"needs a range \[low, high\], not \['1', '5'\]": {
        "tasks": {"emotion": {"labels": ["a", "b"]}, "valence": {"kind": "regression", "range": ["1", "5"]}}
    },
    "coattention_heads=7 must divide the encoder's width 768": {"coattention_heads": 7},
    r"dropout=1\.0 must be at least 0": {"dropout": 1.0},
    "id2label is .* change the labels in tasks": {"id2label": {0: "sad", 1: "happy", 2: "angry", 3: "neutral"}},
    "speech_config.model_type='bert' must be one of wav2vec2": {"speech_config": BertConfig()},
    "speech_config.model_type='speech' must be one of wav2vec2": {"speech_config": {"model_type": "speech"}},
}


@pytest.mark.parametrize("message", REFUSED)
def test_refused_in_one_line(message):
    with pytest.raises(ValueError, match=message) as refused:
        SerMetaConfig(**REFUSED[message])
    assert "\n" not in str(refused.value)
