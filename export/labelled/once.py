"""Values that are computed once for each key, also while several threads ask for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Once(Generic[Key, Value]):
    """Computed values by key; ``values`` are known from the beginning."""

    def __init__(self, values: Mapping[Key, Value] | None = None) -> None:
        self._lock = threading.Lock()
        self._futures: dict[Key, Future[Value]] = {}
        for key, value in (values or {}).items():
            self._futures[key] = Future()
            self._futures[key].set_result(value)

    def get(self, key: Key, compute: Callable[[], Value]) -> Value:
        """The value of ``key``, from ``compute`` at the first call; others wait for it.

        Raises:
            Exception: what ``compute`` raised; a later call computes again.
        """
        with self._lock:
            known = self._futures.get(key)
            future = self._futures.setdefault(key, Future())
        if known is None:
            try:
                future.set_result(compute())
            except BaseException as problem:
                with self._lock:
                    del self._futures[key]
                future.set_exception(problem)
                raise
        return future.result()

    def ready(self) -> dict[Key, Value]:
        """The values so far."""
        with self._lock:
            return {key: future.result() for key, future in self._futures.items() if future.done()}
