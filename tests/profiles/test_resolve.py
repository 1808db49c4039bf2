"""Which connection a command makes of the environment and a profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.errors import ConfigError
from bulklink.profiles.profile import Profile, Profiles, SecretBackend
from bulklink.profiles.resolve import load_connection, load_stored_connection
from bulklink.profiles.secrets import FileSecretStore
from bulklink.zoho.connection import Connection, Credentials

STORED = Credentials("1000.STORED", "stored-secret", "1000.stored")
CLIENT = {
    "BULKLINK_CLIENT_ID": "1000.ENV",
    "BULKLINK_CLIENT_SECRET": "env-secret",
    "BULKLINK_REFRESH_TOKEN": "1000.env",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the profiles `default` (us) and `test` (eu, sandbox)."""
    for name, centre, environment in (("default", "us", "production"), ("test", "eu", "sandbox")):
        profile = Profile(
            "1000.STORED", SecretBackend.FILE, data_centre=centre, environment=environment
        )
        Profiles(tmp_path).save(name, profile)
        FileSecretStore(tmp_path).save(name, STORED)
    return tmp_path


def connect(folder: Path, named: str | None = "test", **env: str) -> Connection:
    return load_connection(named, env, folder)


def test_a_profile_says_where_and_with_what(folder: Path) -> None:
    found = connect(folder)
    assert found.api_url == "https://sandbox.zohoapis.eu"
    assert found.accounts_url == "https://accounts.zoho.eu"
    assert (found.data_centre, found.environment) == ("eu", "sandbox")
    assert found.credentials == STORED


def test_the_environment_goes_before_the_profile(folder: Path) -> None:
    found = connect(folder, BULKLINK_ENVIRONMENT="developer", BULKLINK_DEALS_MODULE_ID="7")
    assert found.api_url == "https://developer.zohoapis.eu"
    assert found.module_id == "7"
    assert found.credentials == STORED


def test_secrets_of_the_environment_go_before_those_of_the_profile(folder: Path) -> None:
    found = connect(folder, **CLIENT)
    assert found.credentials == Credentials("1000.ENV", "env-secret", "1000.env")
    assert found.data_centre == "eu"


def test_an_access_token_of_the_environment_is_never_renewed_by_the_profile(folder: Path) -> None:
    found = connect(folder, BULKLINK_ACCESS_TOKEN="1000.given")
    assert (found.access_token, found.credentials) == ("1000.given", None)


def test_half_a_sign_in_in_the_environment_is_not_filled_from_the_profile(folder: Path) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        connect(folder, BULKLINK_CLIENT_ID="1000.ENV")


@pytest.mark.parametrize(
    "env",
    [{"BULKLINK_DC": "us"}, {"BULKLINK_ACCOUNTS_URL": "http://127.0.0.1:8080"}],
    ids=["data centre", "address"],
)
def test_the_secrets_of_a_profile_are_shown_to_no_other_accounts_server(
    folder: Path, env: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=r"are for accounts\.zoho\.eu") as caught:
        connect(folder, **env)
    assert caught.value.advice


def test_with_secrets_of_its_own_the_environment_may_name_any_place(folder: Path) -> None:
    assert connect(folder, BULKLINK_DC="us", **CLIENT).accounts_url == "https://accounts.zoho.com"


def test_ports_of_this_machine_may_differ(folder: Path) -> None:
    profile = Profile("1000.STORED", SecretBackend.FILE, api_url="http://127.0.0.1:1",
                      accounts_url="http://127.0.0.1:1")  # fmt: skip
    Profiles(folder).save("test", profile)
    place = "http://127.0.0.1:2"
    found = connect(folder, BULKLINK_API_URL=place, BULKLINK_ACCOUNTS_URL=place)
    assert (found.api_url, found.credentials) == (place, STORED)


def test_the_default_profile_serves_where_nothing_is_said(folder: Path) -> None:
    assert connect(folder, None).data_centre == "us"
    assert connect(folder, " ").data_centre == "us"


@pytest.mark.parametrize(
    "env",
    [
        {"BULKLINK_DC": "eu", **CLIENT},
        {"BULKLINK_API_URL": "http://127.0.0.1:1", "BULKLINK_ACCESS_TOKEN": "x"},
    ],
    ids=["data centre", "address"],
)
def test_an_environment_that_is_complete_is_mixed_with_no_profile(
    folder: Path, env: dict[str, str]
) -> None:
    Profiles(folder).file("default").write_text("broken", "utf-8")
    assert connect(folder, None, **env).credentials != STORED


@pytest.mark.parametrize("env", [{"BULKLINK_DC": "eu"}, CLIENT], ids=["place", "sign-in"])
def test_half_an_environment_is_not_filled_from_the_default_profile(
    folder: Path, env: dict[str, str]
) -> None:
    with pytest.raises(ConfigError):
        connect(folder, None, **env)


def test_without_data_centre_and_profile_the_sign_in_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No data centre is set") as caught:
        connect(tmp_path, None)
    assert "bulklink auth login" in caught.value.advice
    assert "us eu in au cn jp ca sa uk" in caught.value.advice


def test_without_data_centre_the_profiles_there_are_named(folder: Path) -> None:
    Profiles(folder).remove("default")
    with pytest.raises(ConfigError, match="No data centre is set") as caught:
        connect(folder, None)
    assert "profile" in caught.value.advice
    assert "test" in caught.value.advice


def test_an_unknown_profile_is_refused_whatever_the_environment_says(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no profile 'prod'") as caught:
        connect(folder, "prod", BULKLINK_DC="eu", **CLIENT)
    assert "default, test" in caught.value.advice


def test_what_is_stored_is_read_without_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKLINK_DC", "us")
    found = load_stored_connection("test", Profiles(folder).load("test"), folder)
    assert (found.data_centre, found.credentials) == ("eu", STORED)
