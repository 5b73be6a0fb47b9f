"""Reports are read as they were written, those of older versions too, and nothing else is taken for one."""

import json
from dataclasses import replace

import pytest

from ser_meta.configuration.errors import UserError
from ser_meta.configuration.protocol import Protocol
from ser_meta.configuration.records import from_json, to_json
from ser_meta.configuration.report import (
    DataFacts,
    Findings,
    JudgedBy,
    ModelFacts,
    Report,
    SideFindings,
    Speakers,
    Temperature,
    read_report,
    write_report,
)
from ser_meta.configuration.study_report import (
    AblationReport,
    AblationRow,
    CrossvalReport,
    Difference,
    TrainingFacts,
    read_study_report,
    write_study_report,
)

SPEAKERS = Speakers(judged=2, trained_on=0, validated_on=0, unknown=0, unknown_in_training=0, repeated=0)
MEASURES = {"wa": 0.75, "ua": 0.5, "macro_f1": None, "n": 4, "confusion": [[3, 0], [1, 0]]}
SIDE = SideFindings(metrics={"emotion": MEASURES}, slices={"style": {"song": {"n": 1}}}, speakers=SPEAKERS)
NOTHING_TOLD = to_json(Protocol.untold("ravdess"))
PROTOCOL = replace(Protocol.untold("ravdess"), folds="speaker", test_fold="03", seed=1)
REPORT = Report(
    target="emotion",
    protocol=PROTOCOL,
    validation=SIDE,
    temperature=Temperature(value=1.5, fitted_on="validation", n=4),
    sides={"train": 8, "test": 4},
    data=DataFacts(speakers={"test": 2}, minutes={"test": 1}, too_long=3),
    model=ModelFacts(encoder="openai/whisper-base", parameters=7, tasks={"emotion": {"kind": "classification"}}),
    layer_shares={"emotion": [0.25, 0.75]},
    stages={"emotion": {"epochs": 2, "loss_weights": {"emotion": 1.0}}},
    yardstick={"ua": 0.25, "n": 4},
    versions={"torch": "2.13.0"},
    **vars(SIDE),
)
STUDY = {
    "recipe": {"model": {"target_task": "emotion"}},
    "protocol": replace(Protocol.untold("ravdess"), seeds=[1], folds_left_out={"04": "no sad"}),
    "pooled": Findings(metrics=SIDE.metrics, slices=SIDE.slices),
    "summary": {"emotion": {"ua": {"mean": 0.5, "sd": 0.0}}},
    "runs": [TrainingFacts(seed=1, fold="03", folder="seed-1/fold-0", seconds=2, metrics={"emotion": MEASURES})],
    "speakers": replace(SPEAKERS, folds=2),
}
CROSSVAL = CrossvalReport(**STUDY, versions={"torch": "2.13.0"})
ABLATION = AblationReport(
    table="1",
    title="Table I",
    protocol=STUDY["protocol"],
    rows=[AblationRow(encoder="first", name="ours", **STUDY)],
    differences=[
        Difference(
            encoder="first",
            name="ours",
            against="baseline",
            ua={"difference": 0.1, "interval": [0.0, 0.2]},
            wa={"difference": 0.1},
            mcnemar={"only_this": 2, "only_other": 1, "p": 1.0},
            speakers=5,
        )
    ],
    versions={"torch": "2.13.0"},
)


@pytest.mark.parametrize(
    "report", [REPORT, replace(REPORT, judged_by=JudgedBy()), Report(target="a", protocol=PROTOCOL)]
)
def test_a_report_is_read_as_it_was_written(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report


def test_what_has_no_value_is_not_written():
    assert to_json(Report(target="a", protocol=PROTOCOL)) == {
        "target": "a",
        "protocol": {**NOTHING_TOLD, "folds": "speaker", "test_fold": "03", "seed": 1},
    }


def test_a_report_without_its_protocol_is_not_made():
    with pytest.raises(TypeError, match="protocol"):
        Report(target="emotion", metrics={"emotion": MEASURES})


def test_a_training_in_a_study_has_single_figures_alone():
    (training,) = CROSSVAL.runs
    assert training.metrics == {"emotion": {"wa": 0.75, "ua": 0.5, "macro_f1": None, "n": 4}}


@pytest.mark.parametrize("report", [CROSSVAL, ABLATION], ids=["crossval", "ablation"])
def test_a_study_is_read_as_it_was_written(report, tmp_path):
    write_study_report(tmp_path / "report.json", report)
    assert read_study_report(tmp_path / "report.json") == report


def changed(**parts):
    return {**to_json(REPORT), **parts}


def test_reports_of_older_versions_are_read(tmp_path):
    older = changed(
        calibration={"temperature": 1.5, "fitted_on": "validation", "n": 4},
        judged_by=None,
        protocol={**NOTHING_TOLD, "test_fold": 3, "validation": "none"},
        something_else=1,
    )
    del older["temperature"], older["speakers"]
    (tmp_path / "report.json").write_text(json.dumps(older), encoding="utf-8")
    report = read_report(tmp_path / "report.json")
    assert report.temperature == REPORT.temperature and report.judged_by == JudgedBy()
    assert report.protocol.test_fold == "3" and report.speakers is None and report.metrics == REPORT.metrics


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], r"report\.json is \[\] and must be a mapping"),
        ({"target": "emotion"}, r"report\.json lacks protocol"),
        (changed(protocol={"folds": "speaker"}), r"report\.json: protocol lacks corpus"),
        (
            changed(protocol={**NOTHING_TOLD, "light": "dim"}),
            "protocol has light, which this version does not know",
        ),
        (changed(metrics=[1]), r"report\.json: metrics is \[1\] and must be a mapping"),
        (changed(sides={"test": "many"}), "sides, test is 'many' and must be a whole number"),
        (changed(data={"too_long": True}), "data: too_long is True and must be a whole number"),
        (changed(calibration={"fitted_on": "validation"}), "temperature"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(content, message, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=message) as refused:
        read_report(tmp_path / "report.json")
    assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [[], {}, {"kind": "quarantine"}, to_json(REPORT)])
def test_what_is_no_study_is_refused(content, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="is no report of a study: give that of ser-meta crossval, ablate or probe"):
        read_study_report(tmp_path / "report.json")


def test_every_part_of_a_protocol_is_told():
    given = {"allow_speaker_overlap": True, "left_out": {"silent": "2 of 36 rows"}, "seeds": [1, 2]}
    said = replace(Protocol.untold("ravdess"), **given)
    assert said.facts() == {
        "corpus": "ravdess",
        "left out": {"silent": "2 of 36 rows"},
        "allow speaker overlap": True,
        "seeds": [1, 2],
    }
    assert said.all_facts() == {
        "corpus": "ravdess",
        "label map": "none",
        "left out": {"silent": "2 of 36 rows"},
        "allow speaker overlap": True,
        "longest": "any length",
        "styles": "not told apart",
        "searched": "not stated",
        "seeds": [1, 2],
    }
    assert from_json(Protocol, to_json(said), "protocol") == said


@pytest.mark.parametrize("part", ["label_map", "left_out", "allow_speaker_overlap", "longest", "styles", "searched"])
def test_a_protocol_without_one_of_these_cannot_be_made(part):
    told = {name: value for name, value in vars(PROTOCOL).items() if name != part}
    with pytest.raises(TypeError, match=part):
        Protocol(**told)
    with pytest.raises(UserError, match=f"protocol lacks {part}"):
        from_json(Protocol, told, "protocol")
