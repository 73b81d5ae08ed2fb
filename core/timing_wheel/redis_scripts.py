"""The scripts of the durable store, read once."""

from __future__ import annotations

from pathlib import Path

from core.redis_link import Script

_WHEEL = Path(__file__).parent / "lua"
_ANTISPAM = Path(__file__).parent.parent / "antispam" / "lua"
SCRIPTS = {
    script.name: script
    for script in (
        *(
            Script(_WHEEL / f"{name}.lua")
            for name in (
                "acquire", "cancel", "claim", "commit", "drop_slots", "drop_timers", "mark_events",
                "mark_sending", "move", "note_orders", "open_slots", "recover", "renew",
                "require_registry", "settle", "sweep", "take_volume", "give_back_volume",
                "forget_facts", "forget_orders", "mark_addresses", "release_addresses",
                "record_feedback", "erase_contact",
            )
        ),
        Script(_ANTISPAM / "write_consents.lua"),
    )
}  # fmt: skip
"""Every script, loaded on each connection."""
