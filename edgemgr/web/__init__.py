"""Web: what the appliance knows, as pages for operators and as JSON for programs.

In:    Sites, Clusters, Operations, Attempts, Events, Bundles and logs, read only; bundle files that are uploaded.
Out:   HTML pages that refresh themselves, `/api/v1` with the command line's documents, and imports of uploads.
Never: changes anything else, shows a secret, or asks another host for anything.
"""
