from typing import Any, final

@final
class Program:
    def __init__(self, source: list[tuple[Any, ...]]) -> None: ...
