"""What `isthmus check` says of the underlay, where the VTEP is an address of this very machine."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from isthmus.app.config import DeploymentConfig
from isthmus.app.finding import Finding, Level
from isthmus.app.underlay import ENCAPSULATION, answered, mtu_between

SMALL = 68
"""Bytes of an IPv4 packet that every path must carry (RFC 791)."""
_SHOWN = 5


def room(place: str, deployment: DeploymentConfig, mtu: int, beyond: Collection[str] = ()) -> Iterator[Finding]:
    """Room for networks of that MTU and their encapsulation, on the way to every other VTEP of the deployment, and to
    those `beyond` it (KVM hosts, network nodes, gateways)."""
    vteps = {vtep for name in deployment.host if (vtep := deployment.vtep_of(name))}
    for here in sorted(vtep for name in deployment.served if (vtep := deployment.vtep_of(name))):
        peers = sorted({*vteps, *beyond} - {here})
        paths = [path for peer in peers if (path := mtu_between(here, peer)) is not None]
        if not mtu or not paths:
            continue
        needed, at = mtu + ENCAPSULATION, f"{place}: VTEP {here}"
        remedy = f"raise the MTU of the underlay to {needed} or more, or lower the networks'"
        if min(paths) < needed:
            what = f"the underlay takes packets of {min(paths)} bytes, the networks need {mtu} + {ENCAPSULATION}"
            yield Finding(Level.ERROR, at, what, remedy)
            continue
        yield from _arriving(at, peers, answered(here, peers, (SMALL, needed)), needed, remedy)


def _arriving(
    at: str, peers: Collection[str], heard: set[tuple[str, int]] | None, needed: int, remedy: str
) -> Iterator[Finding]:
    """What the pings say; heard is None if nothing could be sent."""
    if heard is None:
        what = f"whether packets of {needed} bytes arrive at the other VTEPs was not tried"
        yield Finding(Level.WARNING, at, what, "run this as root")
        return
    narrow = [peer for peer in peers if (peer, SMALL) in heard and (peer, needed) not in heard]
    silent = [peer for peer in peers if (peer, SMALL) not in heard and (peer, needed) not in heard]
    if narrow:
        what = f"packets of {needed} bytes get lost on the way to {_listed(narrow)} or back, small ones do not"
        yield Finding(Level.ERROR, at, what, remedy)
    if silent:
        what = f"no answer to a ping from {_listed(silent)}, so whether packets of {needed} bytes arrive is not known"
        yield Finding(Level.WARNING, at, what, "start what has those VTEPs, or let ICMP echo pass between VTEPs")
    if not narrow and not silent:
        yield Finding(Level.GOOD, at, f"packets of {needed} bytes reach all other VTEPs ({len(peers)})")


def _listed(peers: list[str]) -> str:
    more = f" and {len(peers) - _SHOWN} more" if len(peers) > _SHOWN else ""
    return ", ".join(peers[:_SHOWN]) + more
