"""Profiles on disk: what comes back, who may read it, what is said of a bad one."""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path

import pytest

from bulklink.errors import ConfigError
from bulklink.profiles.names import normalize_profile_name
from bulklink.profiles.profile import Profile, ProfileOrg, Profiles, SecretBackend

FULL = Profile(
    client_id='1000."Ä"\\\n',
    secrets=SecretBackend.KEYRING,
    data_centre="eu",
    environment="sandbox",
    scopes=("ZohoCRM.org.READ",),
    signed_in="2026-11-23T21:09:55.420Z",
    org=ProfileOrg("77", "Zylker \U0001f600\x7f", "Sandbox", "enterprise"),
    options={"rate": 20, "only": ["a=b"], "yes": False},
)
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


@pytest.mark.parametrize(
    "profile", [FULL, Profile("id", SecretBackend.FILE, data_centre="us")], ids=["full", "bare"]
)
def test_a_profile_comes_back_as_it_was_stored(tmp_path: Path, profile: Profile) -> None:
    profiles = Profiles(tmp_path)
    profiles.save("prod", profile)
    assert profiles.load("prod") == profile
    tomllib.loads(profiles.file("prod").read_text("utf-8"))


@posix_only
def test_only_its_owner_can_read_a_profile(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Profiles(tmp_path / "new").save("prod", FULL)
    finally:
        os.umask(before)
    file = Profiles(tmp_path / "new").file("prod")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_profiles_are_named_in_order_and_other_files_are_none(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path)
    assert profiles.names() == []
    for name in ("test", "default"):
        profiles.save(name, FULL)
    (tmp_path / "profiles" / "No Name.toml").touch()
    (tmp_path / "profiles" / "x.toml.partial").touch()
    assert profiles.names() == ["default", "test"]


def test_the_error_of_an_unknown_profile_lists_the_known_ones(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path)
    profiles.save("prod", FULL)
    with pytest.raises(ConfigError) as caught:
        profiles.load("prd")
    assert "'prd'" in caught.value.message
    assert "The profiles are: prod." in caught.value.advice


BAD = {
    "no toml": "client_id = ",
    "no client": 'secrets = "file"\n',
    "unknown key": 'client_id = "a"\nsecrets = "file"\nclient_secret = "x"\n',
    "no such place": 'client_id = "a"\nsecrets = "paper"\n',
    "no such data centre": 'client_id = "a"\nsecrets = "file"\ndata_centre = "mars"\n',
    "no place at all": 'client_id = "a"\nsecrets = "file"\n',
    "plain http": 'client_id = "a"\nsecrets = "file"\napi_url = "http://example.com"\n',
    "wrong type": 'client_id = 7\nsecrets = "file"\n',
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_the_error_of_a_wrong_profile_names_its_file(tmp_path: Path, content: str) -> None:
    profiles = Profiles(tmp_path)
    profiles.file("bad").parent.mkdir()
    profiles.file("bad").write_text(content, "utf-8")
    with pytest.raises(ConfigError) as caught:
        profiles.load("bad")
    assert caught.value.where == str(profiles.file("bad"))
    assert caught.value.advice


@pytest.mark.parametrize("name", ["", " ", "../up", "a/b", ".hidden", "-x", "a b", "ä", "a" * 65])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        normalize_profile_name(name)


def test_upper_and_lower_case_name_the_same_profile() -> None:
    assert normalize_profile_name(" Prod-EU.1 ") == "prod-eu.1"


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(ConfigError, match="Cannot write"):
        Profiles(tmp_path / "taken").save("prod", FULL)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("client_id = 5\nsecrets = 'file'", "client_id"),
        ("client_id = 'a'\nsecrets = 'file'\nscopes = [1]", "scopes[0]"),
        ("client_id = 'a'\nsecrets = 'file'\norg = {id = 5}", "org.id"),
        ("client_id = 'a'\nsecrets = 'file'\noptions = 5", "options"),
        ("client_id = 'a'\nsecrets = 'purse'", "secrets"),
        ("secrets = 'file'", "no key client_id"),
        ("client_id = 'a'\nsecrets = 'file'\nnonsense = 1", "unknown key: nonsense"),
        ("client_id = 'a'\nsecrets = file", "line 2"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "9" * 5000, "too long"),
        ("client_id = 'a'\nsecrets = 'file'\napi_url = 'https://z.com@x'", "user"),
        ("client_id = 'a'\nsecrets = 'file'\naccounts_url = 'http://x.example'", "x.example"),
        ("client_id = 'a'\nsecrets = 'file'\nenvironment = 'x'", "'x' is unknown"),
    ],
)
def test_a_wrong_field_of_a_profile_is_named_in_our_own_words(
    tmp_path: Path, content: str, says: str
) -> None:
    profiles = Profiles(tmp_path)
    profiles.file("bad").parent.mkdir()
    profiles.file("bad").write_text(content, "utf-8")
    with pytest.raises(ConfigError) as caught:
        profiles.load("bad")
    assert says in caught.value.message
    assert caught.value.where == str(profiles.file("bad"))
    assert "`" not in caught.value.message


def test_a_folder_in_the_place_of_a_profile_is_named(tmp_path: Path) -> None:
    profiles = Profiles(tmp_path)
    profiles.file("bad").mkdir(parents=True)
    with pytest.raises(ConfigError) as caught:
        profiles.load("bad")
    assert caught.value.where == str(profiles.file("bad"))
