"""How a device type is read, told and saved, beside the words that networking-generic-switch has for it.

Law: an answer that is not understood whole is no answer; a step that meets a complaint is broken off, the others go on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from isthmus.adapters.leaf.ngs.held import Held
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.statements import SECRET, without_secret
from isthmus.adapters.leaf.ngs.steps import Step
from isthmus.model.faults import Retry

Say: TypeAlias = Callable[[str], str]
"""Gives the switch one command and returns its answer.  Raises Retry, and ends the session, where no prompt comes."""
Words: TypeAlias = Sequence[str]
"""The commands of one step, one after the other."""


def with_modes(prompt: str) -> str:
    """What ends an answer: the prompt, or the same in a mode of configuration, such as ``leaf1(config-vlan-101)#``."""
    return rf"{re.escape(prompt[:-1])}(\(config[^)]*\))?{re.escape(prompt[-1:])}\s*$"


@dataclass(frozen=True, slots=True)
class Kind:
    """One device type.  What any of these raises as Retry ends the session."""

    read: Callable[[Say, NgsSettings], Held]
    """All that it holds.  Raises Retry for what is no answer."""
    words: Callable[[Any, Step], list[str]]
    """The commands of a step, of the library's device, which is asked for words alone."""
    tell: Callable[[Say, Sequence[Words], NgsSettings, str], list[str]]
    """Gives the commands of one stage, step by step, to what it held at a revision.  Returns what it complained of.

    Where changes are staged, this is where they are committed, all those of a stage at once.
    """
    save: Callable[[Say, Words], list[str]]
    """Has all kept over a restart, with the library's own words for it.  Returns what the switch complained of."""
    privileged: bool = False
    """It shows all it holds only to those who may change it."""
    as_root: bool = True
    """What it is told is for root.  Else whoever logs in stays who he is: what is staged is staged by login."""
    commits: bool = False
    """A stage is committed as a whole, which takes its time: all ports join at once."""
    patience: float = 60.0
    """Seconds for one command.  Most take one to three each, and more on a switch that is busy."""
    prompts: Callable[[str], str] = with_modes
    """What ends an answer, of the prompt of a session that has just begun."""


def nonsense(said: str) -> Retry:
    """It is not what was asked for."""
    return Retry(f"the switch does not tell what it holds; it says {without_secret(said.strip())[:200]!r}")


def parsed(answer: str) -> Any:
    """JSON.  Raises Retry for anything else."""
    try:
        return json.loads(answer)
    except ValueError as wrong:
        raise nonsense(answer) from wrong


def first_words(line: str) -> str:
    """What a line of a configuration begins with: there may be a secret in the rest."""
    words = line.split()
    secret = next((number for number, word in enumerate(words, 1) if SECRET.search(word)), 2)
    return " ".join(words[: min(secret, 2)]) + " ..." * (len(words) > min(secret, 2))


def complaints(answers: Sequence[str], signs: tuple[str, ...]) -> list[str]:
    """The lines that begin as a complaint does."""
    lines = (line.strip() for answer in answers for line in answer.splitlines())
    return list(dict.fromkeys(line for line in lines if line.startswith(signs)))


def spelt(device: Any, call: Callable[[Any], object]) -> list[str]:
    """What a method of the library's device would send, which would be a session and a save for each."""
    asked: list[str] = []
    device.send_commands_to_device = asked.extend
    call(device)
    return asked


def in_modes(signs: tuple[str, ...]) -> Callable[[Say, Sequence[Words], NgsSettings, str], list[str]]:
    """How to tell a switch where a word means what those before it make it mean.

    A step begins by entering the configuration and ends by leaving it.  It is broken off where the switch first
    complains, since what follows would be said of something else; the last word is said in any case.
    """

    def tell(say: Say, steps: Sequence[Words], settings: NgsSettings, revision: str) -> list[str]:
        heard: list[str] = []
        for words in steps:
            *first, last = words
            for command in first:
                if wrong := complaints([say(command)], signs):
                    heard += wrong
                    break
            heard += complaints([say(last)], signs)
        return list(dict.fromkeys(heard))

    return tell
