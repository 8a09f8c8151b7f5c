"""A Flow in the words of ovs-ofctl, both ways, without loss.

The words are those in which `ovs-ofctl -O OpenFlow13 --no-stats --no-names dump-flows` answers (seen with OVS 3.1), so
that a flow loaded and a flow read back are compared as values.

    cookie   63        48 47        32 31              0
             |  0x157a   |  schema   |  VNI, 0: none   |    ours
             |  0x157b   |  schema   |  VNI            |    learnt by the data path: neither read nor removed

Law: parse(render(flow)) == flow.  What was not written by this vocabulary and this schema is read as Raw, so that it
never equals anything wanted: it is replaced if its match is wanted, and can be removed exactly if not.

A table that LearnVtep fills pre-empts another when frames Goto it and its own priority-0 flow goes on with Goto: a
frame that meets a learnt flow ends there, since a learnt flow has no goto.  (Resubmit to it and then Goto would send
the frame twice: a resubmit comes back, whether it hit or not.)
"""

from __future__ import annotations

import re

from isthmus.adapters.ovs.action_text import action_words, actions_of
from isthmus.adapters.ovs.match_text import match_of, match_words
from isthmus.adapters.ovs.numbers import LEARNT_MARK, MARK, SCHEMA, cookie
from isthmus.model.flow import Bridge, Flow, FlowKey, Raw
from isthmus.model.tags import Vni

_DEFAULT_PRIORITY = 0x8000
_NOT_A_MATCH = {
    "duration", "n_packets", "n_bytes", "idle_age", "hard_age", "idle_timeout", "hard_timeout", "importance",
    "send_flow_rem", "check_overlap", "reset_counts", "no_packet_counts", "no_byte_counts",
}  # fmt: skip


def render(flow: Flow) -> str:
    """The flow as a line for `add-flows`.  Raises ValueError for what no bridge of ours can hold."""
    return f"cookie={cookie(MARK, flow.vni)},{render_key(flow.key)} actions={action_words(flow)}"


def render_key(key: FlowKey) -> str:
    """What names exactly this flow to `delete_strict`."""
    match = ",".join(match_words(key.bridge, key.match))
    return f"table={key.table},priority={key.priority}" + (f",{match}" if match else "")


def render_learnt(vni: Vni) -> str:
    """What names all flows that the data path learnt for a network to `delete`."""
    return f"cookie={cookie(LEARNT_MARK, vni)}/-1"


def parse(bridge: Bridge, line: str) -> Flow | None:
    """A line of `dump-flows` as a Flow; None for a flow that the data path learnt."""
    head, _, actions = line.strip().partition(" actions=")
    fields = [word.partition("=") for word in re.split(r"[,\s]+", head) if word]
    found = {name: value for name, _, value in fields}
    mark = int(found.pop("cookie", "0"), 0)
    table, priority = int(found.pop("table", "0")), int(found.pop("priority", _DEFAULT_PRIORITY))
    if mark >> 48 == LEARNT_MARK:
        return None
    settings = {name: found.pop(name) for name in list(found) if name in _NOT_A_MATCH}
    match, vni = match_of(bridge, found), mark & 0xFFFFFFFF
    if settings or mark >> 32 != MARK << 16 | SCHEMA or vni >= 2**24:
        return Flow(bridge, table, priority, match, (Raw(line.strip()),))
    return Flow(bridge, table, priority, match, actions_of(bridge, actions), Vni(vni) if vni else None)
