"""How a daemon's messages leave: from its settings to its postbox.

Decides: which transport e-mails have whose channel names no sender, and where senders may call.
Never: what a sender is made of (`senders/making.py`).
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from control.public.hooks.desk import hook_url
from control.public.links import UnsubscribeLinks
from control.settings import Mail, Settings
from core.engine.unsubscribe_tokens import UnsubscribeTokens
from core.errors import InvalidField
from core.model import Medium
from core.registry.registry import Registry
from core.registry.senders import Sender
from core.sending import Transport
from senders.contents import messages as contents
from senders.credentials import Secrets
from senders.desk import SenderDesk
from senders.http_client import Reach
from senders.making import TransportMaker
from senders.outbox import OutboxTransport
from senders.paced import PacedTransport
from senders.postbox import Postbox
from senders.smtp import SmtpTransport
from senders.smtp_connection import Tls


def outbox_folder(settings: Settings) -> Path:
    """Return where mail goes if there is no SMTP server."""
    return Path(settings.mail.outbox_dir or Path(settings.store.data_dir) / "outbox")


def make_postbox(settings: Settings, tokens: UnsubscribeTokens, registry: Registry) -> Postbox:
    """Return the way out of a daemon: its own for e-mails, and those of the senders of channels."""
    mail, render = settings.mail, contents.Mail().render
    if settings.public.url:
        links = UnsubscribeLinks(settings.public.url, tokens)
        render = contents.Mail(unsubscribe_url=links.of).render
    transport: Transport
    if mail.host:
        transport = SmtpTransport(
            mail.host, mail.port, connections=mail.connections, user=mail.user,
            password=_password(mail), tls=Tls.STARTTLS if mail.starttls else Tls.NONE,
            helo_name=mail.helo_name, render=render,
        )  # fmt: skip
    else:
        folder = outbox_folder(settings)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        transport = OutboxTransport(folder, render=render)
    if mail.messages_per_second:
        transport = PacedTransport(transport, mail.messages_per_second)
    reach = Reach.ANY if settings.allow.private_endpoints else Reach.PUBLIC
    maker = TransportMaker(
        secrets_of(settings), reach=reach, render=render, helo_name=mail.helo_name,
        callback_of=partial(_status_callback, settings.public.url),
    )  # fmt: skip
    return Postbox({Medium.EMAIL: transport}, SenderDesk(lambda: registry.snapshot, maker.make))


def _password(mail: Mail) -> str:
    if not mail.password_file:
        return ""
    try:
        return Path(mail.password_file).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise InvalidField(
            f"cannot read {mail.password_file}: {error.strerror}", field="mail.password_file"
        ) from None


def secrets_of(settings: Settings) -> Secrets:
    """Return where the secrets of accounts are looked up."""
    return Secrets(Path(settings.secrets.dir) if settings.secrets.dir else None)


def _status_callback(public_url: str, sender: Sender) -> str:
    """Return where the provider of a sender tells how it went."""
    return hook_url(public_url, sender.account, sender.id, "twilio")
