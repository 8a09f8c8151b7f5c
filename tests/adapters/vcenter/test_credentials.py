"""A wrong password is sent once, not until the account is locked; a corrected one is tried at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

import pytest
from pyVmomi import vim

from isthmus.adapters.vcenter import Vcenter
from isthmus.adapters.vcenter.credentials import AGAIN, SOON, Credentials
from isthmus.model.change import Outcome
from isthmus.model.faults import Refused, Retry
from lab.vcenter import Delay
from tests.adapters.vcenter.bench import Bench, eventually, settings_of
from tests.adapters.vcenter.test_switch import apply, opened, ports

WRONG = "s3cr3t-but-wrong"


@dataclass(slots=True)
class Login:
    """A vCenter that takes one password, and what was sent to it; the password that is configured, and the time."""

    right: str = "right"
    configured: str = WRONG
    now: float = 0.0
    sent: list[str] = field(default_factory=list)

    def credentials(self) -> Credentials:
        return Credentials("vCenter vc1", "user", lambda: self.configured, lambda: self.now)

    def __call__(self, user: str, password: str) -> None:
        self.sent.append(password)
        if (user, password) != ("user", self.right):
            raise vim.fault.InvalidLogin


def refusal(attempt: Callable[[], object]) -> str:
    with pytest.raises(Refused) as caught:
        attempt()
    return str(caught.value)


def test_a_refused_password_is_sent_again_after_half_an_hour_and_told_in_the_same_words_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    login = Login()

    class Calendar:
        @staticmethod
        def now(zone: tzinfo) -> datetime:
            return datetime.fromtimestamp(login.now, zone)

    monkeypatch.setattr("isthmus.adapters.vcenter.credentials.datetime", Calendar)
    credentials = login.credentials()
    texts = {refusal(lambda: credentials.present(login))}
    for login.now in (1.0, 60.0, AGAIN - 1):
        texts |= {refusal(credentials.check), refusal(lambda: credentials.present(login))}
    assert login.sent == [WRONG]
    login.now = 1.5 * AGAIN
    credentials.check()
    texts.add(refusal(lambda: credentials.present(login)))
    assert login.sent == [WRONG, WRONG]
    login.now += AGAIN - 1
    texts.add(refusal(lambda: credentials.present(login)))
    assert login.sent == [WRONG, WRONG]
    [text] = texts
    assert all(word in text for word in ("vCenter vc1", "since 1970-01-01 00:00:00", "changes", "each half an hour"))
    assert WRONG not in text


def test_another_password_is_tried_at_once_and_may_be_wrong_too() -> None:
    login = Login()
    credentials = login.credentials()
    refusal(lambda: credentials.present(login))
    login.configured = "also wrong"
    credentials.check()
    refusal(lambda: credentials.present(login))
    refusal(lambda: credentials.present(login))
    login.configured = login.right
    credentials.present(login)
    assert login.sent == [WRONG, "also wrong", login.right]


def test_who_was_refused_and_then_let_in_has_a_clean_record() -> None:
    login = Login()
    credentials = login.credentials()
    refusal(lambda: credentials.present(login))
    login.configured = login.right
    credentials.present(login)
    login.configured = login.right = WRONG
    credentials.present(login)
    assert login.sent == [WRONG, "right", WRONG]


def test_who_was_let_in_before_is_let_in_again_minutes_after_a_lock_or_a_rotation_and_then_each_half_an_hour() -> None:
    login = Login(configured="right")
    credentials = login.credentials()
    credentials.present(login)
    login.right = "not yet"  # somebody else locked the account, or the file was rotated before vCenter
    refusal(lambda: credentials.present(login))
    login.now = SOON - 1
    refusal(lambda: credentials.present(login))
    assert len(login.sent) == 2
    login.now = 1.5 * SOON
    refusal(lambda: credentials.present(login))
    assert len(login.sent) == 3
    login.now += AGAIN - 1
    refusal(lambda: credentials.present(login))
    assert len(login.sent) == 3
    login.now += 0.5 * AGAIN + 1
    login.right = "right"
    credentials.present(login)
    assert len(login.sent) == 4


def test_processes_that_were_refused_together_do_not_come_back_together() -> None:
    back = set()
    for _ in range(20):
        login = Login()
        credentials = login.credentials()
        refusal(lambda: credentials.present(login))  # noqa: B023
        while len(login.sent) == 1:
            login.now += 10.0
            refusal(lambda: credentials.present(login))  # noqa: B023
        back.add(login.now)
    assert len(back) > 5


def test_no_clear_text_of_a_password_is_kept() -> None:
    login = Login()
    credentials = login.credentials()
    refusal(lambda: credentials.present(login))
    assert WRONG not in repr([getattr(credentials, name) for name in vars(credentials)])


@contextmanager
def locked_out(bench: Bench, configured: list[str]) -> Iterator[tuple[Vcenter, Callable[[], int]]]:
    """A watching Vcenter whose password is the first of a list, and how many log-ins the vCenter saw, each slow."""
    rule = bench.simulator.faults.add(Delay(300), method="Login")
    vcenter = bench.again(password=lambda: configured[0])
    try:
        vcenter.inventory.watch(lambda hosts: None)
        yield vcenter, lambda: bench.simulator.faults.struck(rule)
    finally:
        vcenter.close()


@pytest.mark.sim
def test_all_sessions_of_a_login_send_a_wrong_password_once(bench: Bench) -> None:
    with locked_out(bench, [WRONG]) as (vcenter, log_ins), ThreadPoolExecutor(4) as pool:
        asked = [vcenter.inventory.read, lambda: vcenter.switch("tenant").observe()] * 10
        texts = set(pool.map(refusal, asked))
        eventually(lambda: refusal(vcenter.inventory.read) in texts)
        assert len(texts) == 1
        assert log_ins() == 1


@pytest.mark.sim
def test_a_password_that_was_wrong_and_is_right_again_serves_within_seconds(bench: Bench) -> None:
    configured = [WRONG]
    bench.simulator.sessions.limits(lock_after=3, lock_seconds=300)

    def served() -> bool:
        try:
            return bool(vcenter.inventory.read().nics and vcenter.switch("tenant").observe().ports)
        except (Refused, Retry):
            return False

    with locked_out(bench, configured) as (vcenter, log_ins):
        for _ in range(30):  # as often as everything that needs it would ask
            assert not served()
            assert refusal(lambda: vcenter.switch("tenant"))
        configured[0] = bench.simulator.password
        assert eventually(served, 5.0)
        assert log_ins() == 1 + 2, "the wrong one once, the right one for each session"


@pytest.mark.sim
def test_a_write_that_finds_the_password_wrong_is_not_refused_itself_and_is_made_once_it_is_right(bench: Bench) -> None:
    configured = [bench.simulator.password]
    vcenter = bench.again(password=lambda: configured[0])
    try:
        switch = vcenter.switch("tenant")
        before = ports(switch)
        configured[0] = WRONG
        bench.operator.end_other_sessions()
        log_ins = bench.simulator.faults.add(Delay(1), method="Login")
        results = apply(switch, *(opened(port, 101) for port in before))
        assert {result.outcome for result in results} == {Outcome.UNREACHABLE}
        assert all("password is wrong" in result.detail for result in results)
        assert bench.simulator.faults.struck(log_ins) == 1
        configured[0] = bench.simulator.password
        assert {result.outcome for result in apply(switch, *(opened(port, 101) for port in before))} == {Outcome.DONE}
    finally:
        vcenter.close()


@pytest.mark.sim
def test_while_a_password_is_known_to_be_wrong_vcenter_hears_nothing(bench: Bench) -> None:
    vcenter = Vcenter(settings_of(bench.simulator, password=lambda: WRONG))
    try:
        told = refusal(vcenter.inventory.read)
        bench.simulator.kill()
        assert refusal(lambda: vcenter.switch("tenant")) == told
    finally:
        vcenter.close()
