"""perdure against its peers: one runner, one adapter per peer. See README.md beside this file."""
