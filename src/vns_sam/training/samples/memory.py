"""What was read lately stays in memory, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Memory(Generic[Key, Value]):
    """Reads each value when it is asked for; the one that was not used for longest makes room.

    Args:
        read: Makes the value of a key.
        size: Bytes of a value.
        limit: Bytes of all together; the last value stays, however large it is.
    """

    def __init__(self, read: Callable[[Key], Value], size: Callable[[Value], int], limit: int) -> None:
        self._read, self._size, self._limit = read, size, limit
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, key: Key) -> Value:
        """The value, from memory if it is still there."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = self._values[key] = self._read(key)
        self._bytes += self._size(value)
        while self._bytes > self._limit and len(self._values) > 1:
            self._bytes -= self._size(self._values.popitem(last=False)[1])
        return value

    def __len__(self) -> int:
        """Number of values in memory."""
        return len(self._values)

    def __iter__(self) -> Iterator[Key]:
        """Keys of the values in memory, the one that makes room next first."""
        return iter(self._values)
