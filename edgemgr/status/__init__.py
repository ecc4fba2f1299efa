"""Status: contacts and Observations become the Cluster that operators are shown.

In:    whether a site answered, and Observations from probes and playbook reports.
Out:   one Cluster row per Site, and Events where contact or health changed.
Never: talks to a site; changes a Site or an Operation.
"""
