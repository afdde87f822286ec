"""What a ``postgresql://`` URL says: where the database is, and how it is used.

The URL is libpq's. These options of its query are ours; all others (``sslmode``, ``sslrootcert``, ``target_session_attrs``,
...) go to the driver:

``schema``              the schema that holds the tables (``perdure``)
``pool_max``            connections for reading (5); one more commits
``connect_timeout``     seconds to wait for a connection (10)
``command_timeout``     seconds to wait for an answer before the connection is given up (60)
``reconnect_timeout``   seconds during which a database that went away is waited for (30)
``statement_timeout``   milliseconds after which the server ends a statement
``application_name``    how the server names our connections (``perdure``)
``lease``               seconds after which a process that fell silent is taken for dead (10)
``partitions``          parts of each table when the schema is made (1)
``migrate``             ``auto`` makes and updates the tables at opening, ``off`` leaves that to ``perdure store migrate``
``pooler``              ``transaction`` for PgBouncer in that mode: no prepared statements, no settings of a session
``replica``             the URL of a read replica that answers listings and counts
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,50}")
_NUMBERS = {
    "pool_max": (1, 1000),
    "connect_timeout": (0.1, 3600),
    "command_timeout": (0.1, 86400),
    "reconnect_timeout": (0, 86400),
    "statement_timeout": (0, 86_400_000),
    "lease": (1, 3600),
    "partitions": (1, 256),
}
_WHOLE = frozenset(("pool_max", "statement_timeout", "partitions"))


@dataclass(frozen=True)
class Settings:
    """A URL, taken apart."""

    dsn: str
    """What the driver connects to."""
    place: str
    """The same for messages: without a password."""
    schema: str = "perdure"
    pool_max: int = 5
    connect_timeout: float = 10.0
    command_timeout: float = 60.0
    reconnect_timeout: float = 30.0
    lease: float = 10.0
    partitions: int = 1
    migrate: bool = True
    is_pooled: bool = False
    """Behind a pooler that gives each transaction another connection of the server."""
    replica: str = ""
    server_settings: dict[str, str] = field(default_factory=dict)
    """What a connection begins with."""
    session_settings: dict[str, str] = field(default_factory=dict)
    """What is set on it then: a pooler refuses most that is asked at the beginning."""

    @classmethod
    def parse(cls, url: str) -> Settings:
        """Read a URL.

        Raises:
            ValueError: an option has a value that cannot be; the message has no password.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError(f"a PostgreSQL home is 'postgresql://user@host/database', not {parts.scheme!r}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        options.pop("durability", None)
        numbers = {name: _number(name, options.pop(name)) for name in _NUMBERS if name in options}
        schema = options.pop("schema", "perdure")
        if not _SCHEMA.fullmatch(schema):
            raise ValueError(f"schema={schema!r}: use lower-case letters, digits and underscores, at most 51")
        migrate = _choice(options, "migrate", ("auto", "off"))
        pooler = _choice(options, "pooler", ("session", "transaction"))
        server = {"application_name": options.pop("application_name", "perdure")}
        timeout = numbers.pop("statement_timeout", None)
        session = {}
        if pooler != "transaction":
            session["jit"] = "off"
            if timeout is not None:
                session["statement_timeout"] = str(int(timeout))
        replica = options.pop("replica", "")
        netloc = parts.netloc.rpartition("@")[2]
        user = parts.username or options.get("user", "")
        place = f"postgresql://{user + '@' if user else ''}{netloc}{parts.path}"
        return cls(
            dsn=urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(options), "")),
            place=f"{place} (schema {schema})",
            schema=schema,
            migrate=migrate == "auto",
            is_pooled=pooler == "transaction",
            replica=replica,
            server_settings=server,
            session_settings=session,
            # By their names they are the fields that are numbers.
            **{name: int(value) if name in _WHOLE else value for name, value in numbers.items()},  # type: ignore[arg-type]
        )


def _number(name: str, text: str) -> float:
    low, high = _NUMBERS[name]
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high or (name in _WHOLE and value != int(value)):
        raise ValueError(f"{name}={text!r} is not a number from {low} to {high}")
    return value


def _choice(options: dict[str, str], name: str, words: tuple[str, str]) -> str:
    word = options.pop(name, words[0])
    if word not in words:
        raise ValueError(f"{name}={word!r}: it is {words[0]!r} or {words[1]!r}")
    return word
