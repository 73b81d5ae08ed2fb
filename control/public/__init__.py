"""All that the internet reaches: the links in messages, and in `hooks` what providers call."""
