"""upgrade: bring k3s to a version of a staged bundle; the node does it by itself, and goes back if it must."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from edgemgr.bundles.usable import must_be_usable
from edgemgr.errors import ConflictError, EdgemgrError, StoreError
from edgemgr.model.bundle_name import BundleName
from edgemgr.model.operation import OperationKind
from edgemgr.model.release import Arch, Part
from edgemgr.model.site import Site
from edgemgr.model.timestamp import utc_now
from edgemgr.model.upgrade import HOP_DEADLINE_S, SETTLE_S, SOAK_S, Hop, PlanState, Refusal, UpgradePlan
from edgemgr.model.upgrade_checks import Circumstances
from edgemgr.model.upgrade_hops import goal_of, plan_hops
from edgemgr.model.upgrade_offer import Offer
from edgemgr.model.upgrade_site import plan_of
from edgemgr.model.upgrade_window import open_for_s
from edgemgr.model.version import K3sVersion
from edgemgr.model.window import Window
from edgemgr.operations.spec import OperationSpec, Params
from edgemgr.settings import Settings
from edgemgr.store import bundles, releases, upgrades
from edgemgr.store.bundle_holdings import holder_ids
from edgemgr.store.database import Session
from edgemgr.store.upgrade_windows import next_moment

#: So long one attempt waits for the verdict, seconds; meanwhile it takes a fork that other sites could have.
WAIT_S = 20
#: For stopping, copying and starting (300 s at most), seconds.
_START_S = 420


class SiteCheck(BaseModel):
    """Something of the operator's own that has to work before and after: a URL, or a command on the node."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    status: int = Field(default=200, ge=100, le=599)  #: that the URL has to answer with
    command: list[str] | None = Field(default=None, min_length=1)  #: its words; has to end with 0
    timeout_s: float = Field(default=10.0, gt=0, le=60)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> SiteCheck:
        if (self.url is None) == (self.command is None):
            raise ValueError("a check has either a url or a command")
        return self


class UpgradeParams(Params):
    """Where to, out of which bundle, and when the node may call it well."""

    bundle: str
    version: str
    k3s_config: dict[str, Any] | None = None  #: None: the options that the site has stay
    soak_s: int = Field(default=SOAK_S, ge=0, le=3600)  #: so long all has to be well before a version is accepted
    settle_s: int = Field(default=SETTLE_S, ge=10, le=7200)  #: so long it may take until then, without the soak time
    site_checks: list[SiteCheck] = Field(default_factory=list)
    window: str | None = None  #: hours in which it may begin, by each site's own clock; None: at any time

    @field_validator("bundle")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return str(BundleName.parse(value))

    @field_validator("window")
    @classmethod
    def _is_a_window(cls, value: str | None) -> str | None:
        if value is not None:
            Window.parse(value, None)
        return value


class Upgrade(OperationSpec):
    """One or several hops of a minor version at most, each with a snapshot and a gate of its own."""

    kind: ClassVar[OperationKind] = OperationKind.UPGRADE
    params: ClassVar[type[Params]] = UpgradeParams
    timeout_s: ClassVar[float] = 900.0

    def check(self, session: Session, params: Params) -> None:
        """The bundle must be usable and hold the version."""
        assert isinstance(params, UpgradeParams)  # noqa: S101 - the registry pairs them
        goal_of(_offer(session, params), params.version)

    def check_sites(self, session: Session, params: Params, sites: Sequence[Site]) -> None:
        """Nothing must stand against it at any of these sites, as far as is known here; the bundle must lie there."""
        assert isinstance(params, UpgradeParams)  # noqa: S101 - the registry pairs them
        offer, goal, now = _offer(session, params), K3sVersion.parse(params.version), utc_now()
        holders = holder_ids(session, params.bundle)
        known = upgrades.facts_of(session, [site.id or 0 for site in sites])
        open_s = open_for_s(params.window, {each.timezone for each in known})
        whole = Circumstances(offer, now, config=params.k3s_config)
        plans = [
            plan_of(each, goal, replace(whole, staged=each.site_id in holders, open_s=open_s.get(each.timezone)))
            for each in known
        ]
        _refuse_blocked(plans, params.bundle)
        _refuse_unstaged(plans, params.bundle)

    def desire(self, site: Site, params: Params) -> None:
        """From now on the site ought to run this version."""
        assert isinstance(params, UpgradeParams)  # noqa: S101 - the registry pairs them
        site.k3s_version = params.version

    def variables(self, session: Session, params: Params, site: Site, settings: Settings) -> dict[str, object]:  # noqa: ARG002
        """The hops from what the site runs now, with their files. Where there is no way, the node is told why.

        It is the node that decides: if it has begun this operation, it goes on, whatever became of the bundle since.
        """
        assert isinstance(params, UpgradeParams)  # noqa: S101 - the registry pairs them
        hops: list[dict[str, object]] = []
        refusal: dict[str, str] = {}
        try:
            way, arch = _way(session, params, site)
            if isinstance(way, Refusal):
                refusal = {"code": way.code, "message": way.message, "hint": way.hint}
            else:
                hops = [_hop(session, hop, arch, params.k3s_config) for hop in way]
        except StoreError:
            raise
        except EdgemgrError as exc:
            refusal = {"code": exc.code, "message": exc.message, "hint": exc.hint}
        return {
            "edge_k3s_version": params.version,
            "edge_refusal": refusal,
            "edge_opens_in_s": _opens_in_s(session, params, site),
            "edge_hops": hops,
            "edge_site_checks": [check.model_dump(exclude_none=True) for check in params.site_checks],
            "edge_soak_s": params.soak_s,
            "edge_settle_timeout_s": params.settle_s,
            # Room for a slow start beside both times: the dead man's timer is not what ends an ordinary hop.
            "edge_hop_deadline_s": max(HOP_DEADLINE_S, params.soak_s + params.settle_s + _START_S),
            "edge_wait_s": WAIT_S,
        }


