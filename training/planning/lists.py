"""What there is to choose from: models and recipes, one line each, and a recipe whole."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import OmegaConf

from ...configuration.recipe_figures import FIGURES
from ...configuration.recipe_files import load_recipe, recipe_names
from ...hub_cards.document import Table
from ...hub_cards.hub.models import ModelFacts
from ...hub_cards.wording import NOTHING, percent, span


def model_table(models: Sequence[ModelFacts]) -> Table:
    """The models with their size in millions of bytes."""
    rows = [
        [
            model.name,
            model.corpus or NOTHING,
            percent(model.ua),
            span(model.interval),
            model.encoder or NOTHING,
            f"{model.bytes / 1e6:.1f}",
        ]
        for model in models
    ]
    return Table(["model", "judged on", "UA", "95 % interval", "encoder", "MB"], rows)


def recipe_facts() -> list[dict[str, Any]]:
    """The recipes that come with the package, with what one of their models was found to reach."""
    facts = []
    for name in recipe_names():
        recipe, figure = load_recipe(name), FIGURES.get(name)
        facts.append(
            {
                "name": name,
                "corpus": recipe.data.corpus,
                "encoder": recipe.model.encoder,
                "ua": figure and figure.ua,
                "interval": figure and figure.interval,
                "judged_on": figure and figure.judged_on,
            }
        )
    return facts


def recipe_table(recipes: Sequence[Mapping[str, Any]]) -> Table:
    """The recipes in lines."""
    rows = [
        [
            recipe["name"],
            recipe["corpus"],
            recipe["encoder"],
            percent(recipe["ua"]),
            span(recipe["interval"]),
            recipe["judged_on"] or "no figure of this version",
        ]
        for recipe in recipes
    ]
    return Table(["recipe", "corpus", "encoder", "UA", "95 % interval", "judged on"], rows)


def resolved_recipe(name: str, overrides: list[str], as_json: bool) -> str:
    """A recipe with every setting, as YAML or JSON; `UserError` as `load_recipe`."""
    settings = OmegaConf.structured(load_recipe(name, overrides))
    return json.dumps(OmegaConf.to_container(settings)) if as_json else OmegaConf.to_yaml(settings).rstrip()
