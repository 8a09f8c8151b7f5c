"""Network namespaces: made, entered for one socket, and emptied again.

Law: every interface of a world lives in a namespace of that world, so deleting the namespaces deletes them all.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

NETNS_DIR = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(Exception):
    """A command of the lab's own failed: what was run, and what it said."""


def run(*command: str | Path, stdin: str | None = None) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = done.stderr.strip() or done.stdout.strip()
        raise CommandFailed(f"{' '.join(words)}: {told}" + (f"\n{stdin}" if stdin else ""))
    return done.stdout


def existing() -> list[str]:
    return sorted(path.name for path in NETNS_DIR.iterdir()) if NETNS_DIR.is_dir() else []


def add(name: str, speaks_ipv6: bool = True) -> None:
    """`speaks_ipv6` is for machines; the kernel's own multicast reports have no business on the far end of a cable."""
    run("ip", "netns", "add", name)
    # Router solicitations and duplicate detection of a fresh interface are noise in a world that counts frames.
    settings = ["net.ipv6.conf.default.accept_ra=0", "net.ipv6.conf.default.accept_dad=0"]
    settings.append(f"net.ipv6.conf.default.disable_ipv6={0 if speaks_ipv6 else 1}")
    # A switch in user space leaves its uplink's frames to the kernel, too: it would answer for the VTEP's address with
    # the uplink's MAC, to which no tunnel listens.
    settings += ["net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.default.arp_ignore=1"]
    run("ip", "netns", "exec", name, "sysctl", "-qw", *settings)
    ip(name, ["link set lo up"])


def delete(name: str) -> None:
    if (NETNS_DIR / name).exists():
        run("ip", "netns", "delete", name)


def pids(name: str) -> list[int]:
    """Who lives in the namespace."""
    return [int(pid) for pid in run("ip", "netns", "pids", name).split()]


def ip(name: str, commands: Iterable[str]) -> None:
    """Run `ip` commands in the namespace, all in one process."""
    script = "".join(f"{command}\n" for command in commands)
    if script:
        run("ip", "-netns", name, "-batch", "-", stdin=script)


def inside(name: str) -> list[str]:
    """The words to put before a command that shall run in the namespace."""
    # nsenter and not `ip netns exec`: the latter hides namespaces made later from the process it starts.
    return ["nsenter", f"--net={NETNS_DIR / name}", "--"]


def plain_frames_only(name: str, interface: str) -> None:
    """Switch the offloads off: a frame of 64 kB or without a checksum exists on no wire, and OVS would see it."""
    offloads = ("tx", "gso", "tso", "gro")
    run(*inside(name), "ethtool", "-K", interface, *(word for offload in offloads for word in (offload, "off")))


def within(name: str, act: Callable[[], T]) -> T:
    """Do something in the namespace, on a thread of its own.  A socket opened there stays there, whoever uses it."""
    done: list[T] = []
    failed: list[BaseException] = []

    def enter_and_act() -> None:
        try:
            handle = os.open(NETNS_DIR / name, os.O_RDONLY)
            try:
                if _libc.setns(handle, _CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), f"cannot enter namespace {name}")
            finally:
                os.close(handle)
            done.append(act())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter_and_act, name=f"in {name}")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return done[0]


def packet_socket(name: str, interface: str, ethertype: int = 0x0003) -> socket.socket:
    """Hear and send whole Ethernet frames on one interface of the namespace (0x0003: of every type)."""

    def opened() -> socket.socket:
        raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
        raw.bind((interface, ethertype))
        return raw

    return within(name, opened)
