"""A long recording with its timeline: prints the segments, and draws them beneath the waveform.

python examples/long_recording.py runs/ravdess/model interview.wav timeline.png
"""

from pathlib import Path
from typing import Annotated

import typer
from transformers import pipeline

import ser_meta.modeling_ser_meta  # noqa: F401 - Transformers knows the task from here on, without remote code
from ser_meta.hub_cards.page.predictions_table import segment_rows
from ser_meta.hub_cards.page.timeline import plot_timeline
from ser_meta.modeling_ser_meta.audio_ser_meta import stream_audio


def main(
    model: Annotated[str, typer.Argument(help="A ser-meta model: a folder, or its name on the Hub.")],
    recording: Annotated[Path, typer.Argument(help="A sound file of any length.")],
    picture: Annotated[Path, typer.Argument(help="The PNG to write.")],
    window: Annotated[float | None, typer.Option(help="Seconds of a window (default: the pipeline's).")] = None,
    hop: Annotated[float | None, typer.Option(help="Seconds between windows (default: the pipeline's).")] = None,
) -> None:
    """Recognises the emotion over a long recording."""
    recognise = pipeline("speech-emotion-recognition", model=model, trust_remote_code=True)
    result = recognise(str(recording), window_seconds=window, hop_seconds=hop, batch_size=8)
    segments = segment_rows(result)
    if segments is None:
        raise typer.BadParameter(
            "it has no segments: give --window for what lasts 15 s or less, and a model of one label"
        )
    for segment in segments:
        print(f"{segment['start']:8.1f} - {segment['end']:8.1f} s  {segment['label']} {segment['score']:.2f}")
    labels = sorted(entry["label"] for entry in result["emotion"])
    plot_timeline(stream_audio(recording), 16_000, segments, labels, picture, recording.name)


if __name__ == "__main__":
    typer.run(main)
