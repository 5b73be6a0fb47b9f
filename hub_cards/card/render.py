"""The model card: what a run recorded, as the README.md of a Hub repository."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from markupsafe import Markup

from ...configuration.errors import UserError
from ...configuration.report import Report
from ...configuration.run_folder import read_json
from ...modeling_ser_meta.settings_ser_meta import WHISPER_ENCODERS, nameless_labels
from ..markdown import markdown_environment, one_line
from ..wording import (
    MEASURES,
    not_judged_itself,
    percent,
    protocol_facts,
    speakers_line,
    speakers_words,
    taught_by,
    words,
)
from .corpus_facts import CorpusFacts, licence_left, licence_sentences
from .results import result_facts, speakers_judged

TAGS = ["speech-emotion-recognition", "ser-meta", "audio"]
FUSION = {
    "ari": "Augmented residual integration adds the encoder's lower layers to its last one.",
    "weighted_sum": "A learned weighted sum joins the encoder's layers.",
    "last_hidden": "It reads the encoder's last layer alone.",
}
TARGETS = {"attention": "the attention's projections", "all-linear": "the linear maps"}
PICTURES = {
    "confusion": "Confusion matrix of the test side",
    "raters": "What raters of the test side said, by share, beside the model's label",
    "risk": "Error among the recordings that are answered, the surest first",
    "training": "Losses over the epochs",
}
HARDWARE = ("device", "threads")  # among the versions that a run records
WHISPER_FRAMES_A_SECOND = 50
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def write_card(model_folder: str | Path, report: Report, corpora: Sequence[CorpusFacts] = (), **options: Any) -> Path:
    """Writes the README.md of a model folder; arguments as `render_card`'s, the pictures those of `plots/`.

    Returns:
        The path of the card.

    Raises:
        UserError: the folder is not a model's.
    """
    path = Path(model_folder) / "README.md"
    path.write_text(card_of_folder(model_folder, report, corpora, **options), encoding="utf-8")
    return path


def card_of_folder(
    model_folder: str | Path, report: Report, corpora: Sequence[CorpusFacts] = (), **options: Any
) -> str:
    """The card of a model folder, which is not written; arguments and errors as `write_card`'s.

    `config` is what is published in the place of the folder's own.
    """
    folder = Path(model_folder)
    options.setdefault("repository", f"./{folder.name}")
    config = options.pop("config", None) or _read_config(folder)
    pictures = [path.relative_to(folder).as_posix() for path in sorted((folder / "plots").glob("*.png"))]
    return render_card(config, report, corpora, pictures=pictures, trim_decibels=_trim_decibels(folder), **options)


def render_card(
    config: Mapping[str, Any],
    report: Report,
    corpora: Sequence[CorpusFacts] = (),
    *,
    repository: str,
    revision: str = "main",
    model_license: str | None = None,
    pictures: Sequence[str] = (),
    for_javascript: bool = False,
    trim_decibels: float | None = None,
) -> str:
    """The card as Markdown with its metadata; every figure is the report's.

    Args:
        config: of the model, as in its `config.json`.
        report: of the training; whatever it lacks is left out of the card.
        corpora: what is known of the data.
        repository: `owner/name` on the Hub, or a folder, for the snippets.
        revision: that the snippets name.
        model_license: the model's licence as a Hub identifier (default: what the corpora's licences leave, if that is
            one licence).
        pictures: PNG files by their path in the repository.
        for_javascript: whether it holds graphs for transformers.js.
        trim_decibels: how far below the loudest the silence lies that the processor cuts off; None where it cuts none.
    """
    data = _data_name(report, corpora)
    metadata = ModelCardData(
        language=_languages(corpora) or None,
        license=model_license or licence_left(corpora),
        base_model=_base_model(report),
        **({"base_model_relation": "adapter"} if config.get("base_encoder") else {}),
        datasets=[corpus.dataset for corpus in corpora if corpus.dataset] or None,
        library_name="transformers",
        pipeline_tag="audio-classification",
        tags=TAGS,
        model_name=_model_name(repository, data),
        eval_results=_eval_results(report, data) or None,
    )
    return (
        markdown_environment()
        .get_template("model_card.md")
        .render(
            metadata=Markup(metadata.to_yaml()),
            title=f"{metadata.model_name}: {_subject(config['target_task'])}",
            repository=repository,
            revision=revision,
            corpora=corpora,
            licence=licence_sentences(corpora),
            model_license=model_license,
            for_javascript=for_javascript,
            trim_decibels=trim_decibels,
            pictures={_caption(path): path for path in pictures},
            limits=_limits(report, config, corpora, data),
            sides=_sides(report),
            not_judged_itself=not_judged_itself(report.judged_by),
            base_model=metadata.base_model,
            base_encoder=config.get("base_encoder"),
            adapter=_adapter(report),
            started_trained=report.model is not None and report.model.new_parts is not None,
            taught_by=taught_by(report.teacher),
            new_parts=(report.model and report.model.new_parts) or [],
            parameters=f"{report.model.parameters:,}" if report.model else "",
            **_model_facts(config),
            **_stage_facts(report),
            **result_facts(report),
        )
    )


def _read_config(folder: Path) -> dict:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} has no readable config.json: give the folder of a trained model") from error
    if config.get("model_type") != "ser_meta":
        raise UserError(f"{folder} holds a {config.get('model_type')!r} model: give the folder of a ser-meta model")
    return config


def _trim_decibels(folder: Path) -> float | None:
    path = folder / "processor_config.json"
    return read_json(path).get("trim_decibels") if path.is_file() else None


def _data_name(report: Report, corpora: Sequence[CorpusFacts]) -> str:
    return words([corpus.name for corpus in corpora]) if corpora else report.protocol.corpus


def _model_name(repository: str, data: str) -> str:
    if _HUB_NAME.fullmatch(repository) and repository[0] != ".":
        return repository.split("/")[1]
    return "-".join(filter(None, ["ser-meta", re.sub(r"[^a-z0-9]+", "-", data.lower()).strip("-")]))


def _subject(target: str) -> str:
    """What a model of this target does."""
    return "speech emotion recognition" if target == "emotion" else f"recognition of {target} in speech"


def _languages(corpora: Sequence[CorpusFacts]) -> list[str]:
    return sorted({language for corpus in corpora for language in corpus.languages})


def _base_model(report: Report) -> str | None:
    """The pretrained encoder, where it is one of the Hub's."""
    encoder = report.model.encoder if report.model else ""
    return encoder if _HUB_NAME.fullmatch(encoder) and encoder[0] != "." and not Path(encoder).exists() else None


