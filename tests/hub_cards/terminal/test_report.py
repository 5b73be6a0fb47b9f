import pytest
from printing import cells, printed

from ser_meta.hub_cards.terminal.report import print_report


def test_every_figure_in_its_line(report):
    text = printed(print_report, report)
    assert cells(text, "task") == ["task", "WA", "UA", "macro F1", "CER", "WER", "n"]
    assert cells(text, "emotion ") == ["emotion", "62.5%", "59.4%", "61.3%", "-", "-", "40"]
    assert "emotion UA: 95 % interval 50.3-68.1%, over 6 speakers, so few that it is too narrow" in text
    assert cells(text, "style = song") == ["style = song", "50.2%", "59.4%", "61.3%", "-", "-", "17"]
    assert cells(text, "logistic regression")[1] == "31.2%"
    assert cells(text, "gender")[1] == "93.8%"
    assert cells(text, "transcript") == ["transcript", "-", "-", "-", "3.1%", "11.8%", "38"]
    assert cells(text, "neutral")[-2:] == ["75.0%", "24"]
    assert cells(text, "sad") == ["sad", "-", "0"]
    assert "speaker: not applicable, none of the 6 speakers here is among the model's labels" in text
    assert "transcript: 2 utterances not counted (an empty reference)" in text
    assert text.splitlines()[0] == "speaker-independent: none of the 6 test speakers was trained on"


def test_protocol_and_sides_in_one_line(report):
    line = printed(print_report, report, width=200).splitlines()[-1]
    assert line == (
        "corpus: ravdess · styles: speech; trained on song, speech · folds: speaker · test fold: 21+22 · "
        "validation: random · epoch rule: last · seed: 7 · utterances: 1601 train, 40 test"
    )


def test_the_least_report_shows_no_empty_column(small_report):
    small_report.metrics["emotion"].pop("interval")
    text = printed(print_report, small_report)
    assert cells(text, "task") == ["task", "WA", "UA", "macro F1", "n"]
    assert "logistic" not in text
    assert text.splitlines()[-1] == "corpus: own"


def test_a_target_without_references_is_said(small_report):
    small_report.metrics["emotion"] = {"not_applicable": "no utterance here has a reference for emotion"}
    assert "emotion: not applicable, no utterance here has a reference" in printed(print_report, small_report)


@pytest.mark.parametrize("label", ["[red]angry[/red]", "[/]", ":smile:"])
def test_labels_are_no_markup(small_report, label):
    emotion = small_report.metrics["emotion"]
    emotion["recall"], emotion["support"] = {label: 0.5}, {label: 2}
    small_report.protocol.corpus = label
    text = printed(print_report, small_report)
    assert cells(text, label)[0] == label
    assert f"corpus: {label}" in text


def test_it_fits_a_terminal_of_80_columns(report):
    assert max(map(len, printed(print_report, report, width=80).splitlines())) <= 80
    assert cells(printed(print_report, report, width=80), "emotion ")[-1] == "40"
