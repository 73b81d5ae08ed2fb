"""Secrets of senders, by name: what is configured is what a secret is called, never the secret.

Decides: where the secret of an account lies, and when it is read again.
Never: shows one: neither `repr` nor an error holds it; and never looks anywhere else: an account names
its own secrets, and can name neither a file or variable of the daemon's nor a secret of another account.

    secret:twilio     of the account "shop" is the content of <folder>/shop/twilio, without the line end;
                      read again when it has changed, so that a rotated secret needs no restart; without
                      such a file, the environment variable AFTERWORD_SECRET_SHOP_TWILIO

In variables a hyphen becomes two underscores, so that no two secrets share one: account and name have no
underscores, a name begins with a letter, and so the one run of underscores of odd length ends with what
lies between them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from core.errors import InvalidField

SECRET_BYTES_MAX: Final = 16 * 1024
VARIABLE_PREFIX: Final = "AFTERWORD_SECRET_"

_REFERENCE: Final = re.compile(r"secret:([a-z][a-z0-9-]{0,62})")
_ACCOUNT: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
_VISIBLE: Final = re.compile(r"[!-~]+")
_Read = Callable[[], str]


class SecretMissing(Exception):
    """There is no such secret, or none that can be used; the text names it and does not tell it."""


def check_reference(reference: str, *, field: str = "credential") -> str:
    """Return the name of a secret as it is configured.

    Raises:
        InvalidField: it has another form.
    """
    if _REFERENCE.fullmatch(reference) is None:
        raise InvalidField(
            f'{field} names a secret and does not tell it: "secret:<name>", the name a lower-case '
            "letter, then up to 62 lower-case letters, digits or hyphens",
            field=field,
        )
    return reference


def variable_of(account: str, name: str) -> str:
    """Return the environment variable of a secret."""
    written = (part.upper().replace("-", "__") for part in (account, name))
    return VARIABLE_PREFIX + "_".join(written)


class Secrets:
    """Where secrets are looked up.

    Args:
        folder: holds a folder for each account; None: there are none in files.
        environment: the daemon's.
    """

    def __init__(
        self, folder: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder = folder
        self._environment = os.environ if environment is None else environment

    def credential(self, account: str, reference: str) -> Credential:
        """Return a secret of an account, which need not be there yet.

        Raises:
            InvalidField: the reference has another form.
        """
        name = check_reference(reference).partition(":")[2]
        assert _ACCOUNT.fullmatch(account), "an account's id is checked where it comes in"
        path = None if self._folder is None else self._folder / account / name
        variable = variable_of(account, name)
        return Credential(reference, path, lambda: self._environment.get(variable, ""))

    def __repr__(self) -> str:
        return "Secrets()"


class Credential:
    """A secret that is looked up when it is needed. Made by `Secrets`."""

    def __init__(self, reference: str, path: Path | None, variable: _Read) -> None:
        self.reference = reference
        self._path = path
        self._variable = variable
        self._stamp: tuple[int, int, int, int] | None = None
        self._kept = ""

    def __repr__(self) -> str:
        return f"Credential({self.reference!r})"

    def read(self) -> str:
        """Return the secret: one line of visible ASCII characters.

        Raises:
            SecretMissing: it is not there, cannot be read, or could not stand in a header.
        """
        try:
            text = self._of_file()
        except (OSError, UnicodeDecodeError):
            raise SecretMissing(f"{self.reference} cannot be read") from None
        text = text or self._variable()
        if not text:
            raise SecretMissing(f"{self.reference} is empty or not there")
        if _VISIBLE.fullmatch(text) is None:
            raise SecretMissing(f"{self.reference} is not one line of visible ASCII characters")
        return text

    def _of_file(self) -> str:
        if self._path is None:
            return ""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._kept = None, ""
            return ""
        stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_size)
        if stamp != self._stamp:
            if found.st_size > SECRET_BYTES_MAX:
                raise OSError("larger than a secret may be")
            self._kept, self._stamp = self._path.read_text("utf-8").rstrip("\r\n"), stamp
        return self._kept
