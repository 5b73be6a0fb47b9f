"""Reports of studies on random predictions: 24 speakers, eight emotions, two seeds. No model is behind them."""

import numpy as np
import pandas
import pytest

from ser_meta.configuration.records import from_json, to_json
from ser_meta.configuration.study_report import AblationReport, CrossvalReport
from ser_meta.training.measures.metrics import evaluate_predictions, slices
from ser_meta.training.measures.statistics import calibration, interval, mcnemar, paired_difference
from ser_meta.training.planning.speakers import speaker_facts, together
from ser_meta.training.planning.tables import find_table

EMOTIONS = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"]
SEEDS = (1, 2)
LAYERS = 6
TASKS = {
    "emotion": {"kind": "classification", "labels": EMOTIONS},
    "gender": {"kind": "classification", "labels": ["female", "male"]},
    "speaker": {"kind": "classification", "labels": ["someone"]},
    "style": {"kind": "classification", "labels": ["song", "speech"]},
    "transcript": {"kind": "ctc"},
}
PROTOCOL = {
    "corpus": "ravdess",
    **dict.fromkeys(("label_map", "longest", "styles", "searched")),
    "left_out": {},
    "allow_speaker_overlap": False,
    "folds": "groups of 4 speakers",
    "validation": "none",
    "epoch_rule": "last epoch of 6",
    "seeds": list(SEEDS),
}
VERSIONS = {"python": "3.11.2", "torch": "2.13.0"}


def _classified(reference, labels, rate, chance):
    right = chance.random(len(reference)) < rate
    return np.where(right, reference, chance.choice(labels, len(reference)))


def random_predictions(rate=0.7, seed=0):
    """A table of 24 speakers with 40 utterances each, once a seed; `rate` is about how many are right."""
    corpus, chance = np.random.default_rng(0), np.random.default_rng(seed + 1)
    place = np.arange(24 * 40)
    speaker = place // 40
    table = pandas.DataFrame(
        {
            "utterance_id": [f"utterance-{number}" for number in place],
            "speaker": [f"{number + 1:02d}" for number in speaker],
            "fold": [f"{4 * (number // 4) + 1:02d} to {4 * (number // 4) + 4:02d}" for number in speaker],
            "gender": np.where(speaker % 2, "female", "male"),
            "age": 21 + 2 * speaker,
            "style": np.where(place % 3, "speech", "song"),
            "duration": corpus.uniform(1, 6, len(place)),
            "transcript": "KIDS ARE TALKING",
            "emotion": corpus.choice(EMOTIONS, len(place)),
        }
    )
    table = pandas.concat([table.assign(seed=seed) for seed in SEEDS], ignore_index=True)
    ease = rate + 0.02 * (corpus.permutation(24) - 12)[table["speaker"].astype(int) - 1]
    table["emotion_predicted"] = _classified(table["emotion"], EMOTIONS, ease, chance)
    sure = chance.beta(5, 2, len(table))
    scores = np.full((len(table), len(EMOTIONS)), ((1 - sure) / 7)[:, None])
    scores[np.arange(len(table)), table["emotion_predicted"].map(EMOTIONS.index)] = np.maximum(sure, 0.2)
    table["emotion_scores"] = list(scores)
    for task, success in (("gender", 0.96), ("style", 0.98)):
        table[f"{task}_predicted"] = _classified(table[task], TASKS[task]["labels"], success, chance)
    table["speaker_predicted"] = "someone"
    table["transcript_predicted"] = chance.choice(["KIDS ARE TALKING", "KIDS WERE TALKIN"], len(table), p=[0.9, 0.1])
    return table


def pooled(table, tasks):
    metrics = evaluate_predictions(table, tasks)
    metrics["emotion"] |= {
        "interval": interval(table, tasks, "emotion", resamples=200),
        "calibration": calibration(table, "emotion"),
    }
    return {"metrics": metrics, "slices": slices(table, tasks, "emotion")}


