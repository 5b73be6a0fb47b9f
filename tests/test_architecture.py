import ast
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("modeling_ser_meta", "configuration", "hub_cards", "training")  # each may import those before it
FLOORS = {
    "hub_cards": ("wording", "document", "markdown", "page", "pictures", "card", "terminal", "study", "hub", "export"),
    "training": (
        *(
            "options",
            "machine",
            "corpora",
            "planning",
            "checking",
            "measures",
            "batches",
            "learning",
            "runs",
            "studies",
        ),
        *("prediction", "__main__"),
    ),
}  # what stands in a room; each may import those before it
HEAVY = {"torch", "transformers", "datasets", "accelerate", "sklearn", "matplotlib", "pandas", "numpy", "scipy"}


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imports(path: Path) -> list[tuple[int, str]]:
    """The lines and full names of what a module imports, also inside functions."""
    package = ("ser_meta", *path.relative_to(ROOT).parts[:-1])
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            found.append((node.lineno, ".".join([*start, *filter(None, [node.module])])))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_the_rooms_run_one_way(room):
    allowed = ROOMS[: ROOMS.index(room) + 1]
    crossed = set()
    for path in modules(room):
        for line, name in imports(path):
            if name.split(".")[0] == "ser_meta":
                other = name.split(".")[1]
                assert other in allowed, f"{path.relative_to(ROOT)}:{line} imports {name}"
                crossed.add(other)
    assert crossed  # the walk has seen the room's own imports at least


@pytest.mark.parametrize("room", FLOORS)
def test_imports_inside_a_room_run_one_way(room):
    floors = FLOORS[room]
    inside = {path: path.relative_to(ROOT / room).with_suffix("").parts[0] for path in modules(room)}
    assert set(inside.values()) - {"__init__"} == set(floors)
    for path, own in inside.items():
        allowed = () if own == "__init__" else floors[: floors.index(own) + 1]
        for line, name in imports(path):
            if name.startswith(f"ser_meta.{room}."):
                assert name.split(".")[2] in allowed, f"{path.relative_to(ROOT)}:{line} imports {name}"


@pytest.mark.parametrize("path", modules("modeling_ser_meta"), ids=lambda path: path.stem)
def test_what_ships_with_a_model_finds_its_parts_by_one_dot(path):
    # the loader of remote code copies only files named as `from .file import ...`
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level == 1 and node.module and "." not in node.module, f"line {node.lineno}"
        names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
        assert not any(name.startswith("ser_meta") for name in names)


def test_every_folder_of_code_is_a_package():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = set(setup["options"]["packages"].split())
    folders = dict(line.split(" = ") for line in setup["options"]["package_dir"].strip().splitlines())
    assert set(folders) == packages
    code = {str(path.parent.relative_to(ROOT)) for room in ROOMS for path in modules(room)}
    assert set(folders.values()) == code


def tracked(*options: str) -> list[str]:
    files = subprocess.run(["git", "ls-files", *options], cwd=ROOT, capture_output=True, text=True, check=False)
    if files.returncode:
        pytest.skip("no git checkout")
    return files.stdout.splitlines()


def test_nothing_of_the_project_is_ignored():
    assert tracked("--cached", "--ignored", "--exclude-standard") == []  # what git ignores, ruff does not read either


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "tests/README.md"])
def test_documents_name_files_of_tests_that_are_there(document):
    named = set(re.findall(r"(?:[\w.-]+/)*test_\w+\.py", (ROOT / document).read_text(encoding="utf-8")))
    absent = {path for path in named if not any((folder / path).is_file() for folder in (ROOT, ROOT / "tests"))}
    assert named and not absent


def test_the_top_level_is_the_designs():
    top = {line.split("/")[0] for line in tracked()}
    tools = {
        "pyproject.toml",
        "constraints.txt",
        "LICENSE",
        "CHANGELOG.md",
        "CITATION.cff",
        "CONTRIBUTING.md",
        "SECURITY.md",
    }
    house = {*ROOMS, "tests", "examples", "findings", "setup.cfg", "README.md"}
    assert {name for name in top if not name.startswith(".")} <= house | tools


@pytest.mark.parametrize("command", [[], ["train"]])
def test_help_comes_without_the_heavy_imports(command):
    program = [sys.executable, "-X", "importtime", "-m", "ser_meta.training", *command, "--help"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Usage" in done.stdout
    imported = {re.split(r"\|\s*", line)[-1].split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported and not imported & HEAVY


@pytest.mark.parametrize(
    "command",
    [
        [
            "train",
            "demo",
            "data.root=/nowhere/x",
            "data.corpus=ravdess",
            "data.options=null",
            "--output",
            "/nowhere/run",
        ],
        ["crossval", "ravdess-whisper-base", "data.root=/nowhere", "--output", "/nowhere/study"],
        ["ablate", "5", "ravdess-whisper-base", "--output", "/nowhere/study"],
        ["evaluate", "/nowhere/model", "table", "my.csv"],
        ["check", "table", "/nowhere/my.csv"],
        ["check", "ravdess-whisper-base", "data.root=/nowhere"],
        ["predict", "/nowhere/model", "/nowhere/a.wav"],
    ],
)
def test_a_mistake_is_told_without_the_heavy_imports(command):
    program = [sys.executable, "-X", "importtime", "-m", "ser_meta.training", *command]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "ser-meta: " in done.stderr.splitlines()[-1]
    imported = {re.split(r"\|\s*", line)[-1].split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported and not imported & (HEAVY - {"numpy"})
