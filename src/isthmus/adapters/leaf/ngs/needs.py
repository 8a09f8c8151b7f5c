"""What each device type that is driven must be told by its operator, and what it must not.

Law: what cannot work is refused where it is configured, with its remedy, and not on the switch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Options = Mapping[str, str]


def _nothing(_: Options) -> Iterator[str]:
    return iter(())


@dataclass(frozen=True, slots=True)
class Needs:
    """One device type."""

    required: tuple[str, ...]
    """The options without which it maps no VID to a VNI."""
    example: str
    """What one of its ports is called."""
    port: Callable[[str], str] = str
    """The one name of a port that has several."""
    wrong: Callable[[Options], Iterator[str]] = _nothing
    """What cannot work, a line for each."""


def no_multicast(options: Options) -> Iterator[str]:
    """Frames for all go to each VTEP that BGP names: a group for them could not be read back."""
    mode = options.get("ngs_bum_replication_mode", "ingress-replication")
    if mode != "ingress-replication":
        yield f"ngs_bum_replication_mode {mode!r}: is not read back, so only 'ingress-replication' is driven"


NEEDS: Mapping[str, Needs] = {
    "netmiko_sonic": Needs(("ngs_vtep_name", "ngs_bgp_asn"), "Ethernet4", wrong=no_multicast),
}
"""By the names that networking-generic-switch has for them: those whose VLANs and VNIs can be read back."""
