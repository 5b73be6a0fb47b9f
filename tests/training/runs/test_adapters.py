"""Runs with an adapter of the encoder."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import torch
from safetensors.torch import load_file
from signalling import signal_trainings

from ser_meta.configuration.errors import Interrupted, UserError
from ser_meta.configuration.recipe_files import change_recipe, load_recipe
from ser_meta.configuration.run_folder import RunFolder
from ser_meta.modeling_ser_meta import SerMetaConfig, SerMetaModel
from ser_meta.modeling_ser_meta.adapters_ser_meta import adapted_modules
from ser_meta.training.batches.frozen_states import CONVOLUTIONS, frozen_tensors, kept_depth
from ser_meta.training.learning.adapters import check_adapter
from ser_meta.training.learning.freezing import frozen_as_in
from ser_meta.training.learning.memory import measure
from ser_meta.training.runs.demo import read_back
from ser_meta.training.runs.hub import prepare_publication
from ser_meta.training.runs.loading import load_model
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.stages import run_stages

pytest.importorskip("peft")
ADAPTER = "model.adapter={rank: 4, targets: all-linear}"
BRIEF = ["stages.metadata=null", "stages.emotion.epochs=1"]
FITTED = "familiarity."  # statistics of the judged model, whose directions may be turned by rounding
STAGES = ("stage-1-metadata", "stage-2-emotion")
TWO_PROCESSES = Path(__file__).resolve().parents[3] / "examples" / "accelerate" / "two_processes.yaml"


@pytest.fixture(scope="module")
def adapted_run(tmp_path_factory, recipe_file):
    """A run of the tiny recipe whose encoder learns through an adapter."""
    folder = tmp_path_factory.mktemp("runs") / "adapted"
    run_stages(load_recipe(str(recipe_file), [ADAPTER]), folder)
    return folder


@pytest.fixture(scope="module")
def adapter_alone(tmp_path_factory, recipe_file):
    """A run of the tiny recipe that keeps its adapter alone."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    run_stages(load_recipe(str(recipe_file), [ADAPTER, *BRIEF, "adapter_only=true"]), folder)
    return folder


def assert_alike(one: Path, other: Path) -> None:
    """Two runs have come to the same weights, but for a key's bias, whose gradient is rounding."""
    expected, found = (load_file(run / "model" / "model.safetensors") for run in (one, other))
    learned = [name for name in expected if not name.startswith(FITTED)]
    for name in (name for name in learned if not name.endswith(("key.bias", "k_proj.bias"))):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=2e-4, msg=name)


def test_the_adapter_alone_is_trained_and_is_merged_at_the_end(adapted_run, encoder_folder):
    started = load_file(encoder_folder / "model.safetensors")
    first, second = (load_file(adapted_run / stage / "model.safetensors") for stage in STAGES)
    prefix = "encoder.backbone."
    own = {name[len(prefix) :].replace(".base_layer", ""): name for name in first if name.startswith(prefix)}
    for name, weight in started.items():
        assert torch.equal(first[own[name]], weight) and torch.equal(second[own[name]], weight), name
    added = [name for name in first if ".lora_" in name]
    assert all(first[name].any() for name in added)
    # the second stage freezes a third of the six layers, and their adapters with them
    stayed = {name for name in added if torch.equal(first[name], second[name])}
    assert stayed == {name for name in added if ".layers.0." in name or ".layers.1." in name}
    model, _ = load_model(adapted_run / "model")
    assert model.config.adapter is None and not [name for name in model.state_dict() if ".lora_" in name]
    last = SerMetaModel.from_pretrained(adapted_run / STAGES[1])
    last.merge_adapter()
    learned = {name: weight for name, weight in model.state_dict().items() if not name.startswith(FITTED)}
    assert all(torch.equal(weight, last.state_dict()[name]) for name, weight in learned.items())


