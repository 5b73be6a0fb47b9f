"""Several studies of the same utterances as one recogniser: the mean of their scores.

python examples/studies/together.py studies/frozen studies/tuned studies/beyond --output studies/together

A study is a folder in which, or below which, there are predictions.parquet. Its seeds are members, and their mean
counts as one study. Nothing is fitted or chosen: all studies have the same weight.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas
import typer
from scripts import run
from summary import difference, heading, line

from ser_meta.configuration.errors import UserError
from ser_meta.hub_cards.document import with_interval
from ser_meta.hub_cards.wording import NAMES
from ser_meta.training.measures.resampling import check_same_utterances
from ser_meta.training.measures.statistics import paired_difference
from ser_meta.training.runs.judging import report_on

PREDICTIONS, TOGETHER = "predictions.parquet", "together"


def main(
    studies: Annotated[list[Path], typer.Argument(metavar="STUDY...")],
    output: Annotated[Path, typer.Option(help="A folder for report.json and predictions.parquet.")],
    target: Annotated[str, typer.Option(help="The task, which has labels.")] = "emotion",
) -> None:
    """Judges each study as the mean of its seeds, and all of them together."""
    rows = {str(study): mean_of(read_study(study), target) for study in studies}
    rows[TOGETHER] = mean_of(list(rows.values()), target)
    task = {target: {"kind": "classification", "labels": labels_of(rows[TOGETHER], target)}}
    report = {
        "rows": {name: report_on(table, task, target).metrics[target] for name, table in rows.items()},
        "gain": {name: paired_difference(rows[TOGETHER], table, target) for name, table in rows.items()},
    }
    output.mkdir(parents=True, exist_ok=True)
    rows[TOGETHER].to_parquet(output / PREDICTIONS)
    (output / "report.json").write_text(json.dumps(report, indent=2, default=str) + "\n", encoding="utf-8")
    print("\n".join(page(report)))


def read_study(folder: Path) -> list[pandas.DataFrame]:
    """The predictions of each seed, from a study's own folder, or else from all runs below it."""
    whole = folder / PREDICTIONS
    files = [whole] if whole.is_file() else sorted(folder.rglob(PREDICTIONS))
    if not files:
        raise UserError(f"{folder} has no {PREDICTIONS}: name a study that has finished")
    tables = [pandas.read_parquet(file) for file in files]
    if files != [whole]:  # OUTPUT/seed-1/fold-0/predictions.parquet
        tables = [table.assign(seed=file.parent.parent.name) for table, file in zip(tables, files, strict=True)]
    table = pandas.concat(tables, ignore_index=True)
    return [of_seed for _, of_seed in table.groupby("seed")] if "seed" in table else [table]


def mean_of(tables: list[pandas.DataFrame], target: str) -> pandas.DataFrame:
    """The first table with the mean of all tables' scores, and what is predicted by that.

    Raises:
        UserError: the tables hold different utterances, or scores in another order than that of `labels_of`.
    """
    labels, scores = labels_of(tables[0], target), []
    for table in tables:
        check_same_utterances(tables[0], table, target)
        by_name = table.set_index("utterance_id").loc[tables[0]["utterance_id"]]
        of_table = np.stack(by_name[f"{target}_scores"].tolist())
        if [labels[best] for best in of_table.argmax(axis=1)] != by_name[f"{target}_predicted"].tolist():
            raise UserError(f"the scores are not in the order {', '.join(labels)}: leave out model.labels.{target}")
        scores.append(of_table)
    mean = np.mean(scores, axis=0)
    predicted = [labels[best] for best in mean.argmax(axis=1)]
    return tables[0].assign(**{f"{target}_scores": list(mean), f"{target}_predicted": predicted})


def labels_of(table: pandas.DataFrame, target: str) -> list[str]:
    """In the alphabet's order, which is that of a recipe that names none."""
    return sorted(set(table[target].dropna()) | set(table[f"{target}_predicted"]))


def page(report: dict) -> Iterator[str]:
    """The table in Markdown."""
    measures = ("ua", "wa", "macro_f1")
    yield from heading(["scores of", *(NAMES[measure] for measure in measures), "together less this, points of UA"])
    for name, row in report["rows"].items():
        gain = None if name == TOGETHER else report["gain"][name]["ua"]
        yield line([name, *(with_interval(row, measure) for measure in measures), difference(gain)])


if __name__ == "__main__":
    run(main)
