"""From a finished run to its card and its repository on the Hub."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...configuration.errors import UserError
from ...configuration.recipe import CorpusRecipe, Recipe
from ...configuration.recipe_files import load_recipe
from ...configuration.report import Report, read_report
from ...configuration.run_folder import RunFolder
from ...hub_cards.card.corpus_facts import CorpusFacts, licence_warnings
from ...hub_cards.card.render import card_of_folder, write_card
from ...hub_cards.card.terms import TERMS
from ...hub_cards.hub.names import read_model_config
from ...hub_cards.hub.published import published_files, unspoken_tasks, without_answers
from ...hub_cards.hub.push import Files, LargeFile, check_repository, model_files, push, results_file, size
from ...hub_cards.hub.space import space_files
from ...hub_cards.wording import speakers_words
from ..corpora import corpus_module
from ..corpora.emobox import OURS, SPEAKERS
from ..corpora.mixture import corpus_name
from ..corpora.table import is_on_the_hub


def write_run_card(run: RunFolder, **options: Any) -> Path:
    """Writes the card of a run's model anew, from what the run recorded; returns its path.

    Args:
        run: a finished one.
        options: `repository`, `revision` and `model_license`, as `render_card` has them.

    Raises:
        UserError: the run is not finished.
    """
    report, corpora = _recorded(run)
    return write_card(run.model, report, corpora, **options)


@dataclass(frozen=True)
class Publication:
    """What goes to the Hub of a run.

    Args:
        files: all of it, the card last.
        kept_back: the tasks whose answers stay here.
        warnings: what the terms of the data forbid.
    """

    files: Files
    kept_back: list[str]
    warnings: list[str]


def prepare_publication(
    run: RunFolder,
    benchmark: str | None = None,
    with_speakers: bool = False,
    graphs: Path | None = None,
    **options: Any,
) -> Publication:
    """Finds what goes to the Hub of a run; writes nothing. `options` are as `write_run_card`'s.

    Args:
        benchmark: see `results_file`.
        with_speakers: send the answers of tasks that predictions do not show too, such as `speaker`, and the name of a
            test fold that is made of speakers' names.
        graphs: a new folder for the model's graphs, which are then sent too, for transformers.js.
    """
    report, corpora = _recorded(run)
    config = read_model_config(run.model)
    _require_base(run.model, config)
    kept_back = [] if with_speakers else unspoken_tasks(config)
    if not (with_speakers or all(corpus.license for corpus in corpora)):  # a published corpus has its own codes
        report = _without_speakers_names(report)
    options |= {"config": without_answers(config, kept_back), "for_javascript": graphs is not None}
    card = card_of_folder(run.model, report, corpora, **options)
    results = results_file(report, benchmark) if benchmark else {}
    changed = published_files(run.model, kept_back) | ({} if graphs is None else _graphs(run, graphs, kept_back))
    return Publication(results | model_files(run.model, changed, card), kept_back, licence_warnings(corpora))


def _graphs(run: RunFolder, folder: Path, left_out: list[str]) -> dict[str, Path]:
    from ...hub_cards.export.transformers_js import write_for_transformers_js
    from .loading import load_model

    return write_for_transformers_js(*load_model(run.model), folder, left_out)


def _without_speakers_names(report: Report) -> Report:
    """A report whose folds have no names where those are made of the speakers'."""
    protocol, speakers = report.protocol, report.data.speakers.get("test")
    if report.judged_by and (untrained := len(report.judged_by.folds_left_out)):
        left_out = [f"{untrained} fold{'s' if untrained > 1 else ''}"]
        report = replace(report, judged_by=replace(report.judged_by, folds_left_out=left_out))
    if not protocol.test_fold or "speaker" not in str(protocol.folds):
        return report
    return replace(report, protocol=replace(protocol, test_fold=speakers_words(speakers) if speakers else None))


def publish(files: Files, repository: str, private: bool, revision: str, space: str | None) -> Iterator[str]:
    """Pushes a model, and then the Space that runs the commit just pushed; yields each commit's address.

    Args:
        files: of the model; see `prepare_publication`.
        repository: of the model, `owner/name`.
        private: make new repositories private ones.
        revision: the model's branch.
        space: `owner/name` of the Space; None for none.

    Raises:
        UserError: see `push`; a Space that is not ours is refused before the model is sent.
    """
    if space:
        check_repository(space, "space")
    commit = push(files, repository, private=private, revision=revision)
    yield commit.commit_url
    if space:
        yield push(space_files(repository, commit.oid), space, kind="space", private=private).commit_url


def list_files(publication: Publication, repository: str, revision: str, space: str | None) -> None:
    """Prints what `publish` would send, and sends nothing; for want of a commit the Space would run the branch."""
    _list_files(publication.files, f"{repository}, revision {revision}")
    if publication.kept_back:
        print(
            f"kept back: the answers of {', '.join(publication.kept_back)}, with the labels or their numbers "
            "(--with-speakers sends them)"
        )
    if space:
        _list_files(space_files(repository, revision), f"the Space {space}")


def corpus_facts(recipe: Recipe) -> list[CorpusFacts]:
    """What is known of the corpora of a recipe."""
    return [_facts(source) for source in recipe.data.sources]


def _require_base(model: Path, config: Mapping[str, Any]) -> None:
    """Refuses an adapter whose encoder nobody else has."""
    base = config.get("base_encoder")
    if base is not None and Path(base["name"]).exists():
        raise UserError(
            f"{model} holds an adapter of {base['name']}, a folder of this machine: train with an encoder of the Hub, "
            "or with adapter_only=false"
        )


def _list_files(files: Mapping[str, bytes | LargeFile], where: str) -> None:
    for name, content in files.items():
        print(f"{size(content):>13,}  {name}")
    print(f"{sum(map(size, files.values())):>13,}  bytes would go to {where}")


def _recorded(run: RunFolder) -> tuple[Report, list[CorpusFacts]]:
    for path in (run.recipe, run.report):
        if not path.is_file():
            raise UserError(
                f"{run.path} holds no finished run ({path.name} is missing): give the --output of a training"
            )
    return read_report(run.report), corpus_facts(load_recipe(str(run.recipe)))


def _facts(source: CorpusRecipe) -> CorpusFacts:
    module = corpus_module(source.corpus)
    name, of_emobox = corpus_name(source), source.corpus == "emobox"
    language = SPEAKERS[name][0] if of_emobox else getattr(module, "LANGUAGE", None)
    languages = getattr(module, "LANGUAGES", None) or filter(None, [language])
    known = OURS.get(name) if of_emobox else name
    terms = None if source.corpus in ("table", "folders") else TERMS.get(known)  # those are named by their files
    return CorpusFacts(
        name=name,
        license=getattr(module, "LICENSE", ""),
        citation=getattr(module, "CITATION", ""),
        languages=tuple(languages),
        speech=getattr(module, "SPEECH", ""),
        terms=terms,
        dataset=str(source.root) if is_on_the_hub(source.root) else terms.dataset if terms else "",
    )
