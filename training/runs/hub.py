"""From a finished run to its card and its repository on the Hub."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...configuration.errors import UserError
from ...configuration.recipe import CorpusRecipe, Recipe
from ...configuration.recipe_files import load_recipe
from ...configuration.run_folder import RunFolder, read_json
from ...hub_cards.card.render import card_of_folder, write_card
from ...hub_cards.card.corpus_facts import CorpusFacts
from ...hub_cards.hub.push import Files, check_repository, model_files, push, results_file, size
from ...hub_cards.hub.space import space_files
from ..corpora import corpus_module
from ..corpora.mixture import corpus_name


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


def files_to_push(run: RunFolder, benchmark: str | None = None, **options: Any) -> Files:
    """All that goes to the Hub of a run, the card last; writes nothing. `options` are as `write_run_card`'s.

    Args:
        benchmark: see `results_file`.
    """
    report, corpora = _recorded(run)
    card = card_of_folder(run.model, report, corpora, **options)
    target = load_recipe(str(run.recipe)).model.target_task
    results = results_file(report, target, benchmark) if benchmark else {}
    return results | model_files(run.model, card)


def publish(files: Files, repository: str, private: bool, revision: str, space: str | None) -> Iterator[str]:
    """Pushes a model, and then the Space that runs the commit just pushed; yields each commit's address.

    Args:
        files: of the model; see `files_to_push`.
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


def list_files(files: Files, repository: str, revision: str, space: str | None) -> None:
    """Prints what `publish` would send, and sends nothing; for want of a commit the Space would run the branch."""
    _list_files(files, f"{repository}, revision {revision}")
    if space:
        _list_files(space_files(repository, revision), f"the Space {space}")


def corpus_facts(recipe: Recipe) -> list[CorpusFacts]:
    """What is known of the corpora of a recipe."""
    return [_facts(source) for source in recipe.data.sources]


def _list_files(files: Mapping[str, Path | bytes], where: str) -> None:
    for name, content in files.items():
        print(f"{size(content):>13,}  {name}")
    print(f"{sum(map(size, files.values())):>13,}  bytes would go to {where}")


def _recorded(run: RunFolder) -> tuple[dict[str, Any], list[CorpusFacts]]:
    for path in (run.recipe, run.report):
        if not path.is_file():
            raise UserError(
                f"{run.path} holds no finished run ({path.name} is missing): give the --output of a training"
            )
    return read_json(run.report), corpus_facts(load_recipe(str(run.recipe)))


def _facts(source: CorpusRecipe) -> CorpusFacts:
    module = corpus_module(source.corpus)
    languages = getattr(module, "LANGUAGES", None) or filter(None, [getattr(module, "LANGUAGE", None)])
    return CorpusFacts(
        name=corpus_name(source),
        license=getattr(module, "LICENSE", ""),
        citation=getattr(module, "CITATION", ""),
        languages=tuple(languages),
        speech=getattr(module, "SPEECH", ""),
    )
