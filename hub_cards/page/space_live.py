"""The part of the page that answers while a visitor still speaks into the microphone."""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import soundfile

from .predictions_table import clock, is_ranking, why_not

CHUNK_SECONDS = 0.5  # of sound that the browser sends at once
PROVISIONAL_SECONDS = 2.0
PLACES = 4  # visitors who speak at the same time
SHOWN = 12  # turns, the last ones
KEPT_SECONDS = 600  # of a visitor who says nothing more


class Talk:
    """What one visitor says: the stream that hears it, and the turns so far.

    Args:
        recognise: the model's pipeline.
        rate: of the microphone, in Hz.
        most: seconds that may be heard.
    """

    def __init__(self, recognise: Any, rate: int, most: float):
        self.stream = recognise.stream(rate, provisional_seconds=PROVISIONAL_SECONDS)
        self.rate, self.left, self.turns = rate, most, {}

    def feed(self, samples: Any) -> None:
        """Hears `(samples, channels)`; `gr.Error` beyond what may be heard."""
        self.left -= len(samples) / self.rate
        if self.left < 0:
            raise gr.Error("That is all that is heard at once here: stop, and start again.", print_exception=False)
        self._take(self.stream.feed(samples.mean(axis=1)))

    def end(self) -> None:
        """Takes the turn that still goes on."""
        self._take(self.stream.close())

    def rows(self) -> list[list[str]]:
        """Of the last turns, the latest first: from, to, label or labels, the best score."""
        return [_row(turn) for turn in reversed(self.turns.values())]

    def _take(self, turns: list[dict[str, Any]]) -> None:
        for turn in turns:
            self.turns[turn["turn"]] = turn
        for old in list(self.turns)[:-SHOWN]:
            del self.turns[old]


def add_live_section(recognise: Any, target: str, minutes: float) -> None:
    """Adds a microphone whose turns appear while the visitor speaks, within `gr.Blocks`.

    Args:
        recognise: the model's pipeline.
        target: the name of the task that is shown.
        minutes: that may be heard without a stop.
    """
    with gr.Accordion("While you speak", open=False):
        microphone = gr.Audio(
            sources=["microphone"], streaming=True, type="filepath", editable=False, buttons=[], label="Microphone"
        )
        turns = gr.Dataframe(
            headers=["from", "to", target, "score"], interactive=False, label="Turns", value=[], buttons=[]
        )
    talk = gr.State(None, time_to_live=KEPT_SECONDS)
    microphone.stream(
        partial(hear, recognise, 60 * minutes),
        inputs=[microphone, talk],
        outputs=[turns, talk],
        api_name="listen",
        stream_every=CHUNK_SECONDS,
        time_limit=round(60 * minutes),  # then the next visitor has a place
        concurrency_limit=PLACES,
        show_progress="hidden",
    )
    microphone.start_recording(lambda: (None, []), outputs=[talk, turns], api_name=False)
    microphone.stop_recording(finish, inputs=talk, outputs=[turns, talk], api_name="finish", show_progress="hidden")


def hear(recognise: Any, most: float, path: str | None, talk: Talk | None) -> tuple[list[list[str]], Talk | None]:
    """Hears what the browser has just sent, a short sound file, which is then removed.

    Returns:
        the rows of the table, and what is heard further.
    """
    if path is None:
        return (talk.rows() if talk else []), talk
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise gr.Error("The microphone's sound cannot be read here.", print_exception=False) from error
    finally:
        Path(path).unlink(missing_ok=True)
    talk = talk or Talk(recognise, rate, most)
    talk.feed(samples)
    return talk.rows(), talk


def finish(talk: Talk | None) -> tuple[list[list[str]], None]:
    """The rows when the visitor has stopped."""
    if talk is None:
        return [], None
    talk.end()
    return talk.rows(), None


def _row(turn: dict[str, Any]) -> list[str]:
    told = next(value for value in turn.values() if is_ranking(value))  # the target's, which comes first
    best = told[0]
    label = why_not(turn) if turn.get("abstained") else best["label"]
    if "present" in best:
        label = ", ".join(entry["label"] for entry in told if entry["present"])
    end = clock(turn["end"]) if turn["final"] else f"{clock(turn['end'])} ..."
    return [clock(turn["start"]), end, label, f"{best['score']:.2f}"]
