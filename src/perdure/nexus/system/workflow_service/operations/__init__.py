"""The operations as functions."""
