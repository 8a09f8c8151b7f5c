"""Each fault of vCenter's means one thing: again later, an operator must decide, or a bug."""

from __future__ import annotations

import ssl
from http.client import BadStatusLine

import pytest
from pyVmomi import vim, vmodl

from isthmus.adapters.vcenter.faults import faults_of, meaning, one_line
from isthmus.model.faults import Refused, Retry, Unreachable

HOST = vim.HostSystem("host-3", None)
BULK = vim.fault.DvsOperationBulkFault(
    hostFault=[vim.fault.DvsOperationBulkFault.FaultOnHost(host=HOST, fault=vmodl.fault.HostNotConnected())]
)


@pytest.mark.parametrize(
    "fault",
    [
        vim.fault.NotAuthenticated(),
        vim.fault.ConcurrentAccess(),
        vim.fault.ResourceInUse(),
        vim.fault.TaskInProgress(),
        vim.fault.NotFound(),
        vim.fault.Timedout(),
        vmodl.fault.HostNotConnected(),
        vmodl.fault.HostNotReachable(),
        vmodl.fault.ManagedObjectNotFound(),
        vmodl.fault.RequestCanceled(),
        vmodl.fault.SystemError(),
        BULK,
        TimeoutError("timed out"),
        ConnectionRefusedError(111, "refused"),
        BadStatusLine("x"),
        ssl.SSLEOFError(8, "EOF"),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_what_passes_is_tried_again(fault: Exception) -> None:
    meant = meaning(fault, "vCenter vc1")
    assert isinstance(meant, Retry)
    assert str(meant).startswith("vCenter vc1: ")


@pytest.mark.parametrize(
    ("fault", "whole"),
    [
        (vim.fault.NotAuthenticated(), True),
        (TimeoutError("timed out"), True),
        (BadStatusLine("503 Service Unavailable"), True),
        (vim.fault.ResourceInUse(), False),
        (vim.fault.ConcurrentAccess(), False),
        (vmodl.fault.SystemError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_what_concerns_the_vcenter_as_a_whole_keeps_other_changes_from_being_tried(
    fault: Exception, whole: bool
) -> None:
    assert isinstance(meaning(fault, "vCenter vc1"), Unreachable) is whole


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (vim.fault.NoPermission(object=HOST, privilegeId="DVPortgroup.Create"), ("DVPortgroup.Create", "host-3")),
        (vim.fault.InvalidLogin(), ("password",)),
        (vim.fault.DvsNotAuthorized(dvsExtensionKey="com.example"), ("com.example",)),
        (ssl.SSLCertVerificationError(1, "self-signed"), ("ca_file", "thumbprint")),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"), ("port",)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_an_operator_must_decide_names_the_place_and_the_remedy(fault: Exception, words: tuple[str, ...]) -> None:
    meant = meaning(fault, "vCenter vc1")
    assert isinstance(meant, Refused)
    assert all(word in str(meant) for word in ("vCenter vc1", *words))


def test_what_nobody_expected_rises() -> None:
    with pytest.raises(vmodl.fault.InvalidArgument), faults_of("vc1"):
        raise vmodl.fault.InvalidArgument(invalidProperty="spec")
    with pytest.raises(KeyError), faults_of("vc1"):
        raise KeyError("x")


def test_a_bulk_fault_says_which_host_said_what() -> None:
    assert "host-3: HostNotConnected" in str(meaning(BULK, "switch"))


LOCALIZED = vmodl.LocalizableMessage(key="x", message="The host is in standby.")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (vim.fault.InvalidState(msg="InvalidState"), "InvalidState"),
        (vim.fault.InvalidState(), "InvalidState"),
        (vim.fault.InvalidState(msg="Not now."), "InvalidState: Not now."),
        (
            vim.fault.InvalidState(msg="InvalidState", faultMessage=[LOCALIZED]),
            "InvalidState: The host is in standby.",
        ),
        (
            vim.fault.InvalidState(msg="Not now.", faultMessage=[LOCALIZED, LOCALIZED]),
            "InvalidState: Not now. The host is in standby.",
        ),
        (vim.fault.InvalidState(faultMessage=[vmodl.LocalizableMessage(key="only.a.key")]), "InvalidState"),
    ],
)
def test_a_fault_is_told_with_its_class_once_and_all_it_has_to_say(fault: Exception, told: str) -> None:
    assert str(meaning(fault, "vc1")) == f"vc1: {told}"


def test_a_hostile_text_becomes_one_short_line() -> None:
    text = one_line("a\r\nb\u202e" + "x" * 10_000)
    assert len(text) == 300
    assert text.isprintable()
