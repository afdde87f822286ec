class Writer:
    """A growing byte buffer. One owner; ``finish`` gives its bytes and empties it. For compiled code only."""
