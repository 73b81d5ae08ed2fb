"""Every bound of the system, with the relations between them asserted at import.

Decides: how large, how long, how many. A limit that stands elsewhere is a bug.
Never: a tunable; what an operator may set is in `control/settings.py`, checked against this page.
"""

from __future__ import annotations

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# --- time ---------------------------------------------------------------------------------------
WAIT_MAX_MS = 180 * DAY_MS
"""Longest wait of one step (A5: the systems we follow allow 0 to 180 days)."""

ACTIVATION_DATE_MAX_MS = 730 * DAY_MS
"""Farthest activation date ahead of the event (B16: concerts, term contracts)."""

EVENT_AGE_MAX_MS = 730 * DAY_MS
"""Oldest event taken: history imports reach back two years."""

EVENT_AHEAD_MAX_MS = 1 * DAY_MS
"""How far ahead of the daemon's clock an event may have occurred: clocks of shops drift."""

REQUESTED_SEND_TIME_MAX_MS = 730 * DAY_MS
"""Farthest explicit send time."""

HORIZON_MS = ACTIVATION_DATE_MAX_MS + WAIT_MAX_MS + 30 * DAY_MS
"""Farthest due time that any rule can produce; the wheel holds it."""

EXPIRE_AFTER_MAX_MS = 180 * DAY_MS
LATE_EVENT_MS = 72 * HOUR_MS
"""Accepted later than this after its planned due, an invitation expires LATE_EVENT (R30)."""

CAP_WINDOW_MAX_MS = 366 * DAY_MS
CAP_LIMIT_MAX = 256
CAP_LIMITS_MAX = 512
"""Limits counted per contact: of one cap, and of all caps of an account together: a contact's record
must hold the stamps that their windows reach."""

VOLUME_LIMIT_MAX = 100_000_000
"""Limit of a cap over all contacts."""

OPT_IN_MIN_MS = 1 * HOUR_MS
OPT_IN_DEFAULT_MS = 7 * DAY_MS
OPT_IN_MAX_MS = 30 * DAY_MS
"""How long a double opt-in can be confirmed."""

OPT_IN_REQUESTS_PER_DAY_MAX = 5
"""Requests to one contact in any 24 hours to confirm consents over one medium, whatever they are for; by
mail over all media together: forms are filled in for others."""

# --- batches ------------------------------------------------------------------------------------
EVENT_BATCH_MAX = 1_000
"""Events in one request or stream message."""

EVENT_BYTES_MAX = 64 * 1024
"""Serialised size of one event."""

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Largest gRPC message taken."""

STREAM_CREDITS = 16
"""Batches of one stream that may be unacknowledged."""

SCRIPT_BATCH_MAX = 128
"""Items of one script call: keeps a call under two milliseconds of server time."""

CLAIM_BATCH_MAX = 128
DIRECTORY_BUCKETS = 256
"""Buckets of each directory per partition: below 128 fields each they stay compact."""

SLOT_READ_MAX = 4_096
"""Members read from one slot at a time; a larger slot is read in pieces."""

WHEEL_ENTRIES_MAX = 2_000_000
"""Entries of the near horizon in memory, about 200 bytes each."""

PAGE_SIZE_MAX = 1_000
PAGE_SIZE_DEFAULT = 50

CONSENT_BATCH_MAX = 1_000
"""Items in one message of an import of consents."""

# --- partitions ---------------------------------------------------------------------------------
PARTITIONS_MAX = 4_096
PARTITIONS_DEFAULT = 64

REFUSALS_REMEMBERED_MAX = 2_000
"""Events whose refused conditions one process can still tell of, about 3 KB each."""

# --- strings ------------------------------------------------------------------------------------
ID_CHARS_MAX = 63
EVENT_ID_CHARS_MAX = 256
REFERENCE_CHARS_MAX = 256
NAME_CHARS_MAX = 200
EMAIL_CHARS_MAX = 254
"""RFC 5321 4.5.3.1.3, less the angle brackets."""
SUBJECT_CHARS_MAX = 250
EXPRESSION_CHARS_MAX = 4_096
EXPRESSION_DEPTH_MAX = 32
EXPRESSION_COST_MAX = 50_000
"""Most steps one evaluation of a condition may take (`core.rules.cel_cost`), about 2 ms: one loop over
the items and one over their tags with a short body fit, a loop over items inside one over items not."""

ATTRIBUTE_LOOP_MAX = 1_000
"""Elements of a list in an event's attributes that a condition can go through; with more it errs."""

TEXT_CHARS_MAX = 2_000
BLOCK_CHARS_MAX = 250
"""A domain has at most 253 characters, and nobody blocks the longest."""

# --- templates of shops -------------------------------------------------------------------------
TEMPLATES_PER_ACCOUNT_MAX = 256
TEMPLATE_LOCALES_MAX = 40
TEMPLATE_BYTES_MAX = 256 * 1024
"""All locales of one template together, as stored."""

TEMPLATE_REVISIONS_MAX = 64
TEMPLATE_HISTORY_BYTES_MAX = 1024 * 1024
"""Former revisions that are kept of one template; the one before the newest always is."""

TEMPLATE_SOURCE_CHARS_MAX = 100_000
"""The HTML of one locale; mail programs cut off what is longer."""

TEMPLATE_TEXT_CHARS_MAX = 20_000
"""The plain part of an e-mail."""

