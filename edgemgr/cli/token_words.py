"""Which server token a backup holds, in words; never the token."""

from __future__ import annotations


def token_words(number: int | None, *, is_present: bool | None, is_long: bool = False) -> str | None:
    """The word for a list, or the sentence for one backup; None: it was taken before this was told."""
    if number is None:
        return None
    word = {True: "present", False: "another", None: "not known"}[is_present]
    if not is_long:
        return word
    which = {
        True: "which is the present one",
        False: "which is not the present one: a restore brings it back",
        None: "and which the site has now is not known",
    }[is_present]
    return f"of attempt {number}, {which}"