def _offer(session: Session, params: UpgradeParams) -> Offer:
    bundle = bundles.get(session, BundleName.parse(params.bundle))
    must_be_usable(bundle, utc_now())
    return upgrades.offer_of(session, bundle)


def _way(session: Session, params: UpgradeParams, site: Site) -> tuple[tuple[Hop, ...] | Refusal, Arch | None]:
    """The hops of one site; one from a version to itself where only its configuration changes."""
    (known,) = upgrades.facts_of(session, [site.id or 0])
    goal = K3sVersion.parse(params.version)
    way = plan_hops(_offer(session, params), goal, arch=known.arch, installed=known.k3s_version)
    if way == () and params.k3s_config is not None:
        way = (Hop(str(goal), str(goal)),)
    return way, known.arch


def _opens_in_s(session: Session, params: UpgradeParams, site: Site) -> int:
    """How long it is until it may begin; what waited at the site for contact may come outside of its hours."""
    if params.window is None:
        return 0
    now = utc_now()
    (known,) = upgrades.facts_of(session, [site.id or 0])
    moment = next_moment(params.window, site.timezone, now, installed=known.k3s_version, goal=params.version)
    return math.ceil((moment - now).total_seconds())


def _hop(session: Session, hop: Hop, arch: Arch | None, config: dict[str, Any] | None) -> dict[str, object]:
    known = releases.files_of(session, hop.to_version) if hop.needs_files else []
    files = [file for file in known if file.arch == arch]
    archives = [file.digest for file in files if file.part == Part.IMAGES]
    return {
        "from_version": hop.from_version,
        "to_version": hop.to_version,
        "config": config,
        "images": [name for digest in archives for name in bundles.image_names(session, digest)],
        "artifacts": [
            {
                "part": file.part,
                "arch": file.arch,
                "name": file.name,
                "digest": file.digest,
                "size_bytes": file.size_bytes,
            }
            for file in files
        ],
    }


def _refuse_blocked(plans: Sequence[UpgradePlan], bundle: str) -> None:
    blocked = [plan for plan in plans if plan.state is PlanState.BLOCKED]
    if not blocked:
        return
    first = blocked[0]
    others = len(blocked) - 1
    more = f", and so are {others} more of {len(plans)} sites" if others else ""
    raise ConflictError(
        f"{first.site} cannot be upgraded: {first.why}{more}",
        hint=f"{first.hint} `edgemgr upgrade {bundle} --plan` tells of each site; `--skip-blocked` leaves these out.",
        code=first.code,
    )


def _refuse_unstaged(plans: Sequence[UpgradePlan], bundle: str) -> None:
    names = [plan.site for plan in plans if plan.needs_files and not plan.staged]
    if not names:
        return
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")  # noqa: PLR2004 - a sample
    raise ConflictError(
        f"bundle {bundle} does not lie at {listed} yet",
        hint=f"Send it ahead, which disturbs nothing: `edgemgr stage {bundle} {names[0]} --wait`.",
        code="E-UPGRADE-UNSTAGED",
    )