def test_adapter_and_heads_have_their_own_learning_rates(adapted_run):
    (checkpoint,) = (adapted_run / STAGES[1]).glob("checkpoint-*")
    groups = torch.load(checkpoint / "optimizer.pt", weights_only=True)["param_groups"]
    weights = {group["initial_lr"]: 0 for group in groups}
    for group in groups:
        weights[group["initial_lr"]] += len(group["params"])
    assert set(weights) == {1e-3, 5e-3}
    assert weights[1e-3] == 4 * 6 * 2  # of four layers six linear ones each


def test_the_report_and_the_card_say_what_was_trained(adapted_run):
    report = json.loads((adapted_run / "report.json").read_text())
    assert report["model"]["adapter"]["rank"] == 4 and report["model"]["adapter"]["alpha"] == 8
    trained = [stage["trained_parameters"] for stage in report["stages"].values()]
    assert trained[1] < report["model"]["parameters"] / 2 and {s["encoder"] for s in report["stages"].values()} == {
        "adapter"
    }
    card = (adapted_run / "model" / "README.md").read_text()
    assert "an adapter, LoRA of rank 4 on the linear maps of all layers, which is merged into its weights." in card


def test_a_run_with_an_adapter_goes_on_where_it_was_stopped(adapted_run, recipe_file, tmp_path, monkeypatch):
    recipe, output = load_recipe(str(recipe_file), [ADAPTER]), tmp_path / "run"
    signal_trainings(monkeypatch, STAGES[1], 3, signal.SIGTERM)
    with pytest.raises(Interrupted):
        run_stages(recipe, output)
    monkeypatch.undo()
    run_stages(recipe, output, resume=True)
    expected, resumed = (load_file(run / "model" / "model.safetensors") for run in (adapted_run, output))
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)


