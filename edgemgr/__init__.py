"""edgemgr: single-node k3s clusters at thousands of remote sites, over nothing but SSH."""

__version__ = "0.1.0"
