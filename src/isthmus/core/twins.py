"""Members of one network that carry one MAC.  All are served, and what is sent to one of them may reach another.

An allowed pair that several ports have is how VRRP works, and nothing to be said; one that is a NIC's own MAC is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from isthmus.core.attach import Attachment
from isthmus.core.view import View
from isthmus.model.intent import Peer
from isthmus.model.names import Mac, NetworkId, NicId


def twins(view: View) -> dict[NicId, str]:
    """What to say of each NIC in a network of this shard's hosts whose MAC another member there has, too."""
    here = {a.network.id for host in view.shard.hosts for a in view.attachments.by_host.get(host, ())}
    outside: defaultdict[NetworkId, list[Peer]] = defaultdict(list)
    for peer in view.world.intent.peers:
        if peer.mac is not None and peer.network in here:
            outside[peer.network].append(peer)
    return {nic: said for network in sorted(here) for nic, said in _twins(view, network, outside[network])}


def _twins(view: View, network: NetworkId, outside: list[Peer]) -> Iterator[tuple[NicId, str]]:
    inside = [attachment for attachment in view.attachments.by_network[network] if attachment.live]
    own = [attachment.nic.mac for attachment in inside] + [peer.mac for peer in outside if peer.mac is not None]
    owned = set(own)
    paired = [(attachment, mac) for attachment in inside for mac in attachment.macs[1:] if mac in owned]
    beyond = [(peer, mac) for peer in outside for mac in peer.pairs if mac in owned]
    if len(owned) == len(own) and not (paired or beyond):  # the usual network
        return
    carriers: defaultdict[Mac, list[str]] = defaultdict(list)
    for attachment in inside:
        carriers[attachment.nic.mac].append(_named(attachment))
    for peer in outside:
        if peer.mac is not None:
            carriers[peer.mac].append(f"a member at VTEP {peer.vtep}")
    for peer, mac in beyond:
        carriers[mac].append(f"a member at VTEP {peer.vtep} by an allowed pair")
    for attachment, mac in paired:
        carriers[mac].append(f"{_named(attachment)} by an allowed pair")
    for attachment, mac in (*((attachment, attachment.nic.mac) for attachment in inside), *paired):
        if len(carriers[mac]) > 1:
            who = ", ".join(sorted(carriers[mac]))
            name = attachment.network.name or network
            yield (
                attachment.nic.id,
                f"network {name}: {who} carry one MAC, {mac}: what is sent to one may reach another",
            )


def _named(attachment: Attachment) -> str:
    nic = attachment.nic
    return f"VM {nic.vm_name or nic.id.vm} (NIC {nic.label or nic.id.key})"
