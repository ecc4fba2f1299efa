"""What can be wrong with a bundle, one function for each case: the sentence, the code and what to do next.

No fault changes anything on any site. Names from outside are shown with every odd character escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from edgemgr.bundles.roots import RootInfo
from edgemgr.errors import BundleError

_COPY_AGAIN = "Copy the bundle again from its origin, or use another stick."


def not_a_bundle(source: str) -> BundleError:
    """B001: the first member is another one."""
    return BundleError(
        f"{source} is not an edgemgr bundle (first member is not edgemgr-bundle.json).",
        hint="Give a file that `edgemgr bundle create` wrote; it ends in .emb.",
        code="E-B001",
    )


def newer_format(version: int, known: int) -> BundleError:
    """B002: the file is of a later format."""
    return BundleError(
        f"This bundle uses format {version}; this appliance understands {known}.",
        hint="Upgrade edgemgr first.",
        code="E-B002",
    )


def newer_edgemgr(needed: str, present: str) -> BundleError:
    """B002: the bundle says that it needs a later edgemgr."""
    return BundleError(
        f"This bundle needs edgemgr {needed} or later; this appliance is {present}.",
        hint=f"Upgrade edgemgr to {needed} or later first.",
        code="E-B002",
    )


def truncated(found_bytes: int, expected_bytes: int, *, at_least: bool = False) -> BundleError:
    """B010: the file ends before it should; `at_least` when the metadata that says its size is cut off too."""
    least = "at least " if at_least else ""
    return BundleError(
        f"The file ends early: {_grouped(found_bytes)} of {least}{_grouped(expected_bytes)} bytes.",
        hint="Copy it again.",
        code="E-B010",
    )


def part_short(part: str, found_bytes: int, expected_bytes: int) -> BundleError:
    """B010: a part of a split bundle is short or missing."""
    return BundleError(
        f"The file ends early: part {part} is short, {_grouped(found_bytes)} of {_grouped(expected_bytes)} bytes.",
        hint=f"Copy {part} again.",
        code="E-B010",
    )


def blob_damaged(digest: str, label: str) -> BundleError:
    """B011: the bytes of a file are not those that were signed."""
    return BundleError(
        f"Blob sha256:{digest[:12]}… ({_shown(label)}) does not match its signed digest."
        " The stick or the copy is damaged.",
        hint=_COPY_AGAIN,
        code="E-B011",
    )


def metadata_unreadable(member: str, why: str = "") -> BundleError:
    """B012: signed metadata is no metadata, or its documents do not belong together."""
    reason = f": {_shown(why)}" if why else ""
    return BundleError(
        f"The signed metadata cannot be read ({member.removeprefix('tuf/')}){reason}. Treat this file as damaged.",
        hint=_COPY_AGAIN,
        code="E-B012",
    )


def unknown_signer(signers: Sequence[str], trusted: Sequence[RootInfo], valid: int, needed: int) -> BundleError:
    """B020: not signed by enough keys that this appliance trusts."""
    by = ", ".join(f"key {_short(key)}" for key in signers) or "nobody"
    lines = [f"root '{r.name}' (keys {', '.join(_short(k) for k in r.release_key_ids)})" for r in trusted]
    return BundleError(
        f"Signed by {by}; this appliance trusts {' and '.join(lines) or 'no root'}."
        f" {valid} of {needed} needed signatures are valid.",
        hint="Compare the fingerprint of the bundle's root with its maker, then `edgemgr bundle trust add`."
        if not trusted
        else "Ask the bundle's maker which keys signed it; do not trust a new root because a bundle asks for it.",
        code="E-B020",
    )


def bad_signature(member: str, key_id: str) -> BundleError:
    """B020: a document carries a signature that does not hold, beside others that do."""
    return BundleError(
        f"The signature of key {_short(key_id)} on {member.removeprefix('tuf/')} is not valid.",
        hint=_COPY_AGAIN,
        code="E-B020",
    )


def other_root(name: str, version: int) -> BundleError:
    """B020: the bundle has a root of a trusted name and version that is not the trusted one."""
    return BundleError(
        f"Root {version} of '{_shown(name)}' in this bundle is not the root {version} that this appliance trusts."
        " 0 of 1 needed signatures are valid.",
        hint="Treat the bundle as forged and ask its maker.",
        code="E-B020",
    )


def root_gap(first: int, have: int) -> BundleError:
    """B021: the roots between the trusted one and those in the bundle are missing."""
    missing = [str(version) for version in range(have + 1, first)][:8]
    listed = missing[0] if len(missing) == 1 else f"{', '.join(missing[:-1])} and {missing[-1]}"
    return BundleError(
        f"The bundle starts from root {first}; this appliance has root {have}.",
        hint=f"Import a root update that contains {listed}: `edgemgr bundle trust update FILE`.",
        code="E-B021",
    )


def chain_gap(before: int, after: int) -> BundleError:
    """B021: the chain in the bundle leaves roots out."""
    return BundleError(
        f"The chain of roots in the bundle goes from root {before} to root {after}.",
        hint="Obtain a bundle with the whole chain of roots.",
        code="E-B021",
    )


def development_root() -> BundleError:
    """B022: development keys on an appliance that has a release root."""
    return BundleError(
        "Signed with the DEVELOPMENT root. This appliance accepts release bundles only.",
        hint="Obtain the bundle that was signed for release.",
        code="E-B022",
    )


def expired(what: str, until: datetime, now: datetime) -> BundleError:
    """B030: past its date."""
    return BundleError(
        f"This {what} was valid until {until:%Y-%m-%d}; the appliance clock says {now:%Y-%m-%d}.",
        hint="Check the clock, or obtain a fresh bundle. An administrator may accept it once with a reason;"
        " this is logged.",
        code="E-B030",
    )


def clock_implausible(now: datetime, signed_at: datetime) -> BundleError:
    """B031: the clock is before the bundle was made."""
    return BundleError(
        f"The appliance clock ({now:%Y-%m-%d}) is earlier than this bundle's signing time ({signed_at:%Y-%m-%d}).",
        hint="Set the clock first.",
        code="E-B031",
    )


def downgrade(number: int, trusted: int, trusted_at: datetime) -> BundleError:
    """B040: an older bundle than one that was trusted before; there is no way round it."""
    return BundleError(
        f"Bundle {number} is older than {trusted}, already trusted on {trusted_at:%Y-%m-%d}. Refused.",
        hint="A deliberate step back needs a newly signed bundle with a higher number.",
        code="E-B040",
    )


def number_used_twice(number: int) -> BundleError:
    """B040: another bundle of the same number was trusted before."""
    return BundleError(
        f"Bundle {number} is not the bundle {number} that was trusted before. Refused.",
        hint="A number is used once: ask for a newly signed bundle with a higher number.",
        code="E-B040",
    )


def missing_arch(arch: str, sites: Sequence[str], selected: int, archs: Sequence[str]) -> BundleError:
    """B050: some of the selected sites have an architecture that the bundle does not carry."""
    verb = "is" if len(sites) == 1 else "are"
    return BundleError(
        f"{len(sites)} of {selected} selected sites {verb} {arch} ({_some(sites)});"
        f" this bundle holds {' and '.join(archs) or 'no architecture'} only.",
        hint="Leave those sites out, or obtain a bundle that carries their architecture.",
        code="E-B050",
    )


def wrong_start(site: str, version: str, from_versions: Sequence[str]) -> BundleError:
    """B051: a site runs a version that the bundle does not upgrade from."""
    return BundleError(
        f"{site} runs {version}; this bundle upgrades from {' or '.join(f'{v}.x' for v in from_versions)}.",
        hint="Bring the site to one of these versions first, with an earlier bundle.",
        code="E-B051",
    )


def no_room(needed_bytes: int, free_bytes: int, where: str) -> BundleError:
    """B060: the disk or the quota is too small."""
    return BundleError(
        f"Needs {_gib(needed_bytes)}; {_gib(free_bytes)} free on {where}. Nothing was imported.",
        hint="Free disk space, remove bundles that nothing refers to, or raise the quota.",
        code="E-B060",
    )


def too_large(size_bytes: int, cap_bytes: int) -> BundleError:
    """B060: beyond what a bundle may be."""
    return BundleError(
        f"The bundle has {_gib(size_bytes)}; at most {_gib(cap_bytes)} are accepted. Nothing was imported.",
        hint="Divide its contents among several bundles.",
        code="E-B060",
    )


def forbidden(member: str, why: str) -> BundleError:
    """B070: something that no bundle contains."""
    return BundleError(
        f"Member '{_shown(member)}' is not allowed: {why}. The file was rejected.",
        hint="Do not use this file. If it came from the bundle's maker, show it to them: it was altered or made badly.",
        code="E-B070",
    )


def unusable_file(path: str, why: str) -> BundleError:
    """A file of a bundle cannot be opened, read or written."""
    return BundleError(
        f"{path} cannot be used: {why}", hint="Look at the path, its owner and the medium.", code="E-BUNDLE-FILE"
    )


def bad_input(what: str, why: str) -> BundleError:
    """A bundle was to be made of something that it cannot hold."""
    return BundleError(f"{what}: {why}", hint="Correct the input; nothing was written.", code="E-BUNDLE-INPUT")


def bad_keys(what: str, hint: str) -> BundleError:
    """The directory with the signing keys does not serve."""
    return BundleError(what, hint=hint, code="E-BUNDLE-KEYS")


def _shown(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")[:200]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")  # noqa: PLR2004 — as many as one reads


def _short(key_id: str) -> str:
    return f"{_shown(key_id)[:8]}…"


def _grouped(size_bytes: int) -> str:
    return f"{size_bytes:,}".replace(",", " ")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):.1f} GiB" if size_bytes >= 1 << 30 else f"{size_bytes / (1 << 20):.1f} MiB"
