"""One `lmdb:` folder for several processes: its owner serves the others over a Unix socket inside the folder.

One process owns an LMDB environment. Another that opens the same path becomes a *guest*: every RPC of the seam goes to
the owner (the *host*) as one frame and comes back as one. When the owner closes or dies, its socket closes with it, and
the first guest to get the folder's lock opens the store and is the host from then on; the others find it there.

    ``_frames``      the bytes of a frame, and of what is in it
    ``_host``        the owner's side: a socket
    ``_connection``  one guest at its host: a task for each call
    ``_guest``       the others' side: a service that calls, waits, and takes over
"""
