"""Recipes: the shipped files, round trips, and errors that name the key."""

from dataclasses import replace
from pathlib import Path

import pytest

from quietwire_train.loss import LossWeights
from quietwire_train.net import NetShape
from quietwire_train.recipe import Recipe, Schedule, Start, differences, parse_recipe, read_recipe

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.mark.parametrize(("name", "blocks"), [("base", 4), ("tiny", 2), ("time_frequency", 3)])
def test_shipped_recipes_state_every_value(name: str, blocks: int) -> None:
    text = (RECIPES / f"{name}.toml").read_text()
    recipe = read_recipe(RECIPES / f"{name}.toml")
    assert recipe.network.blocks == blocks
    assert (recipe.loss.dnsmos, recipe.loss.lost_speech, recipe.schedule.parts) == (0.0, 1.0, 2)
    for values in recipe.as_dict().values():
        for key in values:
            assert f"\n{key} = " in text, key


def test_a_recipe_survives_its_file() -> None:
    recipe = Recipe(
        network=NetShape(channels=8),
        schedule=Schedule(seed=7, bf16=True, learning_rate=3e-5),
        loss=LossWeights(sdr=0.5),
        start=Start("models/base", (0, "new", 3), "models/base"),
    )
    assert parse_recipe(recipe.to_toml(), "copy") == recipe
    assert parse_recipe("", "empty") == Recipe()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[sched]\nsteps = 3", "unknown table"),
        ("[schedule]\nstep = 3", "no key"),
        ("[schedule]\nsteps = 3.5", "schedule.steps = 3.5"),
        ("[schedule]\nsteps = true", "schedule.steps = True"),
        ("[schedule]\nbf16 = 1", "schedule.bf16 = 1"),
        ("[loss]\nsdr = nan", "loss.sdr"),
        ("[loss]\nsdr = 'much'", "loss.sdr"),
        ("[mixture]\nsnr_db = [1.0]", "mixture.snr_db"),
        ("[mixture]\nsnr_db = 1.0", "mixture.snr_db"),
        ("loss = 3", "loss is not a table"),
        ("[loss", "recipe.toml"),
    ],
)
def test_errors_name_the_place(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as error:
        parse_recipe(text, "recipe.toml")
    assert "recipe.toml" in str(error.value)


def test_integers_are_valid_for_real_values() -> None:
    assert parse_recipe("[mixture]\nsnr_db = [0, 5]", "x").mixture.snr_db == (0.0, 5.0)


def test_differences_are_listed_by_key() -> None:
    one = Recipe()
    other = replace(one, schedule=replace(one.schedule, steps=5, seed=2))
    assert differences(one, one) == []
    assert differences(one, other) == ["schedule.steps: 20000, now 5", "schedule.seed: 1, now 2"]
