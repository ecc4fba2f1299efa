"""`bundle.yaml`: what is read, and how faults name their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemgr.bundles.create import requires_from
from edgemgr.bundles.recipe import Recipe, read_recipe
from edgemgr.errors import BundleError
from edgemgr.model.release import Arch

EXAMPLE = Path(__file__).parents[3] / "inventory-examples/bundle.yaml"
SMALL = "product: till\nnumber: 1\ntitle: Till\ncontents:\n  notes: [a.md]\n"


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "bundle.yaml"
    path.write_text(text)
    return read_recipe(path)


def faults(tmp_path: Path, text: str) -> str:
    with pytest.raises(BundleError) as caught:
        read(tmp_path, text)
    assert caught.value.code == "E-BUNDLE-RECIPE"
    return caught.value.message.replace(f"{tmp_path}/", "")


def test_the_example_says_everything_and_is_read() -> None:
    recipe = read_recipe(EXAMPLE)
    contents = recipe.contents
    assert (recipe.product, recipe.channel, recipe.number, recipe.valid_days) == ("store-platform", "stable", 12, 548)
    assert [part.version for part in contents.k3s] == ["v1.33.5+k3s1", "v1.34.6+k3s1"]
    assert contents.k3s[0].archs == [Arch.AMD64, Arch.ARM64]
    assert contents.k3s[0].release == EXAMPLE.parent / "releases/v1.33.5+k3s1"
    assert contents.k3s[1].release is None
    assert [part.path for part in contents.images] == [
        EXAMPLE.parent / "images/till.tar.zst",
        EXAMPLE.parent / "images/scale",
    ]
    named = {name for name in type(contents).model_fields if getattr(contents, name)}
    assert named == set(type(contents).model_fields), "the example shows every kind of content"


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    recipe = read(tmp_path, SMALL)
    assert (recipe.channel, recipe.valid_days, recipe.from_versions, recipe.notes) == ("stable", 548, [], "")
    assert recipe.contents.notes == [tmp_path / "a.md"]


def test_all_faults_come_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = SMALL.replace("1\n", "one\n") + "  k3s:\n    - version: v1.34\n      archs: [sparc]\ncolour: x\n"
    assert faults(tmp_path, text).splitlines() == [
        "bundle.yaml has 4 faults:",
        "  bundle.yaml, line 2: number: Input should be a valid integer",
        (
            "  bundle.yaml, line 7: contents.k3s[0].version: 'v1.34' is not a version of k3s; "
            "write it as k3s prints it: v1.34.6+k3s1"
        ),
        "  bundle.yaml, line 8: contents.k3s[0].archs[0]: Input should be 'amd64', 'arm64' or 'arm'",
        "  bundle.yaml, line 9: colour: there is no such key",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "bundle.yaml is empty"),
        ("- a\n", "bundle.yaml, line 1: the recipe: Input should be a valid dictionary"),
        ("product: [\n", "bundle.yaml, line 2: expected the node content"),
        (SMALL + "number: 2\n", "bundle.yaml, line 6: number is there twice"),
        (SMALL + "notes: &a x\nchannel: *a\n", "bundle.yaml, line 7: aliases are not understood here"),
        (SMALL.replace("[a.md]", "[]"), "bundle.yaml, line 4: contents: nothing is to go in"),
        (SMALL.replace("number: 1", "number: 0"), "bundle.yaml, line 2: number: Input should be greater than"),
        (SMALL.replace("title: Till\n", ""), "bundle.yaml, line 1: title: it is missing"),
        (SMALL + "from_versions: [newest]\n", "bundle.yaml, line 6: from_versions[0]: 'newest' is no version"),
        (SMALL.replace("till", "../till"), "bundle.yaml, line 1: product: String should match pattern"),
        (
            SMALL.replace("notes: [a.md]", "images: [{arch: amd64}]"),
            "contents.images[0]: give either archive or layout",
        ),
        (SMALL + "notes: !!python/object:os.system x\n", "bundle.yaml, line 6: could not determine a constructor"),
        ("[" * 5000, "bundle.yaml, line 1: this is nested too deep"),
    ],
)
def test_a_fault_names_file_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    assert message in faults(tmp_path, text)


def test_a_recipe_that_is_not_there_or_no_text_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read: No such file"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "bundle.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="no text in UTF-8"):
        read_recipe(tmp_path / "bundle.yaml")


def test_a_version_is_reached_from_its_own_minor_and_the_one_before_unless_told_otherwise(tmp_path: Path) -> None:
    parts = read(
        tmp_path,
        SMALL + "  k3s:\n    - version: v1.34.6+k3s1\n    - {version: v1.35.0-k3s1, requires_from: [v1.34.6+k3s1]}\n",
    ).contents.k3s
    assert [requires_from(part) for part in parts] == [["v1.33", "v1.34"], ["v1.34.6+k3s1"]]
    assert parts[1].version == "v1.35.0+k3s1", "a hyphen, as in file names, is a plus sign"
