"""One switch by networking-generic-switch: its commands as words, each given when the one before is done, its answers.

The library is a guest here: it is imported when there is a switch to speak to, and its faults and netmiko's stop here.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from isthmus.adapters.leaf.ngs.held import Held
from isthmus.adapters.leaf.ngs.reading import READINGS
from isthmus.adapters.leaf.ngs.settings import NgsSettings
from isthmus.adapters.leaf.ngs.steps import Join, Leave, Map, Remove, Step, Unmap
from isthmus.model.faults import Refused, Retry, Unreachable

PATIENCE = 60.0
"""Seconds for one command.  SONiC's take one to three each, and more on a switch that is busy."""
SAVED_AGAIN, SAVED_AT_LAST = 60.0, 3600.0
"""Seconds until a switch that did not save at two looks is asked again: at first, and after many times."""
ROUTING_SAVED = 'vtysh -c "write memory"'
"""What BGP was told is not in SONiC's own configuration; networking-generic-switch does not have it saved."""


class Switch:
    """One switch, spoken to in one session at a time."""

    def __init__(self, settings: NgsSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
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
        reading = READINGS[self._settings.device_type]
        with self._lock, self._answering() as device:
            # vlan_has_vni and vlan_has_ports ask for one VLAN each, and take some faults for an answer.
            return reading.understood(self._said(device, reading.commands))

    def do(self, steps: Sequence[Step]) -> list[str]:
        """Give all the commands, one after the other.  What became of them only `read` tells.

        Returns what the switch complained of, for people.
        """
        commands = self.words(steps)
        with self._lock, self._answering() as device:
            self._unsaved = True
            # A switch that is told more may have got over what it had.
            self._save_wait, self._save_at = 0.0, min(self._save_at, self._asked_to_save_at + SAVED_AGAIN)
            return _complaints(self._said(device, commands, as_root=True))

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
            commands = (ROUTING_SAVED, *device.SAVE_CONFIGURATION) if device._get_save_configuration() else ()
            return _complaints(self._said(device, commands, as_root=True))

    def words(self, steps: Sequence[Step]) -> list[str]:
        """The commands, which nobody is given."""
        with self._wording:
            if self._speller is None:
                self._speller = _made(self._settings, {})
            return _commands(self._speller, steps)

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

    def _said(self, device: Any, commands: Sequence[str], *, as_root: bool = False) -> list[str]:
        """The answers to commands.

        The library would write all of them at once, take a silence of two seconds for the end and fifteen for a fault,
        and then begin again from the first.  Here the prompt is waited for after each, and nothing is said twice.
        """
        if not commands:
            return []
        with device._get_connection() as session:
            try:
                if as_root:
                    session.enable()
                prompt = re.escape(session.find_prompt()) + r"\s*$"
                return [
                    str(session.send_command(command, expect_string=prompt, read_timeout=PATIENCE))
                    for command in commands
                ]
            except ValueError as fault:  # netmiko's, for no prompt, or no way to be root
                what = next((line for line in str(fault).splitlines() if line.strip()), "")
                raise Unreachable(f"{self._settings.address}: {what}") from fault


def _commands(device: Any, steps: Sequence[Step]) -> list[str]:
    """What the device's own methods would send, one after the other: each would be a session and a save."""
    commands: list[str] = []
    asked: list[str] = []
    device.send_commands_to_device = asked.extend
    for step in steps:
        asked.clear()
        _ask(device, step)
        # With each port SONiC's makes the VLAN again, and a command takes a second; no port joins before there is one.
        again = device._format_commands(device.ADD_NETWORK, segmentation_id=int(step.vid))
        commands += [said for said in asked if not (isinstance(step, Join) and said in again)]
    return commands


def _complaints(answers: Sequence[str]) -> list[str]:
    lines = (line.strip() for answer in answers for line in answer.splitlines())
    return list(dict.fromkeys(line for line in lines if line.startswith("Error")))


def _ask(device: Any, step: Step) -> None:
    match step:
        case Map(vid, vni):
            device.plug_switch_to_network(int(vni), int(vid))
        case Unmap(vid, vni):
            device.unplug_switch_from_network(int(vni), int(vid))
        case Join(vid, _, port):
            device.add_subports_on_trunk({}, port, [{"segmentation_id": int(vid)}])
        case Leave(vid, port):
            device.del_subports_on_trunk({}, port, [{"segmentation_id": int(vid)}])
        case Remove(vid):
            device.del_network(int(vid), str(UUID(int=int(vid))))  # the id is part of a name on some, and of none here


def _made(settings: NgsSettings, secrets: Mapping[str, str]) -> Any:
    try:
        from networking_generic_switch import batching
        from networking_generic_switch.devices import device_manager
    except ModuleNotFoundError as missing:
        raise Refused(f"driver 'ngs': {missing.name} is not installed: pip install 'isthmus[leaf]'") from missing
    # It would wait two seconds at our end for threads of batches that we never begin.
    atexit.unregister(batching._wait_for_threads)
    # What goes wrong comes to us as a fault, which is told once, and not in every round.
    logging.getLogger("networking_generic_switch").setLevel(logging.CRITICAL)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    return device_manager({**settings.device, **secrets}, settings.address)


def _as_ours(fault: Exception, address: str) -> Retry | None:
    """What a fault of the library, or of what it stands on, means; None: it is a bug."""
    from netmiko.exceptions import NetmikoAuthenticationException, NetmikoBaseException
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
        case SSHException() | NetmikoBaseException() | OSError() | EOFError():
            return Unreachable(f"{address}: {what}")
    return Unreachable(f"{address}: {what}") if isinstance(fault, GenericSwitchException) else None
