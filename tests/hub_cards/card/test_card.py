import ast
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

import ser_meta.hub_cards.card.render
from ser_meta.configuration.errors import UserError
from ser_meta.configuration.recipe import CorpusRecipe
from ser_meta.configuration.records import from_json, to_json
from ser_meta.configuration.report import FamiliarityFacts, Report
from ser_meta.hub_cards.card.corpus_facts import CorpusFacts, licence_left, licence_sentences, licence_warnings
from ser_meta.hub_cards.card.render import card_of_folder, write_card
from ser_meta.hub_cards.card.terms import TERMS, Terms
from ser_meta.training.corpora import CORPORA
from ser_meta.training.runs.hub import _facts

RAVDESS = CorpusFacts("RAVDESS", "CC BY-NC-SA 4.0", "@article{ravdess}", ("en",), "acted")
TEMPLATE = Path(ser_meta.hub_cards.card.render.__file__).with_name("model_card.md")
HOSTILE = "a|b <script>alert(1)</script> [x](javascript:y) *b* `c` # $d$ \\( \n---\n\n# Owned\n- &lt; ~~e~~ __f__ !"


def html(card):
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(card.text)


def cell_texts(card, first):
    """The cells of the table row that begins with `first`."""
    rows = re.findall(r"<tr>\s*(.*?)</tr>", html(card), re.DOTALL)
    row = next(row for row in rows if re.match(rf"<t[dh]>{re.escape(first)}<", row))
    return re.findall(r"<t[dh]>(.*?)</t[dh]>", row)


def snippets(card):
    return re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)


@pytest.fixture
def card(model_folder, report):
    (model_folder / "plots").mkdir()
    (model_folder / "plots" / "confusion.png").write_bytes(b"")
    path = write_card(model_folder, report, [RAVDESS], repository="someone/emotions")
    assert path == model_folder / "README.md"
    return ModelCard.load(path)


def test_metadata_of_the_hub(card):
    data = card.data.to_dict()
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "audio-classification"
    assert data["license"] == "cc-by-nc-sa-4.0"
    assert data["language"] == ["en"]
    assert data["base_model"] == "openai/whisper-base"
    assert data["model-index"][0]["name"] == "emotions"
    results = {result.metric_name: result for result in card.data.eval_results}
    assert results["WA"].metric_value == 0.625
    assert results["UA"].metric_value == 0.5938
    assert results["macro F1"].metric_type == "f1"
    assert results["UA"].dataset_name == "RAVDESS"
    assert results["UA"].dataset_args["test fold"] == "21+22"


def test_results_tables_hold_the_report(card):
    assert cell_texts(card, "emotion, style = song") == [
        "emotion, style = song", "50.2%", "59.4%", "61.3%", "-", "-", "17",
    ]  # fmt: skip
    assert cell_texts(card, "UA") == ["UA", "59.4%", "50.3%", "68.1%"]
    assert "(bootstrap over 6 speakers, so few that it is too narrow)" in card.text
    assert cell_texts(card, "80.2%") == ["80.2%", "70.0%", "30"]
    assert "calibration error is 10.2%" in card.text
    assert "temperature of 1.375, fitted on 53 utterances of the validation side." in card.text
    assert cell_texts(card, "transcript")[1:] == ["text"]
    assert ["transcript", "-", "-", "-", "3.1%", "11.8%", "38"] in [
        re.findall("<td>(.*?)</td>", row) for row in html(card).split("<tr>")
    ]
    assert cell_texts(card, "emotion, logistic regression")[1] == "31.2%"
    assert cell_texts(card, "happy") == ["happy", "43.8%", "16"]
    assert cell_texts(card, "sad") == ["sad", "-", "0"]
    assert "The weakest class is happy: 43.8%" in card.text
    assert "Not applicable to speaker: none of the 6 speakers here is among the model's labels." in card.text
    assert "Transcript: 2 utterances not counted (an empty reference)." in card.text


