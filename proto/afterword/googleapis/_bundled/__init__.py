"""Copies for processes without `googleapis-common-protos`. Never import them directly."""
