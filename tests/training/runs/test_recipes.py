import inspect
import re

import pytest

from ser_meta.configuration.idle_settings import idle_settings
from ser_meta.configuration.recipe import DataRecipe
from ser_meta.configuration.recipe_files import RECIPES, load_recipe, recipe_names, save_recipe
from ser_meta.training.corpora import corpus_module
from ser_meta.training.planning.starting import PACKAGED_ENCODERS
from ser_meta.training.runs.stages import run_stages

SOURCES = ("section", "formula", "Table", "our reading", "ours")


def test_the_package_brings_its_recipes():
    corpora = {load_recipe(name).data.corpus for name in recipe_names()}
    assert {"iemocap", "ravdess", "nemo", "espeak"} <= corpora


@pytest.mark.parametrize("name", recipe_names())
def test_no_setting_of_a_recipe_is_without_effect(name):
    assert not idle_settings(load_recipe(name).model)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_reads_back_equal_and_fits_its_corpus(name, tmp_path):
    recipe = load_recipe(name)
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(str(tmp_path / "recipe.yaml")) == recipe
    options = list(inspect.signature(corpus_module(recipe.data.corpus).load).parameters)[1:]
    assert set(recipe.data.options) <= set(options)
    packaged = PACKAGED_ENCODERS.get(recipe.model.encoder)
    assert packaged is None or (packaged / "model.safetensors").is_file()


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_trains_in_the_papers_two_stages(name):
    recipe = load_recipe(name)
    metadata, emotion = recipe.stages.values()
    tasks = set(recipe.model.auxiliary_tasks)
    assert list(recipe.stages) == ["metadata", "emotion"]
    assert set(metadata.loss_weights) == tasks and set(emotion.loss_weights) == {"emotion", *tasks}
    frozen = ("all", "all") if name.endswith("-frozen") else (0, "third")
    assert metadata.freeze_feature_encoder and emotion.freeze_feature_encoder
    assert (metadata.freeze_layers, emotion.freeze_layers) == frozen


@pytest.mark.parametrize("name", recipe_names())
def test_every_number_of_a_recipe_says_where_it_comes_from(name):
    text = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")
    lines = text.partition("stages:")[2].splitlines()
    numbers = [line for line in lines if re.search(r": *\d.*[1-9]|: *[1-9]", line.split("#")[0])]
    assert numbers or "extends:" in text  # the stages of another recipe
    assert [line for line in numbers if not any(source in line.partition("#")[2] for source in SOURCES)] == []


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_trains_and_judges(name, speech_table, encoder_folder, tmp_path):
    recipe = load_recipe(name, ["model.coattention_heads=4", "workers=0", "precision=fp32"])
    if recipe.model.adapter is not None:
        pytest.importorskip("peft")
    recipe.data = DataRecipe(
        corpus="table",
        root=str(speech_table),
        group_size=2,
        test_fold=2,
        validation="none" if recipe.data.validation == "none" else "random",
        speed_factors=recipe.data.speed_factors,
        trim_decibels=recipe.data.trim_decibels,
    )
    recipe.cache = recipe.cache and str(tmp_path / "states")
    recipe.model.encoder = str(encoder_folder)
    for stage in recipe.stages.values():
        stage.epochs = 0.1
    report = run_stages(recipe, tmp_path / "run")
    assert report.metrics["emotion"]["n"] == 12
    assert [stage["steps"] for stage in report.stages.values()] == [1, 1]
