import torch

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.configuration.run_folder import read_json
from ser_meta.training.machine.precision import CPU_BF16, choose_precision, computes_fast_in_bf16
from ser_meta.training.runs.stages import run_stages

BRIEF = ["stages.metadata=null", "stages.emotion.epochs=0.1"]


def on_a_cpu(monkeypatch, *flags: str) -> None:
    """As on a computer without a GPU whose CPU has these instructions."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **dict.fromkeys(flags, True)})


def test_the_instructions_are_named_as_torch_names_them():
    found = torch.cpu.get_capabilities()
    assert {"x86_64": set(CPU_BF16[:2]) & set(found), "aarch64": "bf16" in found}.get(found["architecture"], True)


def test_auto_takes_bf16_where_the_cpu_has_instructions_for_it(monkeypatch, capsys):
    for flags, expected in (([], "fp32"), (["avx512_bf16"], "bf16"), (["amx_bf16"], "bf16"), (["avx512_f"], "fp32")):
        on_a_cpu(monkeypatch, *flags)
        assert choose_precision("auto") == expected and computes_fast_in_bf16() == (expected == "bf16")
        assert capsys.readouterr().err == f"precision=auto: {expected}, which suits this device\n"
        assert choose_precision("fp32") == "fp32" and capsys.readouterr().err == ""


def test_bf16_without_instructions_for_it_is_warned_of_in_one_line(monkeypatch, capsys):
    on_a_cpu(monkeypatch)
    assert choose_precision("bf16") == "bf16"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("precision=bf16 on a device without instructions for it") and "precision=auto" in line
    on_a_cpu(monkeypatch, "amx_bf16")
    assert choose_precision("bf16") == "bf16" and capsys.readouterr().err == ""


def test_going_on_keeps_the_precision_of_another_device_and_says_so(recipe_file, tmp_path, monkeypatch, capsys):
    recipe = load_recipe(str(recipe_file), [*BRIEF, "precision=auto"])
    on_a_cpu(monkeypatch, "avx512_bf16")
    report = run_stages(recipe, tmp_path / "run")
    assert "precision=auto: bf16, which suits this device" in capsys.readouterr().err
    assert report.stages["emotion"]["precision"] == "bf16"
    (tmp_path / "run" / "state.json").unlink()
    (tmp_path / "run" / "report.json").unlink()
    on_a_cpu(monkeypatch)
    run_stages(recipe, tmp_path / "run", resume=True)
    told = capsys.readouterr().err
    assert "precision=auto: bf16, as the run was started" in told and "without instructions" in told
    assert read_json(tmp_path / "run" / "state.json")["emotion"]["precision"] == "bf16"
