"""docs/recipes.md: the tests and files that it names are there, and no recipe is long."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/recipes.md").read_text()
COLLECTION = ROOT / "playbooks/collections/ansible_collections/edgemgr/edge"


def test_the_tests_that_recipes_name_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    defined = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert named
    assert named <= defined


def test_the_files_that_recipes_name_exist() -> None:
    named = {name for name in re.findall(r"`([a-z][\w./-]*/[\w./-]*)`", PAGE) if not re.search(r"[A-Z]", name)}
    below_a_role = {"tasks/main.yml", "meta/argument_specs.yml"}
    assert len(named) > 10
    for name in named:
        places = (ROOT, COLLECTION / "roles/bootstrap" if name in below_a_role else COLLECTION)
        assert any((place / name).exists() for place in places), name


def test_no_recipe_has_more_than_ten_steps() -> None:
    recipes = [re.findall(r"^\d+\. ", recipe, re.MULTILINE) for recipe in PAGE.split("\n## ")[1:]]
    assert len(recipes) == 5
    assert all(0 < len(steps) <= 10 for steps in recipes)
