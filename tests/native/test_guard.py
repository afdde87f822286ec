"""The determinism guard: the run's own values, refusals that name file, line and cure, and nothing outside."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import datetime
import functools
import gc
import importlib
import io
import json
import logging
import operator
import os
import pathlib
import random
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import typing
import uuid
import warnings
import zoneinfo
from collections.abc import Callable, Iterator
from datetime import datetime as early_datetime
from random import random as early_random
from time import time as early_time
from typing import Any
from uuid import uuid4 as early_uuid4

import pytest

from perdure._native import guard

NOW_NS = 1_700_000_000_123_456_789


class Refused(RuntimeError):
    def __init__(self, qualified_name: str, *, override_message: str | None = None) -> None:
        super().__init__(override_message)
        self.qualified_name = qualified_name


class Run:
    def __init__(self) -> None:
        self.random = random.Random(7)

    def guard_time_ns(self) -> int:
        return NOW_NS

    def guard_random(self) -> random.Random:
        return self.random


@pytest.fixture(autouse=True, scope="module")
def _installed() -> Iterator[None]:
    guard.install(Refused)
    yield
    guard.install(guard.RestrictedError)


@contextlib.contextmanager
def inside(run: Any = None) -> Iterator[Any]:
    run = run or Run()
    guard.enter(run)
    try:
        yield run
    finally:
        guard.leave()


def call(function: Callable[[], Any]) -> Any:
    with inside():
        return function()


def test_clocks_give_the_runs_time() -> None:
    utc = datetime.UTC
    moment = datetime.datetime.fromtimestamp(1_700_000_000, utc).replace(microsecond=123456)
    for clock in (early_time, time.time, time.monotonic, time.perf_counter, time.process_time, time.thread_time):
        assert call(clock) == NOW_NS / 1e9
    for clock in (time.time_ns, time.monotonic_ns, time.perf_counter_ns):
        assert call(clock) == NOW_NS
    local = moment.astimezone().replace(tzinfo=None)
    assert call(early_datetime.now) == call(lambda: datetime.datetime.now(None)) == local
    assert call(lambda: datetime.datetime.now(utc)) == call(lambda: early_datetime.now(tz=utc)) == moment
    assert call(early_datetime.utcnow) == moment.replace(tzinfo=None)
    assert call(early_datetime.today).replace(microsecond=0) == local.replace(microsecond=0)
    assert call(datetime.date.today) == local.date()
    assert call(time.gmtime) == time.gmtime(1_700_000_000) == call(lambda: time.gmtime(None))
    assert call(time.localtime) == time.localtime(1_700_000_000)
    assert call(time.ctime) == time.ctime(1_700_000_000)
    assert call(time.asctime) == time.asctime(time.localtime(1_700_000_000))
    assert call(lambda: time.strftime("%Y-%m-%d")) == local.strftime("%Y-%m-%d")
    assert call(lambda: time.strftime("%Y", time.gmtime(0))) == "1970"
    assert call(lambda: time.gmtime(0)) == time.gmtime(0)


def test_subclass_of_datetime_stays_itself() -> None:
    class Moment(datetime.datetime):
        pass

    assert type(call(Moment.now)) is Moment
    with inside(), pytest.raises(TypeError):
        Moment.now("not a zone")  # type: ignore[arg-type]


def test_randomness_is_the_runs() -> None:
    def draw() -> list[Any]:
        items = list(range(9))
        random.shuffle(items)
        return [
            early_random(),
            random.randint(1, 1000),
            random.gauss(0, 1),
            random.gauss(0, 1),
            random.normalvariate(0, 1),
            random.choice("abc"),
            random.sample(range(100), 5),
            random.randbytes(4),
            random.uniform(1, 2),
            items,
            random.Random().random(),
            early_uuid4(),
            uuid.uuid4().hex,
        ]

    before = random.getstate()
    first = call(draw)
    assert call(draw) == first
    assert random.getstate() == before, "the process's own stream is left alone"
    run = Run()
    with inside(run):
        expected = random.Random(7)
        assert early_random() == expected.random()
        bits = expected.getrandbits(128)
        assert early_uuid4() == uuid.UUID(bytes=bits.to_bytes(16, "big"), version=4)
        random.seed(5)
        assert random.random() == random.Random(5).random()
        state = random.getstate()
        number = random.random()
        random.setstate(state)
        assert random.random() == number
        assert random.Random(3).random() == random.Random(3).random()
        random.seed()
    assert random.getstate() == before


def test_uuid_of_time() -> None:
    if not hasattr(uuid, "uuid7"):
        pytest.skip("uuid7 came with Python 3.14")
    with inside():
        made = uuid.uuid7()
    assert made.version == 7
    assert made.int >> 80 == NOW_NS // 1_000_000


REFUSED: list[tuple[str, str, Callable[[], Any]]] = [
    ("time.sleep", "asyncio.sleep", lambda: time.sleep(0)),
    ("open", "activity", lambda: open(__file__)),
    ("pathlib.Path", "activity", lambda: pathlib.Path(__file__).read_text()),
    ("pathlib.Path", "activity", lambda: pathlib.Path(__file__).exists()),
    ("os.listdir", "activity", lambda: os.listdir(".")),
    ("tempfile.TemporaryFile", "activity", lambda: tempfile.TemporaryFile()),
    ("os.environ", "argument", lambda: os.environ["HOME"]),
    ("os.getenv", "argument", lambda: os.getenv("HOME")),
    ("os.environ", "argument", lambda: "HOME" in os.environ),
    ("os.environ", "argument", lambda: list(os.environ)),
    ("os.environ", "argument", lambda: os.environ.update(A="b")),
    ("threading.Thread.start", "asyncio", lambda: threading.Thread(target=print).start()),
    ("concurrent.futures", "asyncio", lambda: concurrent.futures.ThreadPoolExecutor().submit(print)),
    ("threading.Event.wait", "asyncio", lambda: threading.Event().wait(1)),
    ("subprocess.run", "activity", lambda: subprocess.run(["true"])),
    ("os.system", "activity", lambda: os.system("true")),
    ("os.fork", "activity", lambda: os.fork()),
    ("socket.create_connection", "activity", lambda: socket.create_connection(("localhost", 1))),
    ("socket.gethostname", "activity", lambda: socket.gethostname()),
    ("os.urandom", "secret", lambda: os.urandom(16)),
    ("secrets.token_hex", "secret", lambda: secrets.token_hex()),
    ("random.SystemRandom.random", "secret", lambda: random.SystemRandom().random()),
    ("uuid.uuid1", "uuid4", lambda: uuid.uuid1()),
    ("input", "signal", lambda: input()),
]


@pytest.mark.parametrize(("name", "cure", "reach"), REFUSED, ids=[f"{r[0]} {n}" for n, r in enumerate(REFUSED)])
def test_refusal_names_call_file_line_and_cure(name: str, cure: str, reach: Callable[[], Any]) -> None:
    with inside(), pytest.raises(Refused) as caught:
        reach()
    message = str(caught.value)
    line = reach.__code__.co_firstlineno
    assert re.match(rf"{re.escape(name)}.* was used in workflow code at {re.escape(__file__)}:{line}: ", message)
    assert cure in message
    assert message.endswith(".")
    assert caught.value.qualified_name.startswith(name)


def test_connected_socket_is_refused() -> None:
    here, there = socket.socketpair()
    with here, there:
        with inside(), pytest.raises(Refused, match="network"):
            here.sendall(b"x")
        here.sendall(b"x")
        assert there.recv(1) == b"x"


class TestLetThrough:
    def test_imports(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "reaches_out.py").write_text(
            "import os, time, uuid\nHOME = os.getenv('HOME')\nNOW = time.time()\nFILE = open(__file__); TEXT = FILE.read(); FILE.close()\n"
            "SECRET = os.urandom(4)\nNODE = uuid.uuid1()\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        with inside():
            module: Any = importlib.import_module("reaches_out")
            with pytest.raises(Refused):
                os.getenv("HOME")
        assert os.getenv("HOME") == module.HOME
        assert abs(module.NOW - time.time()) < 1000

    def test_import_that_fails_leaves_the_guard_on(self) -> None:
        with inside():
            with pytest.raises(ImportError):
                importlib.import_module("no_such_module_anywhere")
            assert guard.is_active()

    def test_logging_with_real_time(self, tmp_path: pathlib.Path) -> None:
        logger = logging.getLogger("test_guard")
        records: list[logging.LogRecord] = []
        handler = logging.FileHandler(tmp_path / "log", delay=True)
        handler.addFilter(lambda record: records.append(record) or True)
        logger.addHandler(handler)
        try:
            with inside():
                logger.warning("hello %s", 1)
                logger.exception("oops", exc_info=ValueError())
                assert guard.is_active()
        finally:
            logger.removeHandler(handler)
            handler.close()
        assert (tmp_path / "log").read_text().startswith("hello 1\noops")
        assert abs(records[0].created - time.time()) < 1000
        assert records[0].filename == "test_guard.py"
        assert records[0].funcName == "test_logging_with_real_time"

    def test_harmless_parts_of_the_standard_library(self, capsys: pytest.CaptureFixture[str]) -> None:
        @dataclasses.dataclass
        class Data:
            number: int
            name: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))

        with inside():
            print("printed")

            @dataclasses.dataclass(frozen=True, slots=True)
            class Late:
                at: datetime.datetime

            assert typing.get_type_hints(Data) == {"number": int, "name": str}
            assert json.loads(json.dumps({"a": 1})) == {"a": 1}
            assert re.compile(r"(\d+)x").match("12x")
            assert io.StringIO("x").read() == "x"
            try:
                raise ValueError("x")
            except ValueError:
                text = traceback.format_exc()
            assert "raise ValueError" in text
            zoneinfo.ZoneInfo.no_cache("Europe/Berlin")
            with warnings.catch_warnings(record=True):
                warnings.simplefilter("always")
                warnings.warn("careful", stacklevel=1)
            Late(datetime.datetime.now())
            Data(1)
            with threading.Lock():
                pass
        assert capsys.readouterr().out == "printed\n"

    def test_allowed_modules(self) -> None:
        module: Any = type(sys)("observer.inner")
        exec("import os, random\ndef look(): return os.getenv('HOME'), random.random()", module.__dict__)
        with inside(), pytest.raises(Refused):
            module.look()
        guard.allow("observer.anything")
        run = Run()
        with inside(run):
            home, _ = module.look()
        assert home == os.getenv("HOME")
        assert run.random.random() == random.Random(7).random(), "an observer does not draw from the run's stream"

    def test_finalizers_of_the_garbage_collector(self) -> None:
        seen: list[Any] = []

        class Resource:
            def __init__(self) -> None:
                self.me = self

            def __del__(self) -> None:
                seen.append((os.getenv("HOME"), guard.is_active()))

        with inside():
            Resource()
            gc.collect()
            assert guard.is_active()
        assert [entry[1] for entry in seen] == [False]


def test_passthrough() -> None:
    with inside():
        with guard.passthrough():
            os.getenv("HOME")
            assert abs(time.time() - NOW_NS / 1e9) > 1000
            with guard.passthrough():
                assert not guard.is_active()
            assert not guard.is_active()
        assert guard.is_active()
    assert not guard.is_active()
    with guard.passthrough():
        pass


def test_passthrough_left_open_ends_with_the_activation() -> None:
    scope = guard.passthrough()
    with inside():
        scope.__enter__()
    with inside():
        assert guard.is_active()
        with guard.passthrough():
            scope.__exit__(None, None, None)
            assert not guard.is_active()


def test_other_threads_are_unaffected() -> None:
    seen: list[Any] = []
    started, finish = threading.Event(), threading.Event()

    def other() -> None:
        seen.append(guard.current())
        started.set()
        finish.wait(10)
        seen.append(time.time())
        seen.append(os.getenv("HOME"))

    thread = threading.Thread(target=other)
    thread.start()
    started.wait(10)
    with inside():
        with guard.passthrough():
            finish.set()
            thread.join()
    assert seen[0] is None
    assert abs(seen[1] - time.time()) < 1000


def test_enter_and_leave() -> None:
    run = Run()
    references = sys.getrefcount(run)
    with inside(run):
        assert guard.current() is run
        ((thread, turn, inner),) = guard.turns()
        assert (thread, inner) == (threading.get_ident(), run)
        with pytest.raises(RuntimeError, match="cannot start inside another"):
            guard.enter(run)
    assert guard.current() is None
    assert guard.turns() == []
    assert guard.leave() is False
    del inner
    assert sys.getrefcount(run) == references
    with inside(run):
        assert guard.turns()[0][1] == turn + 2


def test_interrupt_reaches_the_activation() -> None:
    class Stop(BaseException):
        pass

    guard.enter(Run())
    ((thread, turn, _),) = guard.turns()
    with pytest.raises(Stop):
        guard.interrupt(thread, turn, Stop)
        for _ in range(1000):
            pass
    assert guard.leave() is True
    assert guard.interrupt(thread, turn, Stop) is False


def test_interrupt_that_did_not_arrive_is_taken_back() -> None:
    class Stop(BaseException):
        pass

    # Called from C: no bytecode of Python runs between the two, so the exception is still on its way at leave().
    guard.enter(Run())
    ((thread, turn, _),) = guard.turns()
    steps = (functools.partial(guard.interrupt, thread, turn, Stop), guard.leave)
    assert list(map(operator.call, steps)) == [True, True]
    for _ in range(1000):
        pass


def test_nothing_is_changed_before_install_and_install_repeats() -> None:
    script = (
        "import os, time, random\n"
        "before = (type(os.environ).__getitem__, random.Random.gauss.__code__)\n"
        "from perdure._native import guard\n"
        "assert (type(os.environ).__getitem__, random.Random.gauss.__code__) == before\n"
        "guard.install(); guard.install()\n"
        "assert type(os.environ).__getitem__ is not before[0]\n"
        "assert os.environ.get('HOME', '') is not None and time.time() > 0 and random.gauss(0, 1) is not None\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
