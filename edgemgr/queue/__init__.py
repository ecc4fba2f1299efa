"""Queue: a queued Operation becomes exactly one running Attempt at a time, until it is ended.

In:    Operations that are queued, first in the line of their Site and due.
Out:   Attempts that always end with an Outcome, and Operations advanced by it.
Never: knows what a playbook does; holds a transaction open while it talks to a site.
"""
