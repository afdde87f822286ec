"""One call that starts if needed and signals: the first starts, the second finds it running."""

from typing import Any

from sdk import workflow


@workflow.defn
class Collect:
    def __init__(self) -> None:
        self.words: list[str] = []

    @workflow.run
    async def run(self, count: int) -> list[str]:
        await workflow.wait_condition(lambda: len(self.words) >= count)
        return self.words

    @workflow.signal
    def word(self, word: str) -> None:
        self.words.append(word)


WORKFLOWS = [Collect]


async def drive(d: Any) -> None:
    async with d.worker():
        handle = await d.start(Collect.run, 2, start_signal="word", start_signal_args=["first"])
        await d.start(Collect.run, 2, start_signal="word", start_signal_args=["second"])
        assert await handle.result() == ["first", "second"]
        d.keep("history", handle)
