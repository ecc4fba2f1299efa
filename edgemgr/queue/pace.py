"""How often sites that do not answer are tried, and how soon one that does is served: pure rules, times in seconds."""

from __future__ import annotations

from edgemgr.settings import Settings

#: The longest time for which a host that answers probes but fails attempts is left alone.
HOLD_MAX_S = 300.0
#: The same for a site whose last attempt was met by silence: there was no failure that could repeat itself.
SILENT_HOLD_MAX_S = 10.0
#: The longest pause for a host that greets and then shows another key, or nothing.
WRONG_ANSWER_PAUSE_S = 60.0
#: How an attempt ends that nothing greeted.
_SILENCE = frozenset({"E-SITE-NO-ANSWER", "E-SITE-REFUSED", "E-SITE-NAME", "E-SITE-TURNED-AWAY"})


def pause_s(away_s: float, owing: int, wrong_answers: int, settings: Settings) -> float:
    """The time between two tries of a site: a hundredth of the time that it has been away, within the settings' bounds.

    But no longer than needed to keep all `owing` sites together at the settings' rate: as long as few sites are
    away, none of them waits for minutes. A host that answers wrongly costs more than silence and is tried more rarely.
    """
    wanted = min(max(away_s / 100, settings.probe_interval_s), settings.probe_interval_max_s)
    allowed = max(settings.probe_interval_s, owing / settings.probe_rate)
    slowed = settings.probe_interval_s * 2.0 ** min(wrong_answers, 10) if wrong_answers else 0.0
    return max(min(wanted, allowed), min(slowed, WRONG_ANSWER_PAUSE_S))


def hold_s(unreached: int, code: str) -> float:
    """How long a site that never fell silent is left alone after so many attempts in a row that did not reach it.

    `code` says how the last of them ended.
    """
    longest = SILENT_HOLD_MAX_S if code in _SILENCE else HOLD_MAX_S
    return float(min(longest, 2.0 ** min(unreached, 10)))
