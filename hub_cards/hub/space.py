"""The page that tries a model in a browser: served here, or written as the folder of a Space on the Hub."""

import shutil
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import SpaceCardData

from ...configuration.errors import UserError
from .names import folder_title

GRADIO = "6.31.0"  # what the page was tested with
HUB_CARDS = Path(__file__).parents[1]
PAGE = ("space_app.py", "space_gate.py", "space_live.py", "timeline.py", "plots_style.py", "predictions_table.py")
APP = '''"""A page on which a model is tried in a browser."""

from pathlib import Path

from page.space_app import build_page, launch_page
from transformers import pipeline

HERE = Path(__file__).resolve().parent
MODEL = {model}
recognise = pipeline("speech-emotion-recognition", model=MODEL, trust_remote_code=True{revision})
page = build_page(recognise, {name!r}, sorted(HERE.glob("examples/*")))

if __name__ == "__main__":
    launch_page(page)
'''
REQUIREMENTS = (
    "torch>=2.6",
    "transformers>=4.57.6,<6",
    "numpy>=1.26",
    "soundfile>=0.13",
    "soxr>=0.5",
    "av>=14",  # what phones and browsers record
    "matplotlib>=3.9",
    "rich>=13",
    "peft>=0.18",  # of a model that is an adapter
)
README = """---
{metadata}
---

# {title}

Record a voice or upload a recording: how would listeners perceive its emotion? Runs `{name}` on the Space's own
machine.

Perceived emotion is not felt emotion. Not for decisions on hiring, for clinical use, or for surveillance.

Elsewhere: `pip install gradio=={gradio} -r requirements.txt`, then `python app.py`. Recordings in a folder `examples`
appear on the page.
"""


def write_space(model: str | Path, folder: Path, revision: str | None = None) -> Path:
    """Writes a Space: `app.py` with the page's code, `requirements.txt`, and `README.md` with the Space's metadata.

    Args:
        model: a repository on the Hub, or a model folder, which is then copied into the Space.
        folder: to write; must be new or empty.
        revision: of the repository that the Space runs, so that it never changes unseen.

    Returns:
        the folder.

    Raises:
        UserError: the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} exists and is not empty: choose another folder for the Space")
    local = Path(model).is_dir()
    name = folder_title(Path(model)) if local else str(model)
    (folder / "page").mkdir(parents=True)
    if local:
        shutil.copytree(model, folder / "model", ignore=shutil.ignore_patterns("README.md", ".*", "__pycache__"))
    for file in PAGE:
        code = (HUB_CARDS / "page" / file).read_text(encoding="utf-8")
        code = code.replace("from ...modeling_ser_meta.", "from .")  # a Space has no package of ours
        (folder / "page" / file).write_text(code, encoding="utf-8")
    shutil.copy(HUB_CARDS.parent / "modeling_ser_meta" / "sound_files_ser_meta.py", folder / "page")
    pinned = f", revision={revision!r}" if revision else ""
    app = APP.format(name=name, model='str(HERE / "model")' if local else repr(name), revision=pinned)
    metadata = SpaceCardData(
        title=name.rpartition("/")[2],
        sdk="gradio",
        sdk_version=GRADIO,
        app_file="app.py",
        models=None if local else [name],
        tags=["speech-emotion-recognition"],
    )
    readme = README.format(metadata=metadata.to_yaml(), title=metadata.title, name=name, gradio=GRADIO)
    for file, text in {"app.py": app, "requirements.txt": "\n".join(REQUIREMENTS) + "\n", "README.md": readme}.items():
        (folder / file).write_text(text, encoding="utf-8")
    return folder


def space_files(model: str, revision: str) -> dict[str, bytes]:
    """By path in the Space: all that it holds. The arguments are those of `write_space`; nothing is left on disk."""
    with TemporaryDirectory() as temporary:
        folder = write_space(model, Path(temporary), revision)
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def serve(
    recognise: Any, name: str, host: str = "127.0.0.1", port: int = 7860, minutes: float = 10, megabytes: float = 50
) -> None:
    """Serves the page until it is interrupted.

    Args:
        recognise: the model's pipeline; it has heard a recording once when the page opens.
        name: what visitors see it called.
        host: the address to listen on; `"0.0.0.0"` for every one of this machine.
        port: to listen on.
        minutes: that a visitor's recording may last.
        megabytes: that it may take.

    Raises:
        UserError: the port is taken, or a limit is none.
    """
    import numpy as np

    from ..page.space_app import Limits, build_page, launch_page

    if not (minutes > 0 and megabytes > 0):
        raise UserError(f"limits of {minutes:g} minutes and {megabytes:g} MB leave no recording: give more than 0")
    # a service is ended so; Python's own way out would leave the visitors' recordings behind
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    rate = recognise.processor.sampling_rate
    recognise({"array": np.zeros(rate, np.float32), "sampling_rate": rate})
    try:
        page = build_page(recognise, name, limits=Limits(minutes, megabytes))
        launch_page(page, server_name=host, server_port=port)
    except OSError as error:
        raise UserError(f"port {port} of {host} cannot be had: choose another --port or --host") from error


def check_gradio() -> None:
    """Raises `UserError` where Gradio is missing."""
    if find_spec("gradio") is None:
        raise UserError('the page needs gradio: pip install "ser-meta[serve]"')
