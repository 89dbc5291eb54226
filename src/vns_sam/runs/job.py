"""What is done to each of many items, apart from who does it and in which order."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from typing_extensions import override

from vns_sam.errors import DataError, OutputError, VnsSamError, printable
from vns_sam.runs.memory import weight_of

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Result:
    """What an item becomes, before anything is written.

    Attributes:
        files: By path relative to the output: the content, or a file to link to (to copy where links cannot be made).
        fields: What else the line of the manifest says, as JSON.
    """

    files: Mapping[str, bytes | Path]
    fields: Mapping[str, Any] = field(default_factory=dict)


class Work(ABC, Generic[Item, Made]):
    """What is done to items, one after the other. Items and works are picklable, so that it can be done anywhere.

    An item is done in three steps that write nothing: it is read, worked on, and made into what the caller keeps. They
    may run in different threads, each step one item at a time; the caller alone writes.
    """

    @abstractmethod
    def name(self, item: Item) -> str:
        """What an item is called in messages; no two share it."""

    def key(self, item: Item) -> str:
        """A digest of what is asked of this item alone: its files and its options.

        Raises:
            DataError: The item cannot be used.
        """
        return ""

    def read(self, item: Item) -> Any:
        """Reads what the work needs.

        Raises:
            DataError: The item cannot be used.
        """
        return None

    @abstractmethod
    def work(self, item: Item, content: Any) -> Any:
        """Does the work on what :meth:`read` gave; a model is used by one thread alone.

        Raises:
            DataError: The item cannot be used.
        """

    @abstractmethod
    def encode(self, item: Item, answer: Any) -> Made:
        """Makes what the caller keeps of what :meth:`work` gave."""

    def weight(self, item: Item) -> int:
        """Bytes of memory that an item takes while it is at work, about; looked up before it is read."""
        return 0

    def portable(self, device: str = "") -> Self:
        """The same for another process or machine: paths are absolute, models on ``device`` where one is given."""
        return self


class Job(Work[Item, Result]):
    """Work whose results are files in a folder; the engine writes them, see :func:`vns_sam.runs.engine.run`.

    Attributes:
        verb: Who owns the output: a folder of another verb's results is refused.
        item_field: What the manifest calls an item.
        manifest: Name of the manifest.
        shares_folder: Whether the output may lie among files that are not of this run.
        timed: Whether the manifest says how long each item took; two runs then differ in it.
    """

    verb: ClassVar[str]
    item_field: ClassVar[str] = "image"
    manifest: ClassVar[str] = MANIFEST
    shares_folder: ClassVar[bool] = False
    timed: ClassVar[bool] = False

    @property
    @abstractmethod
    def out(self) -> Path:
        """The output folder."""

    @property
    @abstractmethod
    def items(self) -> Sequence[Item]:
        """What is to be done, in order."""

    @property
    def refused(self) -> Mapping[str, str]:
        """Names that were found unfit before the run, with one line each."""
        return {}

    @property
    def left_out(self) -> str:
        """What of the input is passed over, with its kind, in words; "" for nothing."""
        return ""

    @abstractmethod
    def inputs(self, item: Item) -> Sequence[Path]:
        """The files that an item is made from; no output may be one of them."""

    @override
    def weight(self, item: Item) -> int:
        return weight_of(self.inputs(item))

    def outputs(self, item: Item) -> Sequence[str]:
        """The files that an item becomes, relative to the output, as far as they are known before the work."""
        return ()

    def closing(self) -> Sequence[str]:
        """The files that :meth:`finish` writes, relative to the output."""
        return ()

    def asked(self) -> Mapping[str, Any]:
        """What is asked of all items, as JSON: known at once, without a model."""
        return {}

    def noted(self) -> Mapping[str, Any]:
        """What the manifest says beside what is asked, as JSON; results stay where it was otherwise."""
        return {}

    def corrects(self, item: Item, line: Mapping[str, Any]) -> bool:
        """Whether an earlier result of an item, whose line this is, was made of the very same input, asked otherwise.

        Its files, as long as nobody has changed them since, then give way without ``force``.

        Raises:
            DataError: The input cannot be read.
        """
        return False

    def identity(self) -> Mapping[str, Any]:
        """What else the results of all items depend on, such as a digest of weights; may load a model."""
        return {}

    def finish(self, done: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> None:
        """Writes what tells of all items together, when every one is done or has failed.

        Args:
            done: Lines of the manifest of all finished items, in order.
            failed: Names of the others, with one line each.
        """


@dataclass(frozen=True)
class Done(Generic[Made]):
    """What became of the work on an item.

    Attributes:
        name: Of the item.
        key: Its digest; "" where it could not be made.
        result: What was made of it, None where it failed.
        error: Why it failed, or "".
        seconds: For all steps.
    """

    name: str
    key: str = ""
    result: Made | None = None
    error: str = ""
    seconds: float = 0.0


class Mapper(Protocol):
    """Who does the work."""

    def __call__(self, work: Work[Item, Made], items: Sequence[Item], /) -> Iterator[Done[Made]]:
        """Gives what became of items, in any order, as it is found."""
        ...


class Attempt(Generic[Item, Made]):
    """The steps of one item, each of which does nothing once one has failed."""

    def __init__(self, work: Work[Item, Made], item: Item) -> None:
        self._work, self._item = work, item
        self._value: Any = None
        self._key = self._error = ""
        self._seconds = 0.0

    def read(self) -> Self:
        """The first step."""
        return self._step(self._read)

    def work(self) -> Self:
        """The second step, which uses the model."""
        return self._step(lambda: self._work.work(self._item, self._value))

    def encode(self) -> Done[Made]:
        """The last step."""
        self._step(lambda: self._work.encode(self._item, self._value))
        name = self._work.name(self._item)
        if self._error:
            return Done(name, self._key, error=self._error, seconds=self._seconds)
        return Done(name, self._key, self._value, seconds=self._seconds)

    def _read(self) -> Any:
        self._key = self._work.key(self._item)
        return self._work.read(self._item)

    def _step(self, step: Callable[[], Any]) -> Self:
        if self._error:
            return self
        start = time.perf_counter()
        try:
            self._value = step()
        except OutputError:
            raise
        except DataError as error:
            self._error = told(self._work.name(self._item), error.message)
        except MemoryError:
            self._error = told(self._work.name(self._item), "not enough memory for it")
        except VnsSamError:
            raise
        except Exception as error:  # one odd item must not cost the others
            logger.info("%s failed", self._work.name(self._item), exc_info=True)
            text = f"{type(error).__name__}: {error} (a fault of vns-sam, not of yours: --debug shows where)"
            self._error = told(self._work.name(self._item), text)
        self._seconds += time.perf_counter() - start
        return self


def attempt(work: Work[Item, Made], item: Item) -> Done[Made]:
    """Does all steps of an item; one that cannot be used raises nothing."""
    return Attempt(work, item).read().work().encode()


def refused(work: Work[Item, Any], item: Item, reason: str) -> Done[Any]:
    """An item that is not done."""
    return Done(work.name(item), error=told(work.name(item), reason))


def told(name: str, reason: str) -> str:
    """A reason that names its item."""
    name, reason = printable(name), printable(reason)
    return reason if name in reason else f"{name}: {reason}"
