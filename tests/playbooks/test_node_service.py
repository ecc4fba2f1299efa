"""What systemd says of k3s, also while systemd itself does not answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.edgemgr.edge.plugins.module_utils import service
from ansible_collections.edgemgr.edge.plugins.module_utils.failure import EdgeError

#: Fails as often as the file says, as systemctl does while systemd executes itself anew.
SYSTEMCTL = """\
#!/bin/sh
read left <{count}
if [ "$left" -gt 0 ]; then
  echo $((left - 1)) >{count}
  echo 'Failed to get properties: Transport endpoint is not connected' >&2
  exit 1
fi
echo ActiveState=active
echo MainPID=42
"""


@pytest.fixture
def silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the number of times that systemctl fails."""
    programs, count = tmp_path / "bin", tmp_path / "count"
    programs.mkdir()
    (programs / "systemctl").write_text(SYSTEMCTL.format(count=count))
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(service, "POLL_S", 0.0)
    return count


def test_a_systemd_that_does_not_answer_for_a_while_says_nothing_of_the_service(silence: Path) -> None:
    silence.write_text(f"{service.ASK_TRIES - 1}\n")
    found = service.state()
    assert (found["ActiveState"], found["MainPID"], found["NRestarts"]) == ("active", "42", "")
    assert silence.read_text() == "0\n"


def test_a_systemd_that_never_answers_is_an_error_with_its_own_words(silence: Path) -> None:
    silence.write_text("1000\n")
    with pytest.raises(EdgeError, match="Transport endpoint is not connected") as caught:
        service.state()
    assert caught.value.code == "E-K3S-SERVICE"
    assert silence.read_text() == f"{1000 - service.ASK_TRIES}\n"