def test_protocol_stages_and_sources(card):
    assert cell_texts(card, "validation")[1].startswith("random (random utterances of the training side")
    assert cell_texts(card, "utterances")[1] == "1601 train, 40 test"
    for name, said in (
        ("label map", "none"),
        ("left out", "nothing"),
        ("longest", "any length"),
        ("searched", "not stated"),
    ):
        assert cell_texts(card, name) == [name, said]
    assert cell_texts(card, "styles")[1] == "speech; trained on song, speech"
    assert cell_texts(card, "loss weights") == ["loss weights", "gender 1, transcript 0.1", "-"]
    assert cell_texts(card, "seconds") == ["seconds", "-", "480.5"]
    assert "Versions: torch 2.13.0." in card.text
    assert "Hardware: device x86\\_64 CPU, threads 1." in card.text
    assert "It started from openai/whisper-base." in card.text and "It has 20,590,000 parameters." in card.text
    assert cell_texts(card, "test") == ["test", "40", "6", "2.5"]
    assert "licence: CC BY-NC-SA 4.0, language: en." in card.text
    assert "```bibtex\n@article{ravdess}\n```" in card.text
    assert "- The emotions of RAVDESS are acted:" in card.text
    assert "40 utterances by 6 speakers, of RAVDESS alone" in card.text
    assert "languages (ISO 639-1) and no other: en." in card.text
    assert "2412.20707" in card.text
    assert '<img src="plots/confusion.png"' in html(card)


def test_a_frozen_encoder_has_no_rate(model_folder, report):
    frozen = {
        name: {**stage, "encoder": "all", "freeze_layers": "all", "encoder_learning_rate": 3e-5}
        for name, stage in report.stages.items()
    }
    text = write_card(model_folder, replace(report, stages=frozen)).read_text(encoding="utf-8")
    rows = {cells[1].strip(): cells[2:-1] for line in text.splitlines() if len(cells := line.split("|")) > 3}
    assert {cell.strip() for cell in rows["encoder"]} == {"frozen as a whole"}
    assert "3e-05" not in " ".join(rows["encoder learning rate"])


def test_speakers_of_the_training_are_not_listed(card):
    said = cell_texts(card, "speaker")[1]
    assert said == "nothing: it served the training only; its head is in the file, and config.json names its labels"
    assert "actor-one" not in card.text


def test_snippets_are_python_and_name_the_repository(card):
    loading = [snippet for snippet in snippets(card) if "import" in snippet]
    assert len(snippets(card)) == 3 and len(loading) == 2
    for snippet in loading:
        strings = {node.value for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Constant)}
        assert {"someone/emotions", "main"} <= strings and "revision" in snippet


def prose(card):
    """The card's text, each block of code as these few words."""
    return re.sub(r"^(`{3,}).*?^\1$", "a block of code", card.text, flags=re.DOTALL | re.MULTILINE)


def sections(card):
    """Heading -> what stands below it up to the next one."""
    found = re.split(r"^(#+ .*)$", prose(card), flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def assert_no_gaps(card):
    for heading, content in sections(card).items():
        assert len(content.split()) > 3, heading
    for table in re.findall(r"(?:^\|.*\n)+", card.text, flags=re.MULTILINE):
        assert len(table.splitlines()) > 2, table  # a header and its line alone say nothing
    assert not re.search(r"None|Undefined|\bnan\b|: *\.$|\(\)", prose(card), flags=re.MULTILINE)


def test_no_section_is_empty(card, model_folder, report, small_report):
    assert_no_gaps(card)
    assert_no_gaps(ModelCard.load(write_card(model_folder, small_report)))
    parts = ("slices", "yardstick", "sides", "data", "stages", "versions", "model", "metrics")
    for part in parts:
        given = {name: value for name, value in to_json(report).items() if name != part}
        fewer = from_json(Report, given, "report")
        assert_no_gaps(ModelCard(card_of_folder(model_folder, fewer, [RAVDESS])))
    for part in ("interval", "calibration"):
        measures = {name: value for name, value in report.metrics["emotion"].items() if name != part}
        text = card_of_folder(model_folder, replace(report, metrics={"emotion": measures}), [RAVDESS])
        assert_no_gaps(ModelCard(text))
        assert ("95 % interval" in text, "### Calibration" in text) == (part != "interval", part != "calibration")


def test_the_least_report_makes_a_card_without_gaps(model_folder, small_report):
    card = ModelCard.load(write_card(model_folder, small_report))
    assert not re.search(r"## Training|Versions|Hardware|temperature of|started from|<img|bibtex\n@article", card.text)
    assert set(card.data.to_dict()) == {"library_name", "pipeline_tag", "tags", "model-index"}
    assert card.data.model_name == "ser-meta-own"
    assert '"./model"' in card.text


def test_what_is_familiar_is_said_of_a_model_that_was_not_judged_too(model_folder, small_report):
    facts = FamiliarityFacts(fitted_on="training", n=84, threshold=0.05)
    text = write_card(model_folder, replace(small_report, metrics={}, familiarity=facts)).read_text(encoding="utf-8")
    assert "## When it should not answer" in text and "the share of 84 recordings (side: training)" in text


def test_the_card_says_how_much_of_the_encoder_there_is(model_folder, small_report):
    told = "Of the encoder it has the lowest 3 layers only. Augmented residual"
    assert told not in card_of_folder(model_folder, small_report)
    config = model_folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "encoder_layers": 3}))
    assert told in card_of_folder(model_folder, small_report)