def _adapter(report: Report) -> str:
    """What the encoder's adapter is, in words; nothing without one."""
    settings = report.model and report.model.adapter
    if not settings:
        return ""
    kind, targets = settings["kind"].upper().replace("LORA", "LoRA").replace("DORA", "DoRA"), settings["targets"]
    where = TARGETS[targets] if isinstance(targets, str) else words(targets)
    layers = "all layers" if settings["layers"] is None else f"the layers {words(settings['layers'])}"
    return f"{kind} of rank {settings['rank']} on {where} of {layers}"


def _caption(path: str) -> str:
    stem = Path(path).stem
    return PICTURES.get(stem, stem.replace("_", " ").capitalize())


def _model_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    target, encoder = config["target_task"], config["speech_config"]
    names = config.get("task_order") or list(config["tasks"])
    auxiliary = [name for name in names if name != target]
    positions = encoder.get("max_source_positions") if encoder["model_type"] in WHISPER_ENCODERS else None
    return {
        "encoder": encoder["model_type"],
        "encoder_layers": config.get("encoder_layers"),
        "fusion": FUSION[config["layer_fusion"]],
        "coattention": bool(config["coattention"] and auxiliary),
        "target": target,
        "subject": _subject(target),
        "labels": config["tasks"][target]["labels"],
        "auxiliary": auxiliary,
        "answers": {name: _answer(name, config["tasks"].get(name)) for name in [target, *auxiliary]},
        "has_pipeline": bool(config.get("custom_pipelines")),
        "has_temperature": "calibration_temperature" in config,
        "several": config["tasks"][target]["kind"] == "multilabel",
        "scores_are_shares": config.get("scores_are_shares", False),
        "center_by": config.get("center_by", []),
        "longest": positions // WHISPER_FRAMES_A_SECOND if positions else None,
    }


def _answer(name: str, task: Mapping[str, Any] | None) -> str:
    if task is None:
        return "nothing: it served the training only, and its answers were taken out of the file"
    if not task["reported"]:
        return f"nothing: it served the training only{_what_is_left(name, task.get('labels', []))}"
    if task["kind"] == "classification":
        return words(task["labels"])
    if task["kind"] == "multilabel":
        pairs = zip(task["labels"], task["thresholds"], strict=True)
        return f"any of {words([f'{label} (from {threshold:.2f})' for label, threshold in pairs])}, several at once"
    return "text" if task["kind"] == "ctc" else "a number"


