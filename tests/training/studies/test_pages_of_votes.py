"""Studies of a corpus with raters' votes: what their pages say, and that their reports are read again."""

import numpy as np
import pandas
import pytest
from omegaconf import OmegaConf

from ser_meta.configuration.protocol import Protocol
from ser_meta.configuration.recipe import Recipe
from ser_meta.configuration.study_report import (
    AblationReport,
    AblationRow,
    CrossvalReport,
    Difference,
    TrainingFacts,
    read_study_report,
    write_study_report,
)
from ser_meta.hub_cards.study.ablation import ablation_page
from ser_meta.hub_cards.study.crossval import crossval_page
from ser_meta.training.measures.statistics import mcnemar, paired_difference
from ser_meta.training.measures.vote_intervals import paired_votes
from ser_meta.training.runs.judging import report_on

LABELS = ["angry", "neutral", "sad"]
TASKS = {"emotion": {"kind": "classification", "labels": LABELS}}
PROTOCOL = Protocol.untold("voices")


def predictions(seed: int) -> pandas.DataFrame:
    """Of six speakers, each utterance rated by four; the model of `seed` guesses. A tie has no label."""
    corpus, chance = np.random.default_rng(7), np.random.default_rng(seed)
    votes = corpus.multinomial(4, [0.5, 0.3, 0.2], 60).astype(float)
    scores = np.stack([chance.dirichlet(row + 1) for row in votes])
    tied = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) > 1
    rows = pandas.DataFrame({"utterance_id": [f"u{row}" for row in range(60)]})
    rows["speaker"] = [f"s{row // 10}" for row in range(60)]
    rows["emotion"] = [None if tie else LABELS[most] for most, tie in zip(votes.argmax(axis=1), tied, strict=True)]
    rows = rows.assign(**{f"emotion:{label}": votes[:, place] for place, label in enumerate(LABELS)})
    return rows.assign(emotion_scores=list(scores), emotion_predicted=[LABELS[best] for best in scores.argmax(axis=1)])


@pytest.fixture(scope="module")
def found():
    """By row what its trainings show, and the tables."""
    recipe = OmegaConf.to_container(OmegaConf.structured(Recipe()))
    rows, tables = {}, {}
    for seed, name in enumerate(("ours", "majority")):
        tables[name] = table = predictions(seed)
        pooled = report_on(table, TASKS, "emotion")
        run = TrainingFacts(seed=1, fold="a", folder="seed-1/fold-0", seconds=60, metrics=pooled.metrics)
        rows[name] = {"recipe": recipe, "protocol": PROTOCOL, "pooled": pooled, "summary": {}, "runs": [run]}
    return rows, tables


def section(page, title):
    (one,) = (each for each in page.sections if each.title == title)
    return one


def test_a_cross_validation_says_what_raters_said(found, tmp_path):
    rows, tables = found
    report = CrossvalReport(**rows["ours"], versions={})
    votes, judged = report.measures["votes"], report.measures["n"]
    assert report.runs[0].metrics["emotion"]["votes"]["n"] == votes["n"] == 60  # one training's keeps its numbers
    shown = section(crossval_page(report), "Raters")
    assert f"{votes['raters_agreement']:.1%} of cases" in shown.texts[0]
    assert shown.texts[1].startswith(f"WA, UA and macro F1 know only the {judged} utterances with a majority; what")
    assert judged == tables["ours"]["emotion"].notna().sum() < 60
    cells = {row[0]: row[1:] for row in shown.tables[0].rows}
    low, high = votes["interval"]["jensen_shannon"]
    expected = [f"{votes['jensen_shannon']:.3f}", f"{low:.3f} to {high:.3f}", "60"]
    assert cells["Jensen-Shannon, bits"] == expected
    assert [picture.name for picture in shown.pictures] == ["raters"]
    assert shown.pictures[0].draw(path=tmp_path / "raters.png").is_file()
    write_study_report(tmp_path / "report.json", report)
    assert read_study_report(tmp_path / "report.json") == report


def test_an_ablation_compares_rows_beside_the_votes_in_pairs(found, tmp_path):
    rows, tables = found
    pair = tables["ours"], tables["majority"]
    difference = Difference(
        encoder="tiny",
        name="ours",
        against="majority",
        **paired_difference(*pair, "emotion"),
        votes=paired_votes(*pair, "emotion", LABELS),
        mcnemar=mcnemar(*pair, "emotion"),
    )
    made = [AblationRow(encoder="tiny", name=name, **parts) for name, parts in rows.items()]
    report = AblationReport(table="x", title="", protocol=PROTOCOL, rows=made, differences=[difference], versions={})
    page = ablation_page(report)
    assert len(section(page, "Raters").tables[0].rows) == 2
    shown = {row[2]: row[3:] for row in section(page, "Differences beside the raters' votes").tables[0].rows}
    change = difference.votes["jensen_shannon"]
    bounds = " to ".join(f"{end:+.4f}" for end in change["interval"])
    assert shown["Jensen-Shannon, bits"] == [f"{change['difference']:+.4f}", bounds]
    write_study_report(tmp_path / "report.json", report)
    assert read_study_report(tmp_path / "report.json") == report
