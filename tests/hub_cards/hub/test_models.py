"""What models and recipes there are, in one line each."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from loopback_hub import Repository

from ser_meta.configuration.recipe_figures import FIGURES
from ser_meta.configuration.recipe_files import load_recipe, recipe_names
from ser_meta.hub_cards.hub.names import find_model

README = Path(__file__).resolve().parents[3] / "README.md"


def rows(printed: str) -> list[list[str]]:
    return [re.split(r"  +", line) for line in printed.splitlines()]


def test_the_models_of_a_folder_of_runs(command_line, finished_run, tmp_path):
    for name in ("b", "a"):
        shutil.copytree(finished_run, tmp_path / "runs" / name)
    (tmp_path / "runs" / "b" / "model" / "README.md").write_text("---\n: [no YAML\n---\n")
    shutil.copytree(finished_run / "model", tmp_path / "runs" / "alone")
    code, printed, _ = command_line("models", tmp_path / "runs")
    header, first, second, third = rows(printed)
    assert code == 0 and header == ["model", "judged on", "UA", "95 % interval", "encoder", "MB"]
    report = json.loads((finished_run / "report.json").read_text())
    ua = f"{report['metrics']['emotion']['ua']:.1%}"
    folder = str(tmp_path / "runs")
    assert first[:3] == [f"{folder}/a/model", "speech", ua] and first[4] == "wav2vec2"
    assert second[:3] == [f"{folder}/alone", "speech", ua] and third[:3] == [f"{folder}/b/model", "-", "-"]
    code, printed, _ = command_line("models", tmp_path / "runs", "--json")
    assert [model["name"] for model in json.loads(printed)] == [first[0], second[0], third[0]]
    assert json.loads(printed)[0]["bytes"] == (finished_run / "model" / "model.safetensors").stat().st_size
    card = tmp_path / "runs" / "alone" / "README.md"
    card.write_text(card.read_text().replace("name: UA", "name: AP"))  # as of several labels at once
    code, printed, _ = command_line("models", tmp_path / "runs")
    assert rows(printed)[2][:4] == [f"{folder}/alone", "speech", "-", "-"]
    code, _, errors = command_line("models", tmp_path / "nowhere")
    assert code == 2 and "is no folder" in errors[-1]
    (tmp_path / "empty").mkdir()
    code, printed, errors = command_line("models", tmp_path / "empty")
    assert code == 0 and not printed and errors == [f"no model in {tmp_path / 'empty'}"]


def test_the_models_in_the_cache_by_the_names_that_commands_take(hub, own_cache, command_line, finished_run):
    files = {path.name: path.read_bytes() for path in (finished_run / "model").iterdir() if path.is_file()}
    hub.repositories["some-one/a-b"] = repository = Repository(private=False)
    first = repository.commit("main", files)
    hub.repositories["someone/bert"] = Repository(private=False)
    find_model("some-one/a-b")
    repository.commit("main", dict(files))
    repository.branches["v2"] = [repository.commit("v2", {**files, "notes.txt": b""})]
    find_model("some-one/a-b")
    find_model("some-one/a-b@v2")
    code, printed, _ = command_line("models")
    names = [row[0] for row in rows(printed)[1:]]
    assert code == 0 and sorted(names) == sorted(["some-one/a-b", f"some-one/a-b@{first}", "some-one/a-b@v2"])
    for name in names:
        assert find_model(name).folder.is_dir()
    assert {tuple(row[1:3]) for row in rows(printed)[1:]} == {("speech", rows(printed)[1][2])}  # its card came too


def test_the_recipes_and_their_figures_are_those_of_the_readme(command_line):
    code, printed, _ = command_line("recipes")
    header, *listed = rows(printed)
    assert code == 0 and [row[0] for row in listed] == recipe_names() and header[0] == "recipe"
    table = README.read_text(encoding="utf-8").split("## Results")[1].split("##")[0]
    results = [line for line in table.splitlines() if line.startswith("|")]
    for name, figure in FIGURES.items():
        line = next(line for line in results if name in re.findall(r"[\w-]+", line.split("|")[1]))
        low_high = f" ({figure.interval[0]:.3f}-{figure.interval[1]:.3f})" if figure.interval else ""
        assert f"| {figure.ua:.3f}{low_high} |" in line, (name, line)
    code, printed, _ = command_line("recipes", "--json")
    assert {recipe["name"]: recipe["ua"] for recipe in json.loads(printed)}["demo"] == FIGURES["demo"].ua


def test_one_recipe_is_shown_with_all_its_settings(command_line, tmp_path):
    code, printed, _ = command_line("recipes", "nemo-whisper-base", "stages.emotion.epochs=3", "data.root=/data/nemo")
    (tmp_path / "shown.yaml").write_text(printed)
    assert code == 0
    assert load_recipe(str(tmp_path / "shown.yaml")) == load_recipe(
        "nemo-whisper-base", ["stages.emotion.epochs=3", "data.root=/data/nemo"]
    )
    _, as_json, _ = command_line("recipes", "nemo-whisper-base", "--json")
    assert json.loads(as_json)["data"]["corpus"] == "nemo" and yaml.safe_load(printed)["data"]["root"] == "/data/nemo"
    code, _, errors = command_line("recipes", "nemo-whisper")
    assert code == 2 and "no such recipe: nemo-whisper" in errors[-1]


def test_lists_come_without_the_heavy_imports(tmp_path):
    for command in (["recipes"], ["models", str(tmp_path)]):
        program = [sys.executable, "-X", "importtime", "-m", "ser_meta.training", *command]
        done = subprocess.run(program, capture_output=True, text=True, timeout=120)
        imported = {re.split(r"\|\s*", line)[-1].split(".")[0] for line in done.stderr.splitlines()}
        assert done.returncode == 0 and "typer" in imported
        assert not imported & {"torch", "transformers", "datasets", "sklearn", "matplotlib", "pandas"}
