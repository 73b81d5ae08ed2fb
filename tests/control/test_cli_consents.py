"""`afterword consents` against a daemon that runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.test_cli import Cli, Daemon, run, served

__all__ = ["run"]

pytestmark = pytest.mark.integration

SHOP = ("--collection-point", "https://shop.example/account")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with served(tmp_path_factory.mktemp("consents")) as running:
        yield running


@pytest.fixture
def cli(run: Cli, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Cli:
    monkeypatch.setenv("AFTERWORD_ADDRESS", daemon.address)
    return run


def test_a_consent_with_all_its_evidence(cli: Cli) -> None:
    """g1: granted, withdrawn, and both in the history."""
    granted = cli(
        "consents", "grant", "ann@shop.example", *SHOP, "--text-version", "v3", "--locale", "en",
        "--ip-address", "203.0.113.7", "--method", "paper", "--expire-time", "now+300d",
    )  # fmt: skip
    assert granted.code == 0, granted.err
    assert "granted, with proof" in granted.out
    withdrawn = cli("consents", "withdraw", "ann@shop.example", "--method", "call")
    assert "withdrawn by   call" in withdrawn.out
    history = cli("consents", "history", "ann@shop.example")
    assert [line.split()[:2] for line in history.out.splitlines()[1:]] == [
        ["1", "confirmed"], ["2", "withdrawn"],
    ]  # fmt: skip
    told = cli("consents", "history", "ann@shop.example", "--json").json["lines"]
    assert told[0]["proof"]["ipAddress"] == "203.0.113.7"
    refused = cli("consents", "grant", "ann@shop.example", *SHOP, "--legal-basis", "contract")
    assert refused.code == 1
    assert "TRANSACTIONAL" in refused.err


def test_double_opt_in_by_hand(cli: Cli) -> None:
    """g3."""
    asked = cli("consents", "request", "bob@shop.example", *SHOP, "--expire-after", "2h", "--json")
    assert asked.code == 0, asked.err
    assert asked.json["consent"]["state"] == "STATE_PENDING"
    confirmed = cli("consents", "confirm", asked.json["token"])
    assert "granted, with proof" in confirmed.out
    assert "asked for" in confirmed.out
    refused = cli("consents", "confirm", asked.json["token"][:-1])
    assert refused.code == 1
    assert "unaltered" in refused.err


def test_suppressing_and_lifting(cli: Cli) -> None:
    """R18."""
    suppressed = cli("consents", "suppress", "cyd@shop.example", "--reason", "asked by letter")
    assert suppressed.code == 0, suppressed.err
    assert "blocked" in suppressed.out
    listed = cli("consents", "suppressions", "cyd@shop.example")
    assert listed.out.splitlines()[1].split()[:4] == ["blocked", "all", "all", "all"]
    assert cli(
        "consents", "lift", "cyd@shop.example", "--medium", "email", "--reason", "x"
    ).out == ("nothing to lift\n")
    assert "blocked" in cli("consents", "lift", "cyd@shop.example", "--reason", "error").out
    assert len(cli("consents", "suppressions", "cyd@shop.example").out.splitlines()) == 1


def test_a_stop_word(cli: Cli) -> None:
    """g7."""
    assert "none" in cli("consents", "receive", "+4930123456", "hello").out
    first = cli("consents", "receive", "+4930123456", "Stop!")
    assert "unsubscribed" in first.out
    assert "once" in first.out
    assert "once" not in cli("consents", "receive", "+4930123456", "Stop!").out


def test_a_block(cli: Cli) -> None:
    made = cli("consents", "blocks", "create", "rival", "--domain", "*.rival.example", "--purpose",
               "marketing")  # fmt: skip
    assert made.code == 0, made.err
    assert "*.rival.example" in cli("consents", "blocks", "get", "rival").out
    assert "marketing" in cli("consents", "blocks", "list").out
    assert cli("consents", "blocks", "delete", "rival").code == 0
    assert len(cli("consents", "blocks", "list").out.splitlines()) == 1
    bad = cli("consents", "blocks", "create", "bad", "--pattern", "(")
    assert bad.code == 1
    assert "block.value" in bad.err


def test_a_file_is_imported_line_by_line(cli: Cli, tmp_path: Path) -> None:
    """g1: what can be is taken, and the rest is told by its line."""
    known = {"contact": {"contact": {"email": "dan@shop.example"}}}
    about = {**known, "purpose": "PURPOSE_REVIEW", "medium": "MEDIUM_EMAIL"}
    proof = {"collectionPoint": "old shop", "evidenceTime": "2024-05-01T10:00:00Z"}
    lines = [
        json.dumps({"grant": {**about, **proof}}),
        "not json",
        "",
        json.dumps({"grant": {**about, "legalBasis": "LEGAL_BASIS_CONTRACT"}}),
        json.dumps({"withdrawal": {**about, "purpose": "PURPOSE_MARKETING"}}),
        json.dumps({"suppression": {**known, "kind": "KIND_HARD_BOUNCED"}}),
    ]
    file = tmp_path / "consents.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    checked = cli("consents", "import", str(file), "--validate-only")
    assert "3 lines can be imported, 1 with proof, 2 refused" in checked.out
    assert len(cli("consents", "list", "dan@shop.example").out.splitlines()) == 1
    done = cli("consents", "import", str(file))
    assert done.code == 1
    assert "3 lines imported, 1 with proof, 2 refused" in done.out
    assert "line 2: cannot be read" in done.err
    assert "line 4: " in done.err
    assert "legal_basis" in done.err
    assert "hard-bounced" in cli("consents", "suppressions", "dan@shop.example").out
    piped = cli("consents", "import", "-", "--json", stdin=lines[0])
    assert piped.json == {
        "imported": 1, "confirmed": 1, "refused": 0, "unreadable": 0, "ended": 0,
    }  # fmt: skip
    many = "\n".join([lines[4]] * 1_200)
    assert "1,200 lines imported" in cli("consents", "import", "-", stdin=many).out
    assert cli("consents", "import", str(tmp_path / "none")).code == 2
