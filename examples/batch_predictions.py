"""A whole data set through the pipeline in batches, with a progress bar, into a table.

python examples/batch_predictions.py runs/ravdess/model my.csv predictions.csv
"""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from tqdm import tqdm
from transformers import pipeline

import ser_meta.modeling_ser_meta  # noqa: F401 - Transformers knows the task from here on, without remote code
from ser_meta.training.corpora import load_corpus
from ser_meta.training.corpora.recordings import recordings


def main(
    model: Annotated[str, typer.Argument(help="A ser-meta model: a folder, or its name on the Hub.")],
    table: Annotated[str, typer.Argument(help="CSV, JSON lines, Parquet, a saved data set's folder, or owner/name.")],
    output: Annotated[Path, typer.Argument(help="The CSV file to write.")],
    batch_size: Annotated[int, typer.Option(help="Recordings that go to the model together.")] = 8,
) -> None:
    """Recognises every recording of a data set."""
    dataset = load_corpus("table", table)  # a datasets.Dataset; any with undecoded recordings will do
    recognise = pipeline("speech-emotion-recognition", model=model, trust_remote_code=True, batch_size=batch_size)
    results = tqdm(recognise(recordings(dataset)), total=len(dataset), unit="recording")
    predictions = pd.DataFrame([best(result) for result in results])
    predictions.insert(0, "utterance_id", dataset["utterance_id"])
    predictions.to_csv(output, index=False)


def best(result: dict[str, Any]) -> dict[str, Any]:
    """A row of the table: each task's best label, the score of the emotion's, and the transcript."""
    labels = {
        task: value[0]["label"] if isinstance(value, list) else value
        for task, value in result.items()
        if task != "segments"
    }
    return {**labels, "score": result["emotion"][0]["score"]}


if __name__ == "__main__":
    typer.run(main)
