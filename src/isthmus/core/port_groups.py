"""What both kinds of port group of ours have in common: name, mark, which of our settings have drifted, removal."""

from __future__ import annotations

from isthmus.core.claims import plugged_in, vni_holder
from isthmus.core.draft import Draft
from isthmus.core.view import View, switch_target
from isthmus.model.change import PortGroupSpec, RemovePortGroup
from isthmus.model.intent import Network
from isthmus.model.names import DvsId
from isthmus.model.observed import Access, NoVlan, OwnerMark, PortGroupState


def networks(view: View) -> list[Network]:
    """The wanted networks, in a stable order."""
    return sorted(view.world.intent.networks.values(), key=lambda network: network.id)


def mark_for(view: View, dvs: DvsId, key: str | None, network: Network, draft: Draft) -> OwnerMark:
    """The mark that the network's port group should carry; the one it has while its new VNI is still another's."""
    wanted = OwnerMark(view.shard.owner, network.id, network.vni)
    held = wanted if key is None else view.marks[dvs, key]
    return held if held.vni != wanted.vni and vni_is_taken(view, network, draft) else wanted


def vni_is_taken(view: View, network: Network, draft: Draft) -> bool:
    """Whether a port group of another network still carries the VNI, which is then said."""
    holder = vni_holder(view, network)
    if holder is not None:
        reason = (
            f"waits: a port group of network {holder} still has its VNI {int(network.vni)} "
            "(two networks that are to swap their VNIs need a third VNI on the way)"
        )
        draft.cannot(f"network {network.id}", reason)
    return holder is not None


def drift(state: PortGroupState, spec: PortGroupSpec) -> list[str]:
    """Which of the settings that we own differ."""
    expected = NoVlan() if spec.vid is None else Access(spec.vid)
    wrong = []
    if state.mark != spec.mark:
        wrong.append(f"its mark says {_said(state.mark)}, not {_said(spec.mark)}")
    if state.vlan != expected:
        wrong.append(f"VLAN is {state.vlan}")
    if state.blocked != spec.gated:
        wrong.append("it is open" if spec.gated else "it is blocked")
    if spec.gated and not (state.vlan_override and state.block_override):
        wrong.append("ports may not override VLAN and block")
    if spec.gated and not state.reset_at_disconnect:
        wrong.append("ports keep overrides when disconnected")
    return wrong


def changed_by_hand(state: PortGroupState, spec: PortGroupSpec) -> bool:
    """Only another hand can have made it differ so, and nobody is let into a network by it: it may be left as it is.

    A tag is no such thing, nor is an open port group: without a VID the NICs in all of them would hear each other.
    """
    return state.mark == spec.mark and spec.gated and state.blocked


def _said(mark: OwnerMark | None) -> str:
    return "nothing" if mark is None else f"{mark.owner}'s network {mark.network}, VNI {int(mark.vni)}"


def remove_group(view: View, dvs: DvsId, key: str, after: tuple[int, ...], draft: Draft) -> None:
    """Remove a port group of ours that nobody wants, unless NICs are plugged in or the intent is only remembered."""
    mark = view.marks[dvs, key]
    in_use = plugged_in(view.switches[dvs], key)
    if in_use:
        wanted = mark.network in view.world.intent.networks
        why = f"network {mark.network} has another port group" if wanted else f"network {mark.network} is not wanted"
        draft.cannot(f"port group {key}", f"{why}, but {in_use} NICs are plugged in")
    elif not view.world.intent.fresh:
        draft.cannot(f"port group {key}", "not wanted any more, but the intent is only remembered")
    else:
        reason = f"network {mark.network} is not wanted"
        draft.add(switch_target(dvs), RemovePortGroup(dvs, key, mark), reason, after, guarded=True)
