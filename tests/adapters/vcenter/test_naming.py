"""A name of any kind becomes one that vCenter takes, and comes back as people know it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isthmus.adapters.vcenter.naming import LIMIT, escaped, plain, written

NAMES = st.text(max_size=200) | st.text("%/\\2f5c", max_size=200)


@given(NAMES, st.text(max_size=20))
def test_what_is_written_is_one_short_printable_line(name: str, identity: str) -> None:
    given_to_vcenter = written(name, identity)
    assert 0 < len(given_to_vcenter) <= LIMIT
    assert len(given_to_vcenter.splitlines()) == 1
    assert "/" not in given_to_vcenter
    assert "\\" not in given_to_vcenter
    assert given_to_vcenter == escaped(plain(given_to_vcenter)), "no escape sequence is cut in two"


@given(NAMES)
def test_what_was_escaped_reads_plain(name: str) -> None:
    assert plain(escaped(name)) == name


def test_a_usual_name_stays_as_it_is() -> None:
    assert written("web tier 3", "n1") == "web tier 3"
    assert plain(written("50%/\\", "n1")) == "50%/\\"


def test_names_cut_to_the_same_beginning_stay_different() -> None:
    assert written("x" * 10_000, "n1") != written("x" * 10_000, "n2")
    assert written("x" * 10_000, "n1") == written("x" * 10_000, "n1")


def test_hidden_characters_and_line_breaks_are_not_kept() -> None:
    assert written("a\nb\x00c\u202ed", "n1") == "a b c d"
    assert written("\n\u202e", "n1").startswith("network-")


def test_either_spelling_of_an_escape_is_read() -> None:
    assert plain("a%2Fb%5Cc%25") == "a/b\\c%"
