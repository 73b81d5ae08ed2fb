"""The public Google types that the API uses.

Each module is that of `googleapis-common-protos` where this is installed, else a bundled copy. A
process knows each `.proto` file once, whoever brings it; so the installed one must come first, and
code that wants these types must import them from here.
"""
