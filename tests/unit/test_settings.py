"""Settings: one list of options, three sources, every mistake named."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from control import settings
from control.settings import Fsync, Settings, add_arguments, from_arguments, load
from core.errors import InvalidField


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_defaults_are_good_for_this_machine() -> None:
    chosen = load()
    assert chosen == Settings()
    assert chosen.grpc.listen == "127.0.0.1:7233"
    assert chosen.store.fsync is Fsync.ALWAYS


def test_the_command_line_beats_the_environment_beats_the_file(tmp_path: Path) -> None:
    file = tmp_path / "afterword.toml"
    file.write_text(
        '[grpc]\nlisten = "127.0.0.1:1"\nreflection = true\n[life]\ndrain_ms = 1\n'
        '[mail]\nhost = "file.example"\n'
    )
    environment = {
        "AFTERWORD_CONFIG": str(file),
        "AFTERWORD_GRPC_LISTEN": "127.0.0.1:2",
        "AFTERWORD_LIFE_DRAIN_MS": "2",
        "AFTERWORD_LIFE_DEFAULT_CAPS": "false",
        "AFTERWORD_ADDRESS": "a client's, not ours",
    }
    chosen = from_arguments(parsed("--grpc-listen", "127.0.0.1:3"), environment)
    assert chosen.grpc.listen == "127.0.0.1:3"
    assert chosen.life.drain_ms == 2
    assert chosen.mail.host == "file.example"
    assert chosen.grpc.reflection
    assert not chosen.life.default_caps
    chosen = from_arguments(parsed("--no-grpc-reflection", "--config", str(file)), {})
    assert not chosen.grpc.reflection
    assert chosen.grpc.listen == "127.0.0.1:1"


def test_every_option_has_a_flag_with_help() -> None:
    for group, name, _ in settings.options():
        assert settings._HELP[f"{group}.{name}"]
        assert hasattr(parsed(), f"{group}.{name}")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("grpc.listen", "7233"),
        ("grpc.listen", "host:99999"),
        ("grpc.listen", "0.0.0.0:7233"),
        ("grpc.listen", "unix:"),
        ("grpc.tls_key_file", "key.pem"),
        ("http.listen", "everywhere"),
        ("public.url", "shop.example"),
        ("public.url", "http://shop.example"),
        ("public.url", "https://"),
        ("public.url", "https://app:hush@shop.example"),
        ("public.url", "https://shop.example/?a=b"),
        ("public.url", "https://shop.example/#a"),
        ("public.url", "https://shop.example/a b"),
        ("public.url", "https://shop.example:port"),
        ("public.url", "https://shöp.example"),
        ("public.url", "https://shop.example/" + "x" * 500),
        ("unsubscribe.listen", "everywhere"),
        ("store.partitions", 0),
        ("store.partitions", 48),
        ("store.partitions", 8_192),
        ("store.slot_width_ms", 10),
        ("store.data_dir", ""),
        ("store.redis_url", "localhost:6379"),
        ("store.redis_url", "rediss://cache.example"),
        ("store.redis_url", "redis://cache.example/3"),
        ("store.redis_url", "redis://cache.example:port"),
        ("mail.port", 0),
        ("mail.connections", 0),
        ("mail.helo_name", "a b"),
        ("mail.helo_name", ""),
        ("mail.messages_per_second", -1),
        ("mail.messages_per_second", "nan"),
        ("mail.messages_per_second", 10_001),
        ("mail.user", "app"),
        ("mail.password_file", "secret.txt"),
        ("life.drain_ms", -1),
    ],
)
def test_a_wrong_value_is_refused_by_name(path: str, value: Any) -> None:
    with pytest.raises(InvalidField) as caught:
        load({path: value})
    assert path.partition(".")[0] in caught.value.field
    assert caught.value.field in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("mail.port", "many"),
        ("store.fsync", "never"),
        ("unsubscribe.scope", "everything"),
        ("store.colour", "red"),
        ("pets.cat", 1),
    ],
)
def test_what_has_no_sense_is_refused(path: str, value: Any) -> None:
    with pytest.raises(InvalidField):
        load({path: value})


@pytest.mark.parametrize("text", ["[grpc", "[grpc]\nlisten = 5", "grpc = 1", "[grpc]\nport = 1"])
def test_a_wrong_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "afterword.toml"
    file.write_text(text)
    with pytest.raises(InvalidField):
        load({}, {}, str(file))
    with pytest.raises(InvalidField):
        load({"grpc.listen": "127.0.0.1:1"}, {}, str(tmp_path / "none.toml"))


def test_tokens_open_the_door_to_others() -> None:
    chosen = load({"grpc.listen": "0.0.0.0:7233", "auth.tokens_file": "tokens.toml"})
    assert chosen.grpc.listen == "0.0.0.0:7233"


def test_links_lead_to_https_or_to_this_machine() -> None:
    for url in ("https://shop.example", "https://shop.example:8443/post/", "http://127.0.0.1:9465"):
        assert load({}, {"AFTERWORD_PUBLIC_URL": url}).public.url == url
    assert from_arguments(parsed("--public-url", "https://a.example"), {}).public.url
    assert from_arguments(parsed("--unsubscribe-listen", ""), {}).unsubscribe.listen == ""


def test_secrets_are_not_printed() -> None:
    chosen = load({"store.redis_url": "redis://app:hush@cache.example:6379"})
    for text in (repr(chosen), str(chosen), "\n".join(chosen.lines())):
        assert "hush" not in text
        assert "cache.example" in text
