"""Operations: an intent on Sites becomes queued Operations, one for each Site.

In:    a kind, its parameters, and the Sites that an operator chose.
Out:   queued Operations with an Event each, in one transaction; the desired state of the Sites.
Never: runs anything; talks to a site.
"""
