"""Copies for processes without `googleapis-common-protos`. Never import them directly.

Generated from the public files of Google APIs, Copyright Google LLC, Apache License 2.0.
"""