TEMPLATE_LINE_CHARS_MAX = 500
"""Subject, preheader, sender's name and parameters as they are written, variables not filled."""

TEMPLATE_PARAMETERS_MAX = 32
TEMPLATE_TAGS_MAX = 500
TEMPLATE_ALL_TAGS_MAX = 2_000
"""Tags and outputs of one text, and of all locales of a template together. One takes about a tenth of a
millisecond to read, and all else waits meanwhile."""

TEMPLATE_EXPRESSION_CHARS_MAX = 500
"""One tag or output."""

TEMPLATE_NESTING_MAX = 12
"""Blocks within blocks."""

TEMPLATE_LOOPS_MAX = 500
"""Rounds of all loops of a message together; loops within loops multiply."""

TEMPLATE_STEPS_MAX = 6_000
"""Outputs, tags and filters that one message runs through, each about 2 to 5 microseconds, so that the
worst one takes about 20 ms; what handles long texts takes more steps (`TEMPLATE_STEP_CHARS`)."""

TEMPLATE_STEP_CHARS = 256
TEMPLATE_VALUE_CHARS_MAX = 64 * 1024
"""One value in a template: a variable, or what a filter makes."""

TEMPLATE_VALUE_ITEMS_MAX = 500
TEMPLATE_LOCALS_CHARS_MAX = 256 * 1024
"""All that one message assigns and captures."""

TEMPLATE_OUTPUT_CHARS_MAX = 256 * 1024
"""One part of a message; mail programs show about 100 KB."""

# --- per contact and rule -----------------------------------------------------------------------
STEPS_MAX = 8
ACTIONS_MAX = 4
RULES_PER_ACCOUNT_MAX = 10_000
CHANNELS_PER_ACCOUNT_MAX = 10_000
CAPS_PER_ACCOUNT_MAX = 64
CARRIERS_PER_ACCOUNT_MAX = 1_000
PLATFORMS_PER_ACCOUNT_MAX = 64
SENDERS_PER_ACCOUNT_MAX = 100
BLOCKS_PER_ACCOUNT_MAX = 1_000
CONTACT_CONSENTS_MAX = 256
"""Evidence goes first. Withdrawals and suppressions never go; of more than this, the oldest come to hold
for the whole account, where there is one for each purpose, medium and status."""

CONTACT_STAMPS_MAX = 1_024
CONTACT_TOMBSTONES_MAX = 256
CONTACT_HISTORY_MAX = 256
CONTACT_EVENTS_MAX = 1_024
CONTACT_INVITATIONS_MAX = 1_024
"""Sections of a contact record; the oldest that no longer matter go first."""

CONTACT_WAITING_MAX = 8_192
"""Invitations that may wait for one contact at a time; what comes on top ends FAILED (CONTACT_FULL)."""

CONTACT_FACTS_BYTES_MAX = 64 * 1024
"""What is kept of the events that tell more about an order that waits; the oldest go first."""

CONTACT_TIMERS_MAX = 64
"""Timers of one contact; the one first set goes first."""

INVITATION_NOTES_MAX = 64
"""Deferrals and skips by caps that are remembered of one invitation; the oldest go first."""

# --- retention ----------------------------------------------------------------------------------
EVENT_GENERATION_MS = 14 * DAY_MS
"""Event marks live one to two generations (E14)."""

ORDER_GENERATION_MS = 365 * DAY_MS
"""Order directory entries live one to two generations."""

AUDIT_RETENTION_MS = 730 * DAY_MS
AUDIT_LINES_MAX = 100_000
"""How long, and how many, changes of an account's configuration stay in its audit log."""

OUTCOME_RETENTION_MS = 90 * DAY_MS
"""How long an ended invitation can still be read and explained."""

CHANNEL_COUNT_DAYS = 40
"""Days for which sent messages, complaints and bounces are counted by channel and medium (g6)."""

# --- leases -------------------------------------------------------------------------------------
PARTITION_LEASE_MS = 10 * SECOND_MS
CLAIM_LEASE_MS = 60 * SECOND_MS
LEASE_MARGIN_MS = 2 * SECOND_MS
HAND_OVER_MS = 500
"""A claim older than this passes the gate once more before the hand-over (E4)."""
SKEW_MAX_MS = 2 * SECOND_MS
NEAR_POLL_MS = 250
SLEEP_MAX_MS = 1 * SECOND_MS
"""No loop sleeps longer than this: what was missed is found within it."""

assert PARTITIONS_DEFAULT <= PARTITIONS_MAX
assert PARTITIONS_DEFAULT & (PARTITIONS_DEFAULT - 1) == 0, "partition = hash & (P - 1)"
assert HORIZON_MS < 2**48, "due times are packed in six bytes"
assert CLAIM_LEASE_MS > HAND_OVER_MS * 10, "a lease outlives any hand-over"
assert PARTITION_LEASE_MS > 2 * LEASE_MARGIN_MS + SLEEP_MAX_MS
assert CLAIM_BATCH_MAX <= SCRIPT_BATCH_MAX
assert CONTACT_INVITATIONS_MAX < CONTACT_WAITING_MAX < 2**15, "a record counts them in two bytes"
assert EVENT_BATCH_MAX <= 4 * SCRIPT_BATCH_MAX * PARTITIONS_DEFAULT
