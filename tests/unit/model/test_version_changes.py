"""What minor versions take away, beside what a configuration of k3s uses."""

from __future__ import annotations

from typing import Any

import pytest

from edgemgr.model.version_changes import notes, removed_options


@pytest.mark.parametrize(
    ("config", "after", "upto", "gone"),
    [
        ({"kubelet-arg": ["keep-terminated-pod-volumes=true"]}, 30, 31, ["kubelet-arg keep-terminated-pod-volumes"]),
        ({"kubelet-arg": "keep-terminated-pod-volumes=true"}, 30, 33, ["kubelet-arg keep-terminated-pod-volumes"]),
        ({"kubelet-arg+": ["--cloud-config=/etc/x"]}, 33, 34, ["kubelet-arg cloud-config"]),
        ({"kubelet-arg": ["keep-terminated-pod-volumes=true"]}, 31, 33, []),  # it would not run today
        ({"kubelet-arg": ["keep-terminated-pod-volumes=true"]}, 29, 30, []),  # not yet
        ({"kubelet-arg": ["max-pods=50"], "disable": ["traefik"]}, 24, 36, []),
        ({"kube-apiserver-arg": ["keep-terminated-pod-volumes=true"]}, 30, 31, []),  # another component's
        (
            {"kube-apiserver-arg": ["enable-admission-plugins=NodeRestriction,SecurityContextDeny"]},
            28,
            30,
            ["the admission plugin SecurityContextDeny"],
        ),
        ({"node-label": ["a=b"], "kubelet-arg": 7, "x-arg": True}, 24, 36, []),
    ],
)
def test_options_are_found_that_a_version_on_the_way_no_longer_knows(
    config: dict[str, Any], after: int, upto: int, gone: list[str]
) -> None:
    found = removed_options(config, (1, after), (1, upto))
    assert [sentence.partition(" is gone in ")[0] for sentence in found] == gone


def test_the_sentence_names_the_version_that_takes_it_away() -> None:
    config = {"kubelet-arg": ["container-runtime=remote", "pod-infra-container-image=pause"]}
    assert removed_options(config, (1, 26), (1, 36)) == [
        "kubelet-arg container-runtime is gone in v1.27",
        "kubelet-arg pod-infra-container-image is gone in v1.35",
    ]


@pytest.mark.parametrize(
    ("config", "after", "upto", "told"),
    [
        (None, 31, 32, True),
        ({}, 30, 33, True),
        ({"disable": "servicelb,traefik"}, 31, 32, False),
        ({"disable+": ["traefik"]}, 31, 32, False),
        ({}, 32, 34, False),
        ({}, 30, 31, False),
    ],
)
def test_traefik_3_is_told_of_where_it_comes(config: dict | None, after: int, upto: int, told: bool) -> None:
    assert any("Traefik 3" in note for note in notes(config, (1, after), (1, upto))) == told


def test_feature_gates_are_told_of() -> None:
    assert notes({"kube-apiserver-arg": ["feature-gates=A=true,B=false"]}, (1, 33), (1, 34)) != []
