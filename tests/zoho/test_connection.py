"""Where the CRM is and how to sign in: read from the environment, refused with a way out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.errors import ConfigError, ExitCode
from bulklink.zoho.connection import Connection, is_loopback

TOKEN = {"BULKLINK_ACCESS_TOKEN": "1000.given"}
CREDENTIALS = {
    "BULKLINK_CLIENT_ID": "1000.CLIENT",
    "BULKLINK_CLIENT_SECRET": "hush-secret",
    "BULKLINK_REFRESH_TOKEN": "1000.refresh",
}
US = {"BULKLINK_DC": "us"}
EU = {"BULKLINK_DC": "eu"}
CENTRES = {
    "us": ("https://accounts.zoho.com", "https://www.zohoapis.com"),
    "eu": ("https://accounts.zoho.eu", "https://www.zohoapis.eu"),
    "in": ("https://accounts.zoho.in", "https://www.zohoapis.in"),
    "au": ("https://accounts.zoho.com.au", "https://www.zohoapis.com.au"),
    "cn": ("https://accounts.zoho.com.cn", "https://www.zohoapis.com.cn"),
    "jp": ("https://accounts.zoho.jp", "https://www.zohoapis.jp"),
    "ca": ("https://accounts.zohocloud.ca", "https://www.zohoapis.ca"),
    "sa": ("https://accounts.zoho.sa", "https://www.zohoapis.sa"),
    "uk": ("https://accounts.zoho.uk", "https://www.zohoapis.uk"),
}


def connect(**env: str) -> Connection:
    return Connection.from_environment(env)


def refusal(**env: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        Connection.from_environment(env)
    return caught.value


@pytest.mark.parametrize(("centre", "hosts"), CENTRES.items(), ids=CENTRES)
def test_a_data_centre_has_its_accounts_and_api_hosts(centre: str, hosts: tuple[str, str]) -> None:
    found = connect(BULKLINK_DC=centre, **CREDENTIALS)
    assert (found.accounts_url, found.api_url) == hosts
    assert found.data_centre == centre
    assert not found.loopback
    assert not found.api_url_given


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("environment", ["sandbox", "developer"])
def test_sandbox_and_developer_stand_in_place_of_www(centre: str, environment: str) -> None:
    found = connect(BULKLINK_DC=centre, BULKLINK_ENVIRONMENT=environment, **CREDENTIALS)
    assert found.api_url == CENTRES[centre][1].replace("www.", f"{environment}.")
    assert found.accounts_url == CENTRES[centre][0]


def test_production_is_the_environment_if_none_is_named() -> None:
    named = connect(**US, BULKLINK_ENVIRONMENT="production", **TOKEN)
    assert connect(**US, **TOKEN) == named
    assert named.environment == "production"


def test_case_and_spaces_around_a_name_do_not_matter() -> None:
    found = connect(BULKLINK_DC=" EU ", BULKLINK_ENVIRONMENT="Sandbox\n", **TOKEN)
    assert found.api_url == "https://sandbox.zohoapis.eu"


def test_there_is_no_default_data_centre() -> None:
    error = refusal(**CREDENTIALS)
    assert error.exit_code == ExitCode.REFUSED
    assert error.code == "config"
    assert error.where == "BULKLINK_DC"
    assert all(centre in error.advice.replace(".", "").split() for centre in CENTRES)


def test_an_empty_data_centre_is_none() -> None:
    assert refusal(BULKLINK_DC="  ", **CREDENTIALS).where == "BULKLINK_DC"


@pytest.mark.parametrize(
    ("name", "value", "advised"),
    [
        ("BULKLINK_DC", "com", "us"),
        ("BULKLINK_DC", "us,eu", "us"),
        ("BULKLINK_ENVIRONMENT", "staging", "sandbox"),
    ],
)
def test_a_value_that_is_not_known_is_refused_with_those_that_are(
    name: str, value: str, advised: str
) -> None:
    error = refusal(**{**US, **TOKEN, name: value})
    assert error.where == name
    assert value in error.message
    assert advised in error.advice


def test_without_any_credentials_the_refusal_names_every_variable() -> None:
    error = refusal(**US)
    assert "BULKLINK_ACCESS_TOKEN" in str(error)
    assert all(name in str(error) for name in CREDENTIALS)
    assert error.advice


@pytest.mark.parametrize("missing", CREDENTIALS)
@pytest.mark.parametrize("left", ["unset", "empty"])
def test_a_missing_part_of_the_credentials_is_named_and_the_given_ones_are_not_shown(
    missing: str, left: str
) -> None:
    env = {name: value for name, value in CREDENTIALS.items() if name != missing}
    error = refusal(**US, **env, **({missing: " "} if left == "empty" else {}))
    assert error.where == missing
    assert error.advice
    assert not any(value in str(error) for value in env.values())


def test_part_of_the_credentials_is_refused_even_beside_an_access_token() -> None:
    error = refusal(**US, **TOKEN, BULKLINK_CLIENT_ID="1000.CLIENT")
    assert "BULKLINK_CLIENT_SECRET" in error.where
    assert "BULKLINK_REFRESH_TOKEN" in error.where


def test_an_access_token_alone_is_enough() -> None:
    found = connect(**US, **TOKEN)
    assert found.access_token == "1000.given"
    assert found.credentials is None


def test_credentials_and_an_access_token_are_both_kept() -> None:
    found = connect(**US, **TOKEN, **CREDENTIALS)
    assert found.access_token == "1000.given"
    assert found.credentials is not None
    assert (
        found.credentials.client_id,
        found.credentials.client_secret,
        found.credentials.refresh_token,
    ) == ("1000.CLIENT", "hush-secret", "1000.refresh")


def test_an_api_address_stands_in_for_a_data_centre() -> None:
    found = connect(BULKLINK_API_URL="http://127.0.0.1:8080/", **TOKEN)
    assert (found.api_url, found.data_centre, found.api_url_given) == (
        "http://127.0.0.1:8080",
        None,
        True,
    )
    assert found.loopback


def test_given_addresses_beat_those_of_the_data_centre() -> None:
    found = connect(
        BULKLINK_DC="eu",
        BULKLINK_ENVIRONMENT="sandbox",
        BULKLINK_API_URL="https://crm.example.com:8443",
        BULKLINK_ACCOUNTS_URL="https://id.example.com",
        **CREDENTIALS,
    )
    assert found.api_url == "https://crm.example.com:8443"
    assert found.accounts_url == "https://id.example.com"


def test_credentials_without_an_accounts_address_are_refused() -> None:
    error = refusal(BULKLINK_API_URL="https://crm.example.com", **CREDENTIALS)
    assert "BULKLINK_ACCOUNTS_URL" in error.where
    assert "BULKLINK_DC" in error.where
    assert error.advice


ADDRESSES = ("BULKLINK_API_URL", "BULKLINK_ACCOUNTS_URL")


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost:8080", "http://127.0.0.1"],
)
def test_plain_http_is_taken_to_this_machine(name: str, address: str) -> None:
    found = connect(**{**US, **CREDENTIALS, name: address})
    assert address in (found.api_url, found.accounts_url)


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "address",
    [
        "http://www.zohoapis.com",
        "http://10.0.0.7:8080",
        "http://0.0.0.0:8080",
        "http://[fe80::1]",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1@example.com",
        "http://localhost:80@example.com",
        "HTTP://Example.com",
    ],
)
def test_plain_http_to_another_machine_is_refused(name: str, address: str) -> None:
    error = refusal(**{**US, **CREDENTIALS, name: address})
    assert error.where == name
    assert error.exit_code == ExitCode.REFUSED


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "address",
    [
        "https://www.zohoapis.com/crm/v8",
        "https://www.zohoapis.com?x=1",
        "https://www.zohoapis.com#x",
        "https://user@www.zohoapis.com",
        "https://user:hush@www.zohoapis.com",
        "www.zohoapis.com",
        "//www.zohoapis.com",
        "ftp://www.zohoapis.com",
        "https://",
        "https://:8080",
        "https://www.zohoapis.com:port",
        "https://www.zohoapis.com:99999",
        "https://[::1",
        "https://www.zohoapis.com\thttps://www.zohoapis.eu",
    ],
)
def test_what_is_not_scheme_host_and_port_is_refused(name: str, address: str) -> None:
    error = refusal(**{**US, **CREDENTIALS, name: address})
    assert error.where == name
    assert "hush" not in str(error)


@pytest.mark.parametrize(
    "address",
    [
        "http://www.zohoapis.com",
        "http://127.0.0.1@example.com",
        "www.zohoapis.com",
        "https://www.zohoapis.com/crm/v8",
        "https://www.zohoapis.com?x=1",
        "https://user:hush@www.zohoapis.com",
        "https://@www.zohoapis.com",
        "https://www.zohoapis.com\\@example.com",
        "https://www.z\u043ehoapis.com",
        "https://www.zoho\napis.com",
        "https://www.zohoapis.com:0",
        "https://www.zohoapis.com:99999",
    ],
    ids=ascii,
)
def test_the_refusal_of_an_address_says_what_to_write(address: str) -> None:
    assert "http" in refusal(**TOKEN, BULKLINK_API_URL=address).advice


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://", "https://[", "//"]))
def test_any_address_is_taken_or_refused_by_name(text: str, scheme: str) -> None:
    where = "BULKLINK_API_URL"
    try:
        found = connect(BULKLINK_API_URL=scheme + text, **US, **TOKEN)
    except ConfigError as error:
        where = error.where
    else:
        assert found.api_url.startswith("https://") or found.loopback
    assert where == "BULKLINK_API_URL"


@pytest.mark.parametrize("module_id", ["5843104000000003735", "0", "1" * 100])
def test_a_module_id_of_digits_is_taken(module_id: str) -> None:
    assert connect(**US, **TOKEN, BULKLINK_DEALS_MODULE_ID=module_id).module_id == module_id


@pytest.mark.parametrize("module_id", ["Deals", "12a", "-1", "1.5", "1" * 101, "٣", "²", "1 2"])
def test_a_module_id_of_anything_else_is_refused(module_id: str) -> None:
    error = refusal(**US, **TOKEN, BULKLINK_DEALS_MODULE_ID=module_id)
    assert error.where == "BULKLINK_DEALS_MODULE_ID"
    assert error.advice


@pytest.mark.parametrize("name", ["CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN", "ACCESS_TOKEN"])
@pytest.mark.parametrize(
    "text", ["hu\nsh", "hu sh", "hu\x1b[31msh", "hu\u202esh", "h\u0443sh", "hu\udcffsh"], ids=ascii
)
def test_what_no_token_or_secret_can_be_is_refused_by_its_variable_and_not_shown(
    name: str, text: str
) -> None:
    error = refusal(**{**US, **CREDENTIALS, f"BULKLINK_{name}": text})
    assert error.where == f"BULKLINK_{name}"
    assert error.advice
    assert text not in str(error)


@pytest.mark.parametrize("secret", ["hush\r\nX-Other: 1", "hu\nsh", "hu\x00sh"], ids=repr)
def test_an_access_token_that_no_header_can_hold_is_refused_and_not_shown(secret: str) -> None:
    error = refusal(**US, BULKLINK_ACCESS_TOKEN=secret)
    assert error.where == "BULKLINK_ACCESS_TOKEN"
    assert error.advice
    assert secret not in str(error)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1", True),
        ("http://127.8.9.1:80", True),
        ("https://[::1]:443", True),
        ("https://localhost", True),
        ("https://www.zohoapis.com", False),
        ("https://127.0.0.1.example.com", False),
        ("https://10.0.0.1", False),
        ("not an address", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback


@pytest.mark.parametrize("environment", ["production", "sandbox", "developer"])
def test_the_api_domain_of_a_token_decides_the_data_centre_and_the_environment_stays(
    environment: str,
) -> None:
    found = connect(**US, BULKLINK_ENVIRONMENT=environment, **CREDENTIALS)
    host = {"production": "www"}.get(environment, environment)
    assert found.api_url_from("https://www.zohoapis.eu") == f"https://{host}.zohoapis.eu"


def test_a_given_api_address_beats_the_api_domain_of_a_token() -> None:
    found = connect(**US, BULKLINK_API_URL="http://127.0.0.1:8080", **CREDENTIALS)
    assert found.api_url_from("https://www.zohoapis.eu") == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    "api_domain",
    [
        None,
        7,
        [],
        "",
        "nonsense",
        "http://www.zohoapis.eu",
        "ftp://www.zohoapis.eu",
        "https://",
        "https://[",
        "https://[www.zohoapis.eu",
    ],
    ids=repr,
)
def test_an_api_domain_that_is_none_leaves_the_address_as_it_is(api_domain: object) -> None:
    assert connect(**US, **CREDENTIALS).api_url_from(api_domain) == "https://www.zohoapis.com"


FOREIGN_DOMAINS = [
    "https://www.example.com",
    "https://www.zohoapis.com.example.com",
    "https://www.zohoapis.com@example.com",
    "https://www.zohoapis.com:hush@example.com",
    "https://example.com/www.zohoapis.com",
    "https://example.com#www.zohoapis.com",
    "https://example.com\\@www.zohoapis.com",
    "https://www.zohoapis.com\\.example.com",
    "https://www.zohoapis.com:8443",
    "https://www.zohoapis.com.",
    "https://www.zohoapis.com/crm",
    "https://www.zohoapis.example",
    "https://zohoapis.com",
    "https://evil.zohoapis.com",
    "https://wwww.zohoapis.com",
    "https://www.z\u043ehoapis.com",
    "https://www.xn--zhoapis-5nf.com",
    "https://www.zohoapis.com\n.example.com",
    " https://www.zohoapis.com",
    "http://www.zohoapis.com",
    "//www.zohoapis.com",
    "www.zohoapis.com",
    "http://127.0.0.1:8080",
    "https://localhost",
    "https://169.254.169.254",
]


@pytest.mark.parametrize("api_domain", FOREIGN_DOMAINS, ids=ascii)
def test_only_zohos_hosts_may_be_named_by_an_accounts_server(api_domain: str) -> None:
    found = connect(**EU, **CREDENTIALS)
    assert found.is_foreign_api_domain(api_domain)
    assert found.api_url_from(api_domain) == "https://www.zohoapis.eu"
    assert not found.accepts_api_url(api_domain)


@pytest.mark.parametrize("spelling", ["HTTPS://WWW.ZOHOAPIS.IN", "https://www.zohoapis.in/"])
def test_a_host_of_zohos_is_known_in_any_spelling(spelling: str) -> None:
    found = connect(**EU, **CREDENTIALS)
    assert not found.is_foreign_api_domain(spelling)
    assert found.api_url_from(spelling) == "https://www.zohoapis.in"


def test_an_accounts_server_on_this_machine_may_name_an_api_on_it() -> None:
    found = connect(**EU, **CREDENTIALS, BULKLINK_ACCOUNTS_URL="http://127.0.0.1:8080")
    assert found.api_url_from("http://127.0.0.1:9090") == "http://127.0.0.1:9090"
    assert found.accepts_api_url("http://127.0.0.1:9090")
    for foreign in ("http://127.0.0.1@example.com", "http://10.0.0.1", "https://example.com"):
        assert found.is_foreign_api_domain(foreign)
        assert not found.accepts_api_url(foreign)


def test_a_connection_shows_no_secret() -> None:
    found = connect(**US, **TOKEN, **CREDENTIALS)
    shown = f"{found!r} {found} {found.credentials!r} {found.credentials}"
    assert not any(secret in shown for secret in [*TOKEN.values(), *CREDENTIALS.values()])


def test_values_make_the_connection_that_variables_make() -> None:
    values = {"client_id": "a", "client_secret": "b", "refresh_token": "c", "deals_module_id": "7"}
    env = {f"BULKLINK_{name.upper()}": value for name, value in values.items()}
    made = Connection.from_values(dc="eu", environment="sandbox", **values)
    assert made == Connection.from_environment(
        {"BULKLINK_DC": "eu", "BULKLINK_ENVIRONMENT": "sandbox", **env}
    )
    local = {"api_url": "http://127.0.0.1:7", "accounts_url": "http://[::1]:8"}
    assert Connection.from_values(access_token="t", **local).api_url == local["api_url"]


def test_what_is_wrong_with_values_is_said_of_arguments() -> None:
    with pytest.raises(ConfigError) as refused:
        Connection.from_values(dc="eu", client_id="a", client_secret="b")
    assert (refused.value.where, "access_token" in refused.value.advice) == ("refresh_token", True)
    with pytest.raises(ConfigError, match="dc: 'mars' is unknown"):
        Connection.from_values(dc="mars", access_token="t")


def test_without_variables_those_of_the_process_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKLINK_DC", "jp")
    monkeypatch.setenv("BULKLINK_ACCESS_TOKEN", "t")
    assert Connection.from_environment().data_centre == "jp"
