from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgemgr.lab.k3s_standin.node import config, faults
from edgemgr.lab.k3s_standin.node.config import known_flags, read_config
from edgemgr.lab.k3s_standin.node.journal import FatalError
from edgemgr.lab.k3s_standin.node.yaml_subset import YamlError, documents

scalars = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii", exclude_categories=("Cc",)))
names = st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


@settings(max_examples=60)
@given(st.dictionaries(names, trees, max_size=5))
def test_it_reads_what_a_yaml_library_writes(value: dict):
    written = yaml.safe_dump(value, width=10_000, default_flow_style=False)
    assert documents(written)[0] == value


@settings(max_examples=60)
@given(st.dictionaries(names, trees, max_size=5))
def test_it_reads_json(value: dict):
    assert documents(json.dumps(value, indent=2))[0] == value


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb:\n- x\n- y: 2\n  z: [3, four]\nc: {d: 'e', f: \"g\"}\n",
        "# head\nkubelet-arg:\n  - 'max-pods=50' # few\n  - x=y\ndebug: true\n",
        "data:\n  Corefile: |\n    .:53 {\n        errors\n    }\n  folded: >-\n    one\n    two\n",
        "url: https://example.test:6443/path#part\nempty:\nquoted: 'it''s'\n",
        "- - a\n  - b\n-\n  c: d\n",
        "a:\n    b:\n        c: 1\n    d: 2\ne: -1\nf: 1.5\n",
    ],
)
def test_it_reads_the_forms_that_people_write(text: str):
    assert documents(text) == list(yaml.safe_load_all(text))


def test_several_documents_are_read_one_by_one():
    assert documents("---\na: 1\n---\n# nothing\n---\nb: 2\n") == [{"a": 1}, {"b": 2}]
    assert documents("") == [None]


@pytest.mark.parametrize("text", ["a: 1\n  b: 2\n", "a: &x 1\n", "a: [1, 2\n", "\ta: 1\n", "a: 1\nplain\n"])
def test_what_it_does_not_read_is_an_error_and_no_guess(text: str):
    with pytest.raises((YamlError, ValueError)):
        documents(text)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("K3S_STANDIN_ROOT", str(tmp_path))
    (tmp_path / "etc/rancher/k3s/config.yaml.d").mkdir(parents=True)
    return tmp_path / "etc/rancher/k3s"


def test_later_files_win_and_a_plus_adds(root):
    (root / "config.yaml").write_text("node-name: a\ntls-san: [one]\nsecrets-encryption: true\n")
    (root / "config.yaml.d/10.yaml").write_text("node-name: b\ntls-san+:\n- two\n")
    found = read_config(["--node-ip", "192.0.2.7", "--disable=traefik,coredns"], 33)
    assert found.text("node-name") == "b"
    assert found.many("tls-san") == ["one", "two"]
    assert found.text("secrets-encryption") == "true"
    assert found.many("disable") == ["traefik", "coredns"]
    assert found.text("node-ip") == "192.0.2.7"


def test_a_flag_is_unknown_to_versions_older_than_itself(root):
    assert "embedded-registry" in known_flags(29)
    (root / "config.yaml").write_text("embedded-registry: true\n")
    with pytest.raises(FatalError, match="flag provided but not defined: -embedded-registry"):
        read_config([], 20)


def test_an_unknown_key_is_skipped_with_a_warning_by_a_newer_version(root, capsys):
    (root / "config.yaml").write_text("frobnicate: 1\nnode-name: a\n")
    assert read_config([], 22).text("node-name") == "a"
    assert "Unknown flag --frobnicate found in config.yaml, skipping" in capsys.readouterr().err


def test_an_unknown_argument_ends_every_version(root):
    with pytest.raises(FatalError, match="flag provided but not defined: -frobnicate"):
        read_config(["--frobnicate=1"], 33)


def test_a_file_that_is_no_yaml_ends_the_start(root):
    (root / "config.yaml").write_text("a: [1\n")
    with pytest.raises(FatalError, match="failed to parse"):
        read_config([], 33)


def test_the_environment_wins_over_the_file_and_the_file_over_the_release(root, monkeypatch):
    monkeypatch.setattr(faults, "BAKED_FAULTS", {"crash": 1, "start_delay_s": 1, "ready_delay_s": 1})
    (root / "standin.yaml").write_text("crash: 2\nstart_delay_s: 2\n")
    monkeypatch.setenv("K3S_STANDIN_CRASH", "3")
    found = faults.read_faults()
    assert (found["crash"], found["start_delay_s"], found["ready_delay_s"], found["never_ready"]) == (3, 2, 1, 0)
    monkeypatch.setenv("K3S_STANDIN_CRASH", "soon")
    with pytest.raises(FatalError):
        faults.read_faults()


def test_every_flag_has_one_meaning():
    words = [word.partition("@")[0].rstrip("!") for word in config._FLAGS.split()]
    assert len(words) == len(set(words))
