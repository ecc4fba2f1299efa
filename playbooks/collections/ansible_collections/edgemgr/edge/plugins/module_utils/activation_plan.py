"""The plan of an activation: which versions, one after the other, with which files and within which times. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from ansible_collections.edgemgr.edge.plugins.module_utils import artifacts, k3s_config
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import NEVER, EdgeError
from ansible_collections.edgemgr.edge.plugins.module_utils.k3s_version import K3sVersion, parse

_URL = re.compile(r"https?://[^\s]+")


class Hop(NamedTuple):
    """One step from a version to the same or the next. `config` is config.yaml's text, None leaves it as it is.

    `images` are names of images that have to be there afterwards.
    """

    from_version: str
    to_version: str
    artifacts: list[dict[str, Any]]
    config: str | None
    disabled_components: list[str]
    images: list[str]

    def files(self, part: str) -> list[dict[str, Any]]:
        """The files of one kind, `binary` or `images`."""
        return [each for each in self.artifacts if each["part"] == part]


class Plan(NamedTuple):
    """`number` is the attempt's, `operation` what the appliance calls the request. Times are seconds, for each hop."""

    number: int
    operation: str
    site: str
    hops: list[Hop]
    soak_s: float
    start_timeout_s: float
    verify_timeout_s: float
    deadline_s: float
    checks: list[dict[str, Any]]

    def text(self) -> str:
        """The file's content."""
        return json.dumps(dict(self._asdict(), hops=[hop._asdict() for hop in self.hops]), indent=1, sort_keys=True)


def read(text: str) -> Plan:
    """A plan from the text that `Plan.text` made."""
    found = json.loads(text)
    return Plan(**dict(found, hops=[Hop(**hop) for hop in found["hops"]]))


def make(params: dict[str, Any], arch: str) -> Plan:
    """A plan from a module's arguments, for a node of this architecture.

    Raises:
        EdgeError: a hop goes backwards, leaves out a minor version, does not begin where the one before it ends,
            changes nothing, or lacks its files; a check cannot be carried out.
    """
    hops = [_hop(params["site"], each, arch) for each in params["hops"]]
    if not hops:
        raise _refusal("E-UPGRADE-PLAN", "the plan has no hop", "Name at least one version to go to.")
    for hop in hops:
        _refuse_hop(hop)
    for before, hop in zip(hops, hops[1:]):  # noqa: B905, RUF007  (newer than Python 3.8)
        if before.to_version != hop.from_version:
            message = f"a hop begins at {hop.from_version}, the one before it ends at {before.to_version}"
            raise _refusal("E-UPGRADE-PLAN", message, "This is a fault of the controller: report it.")
    for check in params["checks"]:
        _refuse_check(check)
    times = {name: float(params[name]) for name in ("soak_s", "start_timeout_s", "verify_timeout_s", "deadline_s")}
    return Plan(params["attempt"], params["operation"], params["site"], hops, checks=params["checks"], **times)


def _hop(site: str, asked: dict[str, Any], arch: str) -> Hop:
    text, disabled = None, []
    if asked["config"] is not None:
        faults = k3s_config.faults(asked["config"])
        if faults:
            message = "the k3s configuration is refused: " + "; ".join(faults)
            raise _refusal("E-PRE-CONFIG", message, "Correct the configuration of the site's profile.")
        config = k3s_config.desired(site, _version(asked["to_version"]), asked["config"])
        text, disabled = k3s_config.render(config), sorted(k3s_config.disabled_components(config))
    return Hop(
        from_version=asked["from_version"],
        to_version=asked["to_version"],
        artifacts=[_plain(each) for each in artifacts.for_arch(asked["artifacts"] or [], arch)],
        config=text,
        disabled_components=disabled,
        images=sorted(asked["images"] or []),
    )


def _refuse_hop(hop: Hop) -> None:
    before, after = _version(hop.from_version), _version(hop.to_version)
    way = f"from {hop.from_version} to {hop.to_version}"
    if after < before:
        hint = "k3s cannot go back to an older version with its data; restore a backup of that version."
        raise _refusal("E-PRE-DOWNGRADE", f"{way} is a downgrade", hint)
    if after.major != before.major or after.minor > before.minor + 1:
        hint = "Upgrade one minor version at a time (Kubernetes version skew policy)."
        raise _refusal("E-PRE-SKIP", f"{way} minor versions would be skipped", hint)
    if before == after:
        if hop.config is None:
            raise _refusal("E-UPGRADE-PLAN", f"the hop {way} changes nothing", "Take it out of the plan.")
    elif len(hop.files("binary")) != 1 or not hop.files("images"):
        message = f"the files of {hop.to_version} for this node's architecture are not all in the plan"
        raise _refusal("E-PRE-ARCH", message, "Add the release's files for this architecture to the bundle.")


def _refuse_check(check: dict[str, Any]) -> None:
    url, words = check.get("url"), check.get("command")
    is_http = isinstance(url, str) and _URL.fullmatch(url) is not None and not words
    is_exec = isinstance(words, list) and bool(words) and all(isinstance(each, str) for each in words) and not url
    if not is_http and not is_exec:
        message = "the check {0!r} names neither a URL (http, https) nor a command".format(str(check.get("name"))[:80])
        raise _refusal("E-UPGRADE-PLAN", message, "Correct the checks of the site's profile.")


def _version(text: str) -> K3sVersion:
    found = parse(text)
    if found is None:  # also keeps an odd text out of a path
        raise _refusal("E-PRE-VERSION", f"{text!r} is no k3s version", "Name a release such as v1.33.5+k3s1.")
    return found


def _plain(artifact: dict[str, Any]) -> dict[str, Any]:
    return {name: artifact[name] for name in ("part", "name", "digest", "size_bytes")}


def _refusal(code: str, message: str, hint: str) -> EdgeError:
    return EdgeError(code, message, hint, NEVER)
