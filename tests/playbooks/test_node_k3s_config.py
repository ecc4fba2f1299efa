"""config.yaml: what is written, what is refused, and that YAML reads back what was meant."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.edgemgr.edge.plugins.module_utils import k3s_config
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import K3sVersion, parse
from hypothesis import example, given
from hypothesis import strategies as st

PLAIN = st.one_of(st.text(st.characters(codec="utf-8")).filter(str.isprintable), st.integers(), st.booleans())
KEYS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}\+?", fullmatch=True).filter(
    lambda key: key.rstrip("+") not in k3s_config.RESERVED and key.rstrip("+") not in k3s_config.SECRET
)


def version(text: str) -> K3sVersion:
    parsed = parse(text)
    assert parsed is not None
    return parsed


@example({"no": "", "y": 1, "null": True, "1e3": "x", "012": "y"})
@given(st.dictionaries(KEYS, st.one_of(PLAIN, st.lists(PLAIN, max_size=4)), max_size=6))
def test_every_accepted_configuration_reads_back_as_it_was_meant(extra: dict[str, object]) -> None:
    assert k3s_config.faults(extra) == []
    config = k3s_config.desired("store-1", version("v1.33.5+k3s1"), extra)
    assert yaml.safe_load(k3s_config.render(config)) == config


def test_the_same_configuration_gives_the_same_bytes_in_any_order() -> None:
    one = k3s_config.render({"b": 1, "a": ["x"]})
    assert one == k3s_config.render({"a": ["x"], "b": 1})


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("v1.20.8+k3s1", False),
        ("v1.26.12+k3s1", False),
        ("v1.26.13+k3s1", True),
        ("v1.27.9+k3s1", False),
        ("v1.28.6+k3s2", True),
        ("v1.29.0+k3s1", False),
        ("v1.29.1+k3s1", True),
        ("v1.30.0+k3s1", True),
    ],
)
def test_an_option_is_written_only_for_versions_that_know_it(text: str, known: bool) -> None:
    config = k3s_config.desired("store-1", version(text), {})
    assert ("disable-default-registry-endpoint" in config) is known


def test_the_oldest_version_gets_only_options_that_it_has() -> None:
    config = k3s_config.desired("store-1", version("v1.20.0+k3s1"), {})
    assert set(config) == {"node-name", "secrets-encryption", "write-kubeconfig-mode"}


def test_the_profile_may_override_a_default_but_not_the_name() -> None:
    config = k3s_config.desired("store-1", version("v1.33.5+k3s1"), {"secrets-encryption": False})
    assert config["secrets-encryption"] is False
    assert config["node-name"] == "store-1"


@pytest.mark.parametrize(
    "key", [*k3s_config.RESERVED, *k3s_config.SECRET, "token+", "Upper", "a b", "", "../x", "a\nb"]
)
def test_an_option_that_would_break_or_leak_is_refused(key: str) -> None:
    assert len(k3s_config.faults({key: "x"})) == 1


@pytest.mark.parametrize("value", [None, {"a": 1}, [["nested"]], [None], "two\nlines", ["two\nlines"]])
def test_a_value_that_k3s_cannot_take_is_refused(value: object) -> None:
    assert k3s_config.faults({"tls-san": value}) == ["tls-san must be a text, a number, true, false or a list of such"]


def test_all_faults_come_at_once() -> None:
    assert len(k3s_config.faults({"server": "x", "token": "y", "Bad": 1, "tls-san": None})) == 4


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, set()),
        ({"disable": ["traefik", "coredns"]}, {"traefik", "coredns"}),
        ({"disable": "traefik,servicelb"}, {"traefik", "servicelb"}),
        ({"disable+": ["metrics-server"]}, {"metrics-server"}),
        ({"disable-helm-controller": True}, {"traefik"}),
    ],
)
def test_components_that_are_left_out_are_not_waited_for(config: dict[str, object], names: set[str]) -> None:
    assert k3s_config.disabled_components(config) == names


@pytest.mark.parametrize(
    "text", ["", "1.33.5+k3s1", "v1.33.5", "v1.33.5+k3s1/../..", "v1.33.5+k3s1\n", "v\u0661.33.5+k3s1"]
)
def test_a_text_that_is_no_version_is_none(text: str) -> None:
    assert parse(text) is None


def test_versions_order_by_number_and_candidates_come_before_the_release() -> None:
    texts = ["v1.9.9+k3s1", "v1.33.5-rc1+k3s1", "v1.33.5-rc10+k3s1", "v1.33.5+k3s1", "v1.33.5+k3s2", "v1.33.10+k3s1"]
    assert sorted([texts[each] for each in (3, 5, 0, 4, 2, 1)], key=version) == texts