def study_row(table, tasks=TASKS, seeds=SEEDS):
    runs = [
        {
            "seed": seed,
            "fold": fold,
            "folder": f"seed-{seed}/fold-{place}",
            "seconds": 61.5,
            "metrics": evaluate_predictions(table[(table["fold"] == fold) & (table["seed"] == seed)], tasks),
            "layer_shares": {task: np.random.default_rng(place).dirichlet(np.ones(LAYERS)).tolist() for task in tasks},
        }
        for seed in seeds
        for place, fold in enumerate(sorted(table["fold"].unique()))
    ]
    figures = pandas.DataFrame(
        [
            {"fold": run["fold"], "task": task, "measure": measure, "value": value}
            for run in runs
            for task, measures in run["metrics"].items()
            for measure, value in measures.items()
            if isinstance(value, float)
        ]
    )
    summary = {}
    for (task, measure), values in figures.groupby(["task", "measure", "fold"])["value"].mean().groupby(level=[0, 1]):
        summary.setdefault(task, {})[measure] = {"mean": values.mean(), "sd": values.std()}
    recipe = {"seed": 1, "data": {"corpus": "ravdess"}, "model": {"target_task": "emotion", "auxiliary_tasks": []}}
    speakers = together([speaker_facts(["a", "b", "c", "d"], ["e"])] * 6)
    row = {
        "speakers": to_json(speakers),
        "recipe": recipe,
        "protocol": PROTOCOL,
        "runs": runs,
        "summary": summary,
        "pooled": pooled(table, tasks),
    }
    return row


def study_report():
    return from_json(CrossvalReport, {**study_row(random_predictions()), "versions": VERSIONS}, "report")


def log(epochs, tasks, chance):
    return [
        {"loss": 4 / epoch, **{f"loss_{task}": (1 + chance.random() / 3) / epoch for task in tasks}, "epoch": epoch}
        for epoch in range(1, epochs + 1)
    ]


def logs_of_runs(report):
    chance, auxiliary = np.random.default_rng(0), ["gender", "speaker", "style", "transcript"]
    return {
        f"fold {run.fold}, seed {run.seed}": {
            "metadata": log(4, auxiliary, chance),
            "emotion": log(6, ["emotion", *auxiliary], chance),
        }
        for run in report.runs
    }


def ablated(table, rows, paper=(), encoders=("iemocap-wavlm-base",)):
    """`rows`: name -> rate and auxiliary tasks (None: all), the full method last; encoders differ by chance alone."""
    tasks = {
        name: TASKS if auxiliary is None else {task: TASKS[task] for task in ("emotion", *auxiliary)}
        for name, (_, auxiliary) in rows.items()
    }
    tables = {
        (encoder, name): random_predictions(rate, seed=10 * place + number)
        for place, encoder in enumerate(encoders)
        for number, (name, (rate, _)) in enumerate(rows.items())
    }
    *others, full = rows
    report = {
        "table": table,
        "title": find_table(table).title,
        "protocol": PROTOCOL,
        "rows": [
            {"encoder": encoder, "name": name, **study_row(predictions, tasks[name], seeds=SEEDS[:1])}
            for (encoder, name), predictions in tables.items()
        ],
        "differences": [
            {
                "encoder": encoder,
                "name": full,
                "against": name,
                **paired_difference(tables[encoder, full], tables[encoder, name], "emotion", resamples=200),
                "mcnemar": mcnemar(tables[encoder, full], tables[encoder, name], "emotion"),
            }
            for encoder in encoders
            for name in others
        ],
        "paper": list(paper),
        "versions": VERSIONS,
    }
    return from_json(AblationReport, report, "report")


@pytest.fixture(scope="session")
def crossval_report():
    return study_report()


@pytest.fixture(scope="session")
def training_logs(crossval_report):
    return logs_of_runs(crossval_report)


@pytest.fixture(scope="session")
def ablate():
    return ablated
