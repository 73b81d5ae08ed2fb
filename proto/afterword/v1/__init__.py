"""The API, version 1. Generated from the `.proto` files in this folder."""
