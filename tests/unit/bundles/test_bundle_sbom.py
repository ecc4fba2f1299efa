"""The bill of materials: what it lists, and that the same content gives the same document."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from edgemgr.bundles.sbom import Ingredient, Thing, sbom

AT = datetime(2026, 11, 1, tzinfo=UTC)
THINGS = [
    Ingredient(Thing.K3S, "k3s", "v1.34.6+k3s1", "a" * 64, "amd64"),
    Ingredient(Thing.IMAGE, "docker.io/rancher/klipper-lb", "v0.4.13", "b" * 64, "amd64"),
    Ingredient(Thing.CHART, "till", "4.2.0", "c" * 64),
    Ingredient(Thing.WHEEL, "edgemgr", "0.2.0", "d" * 64),
    Ingredient(Thing.PACK, "monitoring", "1.4.0", "e" * 64),
]


def test_every_ingredient_is_a_component_with_its_digest() -> None:
    document = json.loads(sbom("store", "12", THINGS, created_at=AT))
    found = {component["name"]: component for component in document["components"]}
    assert {c["hashes"][0]["content"][0] for c in found.values()} == set("abcde")
    assert found["k3s"]["purl"] == "pkg:github/k3s-io/k3s@v1.34.6%2Bk3s1?arch=amd64"
    assert "tag=v0.4.13" in found["docker.io/rancher/klipper-lb"]["purl"]
    assert found["docker.io/rancher/klipper-lb"]["type"] == "container"
    assert "purl" not in found["monitoring"]
    assert document["metadata"]["component"]["version"] == "12"


def test_the_order_of_the_ingredients_changes_nothing_and_what_comes_twice_is_listed_once() -> None:
    first = sbom("store", "12", THINGS, created_at=AT)
    assert sbom("store", "12", [*THINGS[::-1], THINGS[0]], created_at=AT) == first


def test_other_content_or_another_time_has_another_serial_number() -> None:
    def serial(things: list[Ingredient], at: datetime) -> str:
        number: str = json.loads(sbom("store", "12", things, created_at=at))["serialNumber"]
        return number

    changed = [replace(THINGS[0], digest="f" * 64), *THINGS[1:]]
    assert len({serial(THINGS, AT), serial(changed, AT), serial(THINGS, AT.replace(day=2))}) == 3
    assert serial(THINGS, AT).startswith("urn:uuid:")


def test_it_keeps_to_the_specification() -> None:
    document = sbom("store", "12", THINGS, created_at=AT).decode()
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document)
    assert fault is None, str(fault)[:2000]
