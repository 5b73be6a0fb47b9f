"""Fine-tunes on recordings of your own: a CSV table in, a trained model and what it hears in one recording out.

The table has a row an utterance: the recording's path (relative to the table), the emotion's label, and who speaks.

python examples/own_recordings.py my.csv runs/mine unheard.wav
"""

from pathlib import Path
from typing import Annotated

import typer
from transformers import pipeline

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.hub_cards.terminal.report import print_report
from ser_meta.training.runs.stages import run_stages

SETTINGS = [
    "data.corpus=table",
    "data.options={columns: {audio: path, emotion: label, speaker: actor}}",  # our names: those of the table
    "data.group_size=1",  # each speaker is a fold,
    "data.test_fold.place=0",  # and the first one is never trained on
    "model.auxiliary_tasks=[speaker]",
    *(f"stages.{stage}.loss_weights.{task}=0" for stage in ("metadata", "emotion") for task in ("gender", "style")),
    *(f"stages.{stage}.loss_weights.transcript=0" for stage in ("metadata", "emotion")),
]


def main(
    table: Annotated[Path, typer.Argument(help="A CSV file with the columns path, label and actor.")],
    output: Annotated[Path, typer.Argument(help="The run folder to write.")],
    recording: Annotated[Path, typer.Argument(help="A recording that the trained model is asked about.")],
    recipe: Annotated[str, typer.Option(help="A YAML file, or the name of one.")] = "ravdess-whisper-base-frozen",
) -> None:
    """Trains both stages of a recipe on a table of recordings."""
    report = run_stages(load_recipe(recipe, [f"data.root={table}", *SETTINGS]), output)
    print_report(report)
    recognise = pipeline("speech-emotion-recognition", model=str(output / "model"), trust_remote_code=True)
    for entry in recognise(str(recording))["emotion"]:
        print(f"{entry['score']:.2f}  {entry['label']}")


if __name__ == "__main__":
    typer.run(main)
