"""One round of thought: what is and what is wanted in, a plan and what cannot be had out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from isthmus.core.allocate import allocate
from isthmus.core.claims import claims
from isthmus.core.design import Design
from isthmus.core.draft import Draft
from isthmus.core.plan_gated_groups import plan_gated_groups
from isthmus.core.plan_ports import plan_ports
from isthmus.core.plan_tagged_groups import plan_tagged_groups
from isthmus.core.twins import twins
from isthmus.core.view import View, look, strangers
from isthmus.core.worn import shared, unfit, unseen, worn
from isthmus.model.change import Reconciled, Unmet
from isthmus.model.intent import Intent, Network
from isthmus.model.names import NetworkId
from isthmus.model.observed import NveMirror, Observed, SwitchMirror, Unknown
from isthmus.model.place import PlaceKind
from isthmus.model.shard import Duty, VidPool, World
from isthmus.model.tags import Vni


def reconcile(design: Design, world: World, observed: Observed, pool: VidPool, now: float) -> Reconciled:
    """What to do in one shard, so that what is observed becomes what is wanted.

    `now` is in seconds on the clock that dated the moves.  Pure: equal arguments give equal plans.
    """
    world, doubtful = settled(world, observed, now)
    view = look(design, world, observed, pool)
    draft = Draft(unmet=[*doubtful, *view.attachments.unmet, *_left_out(view)])
    warnings: tuple[str, ...] = ()
    if Duty.TAGS in world.shard.duties:
        allocation = allocate(claims(view), worn(view), view.pool, unseen(view), shared(view), unfit(view))
        draft.unmet.extend(allocation.unmet)
        warnings = (*allocation.warnings, *dict.fromkeys(twins(view).values()), *_strangers(view, observed))
    if design.place is PlaceKind.DV_PORT:
        if Duty.PORT_GROUPS in world.shard.duties:
            plan_gated_groups(view, draft)
        if Duty.TAGS in world.shard.duties:
            plan_ports(view, allocation, draft)
    elif Duty.TAGS in world.shard.duties:
        plan_tagged_groups(view, allocation, draft)
    return Reconciled(draft.plan(), tuple(draft.unmet), warnings)


def _left_out(view: View) -> Iterator[Unmet]:
    """NICs here that should speak in a network and are not known by who they are."""
    for attachment, reason in view.attachments.left_out:
        if attachment.live and attachment.nic.host in view.shard.hosts:
            yield Unmet(f"VM {attachment.nic.vm_name or attachment.nic.id.vm}, MAC {attachment.nic.mac}", reason)


def _strangers(view: View, observed: Observed) -> Iterator[str]:
    """What NVEs whose entries bear no mark map for nobody that we know: left alone."""
    for target, ours in sorted(view.nves.items()):
        seen = observed.targets[target]
        mirror = seen.last if isinstance(seen, Unknown) else seen
        if not ours.marked and isinstance(mirror, NveMirror):
            for entry in strangers(mirror, ours):
                yield f"{target} maps VID {entry.vid} to VNI {int(entry.vni)}, which no network of ours has or had"


def settled(world: World, observed: Observed, now: float) -> tuple[World, list[Unmet]]:
    """The world less what cannot be: moves that never ended, and second networks with one VNI (shown)."""
    intent, doubtful = _one_network_per_vni(world.intent, observed)
    moves = tuple(move for move in world.inventory.moves if now - move.seen < world.move_deadline)
    return replace(world, intent=intent, inventory=replace(world.inventory, moves=moves)), doubtful


def _one_network_per_vni(intent: Intent, observed: Observed) -> tuple[Intent, list[Unmet]]:
    """An intent in which a VNI names one network: of several, the one that has port groups already, then the least id.

    The others are shown.
    """
    if len({network.vni for network in intent.networks.values()}) == len(intent.networks):
        return intent, []
    established = {
        (mark.network, mark.vni)
        for seen in observed.targets.values()
        if isinstance(mirror := seen.last if isinstance(seen, Unknown) else seen, SwitchMirror)
        for group in mirror.port_groups.values()
        if (mark := group.mark or group.handed_back) is not None
    }
    kept: dict[NetworkId, Network] = {}
    unmet: list[Unmet] = []
    first: dict[Vni, NetworkId] = {}
    for network in sorted(intent.networks.values(), key=lambda n: ((n.id, n.vni) not in established, n.id)):
        holder = first.setdefault(network.vni, network.id)
        if holder == network.id:
            kept[network.id] = network
        else:
            unmet.append(Unmet(f"network {network.id}", f"VNI {int(network.vni)} is network {holder}'s already"))
    return replace(intent, networks=kept), unmet
