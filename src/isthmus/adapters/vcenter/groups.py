"""A port group as we know it: out of pyVmomi's object or out of the XML, and then in our words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from isthmus.adapters.vcenter.marks import decoded, handed_back, newer_schema
from isthmus.adapters.vcenter.naming import plain
from isthmus.adapters.vcenter.stream import flag, inside, said
from isthmus.adapters.vcenter.vlans import vlan_in, vlan_spec
from isthmus.model.observed import MacLearning, PortGroupState, VlanSpec


@dataclass(frozen=True, slots=True)
class GroupConfig:
    """What is used of a DVPortgroupConfigInfo."""

    key: str
    name: str
    version: str
    description: str
    type: str
    uplink: bool
    vlan: VlanSpec
    blocked: bool
    vlan_override: bool
    block_override: bool
    reset_at_disconnect: bool
    forged_transmits: bool
    promiscuous: bool
    mac_changes: bool
    mac_learning: MacLearning | None


def group_config(config: Any) -> GroupConfig:
    """A `config` as pyVmomi has it."""
    if isinstance(config, GroupConfig):  # read from XML
        return config
    setting, policy = config.defaultPortConfig, config.policy
    mac = getattr(setting, "macManagementPolicy", None)
    security = getattr(setting, "securityPolicy", None)
    learning = mac.macLearningPolicy if mac else None
    return GroupConfig(
        key=config.key,
        name=config.name or "",
        version=config.configVersion or "",
        description=config.description or "",
        type=config.type or "",
        uplink=bool(config.uplink),
        vlan=vlan_spec(getattr(setting, "vlan", None)),
        blocked=_true(setting.blocked if setting else None),
        vlan_override=bool(getattr(policy, "vlanOverrideAllowed", False)),
        block_override=bool(policy and policy.blockOverrideAllowed),
        reset_at_disconnect=bool(policy and policy.portConfigResetAtDisconnect),
        # macManagementPolicy replaced securityPolicy in vSphere 6.7; either may be unset.
        forged_transmits=_either(mac and mac.forgedTransmits, security and security.forgedTransmits),
        promiscuous=_either(mac and mac.allowPromiscuous, security and security.allowPromiscuous),
        mac_changes=_either(mac and mac.macChanges, security and security.macChanges),
        mac_learning=_learning(learning.enabled, learning.allowUnicastFlooding, learning.limit, learning.limitPolicy)
        if learning
        else None,
    )


def group_config_in(config: Element) -> GroupConfig:
    """A `config` in XML.  Raises ValueError or KeyError for what pyVmomi must judge."""
    setting, policy = inside(config, "defaultPortConfig"), inside(config, "policy")
    mac, security = inside(setting, "macManagementPolicy"), inside(setting, "securityPolicy")
    return GroupConfig(
        key=said(config, "key"),
        name=said(config, "name"),
        version=said(config, "configVersion"),
        description=said(config, "description"),
        type=said(config, "type"),
        uplink=flag(config, "uplink"),
        vlan=vlan_in(inside(setting, "vlan")),
        blocked=flag(inside(setting, "blocked"), "value"),
        vlan_override=flag(policy, "vlanOverrideAllowed"),
        block_override=flag(policy, "blockOverrideAllowed"),
        reset_at_disconnect=flag(policy, "portConfigResetAtDisconnect"),
        forged_transmits=_either_in(mac, security, "forgedTransmits"),
        promiscuous=_either_in(mac, security, "allowPromiscuous"),
        mac_changes=_either_in(mac, security, "macChanges"),
        mac_learning=_learning_in(inside(mac, "macLearningPolicy")),
    )


def port_group(config: GroupConfig, name: str | None, uplink_keys: frozenset[str] = frozenset()) -> PortGroupState:
    """A port group in our words."""
    return PortGroupState(
        key=config.key,
        name=plain(name or config.name),
        vlan=config.vlan,
        blocked=config.blocked,
        version=config.version,
        mark=decoded(config.description),
        vlan_override=config.vlan_override,
        block_override=config.block_override,
        reset_at_disconnect=config.reset_at_disconnect,
        early_binding=config.type == "earlyBinding",
        is_uplink=config.uplink or config.key in uplink_keys,
        forged_transmits=config.forged_transmits,
        promiscuous=config.promiscuous,
        mac_changes=config.mac_changes,
        mac_learning=config.mac_learning,
        handed_back=handed_back(config.description),
        unjudged=newer_schema(config.description) is not None,
    )


def _learning(enabled: bool, floods: bool | None, limit: int | None, policy: str | None) -> MacLearning | None:
    """What is not said is as vSphere has it by default."""
    if not enabled:
        return None
    usual = MacLearning()
    return MacLearning(
        usual.unicast_flooding if floods is None else floods,
        usual.limit if limit is None else limit,
        usual.drops if policy is None else policy.upper() == "DROP",
    )


def _learning_in(policy: Element | None) -> MacLearning | None:
    floods, limit = inside(policy, "allowUnicastFlooding"), said(policy, "limit")
    return _learning(
        flag(policy, "enabled"),
        flag(policy, "allowUnicastFlooding") if floods is not None else None,
        int(limit) if limit else None,
        said(policy, "limitPolicy") or None,
    )


def _true(policy: Any) -> bool:
    return bool(policy is not None and policy.value)


def _either(flag: bool | None, policy: Any) -> bool:
    return bool(flag) if flag is not None else _true(policy)


def _either_in(mac: Element | None, security: Element | None, name: str) -> bool:
    return flag(mac, name) if inside(mac, name) is not None else flag(inside(security, name), "value")
