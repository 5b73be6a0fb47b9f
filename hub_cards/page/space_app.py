"""The page on which a model is tried in a browser: it runs on one's own machine, and ships with a Space."""

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from gradio_client.utils import is_http_url_like
from PIL import Image
from starlette.middleware import Middleware

from ...modeling_ser_meta.sound_files_ser_meta import AudioError, open_sound, read_header
from .predictions_table import SHARES, SILENT, UNCERTAIN, is_ranking, segment_rows
from .space_gate import Gate
from .space_live import add_live_section
from .timeline import plot_timeline

KEPT_SECONDS = 600  # uploads and pictures are deleted after that
WAITING = 64  # visitors in the queue; one is served at a time, on all the cores there are
FONTS = {"font": ["ui-sans-serif", "system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
NOTICE = """
**What this page says, and what it does not.** It guesses how listeners would *perceive* a voice. Perceived emotion is
not felt emotion: nobody can tell from it what a speaker feels, means or is like. Most corpora of this field hold acted
speech: expect worse results on everyday speech, in other languages and in noise.

**Not for** decisions on hiring, for clinical use, or for surveillance.

A recording may last {minutes:g} minutes and take {megabytes:g} MB at most. It is sent to this server only, and deleted
there after about {kept} minutes.
"""

Recogniser = Callable[[str], Mapping[str, Any]]
"""The model's pipeline: from a path to its result."""


class Limits(NamedTuple):
    """Of one visitor's recording: its length in minutes, and its size in megabytes (of 2**20 bytes)."""

    minutes: float = 10
    megabytes: float = 50

    @property
    def bytes(self) -> int:
        """The size in bytes."""
        return round(self.megabytes * 2**20)


DEFAULT_LIMITS = Limits()


def build_page(
    recognise: Recogniser, name: str, examples: Sequence[Path] = (), limits: Limits = DEFAULT_LIMITS
) -> gr.Blocks:
    """The page of one model.

    Args:
        recognise: its pipeline.
        name: what visitors see it called.
        examples: recordings that a visitor can pick.
        limits: of what a visitor sends.
    """
    tasks, target = recognise.model.config.tasks, recognise.model.config.target_task
    names = [target, *(task for task in recognise.model.config.reported_tasks if task != target)]
    kept = TemporaryDirectory(prefix="ser-meta-page-", ignore_cleanup_errors=True)  # this page's, this user's alone
    os.environ["GRADIO_TEMP_DIR"] = kept.name
    with gr.Blocks(
        title="Speech emotion recognition", analytics_enabled=False, delete_cache=(KEPT_SECONDS // 10, KEPT_SECONDS)
    ) as page:
        gr.Markdown(f"# How does this voice sound?\nSpeech emotion recognition with `{name}`")
        with gr.Row():
            with gr.Column():
                audio = gr.Audio(
                    sources=["upload", "microphone"], type="filepath", editable=False, buttons=[], label="Recording"
                )
                audio.async_move_resource_to_block_cache = partial(
                    take_upload, audio.async_move_resource_to_block_cache
                )
                button = gr.Button("Recognise", variant="primary")
                if examples:
                    gr.Examples([[str(path)] for path in examples], inputs=audio, cache_examples=False)
                told = {"minutes": limits.minutes, "megabytes": limits.megabytes, "kept": KEPT_SECONDS // 60}
                gr.Markdown(NOTICE.format(**told))
            with gr.Column():
                results = [result_component(target, tasks[target], is_target=True)]
                if getattr(recognise.model.config, "scores_are_shares", False):
                    gr.Markdown(SHARES)
        # the labels are not shown, but name these two where a program asks
        timeline = gr.Image(
            label="timeline",
            show_label=False,
            visible=False,
            interactive=False,
            buttons=["download", "fullscreen"],
        )
        with gr.Row():
            results += [result_component(task, tasks[task], is_target=False) for task in names[1:]]
        with gr.Accordion("The result as JSON", open=False):
            everything = gr.JSON(label="result", show_label=False)
        button.click(
            partial(answer, recognise, names, limits),
            inputs=audio,
            outputs=[*results, timeline, everything],
            api_name="recognise",
            concurrency_limit=1,
            show_progress_on=results[0],
        )
        if hasattr(recognise, "stream"):  # models that were saved earlier ship without it
            add_live_section(recognise, target, limits.minutes)
    page.kept, page.limits = kept, limits  # the folder is removed with the page, or when Python ends
    return page.queue(max_size=WAITING, api_open=False)


async def take_upload(take: Callable[[Any], Awaitable[str | None]], path: str | Path | None) -> str | None:
    """What a visitor uploaded or recorded. Gradio alone would also download any address that a client names."""
    if path and is_http_url_like(str(path)):
        raise refusal("An address is no recording: upload the file itself.")
    return await take(path)


def launch_page(page: gr.Blocks, **options: Any) -> Any:
    """Starts the server; `options` are Gradio's: where it listens, and whether it blocks."""
    gate = Middleware(Gate, largest=page.limits.bytes, folder=Path(page.kept.name))
    return page.launch(
        theme=gr.themes.Default(**FONTS),
        footer_links=[],
        max_file_size=page.limits.bytes,
        state_session_capacity=2 * WAITING,  # Gradio would remember ten thousand visitors; the page has no state
        ssr_mode=False,
        share=False,
        enable_monitoring=False,
        app_kwargs={"middleware": [gate]},
        **options,
    )


def result_component(name: str, task: Mapping[str, Any], is_target: bool) -> gr.Component:
    """What shows one task's result: bars, a number, or a text."""
    if "labels" in task:
        several = ", several at once: those with ✓" if task["kind"] == "multilabel" else ""
        title = f"{name}, as perceived{several}" if is_target else f"{name}{several}"
        return gr.Label(label=title, num_top_classes=len(task["labels"]))
    if task["kind"] == "regression":
        low, high = task["range"]
        return gr.Number(label=f"{name}, from {low:g} to {high:g}", precision=2, interactive=False)
    return gr.Textbox(label=name, interactive=False)


def answer(recognise: Recogniser, names: Sequence[str], limits: Limits, path: str | None) -> list[Any]:
    """What the page's components show for a recording."""
    check_recording(path, limits)
    try:
        result = recognise(path)
    except ValueError as error:  # the shipped code has an AudioError of its own
        raise refusal(str(error).replace(path, Path(path).name)) from error
    return [*shown_values(result, names), picture(recognise, path, result), result]


def shown_values(result: Mapping[str, Any], names: Sequence[str]) -> list[Any]:
    """What the components of the tasks show: bars, a number, a text; no label of what is abstained from."""
    if result.get("silent"):
        return [SILENT, *[None] * (len(names) - 1)]
    values = [{_told(e): e["score"] for e in v} if is_ranking(v) else v for v in (result[name] for name in names)]
    return [UNCERTAIN, *values[1:]] if result.get("abstained") else values


def _told(entry: Mapping[str, Any]) -> str:
    """A label, of several at once marked where it is there."""
    return f"{entry['label']} ✓" if entry.get("present") else entry["label"]


def check_recording(path: str | None, limits: Limits) -> None:
    """Refuses what is no recording, or too much of one, by its header and before anything is decoded.

    Raises:
        gr.Error: with one line for the visitor.
    """
    if path is None:
        raise refusal("There is no recording yet: upload one, or record yourself.")
    name, size = Path(path).name, Path(path).stat().st_size
    if not size:
        raise refusal(f"{name} is empty (0 bytes): upload it again, or record it again.")
    if size > limits.bytes:
        raise refusal(f"{name} has {size / 2**20:.0f} MB, more than the {limits.megabytes:g} MB taken here.")
    try:
        header = read_header(path, name)
    except AudioError as error:
        raise refusal(str(error)) from error
    minutes = header.frames / header.samplerate / 60
    if minutes > limits.minutes:
        raise refusal(f"{name} lasts {minutes:.0f} minutes, more than the {limits.minutes:g} taken here: cut it.")


def refusal(message: str) -> gr.Error:
    """A message that a visitor sees, and that is not logged as a fault of ours."""
    return gr.Error(message, print_exception=False)


def picture(recognise: Recogniser, path: str, result: Mapping[str, Any]) -> Any:
    """The timeline of a long recording; hidden for a short one, which has one verdict only."""
    config = recognise.model.config
    if "segments" not in result:
        return gr.update(visible=False, value=None)
    sound = open_sound(path, Path(path).name)
    with TemporaryDirectory() as folder:
        drawn = plot_timeline(
            (block.mean(axis=1) for block in sound.blocks()),
            sound.samplerate,
            segment_rows(result),
            config.tasks[config.target_task]["labels"],
            Path(folder) / "timeline.png",
            f"{config.target_task} over time, as perceived",
        )
        return gr.update(visible=True, value=np.asarray(Image.open(drawn).convert("RGB")))