def figures(text):
    return set(re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)*%?", text))


def known_figures(report, *more):
    """Every number of the report as a card may write it, and those that stand in texts."""
    text = " ".join(json.dumps(part) for part in (report, *more))
    numbers = [float(number) for number in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?", text)]
    written = {form for number in numbers for form in (f"{number:.1%}", f"{number:g}", f"{number:,.0f}")}
    return written | figures(text)


def shown_figures(card):
    """The figures of a card's prose and tables; code and what the template itself says are left out."""
    return figures(prose(card).replace("\\", "")) - figures(TEMPLATE.read_text(encoding="utf-8"))


def test_every_figure_is_from_the_report(card, report):
    assert len(shown_figures(card)) > 30
    assert shown_figures(card) <= known_figures(to_json(report), RAVDESS.license, "3 labels", "ISO 639-1")


def test_every_figure_of_a_finished_run_is_from_its_report(finished_run):
    card = ModelCard.load(finished_run / "model" / "README.md")
    report = json.loads((finished_run / "report.json").read_text())
    assert shown_figures(card) <= known_figures(report, "3 labels")
    assert_no_gaps(card)
    assert {"## Training data", "## Results", "### By class", "### Calibration", "## Limits"} <= set(sections(card))


def test_without_a_custom_pipeline_the_card_promises_none(model_folder, small_report):
    config = json.loads((model_folder / "config.json").read_text())
    del config["custom_pipelines"]
    (model_folder / "config.json").write_text(json.dumps(config))
    card = ModelCard.load(write_card(model_folder, small_report))
    assert len(snippets(card)) == 1
    assert "pipeline(" not in card.text


def test_a_target_without_references_claims_no_result(model_folder, small_report):
    small_report.metrics["emotion"] = {"not_applicable": "no utterance here has a reference for emotion"}
    card = ModelCard.load(write_card(model_folder, small_report))
    assert card.data.eval_results is None
    assert "%" not in card.text
    assert "Not applicable to emotion: no utterance" in card.text


def hostile_card(model_folder, report):
    config = json.loads((model_folder / "config.json").read_text())
    config["tasks"]["emotion"]["labels"] = [HOSTILE, "happy", "sad"]
    (model_folder / "config.json").write_text(json.dumps(config))
    emotion = report.metrics["emotion"]
    emotion["recall"] = {HOSTILE: 0.5, "happy": 0.5, "sad": 0.5}
    emotion["support"] = {HOSTILE: 1, "happy": 1, "sad": 1}
    report.protocol.corpus = report.protocol.test_fold = HOSTILE
    report.stages = {HOSTILE: {HOSTILE: HOSTILE}}
    corpus = CorpusFacts(HOSTILE, HOSTILE, f"{HOSTILE}\n```\n# Owned\n", ("en",))
    return ModelCard.load(write_card(model_folder, report, [corpus], repository=f'x/"{HOSTILE}', revision=HOSTILE))


def test_text_from_a_corpus_is_never_markup(model_folder, report):
    card = hostile_card(model_folder, report)
    page = html(card)
    assert not re.search(r"<script|<a href=.javascript|<h1>Owned|<em>b|<s>e|<strong>f|<code>c", page)
    assert page.count("<h1>") == 1
    assert not re.search(r"(?<!\\)\$|\\\\\(", prose(card))  # the Hub reads $$ and \\( as mathematics
    for snippet in snippets(card):
        ast.parse(snippet)
    assert card.data.eval_results[0].dataset_name == " ".join(HOSTILE.split())


def test_text_from_a_corpus_is_shown_as_it_is(model_folder, report):
    page = html(hostile_card(model_folder, report))
    shown = " ".join(HOSTILE.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"<td>{shown}</td>\n<td>50.0%</td>\n<td>1</td>" in page


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "wav2vec2"}'])
def test_a_folder_without_our_model_is_refused(tmp_path, small_report, content):
    if content:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=str(tmp_path)):
        write_card(tmp_path, small_report)
    assert not (tmp_path / "README.md").exists()


