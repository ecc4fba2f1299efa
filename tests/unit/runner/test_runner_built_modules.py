"""Modules that were built are those of these very files and of this ansible-core."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgemgr.runner import built_modules as subject
from edgemgr.settings import Settings


@pytest.fixture
def playbooks(tmp_path: Path) -> Path:
    directory = tmp_path / "playbooks"
    (directory / "library").mkdir(parents=True)
    (directory / "library/say.py").write_text("say")
    return directory


def test_the_same_files_have_the_same_place_below_the_runtime_directory(settings: Settings, playbooks: Path) -> None:
    place = subject.built_modules(settings, playbooks)
    assert place == subject.built_modules(settings, playbooks)
    assert place.parent == settings.runtime_dir


@pytest.mark.parametrize("text", ["sag", "say "])
def test_another_content_has_another_place(settings: Settings, playbooks: Path, text: str) -> None:
    place = subject.built_modules(settings, playbooks)
    (playbooks / "library/say.py").write_text(text)
    assert subject.built_modules(settings, playbooks) != place


def test_another_name_has_another_place(settings: Settings, playbooks: Path) -> None:
    place = subject.built_modules(settings, playbooks)
    (playbooks / "library/say.py").rename(playbooks / "library/sing.py")
    assert subject.built_modules(settings, playbooks) != place


def test_another_ansible_core_has_another_place(
    settings: Settings, playbooks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = subject.built_modules(settings, playbooks)
    monkeypatch.setattr(subject, "version", lambda _name: "99.0.0")
    assert subject.built_modules(settings, playbooks) != place
