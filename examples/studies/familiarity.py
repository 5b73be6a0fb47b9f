"""Whether a model tells the speech of its own corpus from another corpus's by how familiar it is.

python examples/studies/familiarity.py runs/ravdess nemo /data/nemo

The recordings of the run's own test side, whose speakers it has not heard, against some of the other corpus, drawn at
random: the area under the ROC curve of `familiar`, and how many of either lie below the threshold.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas
import typer
from sklearn.metrics import roc_auc_score

from ser_meta.training.corpora import load_corpus
from ser_meta.training.runs.judging import predict_dataset
from ser_meta.training.runs.loading import load_model


def main(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    corpus: Annotated[str, typer.Argument(help="Another corpus's name.")],
    root: Annotated[Path, typer.Argument(help="Its folder.")],
    count: Annotated[int, typer.Option(help="Of its recordings.")] = 300,
) -> None:
    """Prints one line."""
    model, processor = load_model(run / "model")
    own = pandas.read_parquet(run / "predictions.parquet")["familiar"].to_numpy()
    rows = load_corpus(corpus, root)
    chosen = np.random.default_rng(0).choice(len(rows), min(count, len(rows)), replace=False)
    target = model.config.target_task
    others = rows.select(sorted(chosen.tolist())).remove_columns([target])
    other = predict_dataset(model, processor, others)["familiar"].to_numpy()
    area = roc_auc_score(np.repeat([1, 0], [len(own), len(other)]), np.concatenate([own, other]))
    threshold = model.config.familiarity["threshold"]
    below = [f"{(each < threshold).mean():.1%} of {len(each)}" for each in (own, other)]
    print(f"AUC {area:.3f}; unfamiliar below {threshold:g}: {below[0]} own, {below[1]} of {corpus}")


if __name__ == "__main__":
    typer.run(main)