def facts(license):
    return CorpusFacts("corpus", license)


@pytest.mark.parametrize(
    ("licenses", "left"),
    [
        (["CC BY-NC-SA 4.0"], "cc-by-nc-sa-4.0"),
        (["CC BY-NC-SA 4.0", "CC0-1.0", "CC BY 4.0 as on https://doi.org/1"], "cc-by-nc-sa-4.0"),
        (["CC BY-NC-SA 4.0", "CC BY-NC 4.0"], None),
        (["CC BY-NC-ND 4.0"], None),
        (["CC0-1.0"], None),
        (["free of charge for research only"], None),
        (["CC BY-NC-SA 4.0", ""], None),
        ([], None),
    ],
)
def test_the_licence_that_the_data_leaves(licenses, left):
    assert licence_left([facts(license) for license in licenses]) == left


def test_what_is_said_of_licences():
    assert licence_sentences([facts("CC BY-NC-SA 4.0")])[0] == (
        "The corpus corpus asks for attribution, allows non-commercial use only and asks the same licence of what is "
        "adapted from it (CC BY-NC-SA 4.0)."
    )
    assert "under that licence (cc-by-nc-sa-4.0)" in licence_sentences([facts("CC BY-NC-SA 4.0")])[1]
    assert licence_sentences([facts("CC0-1.0")]) == ["The corpus corpus sets no condition (CC0-1.0)."]
    for license in ("CC BY-NC-ND 4.0", "on request", ""):
        assert licence_sentences([facts(license)])[-1].startswith("Do not share this model")
    both = licence_sentences([facts("CC BY-NC-SA 4.0"), facts("CC BY-NC 4.0")])
    assert both[-1].endswith("under terms that satisfy all of these.")


def test_the_publishers_licence_stands_first(model_folder, report):
    card = ModelCard(card_of_folder(model_folder, report, [RAVDESS], model_license="apache-2.0"))
    assert card.data.license == "apache-2.0"
    assert "This model is under apache-2.0, as its publisher states." in card.text
    assert "allows non-commercial use only" in card.text


def test_the_card_of_a_run_is_written_anew(command_line, finished_run, tmp_path):
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    (run / "model" / "README.md").unlink()
    code, printed, _ = command_line("card", run)
    assert code == 0 and Path(printed.strip()) == run / "model" / "README.md"
    assert (run / "model" / "README.md").read_bytes() == (finished_run / "model" / "README.md").read_bytes()
    code, _, _ = command_line("card", run, "--repository", "someone/else", "--license", "mit")
    card = ModelCard.load(run / "model" / "README.md")
    assert card.data.license == "mit" and '"someone/else"' in card.text