@torch.no_grad()
def test_an_adapter_alone_is_small_and_gives_what_the_merged_model_gives(adapter_alone, encoder_folder):
    saved = {path.name: path for path in (adapter_alone / "model").rglob("*.safetensors")}
    assert set(saved) == {"model.safetensors", "adapter_model.safetensors"}
    assert not [name for name in load_file(saved["model.safetensors"]) if name.startswith("encoder.")]
    model, _ = load_model(adapter_alone / "model")
    assert model.config.adapter is None and model.config.base_encoder is None
    last = SerMetaModel.from_pretrained(adapter_alone / "stage-1-emotion")
    last.merge_adapter()
    assert list(last.state_dict()) == [name for name in model.state_dict() if not name.startswith(FITTED)]
    for name, weight in last.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], weight, rtol=0, atol=1e-6, msg=name)
    settings = json.loads((adapter_alone / "model" / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(encoder_folder) and settings["r"] == 4


@torch.no_grad()
def test_an_adapter_alone_is_loaded_by_peft_and_by_transformers(adapter_alone, encoder_folder):
    from peft import PeftModel
    from transformers import Wav2Vec2Model
    from transformers.integrations import PeftAdapterMixin

    noise = 0.1 * torch.randn(1, 8_000, generator=torch.Generator().manual_seed(0))
    expected = load_model(adapter_alone / "model")[0].encoder.backbone(noise).last_hidden_state
    plain = Wav2Vec2Model.from_pretrained(encoder_folder).eval()
    assert (plain(noise).last_hidden_state - expected).abs().max() > 1e-3
    folder = adapter_alone / "model" / "adapter"
    through_peft = PeftModel.from_pretrained(Wav2Vec2Model.from_pretrained(encoder_folder), folder).eval()
    torch.testing.assert_close(through_peft(noise).last_hidden_state, expected, rtol=0, atol=1e-5)
    PeftAdapterMixin.load_adapter(plain, str(folder))  # wav2vec2 has a method of that name for MMS's own adapters
    torch.testing.assert_close(plain.eval()(noise).last_hidden_state, expected, rtol=0, atol=1e-5)


def test_an_adapter_alone_is_loaded_without_this_package(adapter_alone, speech_table):
    answer = read_back(adapter_alone / "model", speech_table.parent / "emil-sad-scripted.wav")
    predicted = pandas.read_parquet(adapter_alone / "predictions.parquet")
    of_recording = predicted["utterance_id"].str.startswith("emil-sad-scripted")
    scores = {entry["label"]: entry["score"] for entry in answer["emotion"]}
    (expected,) = predicted["emotion_scores"][of_recording]
    assert [scores[label] for label in ("angry", "neutral", "sad")] == pytest.approx(list(expected), abs=1e-4)


def test_an_adapter_of_a_folder_is_not_published(adapter_alone, encoder_folder):
    with pytest.raises(UserError, match=r"holds an adapter of .*, a folder of this machine: train with"):
        prepare_publication(RunFolder(adapter_alone), repository="someone/adapter")
    config = adapter_alone / "model" / "config.json"
    config.write_text(config.read_text().replace(str(encoder_folder), "someone/encoder"))
    files = prepare_publication(RunFolder(adapter_alone), repository="someone/adapter").files
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors", "model.safetensors"} <= set(files)
    assert b"peft" in files["requirements.txt"]
    card = files["README.md"].decode()
    assert "base_model_relation: adapter" in card
    assert "it is in `adapter/`, and the encoder's own weights are loaded from someone/encoder." in card


def test_half_precision_and_checkpointing_train_the_adapter(recipe_file, tmp_path):
    settings = ["precision=bf16", "stages.emotion.gradient_checkpointing=true", "model.adapter.kind=dora"]
    run_stages(load_recipe(str(recipe_file), [*settings, *BRIEF]), tmp_path / "run")
    trained = load_file(tmp_path / "run" / "stage-1-emotion" / "model.safetensors")
    learned = [weight for name, weight in trained.items() if "lora_B" in name and ".layers.5." in name]
    assert len(learned) == 4 and all(weight.any() and weight.dtype == torch.float32 for weight in learned)


def test_two_processes_train_the_adapter_that_one_trains(recipe_file, steady_settings, tmp_path):
    settings = [*steady_settings, ADAPTER, *BRIEF]
    run_stages(load_recipe(str(recipe_file), [*settings, "stages.emotion.batch_size=4"]), tmp_path / "one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launch = ["-m", "accelerate.commands.launch", "--config_file", TWO_PROCESSES, "--main_process_port", port]
    program = ["-m", "ser_meta.training", "train", recipe_file, *settings, "stages.emotion.batch_size=2"]
    command = [sys.executable, *launch, *program, "--output", tmp_path / "two"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-3_000:]
    assert_alike(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(
    ("adapter", "stage", "depth"),
    [
        ("{}", {}, CONVOLUTIONS),
        ("{}", {"freeze_feature_encoder": False}, CONVOLUTIONS),
        ("{layers: [3, 5]}", {}, 3),
        ("{layers: [3, 5]}", {"freeze_layers": 4}, 4),
        ("{layers: [3, 5]}", {"freeze_layers": "all"}, 6),
        ("{layers: [3, 5]}", {"encoder": "all"}, CONVOLUTIONS),
        ("{layers: [3, 5]}", {"encoder": "all", "freeze_feature_encoder": False}, None),
    ],
)
def test_states_are_kept_up_to_the_first_layer_with_an_adapter(adapter, stage, depth, recipe_file):
    recipe = load_recipe(str(recipe_file), [f"model.adapter={adapter}"])
    recipe = change_recipe(recipe, {"stages": {"metadata": stage}}, "here")
    model = prepare(recipe).new_model()
    assert kept_depth(recipe.stages["metadata"], model, keep_layers=True) == depth
    if depth is not None:
        kept = {id(tensor) for tensor in frozen_tensors(model.encoder, depth).values()}
        with frozen_as_in(model, recipe.stages["metadata"]):
            assert not [name for name, p in model.named_parameters() if p.requires_grad and id(p) in kept]
    if depth == 6:  # what the adapter has learned is part of what is kept
        assert [name for name in frozen_tensors(model.encoder, depth) if "lora_B" in name]


def test_what_is_kept_below_the_adapter_changes_no_training(recipe_file, steady_settings, tmp_path):
    settings = [*steady_settings, "model.adapter.layers=[2, 4]", *BRIEF]
    for cache in ("null", str(tmp_path / "states")):
        recipe = load_recipe(str(recipe_file), [*settings, "stages.emotion.freeze_layers=0", f"cache={cache}"])
        run_stages(recipe, tmp_path / ("plain" if cache == "null" else "kept"))
    assert_alike(tmp_path / "plain", tmp_path / "kept")


def test_an_adapter_takes_less_memory(recipe_file):
    recipe = load_recipe(str(recipe_file), [ADAPTER])
    prepared = prepare(recipe)
    model = prepared.new_model()
    whole, adapted = (
        change_recipe(recipe, {"stages": {"metadata": {"encoder": trained}}}, "here").stages["metadata"]
        for trained in ("all", "adapter")
    )
    with frozen_as_in(model, whole):
        most = measure(model, prepared.processor)
    with frozen_as_in(model, adapted):
        least = measure(model, prepared.processor)
    assert least.linear < most.linear


def test_an_adapter_that_the_encoder_passes_by_is_refused(recipe_file):
    from transformers import WavLMConfig

    prepared = prepare(load_recipe(str(recipe_file)))
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    tasks = {"emotion": {"labels": ["angry", "sad"]}}
    model = SerMetaModel(SerMetaConfig(speech_config=WavLMConfig(**sizes, conv_dim=(8,) * 7), tasks=tasks))
    model.add_encoder_adapter(targets=["v_proj", "output_dense"])
    stages = prepared.recipe.stages.values()
    check_adapter(model, prepared.processor, stages)
    assert len(adapted_modules(model.encoder)) == 4
    for layer in model.encoder.layers:  # as Transformers has it: the attention never calls its projections
        del layer.attention.torch_multi_head_self_attention
    passed_by = r"encoder\.layers\.0\.attention\.v_proj and 1 more have no part in what the encoder gives"
    with pytest.raises(UserError, match=passed_by):
        check_adapter(model, prepared.processor, stages)


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        (["model.adapter.targets=[q_proj, v_prj]"], ["targets=v_prj is in none of the layers", "this encoder has"]),
        (["model.adapter.layers=[2, 6]"], ["names layer 6: the encoder has layers 0 to 5"]),
        (["model.adapter.rank=0"], ["model.adapter.rank=0 must be a whole number of 1 or more"]),
        (["model.adapter.kind=ia3"], ["model.adapter.kind='ia3' must be one of lora, dora"]),
        (["model.adapter.layers=[]"], ["model.adapter.layers=[] must be numbers of layers"]),
        (["stages.emotion.encoder=adapter"], ["stages.emotion.encoder=adapter needs a model.adapter"]),
        (["stages.emotion.encoder=nothing"], ["must be one of all, adapter", "freeze_layers=all"]),
        (["adapter_only=true"], ["adapter_only=true needs a model.adapter"]),
        ([ADAPTER, "adapter_only=true", "stages.emotion.encoder=all"], ["stages.emotion.encoder=all trains"]),
        (
            [ADAPTER, "stages.metadata.freeze_layers=all", "stages.emotion.freeze_layers=all"],
            ["model.adapter is trained in no stage"],
        ),
        (
            ["model.adapter.layers=[1, 4]", "stages.metadata.freeze_layers=2"],
            ["model.adapter.layers=[1, 4]: every stage freezes layer 1: choose of 2 to 5"],
        ),
    ],
)
def test_an_adapter_that_fits_nothing_is_refused_before_anything_is_written(
    settings, parts, refused, recipe_file, tmp_path
):
    refused(["train", recipe_file, *settings, "--output", tmp_path / "run"], *parts)
    assert not (tmp_path / "run").exists()


def test_a_row_of_an_ablation_adds_or_takes_away_the_adapter(recipe_file):
    plain = load_recipe(str(recipe_file))
    adapted = load_recipe(str(recipe_file), ["model.adapter={rank: 16}", "stages.emotion.encoder=all"])
    assert adapted.model.adapter.rank == 16 and adapted.model.adapter.targets == "attention"
    row = change_recipe(plain, {"model": {"adapter": {"rank": 2}}}, "row")
    assert row.model.adapter.rank == 2 and row.stages == plain.stages
    assert change_recipe(adapted, {"model": {"adapter": None}}, "row").model.adapter is None
