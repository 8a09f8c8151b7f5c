"""The configuration: every error at once, each with its place; secrets stay where they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from isthmus.app.settings import Settings, load
from isthmus.model.faults import Refused
from isthmus.model.tags import VidSet

CANARY = "canary-Pa55"
GOOD = """
[vcenter.vc1]
url = "https://vc1.example/sdk"
user = "isthmus"
password_env = "SECRET"
[intent]
file = "intent.yaml"
[deployment.tenant]
design = "ovsvapp"
dvs = "tenant"
vids = "100-199,300"
[deployment.tenant.appliance]
trunk = "eth1"
[deployment.tenant.host."esx1.example"]
vtep = "192.0.2.1"
ovsdb = "unix:/run/one/db.sock"
[deployment.tenant.host."esx2.example"]
vtep = "192.0.2.2"
ovsdb = "unix:/run/two/db.sock"
trunk = "eth9"
"""


def read(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> Settings:
    path = tmp_path / "isthmus.toml"
    path.write_text(text)
    return load(path, {"SECRET": CANARY} if environment is None else environment)


def errors(tmp_path: Path, text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(Refused) as refused:
        read(tmp_path, text, environment)
    return [line.removeprefix(f"{tmp_path}/") for line in str(refused.value).split("\n")]


def test_a_good_file_is_read_with_defaults_filled_in(tmp_path: Path) -> None:
    config = read(tmp_path, GOOD).config
    deployment = config.deployment["tenant"]
    assert deployment.vids == VidSet.of("100-199,300")
    assert deployment.served == ("esx1.example", "esx2.example")
    assert config.appliance_of(deployment, "esx1.example").trunk == "eth1"
    assert config.appliance_of(deployment, "esx2.example").trunk == "eth9"
    assert config.intent.file == tmp_path / "intent.yaml"


def test_every_error_is_reported_at_once_with_its_place(tmp_path: Path) -> None:
    text = (
        GOOD.replace('"ovsvapp"', '"ovsvap"')
        .replace("100-199,300", "300-200")
        .replace("[intent]", "colour = 1\n[intent]")
        .replace("two/db.sock", "one/db.sock")
        .replace('vtep = "192.0.2.2"', 'vtep = "192.0.2.1"')
        + "[loop]\npasses = 0\n"
    )
    assert errors(tmp_path, text, {}) == [
        "isthmus.toml:6: vcenter.vc1.colour: unknown key",
        (
            "isthmus.toml:10: deployment.tenant.design: there is no design 'ovsvap'; there are: contrail, ovsvapp, "
            "ovsvapp-cluster, ovsvapp-port, ovsvapp-vss, vds-static, vds-leaf"
        ),
        (
            "isthmus.toml:12: deployment.tenant.vids: '300-200' is not a VID or a range of VIDs such as 100-199: "
            "VID range 300-200 is empty: the first is above the last"
        ),
        "isthmus.toml:23: loop.passes: should be greater than or equal to 1",
    ]
    text = text.replace('"ovsvap"', '"ovsvapp"')
    found = errors(tmp_path, text, {})  # what is right beside an error is checked, too
    assert any("192.0.2.1 is the VTEP of host 'esx1.example' already" in error for error in found)
    assert any("unix:/run/one/db.sock is the OVS of 'tenant/esx1.example' already" in error for error in found)
    assert any("password_env: no password" in error for error in found)
    assert len(found) == 6


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[vcenter.vc1]", "[vcenter.vc1", "not TOML"),
        ('vids = "100-199,300"', 'vids = ""', "the range is empty"),
        ('vids = "100-199,300"', 'vids = "0-5"', "VID 0 is not in 1..4094"),
        ('vids = "100-199,300"', 'vids = "100-199"\nreserved = "1-4000"', "nothing is left to give out"),
        ('vids = "100-199,300"', 'serve = ["esx3"]', "host 'esx3' has no [deployment.tenant.host.\"esx3\"] table"),
        ('vids = "100-199,300"', 'serve = ["esx1.example", "esx1.example"]', "is listed 2 times"),
        ('vids = "100-199,300"', 'vcenter = "vc2"', "there is no [vcenter.vc2]; there are: vc1"),
        ('trunk = "eth1"', "", "'trunk' is missing"),
        ('trunk = "eth1"', 'trunk = "eth1"\novsdb = "tcp:192.0.2.1:6640"', "is neither unix:/absolute/path nor ssl:"),
        ('trunk = "eth1"', 'trunk = "eth1"\novsdb = "unix:/"', "is neither unix:/absolute/path nor ssl:"),
        ('trunk = "eth1"', 'trunk = "eth1"\novsdb = "ssl:"', "is neither unix:/absolute/path nor ssl:"),
        ('trunk = "eth1"', 'trunk = "eth1"\novsdb = "ssl:192.0.2.1"', "is neither unix:/absolute/path nor ssl:"),
        ('"unix:/run/one/db.sock"', '"ssl:192.0.2.1:6640"', 'host."esx1.example".tls: is missing'),
        ('"unix:/run/one/db.sock"', '"ssl:[2001:db8::1]:6640"', 'host."esx1.example".openflow: is missing'),
        ('vtep = "192.0.2.1"', 'vtep = "fe80::1"', "is not an IPv4 address"),
        ('vtep = "192.0.2.1"', 'vtep = "127.0.0.1"', "cannot be the address of a VTEP"),
        ('url = "https://vc1.example/sdk"', 'url = "https://u:hunter2@vc1/sdk"', "must hold neither user nor password"),
        ('password_env = "SECRET"', 'password = "hunter2"', "a password does not belong in this file"),
        ('password_env = "SECRET"', 'password_file = "none"', "No such file"),
        ('password_env = "SECRET"', 'password_env = "UNSET"', "no password"),
        ('password_env = "SECRET"', 'password_env = "SECRET"\nca_file = "no.pem"', "there is no file"),
        ('user = "isthmus"', "", "vcenter.vc1.user: is missing"),
    ],
)
def test_what_cannot_work_is_refused_with_its_reason(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    found = errors(tmp_path, GOOD.replace(old, new))
    assert any(said in error for error in found), found
    assert not any("hunter2" in error for error in found)


def test_a_second_deployment_on_one_switch_is_refused(tmp_path: Path) -> None:
    text = GOOD + '[deployment.other]\ndesign = "ovsvapp"\ndvs = "tenant"\n'
    assert errors(tmp_path, text) == [
        "isthmus.toml:23: deployment.other.dvs: deployment 'tenant' has dvs 'tenant' already"
    ]


def test_with_two_vcenters_a_deployment_says_which(tmp_path: Path) -> None:
    text = GOOD + '[vcenter.vc2]\nurl = "https://vc2.example/sdk"\nuser = "u"\npassword_env = "SECRET"\n'
    (error,) = errors(tmp_path, text)
    assert error.endswith("deployment.tenant: say which vcenter: there are vc1, vc2")


@pytest.mark.parametrize("content", [b"\xff\x00", b"a = 1\x00", b"[" * 5000, b"x = " + b"[" * 5000])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "isthmus.toml"
    path.write_bytes(content)
    with pytest.raises(Refused):
        load(path, {})


def test_govc_variables_are_defaults_of_the_only_vcenter(tmp_path: Path) -> None:
    text = GOOD[GOOD.index("[intent]") :]
    (tmp_path / "ca.pem").touch()
    environment = {
        "GOVC_URL": f"https://who:{CANARY}@vc9.example",
        "GOVC_INSECURE": "true",
        "GOVC_TLS_CA_CERTS": str(tmp_path / "ca.pem"),
    }
    settings = read(tmp_path, text, environment)
    (vcenter,) = settings.config.vcenter.values()
    assert (vcenter.url, vcenter.user, vcenter.insecure) == ("https://vc9.example/sdk", "who", True)
    assert vcenter.ca_file == tmp_path / "ca.pem"
    assert settings.password("vcenter") == CANARY
    settings = read(tmp_path, text, {**environment, "GOVC_USERNAME": "me", "GOVC_PASSWORD": "other"})
    assert (settings.config.vcenter["vcenter"].user, settings.password("vcenter")) == ("me", "other")


def test_what_the_file_says_goes_before_the_environment(tmp_path: Path) -> None:
    environment = {"SECRET": CANARY, "GOVC_URL": "https://other/sdk", "GOVC_USERNAME": "x", "GOVC_PASSWORD": "x"}
    settings = read(tmp_path, GOOD, environment)
    vcenter = settings.config.vcenter["vc1"]
    assert (vcenter.url, vcenter.user, settings.password("vc1")) == ("https://vc1.example/sdk", "isthmus", CANARY)


def test_with_several_vcenters_the_environment_speaks_only_of_its_own(tmp_path: Path) -> None:
    text = GOOD.replace('password_env = "SECRET"', "").replace('dvs = "tenant"', 'dvs = "tenant"\nvcenter = "vc1"')
    text += '[vcenter.vc2]\nurl = "https://vc2.example/sdk"\nuser = "u"\n'
    environment = {"GOVC_URL": "https://vc1.example", "GOVC_PASSWORD": CANARY, "GOVC_INSECURE": "1"}
    found = errors(tmp_path, text, environment)
    assert len(found) == 1
    assert "vcenter.vc2" in found[0]
    settings = read(tmp_path, text + 'password_env = "SECRET2"\n', {**environment, "SECRET2": "two"})
    assert [settings.password(name) for name in ("vc1", "vc2")] == [CANARY, "two"]
    assert [vcenter.insecure for vcenter in settings.config.vcenter.values()] == [True, False]


def test_a_password_file_loses_its_line_end_and_is_read_anew(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text(" a b \n")
    settings = read(tmp_path, GOOD.replace('password_env = "SECRET"', 'password_file = "pw"'))
    assert settings.password("vc1") == " a b "
    (tmp_path / "pw").write_text("rotated")
    assert settings.password("vc1") == "rotated"


def test_a_relative_path_is_relative_to_the_file_wherever_it_is_named(tmp_path: Path) -> None:
    files = 'tls = { key = "k", certificate = "/etc/c", ca = "ca" }\n'
    text = GOOD.replace('trunk = "eth1"', files + 'rundir = "run"\ntrunk = "eth1"')
    config = read(
        tmp_path, text.replace('trunk = "eth9"', files.replace('"k"', '"own"') + 'rundir = "own"\ntrunk = "eth9"')
    ).config
    deployment = config.deployment["tenant"]
    common, own = (config.appliance_of(deployment, host) for host in ("esx1.example", "esx2.example"))
    for appliance, key in ((common, "k"), (own, "own")):
        assert appliance.tls is not None
        assert (appliance.tls.key, appliance.tls.ca) == (tmp_path / key, tmp_path / "ca")
        assert appliance.tls.certificate == Path("/etc/c")
    assert (common.rundir, own.rundir) == (tmp_path / "run", tmp_path / "own")


def test_no_repr_shows_a_password(tmp_path: Path) -> None:
    settings = read(tmp_path, GOOD)
    assert settings.password("vc1") == CANARY
    assert CANARY not in f"{settings!r} {settings} {settings.config!r}"