def test_a_run_without_a_report_has_no_card(command_line, tmp_path):
    code, printed, errors = command_line("card", tmp_path)
    assert (code, printed) == (2, "")
    assert errors == [
        f"ser-meta: {tmp_path} holds no finished run (recipe.yaml is missing): give the --output of a training"
    ]


def test_what_a_corpus_forbids_is_said_with_its_source(model_folder, report):
    terms = Terms("commercial use", "https://example.org/terms")
    corpora = [
        CorpusFacts("RAVDESS", "CC BY-NC-SA 4.0", terms=terms),
        CorpusFacts("free", "CC0-1.0", terms=Terms("", "-")),
    ]
    (warning,) = licence_warnings(corpora)
    assert warning.startswith("RAVDESS forbids commercial use (https://example.org/terms)")
    assert "(CC BY-NC-SA 4.0). Its terms: https://example.org/terms" in card_of_folder(model_folder, report, corpora)
    own = [CorpusFacts("own", "on request", terms=terms)]
    assert "It forbids commercial use. Its terms: https://example.org/terms" in card_of_folder(
        model_folder, report, own
    )
    assert licence_warnings([CorpusFacts("mine")]) == []


def test_every_public_corpus_is_in_the_table_of_terms():
    assert set(TERMS) == set(CORPORA) - {"table", "folders", "espeak", "emobox"}
    assert all(terms.source.startswith("http") for terms in TERMS.values())
    assert _facts(CorpusRecipe("ravdess", "/data/ravdess")).terms is TERMS["ravdess"]
    assert _facts(CorpusRecipe("table", "/data/ravdess.csv")).terms is None  # a table may be called anything


@pytest.mark.parametrize(("name", "ours", "languages"), [("emovdb", "emov_db", ("en",)), ("esd", "esd", ())])
def test_a_corpus_of_emobox_has_its_own_terms_and_language(name, ours, languages):
    facts = _facts(CorpusRecipe("emobox", "/data/EmoBox", {"corpus": name}))
    assert (facts.name, facts.terms, facts.languages) == (name, TERMS[ours], languages)
    assert len(licence_warnings([facts])) == 1


def test_data_sets_of_the_hub_are_linked(model_folder, report, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub, here = _facts(CorpusRecipe("table", "someone/speech")), _facts(CorpusRecipe("table", str(tmp_path / "a.csv")))
    nemo = _facts(CorpusRecipe("nemo", "/data/nemo"))
    assert (hub.dataset, here.dataset, nemo.dataset) == ("someone/speech", "", "amu-cai/nEMO")
    card = ModelCard(card_of_folder(model_folder, report, [hub, here, nemo]))
    assert card.data.datasets == ["someone/speech", "amu-cai/nEMO"]
    assert ModelCard(card_of_folder(model_folder, report, [here])).data.datasets is None


def test_the_metadata_has_the_intervals(card, report):
    (ua,) = [result for result in card.data.eval_results if result.metric_name == "UA"]
    low, high = report.metrics["emotion"]["interval"]["ua"]
    assert ua.metric_args == {"interval": [low, high], "confidence": 0.95}


def test_the_law_is_named_with_its_article_date_and_source(card, model_folder, report):
    law = card.text.split("## Law")[1].split("## ")[0]
    assert "Article 5(1)(f)" in law and "2 February 2025" in law and "except for medical or safety reasons" in law
    assert "https://eur-lex.europa.eu/eli/reg/2024/1689/oj" in law


def test_graphs_for_javascript_have_their_snippet(card, model_folder, report):
    assert "```js" not in card.text
    with_graphs = card_of_folder(model_folder, report, [RAVDESS], repository="someone/x", for_javascript=True)
    assert "of which you have cut off" not in with_graphs and "Tensor" not in with_graphs
    (model_folder / "processor_config.json").write_text('{"trim_decibels": 40}')
    assert "more than 40 dB below the loudest" in card_of_folder(model_folder, report, for_javascript=True)
    snippet = re.search(r"```js\n(.*?)```", with_graphs, re.DOTALL)[1]
    assert 'AutoModel.from_pretrained("someone/x", options)' in snippet and '{ revision: "main", dtype' in snippet
