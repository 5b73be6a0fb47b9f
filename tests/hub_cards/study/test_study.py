import itertools
import re
from copy import deepcopy
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from matplotlib.image import imread
from printing import printed

from ser_meta.hub_cards.study.write import print_study, write_study

HOSTILE = "a|b <script>alert(1)</script> [x](javascript:y) 愤怒 $d$ \n# Owned"
PROTOCOL = "corpus: ravdess; folds: groups of 4 speakers; validation: none; epoch rule: last epoch of 6; seeds: 1, 2"


class Reader(HTMLParser):
    """What a page holds: its addresses, each table's rows of cells, the alternative texts, its headings."""

    def __init__(self, page):
        super().__init__()
        self.addresses, self.tables, self.pictures, self.titles, self.tags, self.text = [], [], [], [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.addresses += [attributes[name] for name in ("src", "href", "srcset", "data") if name in attributes]
        if tag == "img":
            self.pictures.append(attributes["alt"])
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th", "h2"):
            self.text = ""

    def handle_data(self, data):
        if self.text is not None:
            self.text += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[-1][-1].append(self.text)
        if tag == "h2":
            self.titles.append(self.text)
        if tag in ("td", "th", "h2"):
            self.text = None

    def row(self, *start):
        return next(row for table in self.tables for row in table if tuple(row[: len(start)]) == start)


def pages(report, folder, curves=None):
    write_study(report, folder, curves)
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown)
    return Reader((folder / "report.html").read_text(encoding="utf-8")), Reader(shown)


