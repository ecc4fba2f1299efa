"""`python -m edgemgr` is the same program as `edgemgr`."""

from edgemgr.cli.main import main

main()
