"""Recipe: what a bundle is to hold, as an operator writes it in `bundle.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from edgemgr.bundles.yaml_lines import EXAMPLE, LinedYaml, read_yaml
from edgemgr.errors import BundleError, ReleaseError
from edgemgr.model.content import ChannelName, ProductName
from edgemgr.model.release import Arch
from edgemgr.model.version import K3sVersion
from edgemgr.model.version_bound import VersionBound

_WORD = r"^[a-z0-9][a-z0-9-]{0,62}$"
_FILE_WORD = r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,62}$"


def _version(text: object) -> object:
    try:
        return str(K3sVersion.parse(text)) if isinstance(text, str) else text
    except ReleaseError as exc:
        raise ValueError(f"{exc.message}; write it as k3s prints it: v1.34.6+k3s1") from exc


def _bound(text: object) -> object:
    if isinstance(text, str) and VersionBound.parse(text) is None:
        raise ValueError(f"{text!r} is no version or beginning of one; write v1.34 or v1.34.6+k3s1")
    return text


def _path(text: object) -> object:
    return Path(text) if isinstance(text, str) and text else text


Version = Annotated[str, BeforeValidator(_version)]
Bound = Annotated[str, BeforeValidator(_bound)]
InputPath = Annotated[Path, BeforeValidator(_path)]
Architecture = Annotated[Arch, Field(strict=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class K3sPart(_Part):
    """One k3s version: the binary and the images of each architecture."""

    version: Version
    release: InputPath | None = None  #: directory of its files; None: among the downloads
    archs: Annotated[list[Architecture], Field(min_length=1)] = [Arch.AMD64]
    requires_from: list[Bound] | None = None  #: from which versions it may be reached; None: its own minor and the last


class ImagePart(_Part):
    """More images: an archive or an OCI layout."""

    archive: InputPath | None = None
    layout: InputPath | None = None
    arch: Architecture
    ref: Annotated[str, Field(min_length=1, max_length=255)] | None = (
        None  #: where the source has no name for its image
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.archive is None) == (self.layout is None):
            raise ValueError("give either archive or layout")
        return self

    @property
    def path(self) -> Path:
        """The one that was given."""
        return self.archive or self.layout or Path()


class PackPart(_Part):
    """One version of a pack."""

    name: Annotated[str, Field(pattern=_WORD)]
    version: Annotated[str, Field(pattern=_FILE_WORD)]
    file: InputPath


class Contents(_Part):
    """Everything that goes in."""

    k3s: list[K3sPart] = []
    images: list[ImagePart] = []
    charts: list[InputPath] = []
    manifests: list[InputPath] = []
    packs: list[PackPart] = []
    playbooks: list[InputPath] = []
    wheels: list[InputPath] = []  #: files, or directories of them
    notes: list[InputPath] = []

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError("nothing is to go in")
        return self


class Recipe(_Part):
    """A bundle to be made. Paths are made absolute against the recipe's own directory by `read_recipe`."""

    product: ProductName
    channel: ChannelName = "stable"
    number: Annotated[int, Field(ge=1, lt=2**31)]
    title: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
    notes: Annotated[str, Field(max_length=4000)] = ""
    from_versions: list[Bound] = []
    min_edgemgr: Annotated[str, Field(pattern=r"^\d{1,4}(\.\d{1,4}){0,3}$")] = "0"
    valid_days: Annotated[int, Field(ge=1, le=3650)] = 548
    contents: Contents


def read_recipe(path: Path) -> Recipe:
    """Read `bundle.yaml`; its paths come back absolute.

    Raises:
        BundleError: it cannot be read, or does not say what it must; all faults in one message, each with the line
            and the key (E-BUNDLE-RECIPE).
    """
    document = read_yaml(path)
    try:
        recipe = Recipe.model_validate(document.value)
    except ValidationError as exc:
        faults = [text for _, text in sorted(_fault(path, document, error) for error in exc.errors())]
        raise BundleError(
            faults[0] if len(faults) == 1 else f"{path} has {len(faults)} faults:\n  " + "\n  ".join(faults),
            hint=EXAMPLE,
            code="E-BUNDLE-RECIPE",
        ) from exc
    rooted: Recipe = _rooted(recipe, path.absolute().parent)
    return rooted


def _fault(path: Path, document: LinedYaml, error: Any) -> tuple[int, str]:
    keys = error["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in keys).lstrip(".")
    message = {
        "extra_forbidden": "there is no such key",
        "missing": "it is missing",
    }.get(error["type"], error["msg"].removeprefix("Value error, "))
    line = document.line(keys)
    return line, f"{path}, line {line}: {key or 'the recipe'}: {message}"


def _rooted(part: Any, base: Path) -> Any:
    """The same with every path absolute."""
    if isinstance(part, Path):
        return base / part
    if isinstance(part, list):
        return [_rooted(item, base) for item in part]
    if isinstance(part, BaseModel):
        return part.model_copy(update={name: _rooted(getattr(part, name), base) for name in type(part).model_fields})
    return part
