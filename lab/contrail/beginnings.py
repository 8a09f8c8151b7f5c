"""What a fresh api-server has: the default domain and project, and the networks of its own."""

from __future__ import annotations

from lab.contrail import rules
from lab.contrail.objects import Objects
from lab.contrail.rules import SYSTEM_NETWORKS, SYSTEM_PROJECT, VN
from lab.contrail.schema import kind_of


def fresh() -> Objects:
    objects = Objects(rules)
    objects.create(kind_of("domain"), {"fq_name": SYSTEM_PROJECT[:1]})
    objects.create(kind_of("global-system-config"), {"fq_name": ["default-global-system-config"]})
    objects.create(kind_of("project"), {"fq_name": SYSTEM_PROJECT, "parent_type": "domain"})
    own = {"parent_type": "project"}
    objects.create(kind_of("network-ipam"), {"fq_name": [*SYSTEM_PROJECT, "default-network-ipam"], **own})
    objects.create(kind_of("security-group"), {"fq_name": [*SYSTEM_PROJECT, "default"], **own})
    for name in SYSTEM_NETWORKS:
        objects.create(VN, {"fq_name": [*SYSTEM_PROJECT, name], **own})
    return objects
