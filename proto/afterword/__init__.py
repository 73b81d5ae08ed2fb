"""Thin client of Afterword: generated stubs in `afterword.v1`, helpers beside them."""
