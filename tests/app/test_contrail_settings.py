"""What a configuration with Contrail may say, and what is wrong with one that cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest

from isthmus.app.settings import Settings, load
from isthmus.app.wiring import wire
from isthmus.model.faults import Refused

GOOD = """
[vcenter.vc1]
url = "https://vc1.example/sdk"
user = "isthmus"
password_env = "SECRET"
[intent.contrail]
url = ["http://192.0.2.10:8082", "http://192.0.2.11:8082"]
projects = ["vCenter", "other:red team"]
[deployment.cloud]
design = "contrail"
dvs = "tenants"
[deployment.cloud.host."esx1"]
vtep = "192.0.2.1"
[deployment.cloud.host."esx2"]
vtep = "192.0.2.2"
vrouter = "http://192.0.2.200:19091"
"""
SECRETS = {"SECRET": "canary-Pa55", "API": "canary-Ap1"}


def read(folder: Path, text: str) -> Settings:
    (folder / "isthmus.toml").write_text(text)
    return load(folder / "isthmus.toml", SECRETS)


def test_it_is_wired_without_asking_anybody(tmp_path: Path) -> None:
    wiring = wire(read(tmp_path, GOOD), lambda: 0.0)
    assert [charge.name for charge in wiring.charges] == ["cloud/port-groups", "cloud/esx1", "cloud/esx2"]
    wiring.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('url = ["http://192.0.2.10:8082", "http://192.0.2.11:8082"]', "url = []", "intent.contrail.url"),
        ('"http://192.0.2.10:8082"', '"192.0.2.10:8082"', "must be a URL"),
        ('"http://192.0.2.10:8082"', '"http://a:hunter2@192.0.2.10"', "must hold neither user nor password"),
        ("[intent.contrail]", '[intent]\nfile = "x"\n[intent.contrail]', "one of them only"),
        ('design = "contrail"', 'design = "ovsvapp"', "say 'file' in [intent] or [intent.neutron]"),
        ("[intent.contrail]", '[intent.contrail]\nmode = "both"', "vcenter-as-compute"),
        ("[intent.contrail]", '[intent.contrail]\npassword_env = "API"', "none is named: say 'user'"),
        ("[intent.contrail]", '[intent.contrail]\nuser = "admin"', "no password: name a password_file"),
        ("[intent.contrail]", '[intent.contrail]\nuser = "admin"\npassword_env = "UNSET"', "no password"),
        (
            "[intent.contrail]",
            '[intent.contrail]\nuser = "admin"\npassword_env = "API"\npassword_file = "x"',
            "password_file is given too",
        ),
        ('vtep = "192.0.2.1"', "", "esx1.vtep: is missing"),
        ('vtep = "192.0.2.1"', 'vtep = "192.0.2.1"\ntrunk = "eth1"', "has a vRouter on each host, and no Open vSwitch"),
        ('vrouter = "http://192.0.2.200:19091"', 'vrouter = "192.0.2.200"', "must be a URL"),
        ('vtep = "192.0.2.1"', 'vtep = "192.0.2.1"\nvrouter = "http://192.0.2.200:19091"', "each host has its own"),
        ('dvs = "tenants"', 'dvs = "tenants"\n[deployment.cloud.appliance]\novsdb = "unix:/x"', "no Open vSwitch"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(Refused) as refused:
        read(tmp_path, GOOD.replace(old, new, 1))
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_vrouter_is_no_key_of_another_design(tmp_path: Path) -> None:
    text = GOOD.replace('design = "contrail"', 'design = "ovsvapp"')
    with pytest.raises(Refused, match="has no vRouter agents: take it out"):
        read(tmp_path, text)


def test_a_ca_file_without_certificates_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    settings = read(tmp_path, GOOD.replace("[intent.contrail]", '[intent.contrail]\nca_file = "ca.pem"'))
    with pytest.raises(Refused, match="holds no certificates"):
        wire(settings, lambda: 0.0)


def test_the_password_is_in_no_repr(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD.replace("[intent.contrail]", '[intent.contrail]\nuser = "a"\npassword_env = "API"'))
    assert settings.contrail_password() == SECRETS["API"]
    assert SECRETS["API"] not in repr(settings)
