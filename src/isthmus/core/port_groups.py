"""What both kinds of port group of ours have in common: name, mark, which of our settings have drifted, removal."""

from __future__ import annotations

from dataclasses import replace

from isthmus.core.claims import plugged_in, vni_holder
from isthmus.core.draft import Draft
from isthmus.core.view import View, switch_target
from isthmus.model.change import AlterPortGroup, PortGroupSpec, RemovePortGroup
from isthmus.model.intent import Network
from isthmus.model.names import DvsId, NetworkId
from isthmus.model.observed import Access, NoVlan, OwnerMark, PortGroupState, Security

_SHOWN = 5


def networks(view: View) -> list[Network]:
    """The wanted networks, in a stable order."""
    return sorted(view.world.intent.networks.values(), key=lambda network: network.id)


def mark_for(view: View, dvs: DvsId, key: str | None, network: Network, draft: Draft) -> OwnerMark:
    """The mark that the network's port group should carry; the one it has while its new VNI is still another's.

    A VNI that it had stays in the mark, NICs or none: whether every appliance has let go of it, only an operator knows.
    """
    wanted = OwnerMark(view.shard.owner, network.id, network.vni)
    held = wanted if key is None else view.marks[dvs, key]
    if held.vni != wanted.vni and vni_is_taken(view, network, draft):
        return held
    return replace(wanted, was=tuple(vni for vni in dict.fromkeys((*held.was, held.vni)) if vni != wanted.vni))


def give_vnis_away(view: View, dvs: DvsId, key: str, spec: PortGroupSpec, draft: Draft) -> None:
    """Let other networks have the VNIs that this one had, if an operator says so."""
    if not spec.mark.was:
        return
    waiting = {n.vni for n in view.world.intent.networks.values() if n.id != spec.mark.network} & set(spec.mark.was)
    if waiting:
        kept = tuple(vni for vni in spec.mark.was if vni not in waiting)
        action = AlterPortGroup(
            dvs, key, view.switches[dvs].port_groups[key].version, replace(spec, mark=replace(spec.mark, was=kept))
        )
        said = ", ".join(str(int(vni)) for vni in sorted(waiting))
        reason = (
            f"another network waits for VNI {said}, which network {spec.mark.network} had: "
            "agree when isthmus runs for every host, and has settled"
        )
        draft.add(switch_target(dvs), action, reason, asks=True)


def vni_is_taken(view: View, network: Network, draft: Draft) -> bool:
    """Whether the VNI is, or may be, another network's on any switch, which is then said."""
    reason = _why_taken(view, network)
    if reason:
        draft.cannot(f"network {network.id}", f"waits: {reason}")
    return bool(reason)


def _why_taken(view: View, network: Network) -> str:
    vni, holder = int(network.vni), vni_holder(view, network)
    if holder is None:
        unread = ", ".join(_never_read(view))
        return f"VNI {vni} may be another network's on {unread}, which was never read" if unread else ""
    if holder.vni == network.vni:
        remedy = ": they swap VNIs, so give one of them a third VNI first" if _in_a_ring(view, network) else ""
        return f"a port group of network {holder.network} still has its VNI {vni}{remedy}"
    if holder.network not in view.world.intent.networks:
        return f"VNI {vni} was that of network {holder.network}, which is not wanted, but has a port group still"
    return (
        f"VNI {vni} was that of network {holder.network}, and an appliance without isthmus may still use it so; "
        "if there is none, apply --agree gives it away"
    )


def _in_a_ring(view: View, network: Network) -> bool:
    """Each waits for the VNI that the next one has, and the last for that of the first."""
    seen: set[NetworkId] = set()
    waiting: Network | None = network
    while waiting is not None and waiting.id not in seen:
        seen.add(waiting.id)
        holder = vni_holder(view, waiting)
        waiting = view.world.intent.networks.get(holder.network) if holder and holder.vni == waiting.vni else None
    return waiting is not None and waiting.id == network.id


def _never_read(view: View) -> list[str]:
    """The switches of which nobody can say what marks they hold."""
    read = {switch_target(dvs) for dvs in view.switches}
    return [str(target) for target in sorted(view.unknown) if target.kind == "dvs" and target not in read]


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
    if not spec.gated and not state.block_override:
        wrong.append("no port in it can be closed")
    if spec.gated and not state.reset_at_disconnect:
        wrong.append("ports keep overrides when disconnected")
    return wrong + [f"it {'accepts' if held else 'rejects'} {what}" for what, held in _insecure(state, spec.security)]


def _insecure(state: PortGroupState, wanted: Security) -> list[tuple[str, bool]]:
    """In what it differs, and how it is."""
    flags = (
        ("forged transmits", state.forged_transmits, wanted.forged_transmits),
        ("promiscuous mode", state.promiscuous, wanted.promiscuous),
        ("MAC changes", state.mac_changes, wanted.mac_changes),
    )
    return [(what, held) for what, held, asked in flags if asked is not None and held != asked]


def changed_by_hand(state: PortGroupState, spec: PortGroupSpec) -> bool:
    """Only another hand can have made it differ so, and nobody is let into a network by it: it may be left as it is.

    A tag is no such thing, nor is an open port group: without a VID the NICs in all of them would hear each other.
    Nor is one without the override permissions: a port in it could not be closed.
    """
    closable = state.blocked and state.block_override and state.vlan_override
    return state.mark == spec.mark and spec.gated and closable


def _said(mark: OwnerMark | None) -> str:
    if mark is None:
        return "nothing"
    was = f" (it was {', '.join(str(int(vni)) for vni in mark.was)})" if mark.was else ""
    return f"{mark.owner}'s network {mark.network}, VNI {int(mark.vni)}{was}"


def remove_group(view: View, dvs: DvsId, key: str, after: tuple[int, ...], draft: Draft) -> None:
    """Remove a port group of ours that nobody wants, unless NICs are plugged in or the intent is only remembered."""
    mark = view.marks[dvs, key]
    in_use = plugged_in(view.switches[dvs], key)
    wanted = mark.network in view.world.intent.networks
    why = f"network {mark.network} has another port group" if wanted else f"network {mark.network} is not wanted"
    if in_use:
        draft.cannot(f"port group {key}", f"{why}, but {in_use} NICs are plugged in{_whose(view, dvs, key)}")
    elif not view.world.intent.fresh:
        draft.cannot(f"port group {key}", "not wanted any more, but the intent is only remembered")
    else:
        draft.add(switch_target(dvs), RemovePortGroup(dvs, key, mark), why, after, guarded=True)


def _whose(view: View, dvs: DvsId, key: str) -> str:
    """The VMs whose NICs are in a port group, as far as they are known here."""
    nics = view.world.inventory.nics.values()
    vms = sorted({nic.vm_name or str(nic.id.vm) for nic in nics if (nic.dvs, nic.port_group) == (dvs, key)})
    more = f" and {len(vms) - _SHOWN} more" if len(vms) > _SHOWN else ""
    return f": VM {', '.join(vms[:_SHOWN])}{more}" if vms else ""
