"""Settings: read from the environment, strict about names and values."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.settings import PREFIX, Settings, UnknownSettingError, check_names


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


def test_everything_has_a_default() -> None:
    settings = Settings()
    assert settings.storage == "local"
    assert settings.api_host == "127.0.0.1"


def test_a_variable_sets_the_setting_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_LEASE_SECONDS", "7.5")
    assert Settings().lease_seconds == 7.5


def test_an_unknown_variable_with_our_prefix_is_an_error_that_names_it() -> None:
    with pytest.raises(UnknownSettingError, match=r"IMPASTO_LEASE_SECOND\b.*docs/configuration\.md"):
        check_names({"IMPASTO_LEASE_SECOND": "1", "IMPASTO_STORAGE": "s3"})


def test_all_unknown_variables_are_named_at_once() -> None:
    with pytest.raises(UnknownSettingError, match="IMPASTO_A, IMPASTO_B"):
        check_names({"IMPASTO_B": "", "IMPASTO_A": ""})


@pytest.mark.parametrize("name", ["PATH", "IMPASTO_URL", "IMPASTO_TOKEN", "IMPASTO_TEST_S3_URL"])
def test_variables_of_others_are_left_alone(name: str) -> None:
    check_names({name: "anything"})


@pytest.mark.parametrize("name", ["IMPASTO_URL_", "IMPASTO_TOKENS"])
def test_a_name_that_only_begins_like_the_clients_is_unknown(name: str) -> None:
    with pytest.raises(UnknownSettingError):
        check_names({name: ""})


def test_every_setting_is_known_by_its_variable() -> None:
    check_names({PREFIX + name.upper(): "" for name in Settings.model_fields})


@pytest.mark.parametrize(("lease", "timeout"), [(2, 2), (1.5, 2), (30, 45.5)])
def test_a_lease_that_a_wait_for_redis_outlasts_is_refused_by_both_names(
    lease: float, timeout: float
) -> None:
    names = rf"IMPASTO_LEASE_SECONDS \({lease:g}\) .* IMPASTO_REDIS_TIMEOUT \({timeout:g}\)"
    with pytest.raises(ValidationError, match=names):
        Settings(lease_seconds=lease, redis_timeout=timeout)
    assert Settings(lease_seconds=timeout + 0.1, redis_timeout=timeout).redis_timeout == timeout


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://user:p%40ss@[::1]:6379/3",
        "rediss://host/0?ssl_ca_certs=/etc/ca.pem&ssl_cert_reqs=none",
        "unix:///run/redis.sock?db=2",
        "redis://host:1/?protocol=3&health_check_interval=7",
    ],
)
def test_addresses_of_redis_are_taken(url: str) -> None:
    assert Settings(redis_url=url).redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://host:1/0",
        "localhost:6379",
        "redis://",
        "redis://host/first",
        "redis://host:x/0",
        "redis://host/0?colour=red",
        "redis://host/0?retry=3",
        "redis://host/0?db",
        "redis://host/0?db=x",
        "redis://host/0?ssl_ca_certs=/etc/ca.pem",
        "redis://host/0#1",
        "unix://?db=1",
    ],
)
def test_what_is_no_address_of_redis_is_refused_by_name(url: str) -> None:
    with pytest.raises(ValidationError, match="IMPASTO_REDIS_URL is no address of Redis"):
        Settings(redis_url=url)


def test_no_refusal_shows_what_was_given() -> None:
    urls = ["http://:secret@host/0", "redis://:a[secret]b@host/0", "redis://:secret/1@host/0"]
    urls += ["redis://:1?secret=x@host", "redis://:a\uff03secret@host/0", "redis://:secret@host/0"]
    for url in urls:
        with pytest.raises(ValidationError) as caught:
            Settings.model_validate({"redis_url": url, "lease_seconds": 1})
        assert "secret" not in str(caught.value)
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"s3_secret_key": "hidden", "lease_seconds": 1})
    assert "hidden" not in str(caught.value)


def test_networks_are_read_from_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_TRUSTED_NETWORKS", "127.0.0.0/8, ::1/128,")
    assert Settings().trusted_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def test_an_empty_list_is_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_TRUSTED_NETWORKS", "")
    assert Settings().trusted_networks == ()


def test_ports_are_read_from_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_FETCH_PORTS", "80,8080")
    assert Settings().fetch_ports == {80, 8080}


@pytest.mark.parametrize("value", ["300.1.1.1/8", "127.0.0.1/8", "example.org"])
def test_what_is_no_network_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("IMPASTO_TRUSTED_NETWORKS", value)
    with pytest.raises(ValidationError, match="trusted_networks"):
        Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEASE_SECONDS", "0"),
        ("LEASE_SECONDS", "inf"),
        ("LEASE_SECONDS", "nan"),
        ("API_PORT", "65536"),
        ("STORAGE", "tape"),
        ("DEVICE", "cuda:x"),
        ("DEVICE", "gpu"),
        ("MAX_ATTEMPTS", "0"),
    ],
)
def test_a_value_outside_its_bounds_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_secrets_do_not_show_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_API_TOKENS", '{"alice": "a-long-random-string"}')
    monkeypatch.setenv("IMPASTO_S3_SECRET_KEY", "another-secret")
    settings = Settings()
    assert settings.api_tokens["alice"].get_secret_value() == "a-long-random-string"
    assert "a-long-random-string" not in repr(settings)
    assert "another-secret" not in repr(settings)


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().storage = "s3"  # type: ignore[misc]


def test_folders_lie_below_the_data_folder_unless_they_are_given() -> None:
    assert Settings(data_dir=Path("d")).objects_dir == Path("d/objects")
    assert Settings(data_dir=Path("d")).weights_path == Path("d/weights")
    assert Settings(data_dir=Path("d"), weights_dir=Path("w")).weights_path == Path("w")


def test_no_name_begins_with_another_ones_reserved_prefix() -> None:
    taken = {PREFIX + name.upper() for name in Settings.model_fields}
    assert not taken & {"IMPASTO_URL", "IMPASTO_TOKEN"}
    assert not any(name.startswith("IMPASTO_TEST_") for name in taken)
