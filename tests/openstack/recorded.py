"""A binding as Neutron's API shows it, recorded: what isthmus_vds makes there and what Nova reads is this one text.

It was printed from `GET /v2.0/ports/{id}` of a port that `tests/openstack/cloud.py` had bound on compute-1; a test in
`test_binding.py` holds the driver to it, key by key, and `tests/nova` gives it to Nova's own code.
"""

from __future__ import annotations

import json
from typing import Any

DVS, PORT_GROUP = "dvs-uuid", "dvportgroup-7"
BINDING = """
{
  "binding:vnic_type": "normal",
  "binding:profile": {},
  "binding:host_id": "compute-1",
  "binding:vif_type": "dvs",
  "binding:vif_details": {
    "dvs_id": "dvs-uuid",
    "pg_id": "dvportgroup-7",
    "port_filter": false,
    "connectivity": "l2",
    "bound_drivers": {"0": "isthmus_fabric", "1": "isthmus_vds"}
  }
}
"""


def binding(dvs: str = DVS, port_group: str = PORT_GROUP) -> dict[str, Any]:
    """The binding, to this port group of this switch."""
    return dict(json.loads(BINDING.replace(DVS, dvs).replace(PORT_GROUP, port_group)))
