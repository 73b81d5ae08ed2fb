"""Credentials of providers, by reference: what is configured is where a secret lies, never the secret.

Decides: the form of a reference and when a secret is read again.
Never: shows one: neither `repr` nor an error holds it.

    env:TWILIO_TOKEN             from the environment of the daemon
    file:/run/secrets/twilio     the content of a file, without the line end; read again when it has
                                 changed, so that a rotated secret needs no restart
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from core.errors import InvalidField

SECRET_BYTES_MAX: Final = 16 * 1024

_ENV: Final = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]{0,127})")
_FILE: Final = re.compile(r"file:(/[^\0]{1,1023})")


class SecretMissing(Exception):
    """There is no secret where the reference points to; the text names the reference."""


class Credential:
    """A secret that is looked up when it is needed.

    Raises:
        InvalidField: the reference has another form.
    """

    def __init__(self, reference: str, *, field: str = "credential") -> None:
        env, file = _ENV.fullmatch(reference), _FILE.fullmatch(reference)
        if env is None and file is None:
            raise InvalidField(
                'a credential is named, not given: "env:NAME" or "file:/absolute/path"', field=field
            )
        self.reference = reference
        self._variable = env.group(1) if env is not None else ""
        self._path = Path(file.group(1)) if file is not None else None
        self._stamp: tuple[int, int] = (-1, -1)
        self._kept = ""

    def __repr__(self) -> str:
        return f"Credential({self.reference!r})"

    def read(self) -> str:
        """Return the secret.

        Raises:
            SecretMissing: it is not there, empty, or cannot be read.
        """
        try:
            text = os.environ.get(self._variable, "") if self._path is None else self._of_file()
        except (OSError, UnicodeDecodeError):
            raise SecretMissing(f"{self.reference} cannot be read") from None
        if not text:
            raise SecretMissing(f"{self.reference} is empty or not set")
        return text

    def _of_file(self) -> str:
        assert self._path is not None, "asked for a file only"
        found = self._path.stat()
        stamp = (found.st_mtime_ns, found.st_size)
        if stamp != self._stamp:
            if found.st_size > SECRET_BYTES_MAX:
                return ""
            self._kept, self._stamp = self._path.read_text("utf-8").rstrip("\r\n"), stamp
        return self._kept
