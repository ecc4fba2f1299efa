"""Runner: one ansible-runner process carries a Batch; each Attempt in it is settled on its own evidence.

In:    a Batch: a playbook's name and, for every attempt, a Target and plain variables.
Out:   one AttemptResult for each attempt, as soon as its evidence is there, and one log for each.
Never: the database.
"""
