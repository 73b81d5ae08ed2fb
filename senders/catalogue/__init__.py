"""What Afterword ships to say: templates of e-mails, and questionnaires. All of it is data.

Decides: which templates there are (`emails.py`, `questionnaires.py`), and which of them is in force for
a message (`choice.py`).
Never: where a word goes on the page (`senders/templates.py`), or when a message goes out.
"""
