"""What raters' votes are worth to linear probes, in minutes: learned from their shares, and from their majority.

python examples/studies/raters_probe.py examples/studies/raters.yaml raters-1.csv raters-2.csv raters-3.csv \
  data.options.audio_root=/data/ravdess

Each table of raters.py is a draw of raters. A logistic regression on the standardised means of all layers of the
frozen encoder is fitted to the training side of each fold, as strictly as those of `ser-meta probe`, and judged on the
test side. Where shares are learned, an utterance stands there once a label, with its share as the weight.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
import pandas
import typer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from ser_meta.configuration.recipe_files import load_recipe
from ser_meta.training.corpora.rows import Rows
from ser_meta.training.corpora.votes import certain_shares, shares_of
from ser_meta.training.measures.metrics import evaluate_predictions
from ser_meta.training.measures.statistics import paired_difference
from ser_meta.training.measures.vote_intervals import paired_votes
from ser_meta.training.planning.folds import Folds, recipe_folds
from ser_meta.training.planning.plan import load_rows
from ser_meta.training.runs.preparation import Preparation, prepare
from ser_meta.training.studies.probe import REGULARISATION, embed

LEARNED = {"majority": certain_shares, "shares": shares_of}
TASK = "emotion"
SHOWN = ("jensen_shannon", "kl", "total_variation", "brier", "accepted_macro_f1")


def main(
    recipe: Annotated[str, typer.Argument(help="With its folds and its encoder.")],
    given: Annotated[list[str], typer.Argument(help="Tables of raters.py, and settings as key=value.")],
) -> None:
    """Prints what each side reaches, and how much more the shares have, with 95 % intervals over speakers."""
    tables, settings = [word for word in given if "=" not in word], [word for word in given if "=" in word]
    recipes = [load_recipe(recipe, [*settings, f"data.root={table}"]) for table in tables]
    prepared = prepare(recipes[0])
    labels, states = prepared.tasks[TASK]["labels"], mean_states(prepared)
    found: dict[str, list[pandas.DataFrame]] = {name: [] for name in LEARNED}
    for seed, (table, changed) in enumerate(zip(tables, recipes, strict=True), start=1):
        rows = load_rows(changed)
        for name in LEARNED:
            print(f"{table}: learning from {name}", file=sys.stderr, flush=True)
            found[name].append(predict(name, rows, recipe_folds(rows, changed), states, labels).assign(seed=seed))
    judged = {name: pandas.concat(parts, ignore_index=True) for name, parts in found.items()}
    tell(judged, labels)


def mean_states(prepared: Preparation) -> dict[str, np.ndarray]:
    """By utterance, the means of all layers' states over the frames, one after another."""
    embedded = embed(prepared)
    means = embedded[:, : embedded.shape[1] // 2].reshape(len(embedded), -1)
    return dict(zip(prepared.dataset["utterance_id"], means, strict=True))


def predict(
    learned: str, rows: Rows, folds: Folds, states: Mapping[str, np.ndarray], labels: Sequence[str]
) -> pandas.DataFrame:
    """The predictions for every fold by what is learned on the others."""
    heard = np.stack([states[name] for name in rows["utterance_id"]])
    shares = LEARNED[learned](rows, TASK, labels)
    facts, parts = rows.dataset().remove_columns("audio").to_pandas(), []
    for fold in folds.names:
        train, test = folds.training_rows(fold), folds.rows_on(fold)
        scores = fit(heard[train], shares[train]).predict_proba(heard[test])
        said = {f"{TASK}_predicted": [labels[best] for best in scores.argmax(axis=1)], f"{TASK}_scores": list(scores)}
        parts.append(facts.iloc[test].assign(**said))
    return pandas.concat(parts, ignore_index=True)


def fit(states: np.ndarray, shares: np.ndarray) -> Pipeline:
    """A classifier by the shares `(utterances, labels)` of what it is to learn; NaN where there are none."""
    rows, labels = np.nonzero(np.nan_to_num(shares) > 0)
    learned = make_pipeline(StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000))
    return learned.fit(states[rows], labels, logisticregression__sample_weight=shares[rows, labels])


def tell(judged: Mapping[str, pandas.DataFrame], labels: Sequence[str]) -> None:
    """Prints the figures of both sides, and their differences."""
    task = {TASK: {"kind": "classification", "labels": list(labels)}}
    for name, predictions in judged.items():
        measured = evaluate_predictions(predictions, task)[TASK]
        votes = ", ".join(f"{measure} {measured['votes'][measure]:.4f}" for measure in SHOWN)
        print(f"learned from {name}: UA {measured['ua']:.4f}, {votes} ({measured['votes']['n']:,} rated)")
    known = {name: predictions[predictions[TASK].notna()] for name, predictions in judged.items()}
    changes = {"ua": paired_difference(known["shares"], known["majority"], TASK)["ua"]}
    changes |= paired_votes(judged["shares"], judged["majority"], TASK, labels)
    for measure in ("ua", *SHOWN):
        low, high = changes[measure]["interval"]
        print(f"shares less majority, {measure}: {changes[measure]['difference']:+.4f} ({low:+.4f} to {high:+.4f})")


if __name__ == "__main__":
    typer.run(main)
