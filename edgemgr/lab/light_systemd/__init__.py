"""Stand-in for systemctl, journalctl and systemd-run on a light simulated site. It is not systemd.

Installed on the site as a Python package of its own, so it imports nothing of edgemgr. Properties and exit statuses
are as in systemctl(1), unit options as in systemd.service(5); what it does not know, it says.
"""

NAMED = "light site stand-in for systemd, not systemd"
