"""What shops write themselves: templates in Liquid, checked when they are saved, run within bounds.

Decides: which variables, tags and filters there are (`schema.py`, `filters.py`), what one message may
cost (`sandbox.py`), what is refused (`checking.py`), and what becomes of a template and a letter
(`compiled.py`, `messages.py`).
Never: which template a message has (`core/engine/judge.py`), or how bytes look (`senders/mime.py`).
"""
