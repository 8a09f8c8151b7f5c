"""One switch by networking-generic-switch: its commands as words, each given when the one before is done, its answers.

The library is a guest here: it is imported when there is a switch to speak to, and its faults and netmiko's stop here.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from isthmus.adapters.leaf.ngs.held import Held
from isthmus.adapters.leaf.ngs.kind import Say
from isthmus.adapters.leaf.ngs.kinds import KINDS
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.steps import Step
from isthmus.model.faults import Refused, Retry, Unreachable

SAVED_AGAIN, SAVED_AT_LAST = 60.0, 3600.0
"""Seconds until a switch that did not save at two looks is asked again: at first, and after many times."""


class Switch:
    """One switch, spoken to in one session at a time."""

    def __init__(self, settings: NgsSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self.kind = KINDS[settings.device_type]
        self._clock = clock
        self._device: Any = None
        self._speller: Any = None
        """One that is asked for words alone."""
        self._lock = threading.RLock()
        self._wording = threading.Lock()
        self._unsaved = False
        """It was told something since it was last saved, by us."""
        self._save_at, self._save_wait = float("-inf"), 0.0
        self._asked_to_save_at = float("-inf")
        self._unkept: list[str] = []

    def read(self) -> Held:
        """All its VLANs.  Raises Retry if they cannot be read whole, and Refused if it can never be entered so."""
        with self._lock, self._answering() as device, self._session(device, as_root=self.kind.privileged) as say:
            return self.kind.read(say, self._settings)

    def do(self, steps: Sequence[Step], revision: str) -> list[str]:
        """Give all the commands, one after the other, thought of what it held then.  What became of them `read` tells.

        Returns what the switch complained of, for people.
        """
        words = self._spelt(steps)
        with self._lock, self._answering() as device:
            self._unsaved = True
            # A switch that is told more may have got over what it had.
            self._save_wait, self._save_at = 0.0, min(self._save_at, self._asked_to_save_at + SAVED_AGAIN)
            with self._session(device, as_root=self.kind.as_root) as say:
                return self.kind.tell(say, words, self._settings, revision)

    def save(self) -> list[str]:
        """Have it keep over a restart what it was told, if it was told anything since.  Returns what it complained of.

        A batch that broke is so saved when the switch is next spoken to.  What cannot be saved is none the less so: a
        switch that hangs at that, or refuses, is asked more and more seldom.
        """
        with self._lock:
            if self._unsaved and self._clock() >= self._save_at:
                try:
                    complaints = self._saved()
                except (Retry, Refused) as fault:
                    complaints = [str(fault)]
                self._unsaved, self._asked_to_save_at = bool(complaints), self._clock()
                self._save_at = self._clock() + self._save_wait if complaints else float("-inf")
                self._save_wait = min(2 * self._save_wait or SAVED_AGAIN, SAVED_AT_LAST) if complaints else 0.0
                self._unkept = [f"{self._settings.address} does not save what it was told: {s}" for s in complaints]
            return self._unkept

    def _saved(self) -> list[str]:
        with self._answering() as device:
            if not device._get_save_configuration():
                return []
            with self._session(device, as_root=self.kind.as_root) as say:
                return self.kind.save(say, device.SAVE_CONFIGURATION or ())

    @property
    def kept(self) -> bool:
        """Nothing was told to it since it was last saved."""
        with self._lock:
            return not self._unsaved

    def is_as_kept(self) -> None:
        """What it was told since it was last saved left nothing on it."""
        with self._lock:
            self._unsaved = False

    def words(self, steps: Sequence[Step]) -> list[str]:
        """The commands, which nobody is given."""
        return [command for words in self._spelt(steps) for command in words]

    def _spelt(self, steps: Sequence[Step]) -> list[list[str]]:
        with self._wording:
            if self._speller is None:
                self._speller = _made(self._settings, {})
            return [self.kind.words(self._speller, step) for step in steps]

    def close(self) -> None:
        """End the session."""
        with self._lock:
            self._forget_device()

    @contextlib.contextmanager
    def _answering(self) -> Iterator[Any]:
        """The device; the faults on the way to it are ours afterwards."""
        try:
            if self._device is None:
                self._device = _made(self._settings, self._settings.secrets())
            yield self._device
        except (Retry, Refused):
            self._forget_device()  # what it was asked may yet be answered, and be taken for what it is asked next
            raise
        except Exception as fault:
            self._forget_device()  # a password may have been changed since it was made
            ours = _as_ours(fault, self._settings.address)
            if ours is None:
                raise
            raise ours from fault

    def _forget_device(self) -> None:
        if self._device is not None:
            self._device._drain_cached_connections()
            atexit.unregister(self._device._drain_cached_connections)  # or it would be kept until our end
        self._device = None

    @contextlib.contextmanager
    def _session(self, device: Any, *, as_root: bool) -> Iterator[Say]:
        """One by one commands are given in it, and each is answered before the next.

        The library would write all of them at once, take a silence of two seconds for the end and fifteen for a fault,
        and then begin again from the first.  Here the prompt is waited for after each, and nothing is said twice.
        """
        with device._get_connection() as session:
            try:
                if as_root:
                    session.enable()
                prompt = self.kind.prompts(session.find_prompt())
            except ValueError as fault:  # netmiko's, for no prompt, or no way to be root
                what = next((line for line in str(fault).splitlines() if line.strip()), "")
                raise Unreachable(f"{self._settings.address}: {what}") from fault
            patience = self.kind.patience
            yield lambda command: str(session.send_command(command, expect_string=prompt, read_timeout=patience))


def _made(settings: NgsSettings, secrets: Mapping[str, str]) -> Any:
    try:
        from networking_generic_switch import batching
        from networking_generic_switch.devices import device_manager
    except ModuleNotFoundError as missing:
        raise Refused(f"driver 'ngs': {missing.name} is not installed: install isthmus with [leaf]") from missing
    # It would wait two seconds at our end for threads of batches that we never begin.
    atexit.unregister(batching._wait_for_threads)
    # What goes wrong comes to us as a fault, which is told once, and not in every round.
    # netmiko's own would show every answer, with the secrets of a whole configuration, at level debug.
    for guest in ("networking_generic_switch", "netmiko", "paramiko"):
        logging.getLogger(guest).setLevel(logging.CRITICAL)
    return device_manager({**settings.device, **secrets}, settings.address)


def _as_ours(fault: Exception, address: str) -> Retry | None:
    """What a fault of the library, or of what it stands on, means; None: it is a bug."""
    from netmiko.exceptions import NetmikoAuthenticationException, NetmikoBaseException, ReadTimeout
    from networking_generic_switch.exceptions import GenericSwitchException
    from paramiko.ssh_exception import BadHostKeyException, SSHException

    cause: BaseException = fault
    while isinstance(cause, GenericSwitchException) and cause.__context__ is not None:
        cause = cause.__context__  # the library says that it could not connect, and nothing else
    what = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
    match cause:
        case NetmikoAuthenticationException():
            return Unreachable(f"{address} refuses the login: {what}")
        case BadHostKeyException():
            return Unreachable(f"{address} is not the switch that is known by this address: {what}")
        case ReadTimeout():
            return Unreachable(f"{address}: {what} (it was waited for its prompt, which must have no time in it)")
        case SSHException() | NetmikoBaseException() | OSError() | EOFError():
            return Unreachable(f"{address}: {what}")
    return Unreachable(f"{address}: {what}") if isinstance(fault, GenericSwitchException) else None
