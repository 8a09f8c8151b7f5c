"""Names from outside: one line, no tricks, whatever a VM owner typed."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.app.output import OneLine
from isthmus.app.text import line, plain

HOSTILE = ["a\nb", "a\r\nERROR: b", "\x1b[31mred", "\u202egnp.exe", "\u200b", "\x85", "\u2028", "\ud800", "\x00"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_one_printable_line(name: str) -> None:
    assert plain(name).isprintable()
    assert "\\" in plain(name)
    record = logging.LogRecord("isthmus", logging.INFO, "", 0, "port of %s", (name,), None)
    assert OneLine().format(record).isprintable()


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_one_printable_line(text: str) -> None:
    assert line(text).isprintable()


def test_a_long_name_is_cut_and_says_so() -> None:
    assert plain("x" * 10_000) == "x" * 120 + "...(10000 characters)"


def test_an_honest_name_is_left_alone() -> None:
    for name in ("red", "Netz für Kühe", "a/b %2f <b>", "網路"):
        assert plain(name) == name