@pytest.fixture(scope="module")
def crossval(crossval_report, training_logs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crossval")
    return (*pages(crossval_report, folder, training_logs), folder)


def percent(value):
    return f"{value:.1%}"


def span(bounds):
    return f"{100 * bounds[0]:.1f}-{100 * bounds[1]:.1f}%"


def test_both_pages_hold_every_figure(crossval, crossval_report):
    pooled = crossval_report.pooled.metrics
    emotion, transcript = pooled["emotion"], pooled["transcript"]
    for page in crossval[:2]:
        assert page.row("happy", percent(emotion["recall"]["happy"])) == [
            "happy", percent(emotion["recall"]["happy"]), str(emotion["support"]["happy"])
        ]  # fmt: skip
        assert page.row("transcript")[-3:] == [percent(transcript["cer"]), percent(transcript["wer"]), "1920"]
        assert page.row("mean of the folds")[2] == percent(crossval_report.summary["emotion"]["ua"]["mean"])
        assert page.row("standard deviation")[2] == percent(crossval_report.summary["emotion"]["ua"]["sd"])
        assert page.row("all utterances together")[2:4] == [percent(emotion["ua"]), percent(emotion["wa"])]
        band = crossval_report.pooled.slices["duration"]["2 to 4 s"]
        assert page.row("duration", "2 to 4 s")[2:] == [
            *(percent(band[measure]) for measure in ("wa", "ua", "macro_f1")), str(band["n"])
        ]  # fmt: skip
        assert page.row("happy", str(emotion["confusion"][2][0]))[3] == str(emotion["confusion"][2][2])
        shares = [run.layer_shares["gender"][1] for run in crossval_report.runs]
        assert percent(sum(shares) / len(shares)) in page.row("gender", percent(_mean_share(crossval_report, 0)))
        assert len([row for table in page.tables for row in table if row[0].startswith("seed-")]) == 12


def _mean_share(report, layer):
    shares = [run.layer_shares["gender"][layer] for run in report.runs]
    return sum(shares) / len(shares)


def test_a_folds_row_is_the_mean_of_its_seeds(crossval, crossval_report):
    first = [run.metrics["emotion"]["ua"] for run in crossval_report.runs if run.fold == "01 to 04"]
    row = crossval[0].row("01 to 04")
    assert row[2] == percent(sum(first) / 2)
    assert row[-1] == " / ".join(map(percent, first))


def test_headline_and_protocol(crossval, crossval_report):
    emotion = crossval_report.pooled.metrics["emotion"]
    for name in ("report.html", "report.md"):
        text = (crossval[2] / name).read_text(encoding="utf-8")
        assert (
            percent(emotion["ua"]) in text
            and f"95 % interval {span(emotion['interval']['ua'])}, over 24 speakers" in text
        )
        assert PROTOCOL in text
        assert f"calibration error {emotion['calibration']['ece']:.3f}" in text
        assert "speaker-independent: none of the 24 test speakers was trained on in its fold" in text
        reason = "Not applicable to speaker: none of the 24 speakers here is among the model's labels."
        assert reason in unescape(text)
        assert "target_task: emotion" in text and "torch 2.13.0" in text
    assert (crossval[2] / "report.html").read_text(encoding="utf-8").count(PROTOCOL) > 5  # beside every number


def test_the_page_fetches_nothing(crossval):
    page = crossval[0]
    assert page.addresses
    assert all(address.startswith(("data:image/png;base64,", "#section-")) for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    text = (crossval[2] / "report.html").read_text(encoding="utf-8")
    assert "url(" not in text and "@import" not in text and "http:" not in text and "https:" not in text


def test_every_picture_is_drawn_shown_and_described(crossval):
    html, markdown, folder = crossval
    drawn = {path.name for path in (folder / "plots").iterdir()}
    names = ("folds", "reliability", "confusion", "layers", "curves")
    assert drawn == {f"{name}.png" for name in names}
    assert {f"plots/{name}" for name in drawn} == {each for each in markdown.addresses if each.endswith(".png")}
    assert len(html.pictures) == len(drawn) and all(len(shows) > 20 for shows in html.pictures)
    assert all(min(imread(folder / "plots" / name).shape[:2]) > 300 for name in drawn)


def test_emoboxs_leaderboard_stands_beside_ours(crossval_report, tmp_path):
    row = {"encoder": "Whisper large v3", "ua": 0.7532, "wa": 0.7587, "macro_f1": 0.7519}
    for page in pages(replace(crossval_report, leaderboard=[row]), tmp_path):
        assert "EmoBox's leaderboard" in page.titles
        assert page.row("Whisper large v3") == ["Whisper large v3", "75.3%", "75.9%", "75.2%"]


def test_without_curves_and_with_the_least_there_is_no_empty_section(crossval_report, tmp_path):
    report = deepcopy(crossval_report)
    for run in report.runs:
        run.layer_shares = {}
    report.pooled.slices = {}
    report.runs = [run for run in report.runs if run.seed == 1]
    report.protocol.seeds = [1]
    del report.measures["interval"]
    html, markdown = pages(report, tmp_path)
    assert html.titles == markdown.titles
    assert not {"Slices", "Layers", "Learning"} & set(html.titles)
    assert "UA of each seed" not in html.tables[0][0]
    assert not re.search(r"None|Undefined|\bnan\b", (tmp_path / "report.md").read_text(encoding="utf-8"))


def test_text_from_a_corpus_is_never_markup(crossval_report, tmp_path):
    report = deepcopy(crossval_report)
    emotion = report.measures
    for part in ("recall", "support"):
        emotion[part][HOSTILE] = emotion[part].pop("surprised")
    report.protocol.corpus = report.runs[0].fold = report.versions[HOSTILE] = HOSTILE
    html, markdown = pages(report, tmp_path)
    assert "script" not in html.tags and "script" not in markdown.tags
    assert html.titles == markdown.titles and html.tags.count("h1") == markdown.tags.count("h1") == 1
    assert html.row(HOSTILE, percent(emotion["recall"][HOSTILE]))[2] == str(emotion["support"][HOSTILE])
    assert markdown.row(" ".join(HOSTILE.split()), percent(emotion["recall"][HOSTILE]))
    assert all(address.startswith(("plots/",)) for address in markdown.addresses)


def test_table_2_has_the_papers_shape(ablate, tmp_path):
    from ser_meta.training.studies.paper import HUBERT, PAPER_TABLES, WAVLM

    names = ["without both", "without co-attention", "without ARI", "ours"]
    report = ablate(
        "2", {name: (0.6 + 0.03 * place, None) for place, name in enumerate(names)}, PAPER_TABLES["2"], (HUBERT, WAVLM)
    )
    html, markdown = pages(report, tmp_path)
    assert html.tables[0][0] == ["", HUBERT, WAVLM]
    assert html.tables[0][1] == ["row", *["UA", "WA", "paper's UA", "paper's WA"] * 2]
    assert markdown.tables[0][0][1] == f"{HUBERT} UA"
    assert [row[0] for row in html.tables[0][2:]] == names
    emotion = report.rows[3].measures
    ours = f"{percent(emotion['ua'])} ({span(emotion['interval']['ua'])})"
    for page in (html, markdown):
        row = page.row("ours")
        assert row[1] == ours and row[3:5] == ["76.97", "75.88"] and row[7:] == ["77.74", "76.33"]
        assert page.row("without ARI")[3:5] == ["-", "-"]
        assert page.row("mean of the three encoders", "without ARI")[2:] == ["76.45", "75.55"]
        found = report.differences[4]
        bounds = [f"{100 * value:+.1f}" for value in found.ua["interval"]]
        row = page.row(WAVLM, "ours against without co-attention")
        assert row[2:4] == [f"{100 * found.ua['difference']:+.1f}", " to ".join(bounds)]
        assert row[6:8] == [str(found.mcnemar["only_this"]), str(found.mcnemar["only_other"])]
    assert len(html.pictures) == 2


def test_table_3_has_every_tasks_column(ablate, tmp_path):
    from ser_meta.training.studies.paper import PAPER_TABLES, WAVLM

    report = ablate("3", {"weighted sum": (0.6, None), "ours": (0.7, None)}, PAPER_TABLES["3"], (WAVLM,))
    html, _ = pages(report, tmp_path)
    assert html.tables[0][0][:7] == [
        "encoder", "row", "gender WA", "style WA", "transcript CER", "transcript WER", "UA"
    ]  # fmt: skip
    assert html.row(WAVLM, "ours")[-6:] == ["11.56", "27.98", "98.71", "87.34", "77.74", "76.33"]
    assert html.row(WAVLM, "ours")[2] == percent(report.rows[1].pooled.metrics["gender"]["wa"])


def test_table_4_ticks_each_rows_tasks(ablate, tmp_path):
    auxiliary = ["gender", "speaker", "style", "transcript"]
    sets = [chosen for count in range(4) for chosen in itertools.combinations(auxiliary, count)]
    report = ablate("4", {**{", ".join(chosen): (0.7, chosen) for chosen in sets}, "ours": (0.7, auxiliary)})
    html, markdown = pages(report, tmp_path)
    for page in (html, markdown):
        rows = page.tables[0][-16:]
        assert [tuple(name for name, cell in zip(auxiliary, row, strict=False) if cell == "✓") for row in rows] == [
            *sets,
            tuple(auxiliary),
        ]
        assert all("%" in row[4] and "%" in row[5] for row in rows)
    assert "15 comparisons" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_terminal_shows_every_figure_whole(crossval_report, width):
    text = printed(print_study, crossval_report, width)
    emotion = crossval_report.pooled.metrics["emotion"]
    assert max(map(len, text.splitlines())) <= width and "…" not in text
    assert f"UA {percent(emotion['ua'])}  95 % interval {span(emotion['interval']['ua'])}" in text
    for run in crossval_report.runs:
        assert percent(run.metrics["emotion"]["ua"]) in text  # the seeds' column
    assert re.search(rf"surprised +{percent(emotion['recall']['surprised'])} +{emotion['support']['surprised']}", text)
    assert " ".join(text.split()).endswith(PROTOCOL)


def test_the_terminal_shows_an_ablation(ablate):
    report = ablate("1", {"baseline": (0.6, None), "ours": (0.7, None)}, encoders=("first", "second"))
    text = printed(print_study, report, 80)
    assert max(map(len, text.splitlines())) <= 80 and "…" not in text
    headers = [line for line in text.splitlines() if "comparison" in line]
    assert ["95 % interval" in line for line in headers] == ["difference" in line for line in headers]  # side by side
    for row in report.rows:
        emotion = row.measures
        assert f"{percent(emotion['wa'])} ({span(emotion['interval']['wa'])})" in text
    for each in report.differences:
        assert " to ".join(f"{100 * value:+.1f}" for value in each.ua["interval"]) in text
