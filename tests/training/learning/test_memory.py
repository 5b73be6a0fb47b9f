import numpy as np
import pytest
import soundfile
import torch
from torch.multiprocessing.reductions import StorageWeakRef

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import RunFolder
from ser_meta.training.learning.memory import measure, plan_stage
from ser_meta.training.runs.preparation import prepare
from ser_meta.training.runs.start import begun


@pytest.fixture(scope="module")
def outlier(tmp_path_factory):
    """A recording of 90 s."""
    path = tmp_path_factory.mktemp("outlier") / "outlier.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 90 * 16_000), 16_000)
    return path


@pytest.fixture
def with_outlier(changed_table, outlier, speech_table, recipe_file):
    """Settings of the tiny recipe with one recording of the training side replaced by one of 90 s."""
    table = changed_table(lambda row: row | {"audio": str(outlier)} if row["audio"].startswith("anna-sad-i") else row)
    return [f"data.root={table}", f"data.options={{audio_root: {speech_table.parent}, allow_outside: true}}"]


def test_a_recording_that_decides_the_memory_is_refused_before_anything_is_written(
    refused, recipe_file, with_outlier, outlier, tmp_path
):
    train = ["train", recipe_file, *with_outlier, "--output", tmp_path / "run"]
    refused(train, f"{outlier} lasts 90.0 s", "data.longest=30", "data.longest=91")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("longest", [60, 91])
def test_data_longest_says_what_becomes_of_it(recipe_file, with_outlier, tmp_path, longest, capfd):
    recipe = load_recipe(str(recipe_file), [*with_outlier, f"data.longest={longest}"])
    with begun(recipe, RunFolder(tmp_path / "run"), resume=False) as (prepared, *_):
        assert len(prepared.sides["train"]) == (23 if longest == 60 else 24)
    told = capfd.readouterr().err
    for stage in ("metadata", "emotion"):
        assert f"stage {stage}: the longest recording lasts {'90.0' if longest == 91 else '0.'}" in told
    assert "GB of memory at the peak" in told


def test_what_is_measured_is_what_autograd_keeps(recipe_file, steady_settings):
    prepared = prepare(load_recipe(str(recipe_file), steady_settings))
    model, processor = prepared.new_model(), prepared.processor
    drawn, mode = torch.random.get_rng_state(), model.training
    footprint = measure(model, processor)
    assert torch.equal(torch.random.get_rng_state(), drawn) and model.training == mode

    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    sounds = np.random.default_rng(0).normal(0, 0.1, 16_000 * 3).astype(np.float32)
    inputs = processor([sounds, sounds[:40_000]], sampling_rate=16_000)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model.train()(**inputs)
    expected = 2 * (footprint.linear * 3 + footprint.quadratic * 9) / 1.4
    assert sum(kept.values()) - 4 * model.num_parameters() < expected < 1.1 * sum(kept.values())
    del output


def test_measuring_leaves_nothing_behind(recipe_file, steady_settings):
    prepared = prepare(load_recipe(str(recipe_file), steady_settings))
    model, made = prepared.new_model(), []

    def look(module, arguments, output):
        if isinstance(output, torch.Tensor):
            made.append(StorageWeakRef(output.untyped_storage()))

    looking = torch.nn.modules.module.register_module_forward_hook(look)
    measure(model, prepared.processor)
    looking.remove()
    assert made and all(storage.expired() for storage in made)


def test_a_frozen_stage_takes_less_and_the_bound_follows_the_batch(recipe_file, steady_settings):
    recipe = load_recipe(str(recipe_file), [*steady_settings, "stages.emotion.freeze_layers=all"])
    prepared = prepare(recipe)
    model, seconds = prepared.new_model(), prepared.durations_of("train")
    whole = plan_stage(recipe, recipe.stages["emotion"], model, prepared.processor, seconds)
    model.freeze_layers(6)
    frozen = plan_stage(recipe, recipe.stages["emotion"], model, prepared.processor, seconds)
    assert frozen.footprint.linear < 0.5 * whole.footprint.linear
    # nothing of this corpus is beyond the bound
    assert whole.bound.most > whole.largest and whole.longest_alone >= 30
