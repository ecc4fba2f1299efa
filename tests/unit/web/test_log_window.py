from __future__ import annotations

from pathlib import Path

import pytest

from edgemgr.web.console.log_window import WINDOW_LINES, LogLine, last_lines, next_lines


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    (tmp_path / "0").mkdir()
    return tmp_path


def write(log_dir: Path, text: str) -> None:
    (log_dir / "0" / "7.log").write_text(text, encoding="utf-8")


def test_an_attempt_without_a_log_has_no_lines(log_dir: Path) -> None:
    window = last_lines(log_dir, 7)
    assert (window.lines, window.first, window.after) == ([], 0, 0)


def test_the_end_of_a_long_log_is_shown_and_how_much_is_left_out(log_dir: Path) -> None:
    write(log_dir, "".join(f"line {n}\n" for n in range(WINDOW_LINES + 25)))
    window = last_lines(log_dir, 7)
    assert (window.first, window.after, len(window.lines)) == (25, WINDOW_LINES + 25, WINDOW_LINES)
    assert window.lines[0].text == "line 25"


def test_reading_on_gives_every_line_once_in_bounded_pieces(log_dir: Path) -> None:
    write(log_dir, "".join(f"line {n}\n" for n in range(WINDOW_LINES * 2 + 7)))
    seen: list[str] = []
    for _ in range(4):
        window = next_lines(log_dir, 7, len(seen))
        assert len(window.lines) <= WINDOW_LINES
        seen += [line.text for line in window.lines]
    assert seen == [f"line {n}" for n in range(WINDOW_LINES * 2 + 7)]
    assert next_lines(log_dir, 7, len(seen)).lines == []


def test_verdicts_have_their_tone_and_details_stand_back(log_dir: Path) -> None:
    write(
        log_dir,
        "2026-11-20T12:00:00Z ok          a: b\n2026-11-20T12:00:00Z failed      a: b\n    | because\n"
        "2026-11-20T12:00:00Z changed     a: b\n",
    )
    assert [line.tone for line in last_lines(log_dir, 7).lines] == ["", "bad", "detail", "busy"]


def test_what_a_terminal_would_act_upon_is_taken_out(log_dir: Path) -> None:
    write(log_dir, "\x1b[31mred\x1b[0m and \x07bell \u202eesrever\n")
    assert last_lines(log_dir, 7).lines == [LogLine("red and �bell �esrever", "")]


def test_an_endless_line_is_cut(log_dir: Path) -> None:
    write(log_dir, "x" * 100_000 + "\n")
    assert len(last_lines(log_dir, 7).lines[0].text) == 2000
