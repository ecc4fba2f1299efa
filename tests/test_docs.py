"""The documents, held against the code."""

from __future__ import annotations

import re
from pathlib import Path

from edgemgr.links.transfer_plan import BLOCK_BYTES, CHUNK_BYTES
from edgemgr.settings import Settings

ROOT = Path(__file__).parent.parent
CODE = re.compile(r"\bE-[A-Z0-9]+(?:-[A-Z0-9]+)*\b")


def _codes_in_use() -> set[str]:
    sources = [*(ROOT / "edgemgr").rglob("*.py"), *(ROOT / "playbooks").rglob("*.py")]
    return {code for path in sources for code in CODE.findall(path.read_text())}


def test_every_code_that_a_user_can_meet_is_explained_and_no_other() -> None:
    explained = {
        code for line in (ROOT / "docs/errors.md").read_text().splitlines() for code in CODE.findall(line[:60])
    }
    assert explained == _codes_in_use()


def test_every_setting_is_in_the_documents_with_its_default() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    for name, field in Settings.model_fields.items():
        default = "unset" if field.default is None else f"`{field.default}`"
        assert f"| `{name}` | {default} | {field.description} |" in text


def test_links_between_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_where_a_transfer_goes_on_after_a_cut_is_told_as_it_is() -> None:
    for name in ("architecture.md", "bundles.md"):
        text = (ROOT / "docs" / name).read_text()
        sizes = set(re.findall(r"\bblock (?:of|that it sends \(of) (\d+) KiB", text))
        assert sizes == {str(BLOCK_BYTES // 1024)}, name
        assert set(re.findall(r"\bchunks? of (\d+) MiB", text)) <= {str(CHUNK_BYTES >> 20)}, name
