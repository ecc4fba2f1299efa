"""A stand-in for k3s on simulated sites: it keeps to the real contract in what edgemgr touches, and runs nothing.

`build.py` makes the one file that is installed as /usr/local/bin/k3s; `node/` is the program inside that file. It
runs with the site's own Python and nothing else, so it imports nothing of edgemgr, and it names itself a stand-in
in its version and in its log.

What it does not do: run containers (a pod is one sleeping process), move packets, watch requests, admission,
service accounts, Helm; its etcd is a table in the place of one. Clients with a certificate of another authority are
turned away in the TLS handshake, where k3s answers 401. `ctr`, `crictl`, `certificate` and `etcd-snapshot` know the
default data directory only.
"""
