"""Loaded by a workflow of test_restrictions.py."""
