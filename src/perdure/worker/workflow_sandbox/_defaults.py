"""The members that Temporal's sandbox refuses by default, as data."""

from __future__ import annotations

import random
import sys
from dataclasses import replace

from perdure.worker.workflow_sandbox._names import SandboxMatcher, SandboxRestrictions

_ALL_USES = """
    curses dbm filecmp fileinput ftplib getopt getpass gettext glob imaplib locale poplib readline sched shelve shutil smtplib
    socketserver subprocess tempfile webbrowser xmlrpc
"""
_ALL_USES_RUNTIME = "mmap multiprocessing platform select selectors signal socket threading"
_USES = {
    "bz2": "open",
    "gzip": "open",
    "lzma": "open",
    "marshal": "dump load",
    "secrets": "choice randbelow randbits SystemRandom token_bytes token_hex token_urlsafe",
}
_USES_OF_CLASSES = {
    "datetime.date": "today",
    "datetime.datetime": "now today utcnow",
    "pathlib.Path": (
        "chmod cwd exists expanduser glob group hardlink_to home is_block_device is_char_device is_dir is_fifo is_file "
        "is_mount is_socket is_symlink iterdir lchmod link_to lstat mkdir open owner read_bytes read_link read_text rename "
        "replace resolve rglob rmdir samefile stat symlink_to touch unlink write_bytes write_text"
    ),
    "tarfile.TarFile": "extract extractall",
    "zipfile.ZipFile": "extract extractall",
    "zoneinfo.ZoneInfo": "clear_cache from_file reset_tzpath",
}
_TIME = """
    pthread_getcpuclockid get_clock_info localtime monotonic monotonic_ns perf_counter perf_counter_ns process_time
    process_time_ns sleep time time_ns thread_time thread_time_ns tzset
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _warned(name: str) -> SandboxMatcher:
    call = SandboxMatcher(
        match_self=True,
        leaf_warning=UserWarning,
        leaf_message=f"asyncio.{name}() takes tasks out of a set, whose order Temporal does not promise: use workflow.{name}()",
    )
    return SandboxMatcher(children={"__call__": call})


def _default() -> SandboxMatcher:
    children = dict.fromkeys(_names(_ALL_USES), SandboxMatcher.all_uses)
    children.update(dict.fromkeys(_names(_ALL_USES_RUNTIME), SandboxMatcher.all_uses_runtime))
    # Making a lock does no harm, and what libraries in C make, numpy's generators for one, looks as the workflow's own.
    children["threading"] = replace(SandboxMatcher.all_uses_runtime, exclude=_names("Lock RLock"))
    children.update({name: SandboxMatcher(use=_names(uses)) for name, uses in _USES.items()})
    for path, uses in _USES_OF_CLASSES.items():
        module, name = path.split(".")
        inside = {**(children[module].children if module in children else {}), name: SandboxMatcher(use=_names(uses))}
        children[module] = SandboxMatcher(children=inside)
    children["tarfile"] = SandboxMatcher(use={"open"}, children=children["tarfile"].children)
    children["asyncio"] = SandboxMatcher(children={name: _warned(name) for name in ("as_completed", "wait")})
    children["concurrent"] = SandboxMatcher(children={"futures": SandboxMatcher.all_uses_runtime})
    children["http"] = SandboxMatcher(children=dict.fromkeys(("client", "server"), SandboxMatcher.all_uses))
    children["urllib"] = SandboxMatcher(children={"request": SandboxMatcher.all_uses})
    drawing = {name for name in dir(random) if not name.startswith("_") and callable(getattr(random, name))}
    children["random"] = SandboxMatcher(use=drawing - {name for name in dir(random) if name[0].isupper()})
    children["time"] = SandboxMatcher(use=_names(_TIME), only_runtime=True)
    children["uuid"] = SandboxMatcher(use={"uuid1", "uuid4", "uuid7"}, only_runtime=True)
    # Tracebacks of newer Pythons look at paths.
    shows_paths = sys.version_info >= (3, 14)
    children["os"] = SandboxMatcher(
        access={"name"},
        use={"*"},
        exclude={"stat", "path"} if shows_paths else {"stat"},
        children={} if shows_paths else {"path": SandboxMatcher.all},
        only_runtime=True,
    )
    debugger = SandboxMatcher(
        match_self=True,
        leaf_message="breakpoint() was used in workflow code: give the Worker debug_mode=True, or set TEMPORAL_DEBUG.",
        only_runtime=True,
    )
    children["__builtins__"] = SandboxMatcher(
        use={"input", "open"}, children={"breakpoint": debugger}, only_runtime=True
    )
    return SandboxMatcher(children=children)


SandboxRestrictions.invalid_module_members_default = _default()
SandboxRestrictions.default = SandboxRestrictions(
    SandboxRestrictions.passthrough_modules_default,
    SandboxMatcher.none,
    SandboxRestrictions.invalid_module_members_default,
)