def _what_is_left(name: str, labels: Sequence[str]) -> str:
    """What a file still tells of a task that is not reported: its head is there, since the others use it."""
    if not labels:
        return ""
    if list(labels) == nameless_labels(name, len(labels)):
        return "; its head is in the file, with numbers in the place of names"
    return "; its head is in the file, and config.json names its labels"


def _sides(report: Report) -> dict[str, list[str]]:
    """Side -> utterances, speakers and minutes, as far as the report has them."""
    data = {"utterances": report.sides, "speakers": report.data.speakers, "minutes": report.data.minutes}
    counts = {name: counted for name, counted in data.items() if counted}
    sides = [side for side, n in report.sides.items() if n]
    return {"": list(counts)} | {side: [words(counted.get(side)) for counted in counts.values()] for side in sides}


def _stage_facts(report: Report) -> dict[str, Any]:
    """The stages side by side: setting -> its value in each."""
    stages = {name: _as_trained(settings) for name, settings in report.stages.items()}
    names = dict.fromkeys(name for settings in stages.values() for name in settings)
    versions = dict(report.versions)
    return {
        "hardware": ", ".join(f"{name} {versions.pop(name)}" for name in HARDWARE if name in versions),
        "stages": list(stages),
        "settings": {
            name.replace("_", " "): [words(settings.get(name)) for settings in stages.values()] for name in names
        },
        "versions": words(versions) if versions else "",
    }


def _as_trained(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stage's settings, those of the encoder's training only where it was trained."""
    if settings.get("freeze_layers") != "all":
        return settings
    return {**settings, "encoder": "frozen as a whole", "freeze_layers": None, "encoder_learning_rate": None}


def _limits(report: Report, config: Mapping[str, Any], corpora: Sequence[CorpusFacts], data: str) -> list[str]:
    measures = report.metrics.get(report.target, {})
    limits = ["Other corpora, rooms, microphones, languages and ways of speaking were not measured."]
    if "ua" in measures:
        speakers = speakers_judged(report)
        who = f" by {speakers_words(speakers)}" if speakers else ""
        limits[0] = f"Measured on {measures['n']} utterances{who}, of {data} alone. {limits[0]}"
        recall, label = min((value, label) for label, value in measures["recall"].items() if value is not None)
        limits.append(f"The weakest class is {label}: {percent(recall)} of its utterances were recognised.")
    if languages := _languages(corpora):
        limits.append(f"It was trained on speech in these languages (ISO 639-1) and no other: {words(languages)}.")
    if any(task["kind"] == "ctc" and task["reported"] for task in config["tasks"].values()):
        limits.append("The transcript comes from an auxiliary task and is no substitute for a speech recogniser.")
    return [*limits, *(limit for corpus in corpora for limit in corpus.limits())]


def _eval_results(report: Report, data: str) -> list[EvalResult]:
    measures = report.metrics.get(report.target, {})
    kinds = {"wa": "accuracy", "ua": "recall", "macro_f1": "f1", "average_precision": "average_precision"}
    shown = {name: key for name, key in MEASURES.items() if key in kinds and measures.get(key) is not None}
    if not shown:
        return []
    where = {
        "task_type": "audio-classification",
        "task_name": _subject(report.target).capitalize(),
        "dataset_type": re.sub(r"[^a-z0-9]+", "-", data.lower()).strip("-") or "corpus",
        "dataset_name": one_line(data),
        "dataset_split": "test",
        "dataset_args": {
            **protocol_facts(report),
            **({"speakers": line} if (line := speakers_line(report.speakers)) else {}),
        },
    }
    return [
        EvalResult(
            **where,
            metric_type=kinds[key],
            metric_name=name,
            metric_value=round(measures[key], 4),
            metric_args=_interval_args(measures.get("interval", {}), key),
        )
        for name, key in shown.items()
    ]


def _interval_args(interval: Mapping[str, Any], measure: str) -> dict[str, Any] | None:
    """The 95 % interval of a measure, for a program to read."""
    if measure not in interval:
        return None
    low, high = interval[measure]
    return {"interval": [round(low, 4), round(high, 4)], "confidence": 0.95}
