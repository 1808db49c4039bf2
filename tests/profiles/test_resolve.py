"""Connection of a command, from the environment and a profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.errors import ConfigError
from bulklink.profiles.profile import Profile, ProfileOrg, Profiles, SecretBackend
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
    """Return a folder with the profiles `default` (us) and `test` (eu, sandbox)."""
    for name, centre, environment in (("default", "us", "production"), ("test", "eu", "sandbox")):
        profile = Profile(
            "1000.STORED",
            SecretBackend.FILE,
            data_centre=centre,
            environment=environment,
            org=ProfileOrg(f"{name}-org"),
        )
        Profiles(tmp_path).save(name, profile)
        FileSecretStore(tmp_path).save(name, STORED)
    return tmp_path


def connect(folder: Path, named: str | None = "test", **env: str) -> Connection:
    return load_connection(named, env, folder)


def test_a_profile_provides_addresses_and_credentials(folder: Path) -> None:
    connection = connect(folder)
    assert connection.api_url == "https://sandbox.zohoapis.eu"
    assert connection.accounts_url == "https://accounts.zoho.eu"
    assert (connection.data_centre, connection.environment) == ("eu", "sandbox")
    assert connection.credentials == STORED


@pytest.mark.parametrize(
    ("env", "org_id"),
    [
        ({}, "test-org"),
        ({"BULKLINK_DEALS_MODULE_ID": "7"}, "test-org"),
        ({"BULKLINK_ENVIRONMENT": "developer"}, None),
        (CLIENT, None),
    ],
    ids=["profile", "module id", "another environment", "another client"],
)
def test_the_org_is_known_if_address_and_credentials_are_those_of_the_profile(
    folder: Path, env: dict[str, str], org_id: str | None
) -> None:
    assert connect(folder, **env).org_id == org_id


def test_the_environment_overrides_the_profile(folder: Path) -> None:
    connection = connect(folder, BULKLINK_ENVIRONMENT="developer", BULKLINK_DEALS_MODULE_ID="7")
    assert connection.api_url == "https://developer.zohoapis.eu"
    assert connection.module_id == "7"
    assert connection.credentials == STORED


def test_secrets_in_the_environment_override_those_of_the_profile(folder: Path) -> None:
    connection = connect(folder, **CLIENT)
    assert connection.credentials == Credentials("1000.ENV", "env-secret", "1000.env")
    assert connection.data_centre == "eu"


def test_an_access_token_in_the_environment_is_never_renewed_with_the_profile(folder: Path) -> None:
    connection = connect(folder, BULKLINK_ACCESS_TOKEN="1000.given")
    assert (connection.access_token, connection.credentials) == ("1000.given", None)


def test_an_incomplete_sign_in_in_the_environment_is_not_completed_from_the_profile(
    folder: Path,
) -> None:
    with pytest.raises(ConfigError, match="belong together"):
        connect(folder, BULKLINK_CLIENT_ID="1000.ENV")


@pytest.mark.parametrize(
    "env",
    [{"BULKLINK_DC": "us"}, {"BULKLINK_ACCOUNTS_URL": "http://127.0.0.1:8080"}],
    ids=["data centre", "address"],
)
def test_the_secrets_of_a_profile_are_not_sent_to_another_accounts_server(
    folder: Path, env: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=r"are for accounts\.zoho\.eu") as caught:
        connect(folder, **env)
    assert caught.value.advice


def test_with_its_own_secrets_the_environment_can_set_any_data_centre(folder: Path) -> None:
    assert connect(folder, BULKLINK_DC="us", **CLIENT).accounts_url == "https://accounts.zoho.com"


def test_a_profile_for_this_machine_works_with_another_port(folder: Path) -> None:
    profile = Profile("1000.STORED", SecretBackend.FILE, api_url="http://127.0.0.1:1",
                      accounts_url="http://127.0.0.1:1")  # fmt: skip
    Profiles(folder).save("test", profile)
    place = "http://127.0.0.1:2"
    connection = connect(folder, BULKLINK_API_URL=place, BULKLINK_ACCOUNTS_URL=place)
    assert (connection.api_url, connection.credentials) == (place, STORED)


def test_the_default_profile_is_used_if_nothing_is_set(folder: Path) -> None:
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
def test_a_complete_environment_does_not_use_the_default_profile(
    folder: Path, env: dict[str, str]
) -> None:
    Profiles(folder).file("default").write_text("broken", "utf-8")
    assert connect(folder, None, **env).credentials != STORED


@pytest.mark.parametrize("env", [{"BULKLINK_DC": "eu"}, CLIENT], ids=["place", "sign-in"])
def test_an_incomplete_environment_is_not_completed_from_the_default_profile(
    folder: Path, env: dict[str, str]
) -> None:
    with pytest.raises(ConfigError):
        connect(folder, None, **env)


def test_without_data_centre_and_profiles_the_error_suggests_to_sign_in(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No data centre is set") as caught:
        connect(tmp_path, None)
    assert "bulklink auth login" in caught.value.advice
    assert "us eu in au cn jp ca sa uk" in caught.value.advice


def test_without_data_centre_the_error_lists_the_profiles(folder: Path) -> None:
    Profiles(folder).remove("default")
    with pytest.raises(ConfigError, match="No data centre is set") as caught:
        connect(folder, None)
    assert "profile" in caught.value.advice
    assert "test" in caught.value.advice


def test_an_unknown_profile_is_refused_even_with_a_complete_environment(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no profile 'prod'") as caught:
        connect(folder, "prod", BULKLINK_DC="eu", **CLIENT)
    assert "default, test" in caught.value.advice


def test_a_stored_connection_ignores_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKLINK_DC", "us")
    connection = load_stored_connection("test", Profiles(folder).load("test"), folder)
    assert (connection.data_centre, connection.credentials) == ("eu", STORED)
    assert connection.org_id == "test-org"
