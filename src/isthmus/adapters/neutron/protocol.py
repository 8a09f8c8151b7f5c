"""What the mechanism drivers and `isthmus run` say to each other on Neutron's message bus.

```
 neutron API worker                     neutron-rpc-server                         isthmus run
   bind_port ---- port_group (call) ----------------------------------------> topic isthmus.DOMAIN
              --- refused (fanout cast) -------------------------------------> topic isthmus-notify
   postcommit --- changed (fanout cast) -------------------------------------> topic isthmus-notify
                                          an agent starts --- changed ------> topic isthmus-notify
                                          topic isthmus <------ read, heard, ready, correct, rebind,
                                                                        allocate, retire, release, hold, free, down
                                          topic q-reports-plugin <---------- report_state (a Neutron agent per host)
 neutron-openvswitch-agent <------------------------------------------------ add_fdb_entries, remove_fdb_entries
```
All of it may be lost: `changed` and `port_group` only hasten what the next round does anyway, and `refused` is what
people are shown.
"""

from __future__ import annotations

EXCHANGE = "neutron"
"""Neutron's control_exchange: its own default."""
SERVER_TOPIC = "isthmus"
"""The drivers in neutron-rpc-server."""
NOTIFY_TOPIC = "isthmus-notify"
"""Every `isthmus run`, by fanout."""
VERSION = "1.0"
REPORTS_TOPIC = "q-reports-plugin"
L2POP_TOPIC = "q-agent-notifier-l2population-update"
"""Neutron's Open vSwitch agents, each by its host: who is behind which VTEP."""

AGENT_TYPE = "isthmus fabric"
"""The type of the Neutron agents that say which mapping domain a host is in: one per host and type."""
BINARY = "isthmus"
CLUSTER, ATTACHED, OVERLAID, PLUGGED = "cluster", "attached", "overlaid", "plugged"
"""Kinds of such hosts: a nova-compute whose VMs are on a distributed switch below leaves; a machine of its own below a
leaf; a nova-compute whose VMs are on a switch whose ESXi hosts have VTEPs of their own (`physical_network` is the name
of the deployment then); the same with Neutron's own Open vSwitch agent on the appliance of its one ESXi host."""
KEPT, PAUSED, OBSERVED, RELEASED = "kept", "paused", "observed", "released"
"""How the deployment of such a host stands: it is told with the host."""
NOT_KEPT = {
    OBSERVED: "isthmus only observes that deployment ('observe_only')",
    RELEASED: "that deployment was handed back ('isthmus release'), until 'isthmus resume'",
}
"""Where nothing is bound anew, and why: nobody would make the port group, or map the VLAN at the leaf."""
APPLIANCE_TYPE = "isthmus OVSvApp agent"
"""The type of the Neutron agents that say which ESXi host has which VTEP, as long as its appliance answers."""
PLUGIN_TOPIC = "q-plugin"
"""Where Neutron is told of a VTEP, by whoever has one."""

NO_OVERLAY = "its network has no VXLAN segment with a VNI, and appliances know networks by nothing else"
"""Why a port of a flat, VLAN, GRE or Geneve network is not bound on a cluster with appliances."""

PROVISIONING_ENTITY = "ISTHMUS"
"""The provisioning block that is completed when port group and leaf are in place."""
RESERVED, RETIRING = "isthmus: reserved", "isthmus: retiring"
"""How the name of a dynamic segment begins that a port is to be bound to, and of one that nothing refers to any more:
port group and mapping go, then it goes.  The rest of the name is another each time, so that nobody retires or releases
what became another matter since he looked."""


def domain_topic(physical_network: str) -> str:
    """Where the processes that keep a mapping domain are asked for its port groups."""
    return f"isthmus.{physical_network}"
