"""Web: what the appliance knows, as pages for operators and as JSON for programs.

In:    Sites, Clusters, Operations, Attempts, Events and logs, read only.
Out:   HTML pages that refresh themselves, and `/api/v1` with the command line's documents.
Never: changes anything, shows a secret, or asks another host for anything.
"""
