"""How often a site is backed up by itself, on its page in the console."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from tests_support.console_fleet import add_site

from edgemgr.app import App
from edgemgr.model.backup_schedule import BackupSchedule
from edgemgr.store import backup_schedules


@pytest.mark.parametrize("place", ["/sites", "/live/sites"])
def test_a_site_says_how_often_it_is_backed_up_and_by_which_word(app: App, client: TestClient, place: str) -> None:
    for name, profile in (("shop", "shops"), ("kiosk", "kiosks"), ("mast", "masts"), ("lone", None)):
        add_site(app.database, name, profile=profile)
    with app.database.write() as session:
        shops = BackupSchedule(profile="shops", interval_s=21600, hours="22:00-06:00")
        for schedule in (shops, BackupSchedule(profile="kiosks", interval_s=0)):
            backup_schedules.put(session, schedule, actor="test")
    said = {name: client.get(f"{place}/{name}").text for name in ("shop", "kiosk", "mast", "lone")}
    for name, text in {
        "shop": "every 6 h within 22:00-06:00 (profile shops)",
        "kiosk": "none by themselves (profile kiosks)",
        "mast": "every 24 h (general setting)",
        "lone": "every 24 h (general setting)",
    }.items():
        assert f"<dt>Backups</dt><dd>{text}</dd>" in said[name]
