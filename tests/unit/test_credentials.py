"""Names of secrets: an account reaches its own and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidField
from senders.credentials import SECRET_BYTES_MAX, SecretMissing, Secrets, variable_of

IDS = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    "reference",
    [
        "", "twilio", "secret:", "secret:Twilio", "secret:../shop/x", "secret:a/b", "secret:a.b",
        "secret:a\n", "secret:..", "env:HOME", "file:/etc/passwd", "secret:-a", "secret:" + "a" * 64,
        "SECRET:a", " secret:a", "secret:a\x00",
    ],
)  # fmt: skip
def test_only_names_of_secrets_are_taken(reference: str) -> None:
    with pytest.raises(InvalidField) as caught:
        Secrets(Path("/"), {}).credential("shop", reference)
    assert caught.value.field == "credential"


@given(IDS, IDS, IDS, IDS)
def test_no_two_secrets_share_a_variable(a: str, b: str, c: str, d: str) -> None:
    assert (variable_of(a, b) == variable_of(c, d)) == ((a, b) == (c, d))


def test_hyphens_do_not_make_one_account_another() -> None:
    assert variable_of("a-b", "c") == "AFTERWORD_SECRET_A__B_C"
    assert variable_of("a", "b-c") == "AFTERWORD_SECRET_A_B__C"


def test_an_account_reads_its_own_secrets(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "sms").write_text("mine\r\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mail").write_text("theirs")
    secrets = Secrets(tmp_path, {"AFTERWORD_SECRET_SHOP_MAIL": "mine too", "HOME": "/root"})
    assert secrets.credential("shop", "secret:sms").read() == "mine"
    with pytest.raises(SecretMissing, match="not one line"):
        secrets.credential("shop", "secret:mail").read()
    with pytest.raises(SecretMissing, match="not there"):
        secrets.credential("other", "secret:sms").read()


def test_a_file_comes_before_a_variable(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path, {"AFTERWORD_SECRET_SHOP_X": "variable"})
    credential = secrets.credential("shop", "secret:x")
    assert credential.read() == "variable"
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "x").write_text("file")
    assert credential.read() == "file"
    (tmp_path / "shop" / "x").unlink()
    assert credential.read() == "variable"


def test_a_secret_of_the_same_size_and_time_is_seen(tmp_path: Path) -> None:
    """Written anew under another inode, as secret stores do."""
    (tmp_path / "shop").mkdir()
    file = tmp_path / "shop" / "x"
    file.write_text("one")
    os.utime(file, ns=(1, 1))
    credential = Secrets(tmp_path, {}).credential("shop", "secret:x")
    assert credential.read() == "one"
    newer = tmp_path / "shop" / "y"
    newer.write_text("two")
    os.utime(newer, ns=(1, 1))
    newer.replace(file)
    assert credential.read() == "two"


def test_what_is_no_secret_is_missing_and_not_told(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    for name, content in (
        ("large", b"x" * (SECRET_BYTES_MAX + 1)), ("binary", b"\xff\xfe"), ("empty", b"\n"),
        ("lines", b"canary\nmore"),
    ):  # fmt: skip
        (tmp_path / "shop" / name).write_bytes(content)
        credential = Secrets(tmp_path, {}).credential("shop", f"secret:{name}")
        with pytest.raises(SecretMissing) as caught:
            credential.read()
        assert "canary" not in str(caught.value)
        assert str(tmp_path) not in str(caught.value)
        assert repr(credential) == f"Credential('secret:{name}')"
