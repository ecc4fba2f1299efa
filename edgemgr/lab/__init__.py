"""Simulated sites on this machine, for the demo and the tests: real sshd, and real systemd where wanted.

In: how many sites, of which flavour. Out: running sites, and a CSV that describes them.
Never: touches anything on the machine that the lab did not make, or knows what the sites are used for.
"""
