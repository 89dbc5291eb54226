"""One reader of text for every table and annotation file: encodings, limits, and one line for each failure."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from vns_sam.errors import DataError, printable

SIZE_LIMIT = 1 << 30
"""Bytes of text that are read at most: COCO's largest file of annotations is below half of it."""

FIELD_LIMIT = 131_072
"""Characters of one cell of a table."""

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_DECLARATION = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]*)["'][^>]*>""")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_QUOTED = re.compile(r'"[^"]*"')
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"RIFF")


def attribute(value: str) -> str:
    """A value of an XML attribute, in its quotes."""
    from xml.sax.saxutils import quoteattr  # brings all of HTTP, which a first mask must not wait for

    return quoteattr(_for_xml(value))


def format_xml(root: ElementTree.Element) -> bytes:
    r"""An XML text, indented. Characters that XML has none for, as names of files may hold, are spelt: ``\x07``."""
    for element in root.iter():
        element.text = element.text and _for_xml(element.text)
        element.attrib = {name: _for_xml(value) for name, value in element.attrib.items()}
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8") + b"\n"


def _for_xml(value: str) -> str:
    return _NOT_XML.sub(lambda found: printable(found[0]), value)


def read_bytes(path: str | os.PathLike[str], what: str) -> bytes:
    """Reads a file of text as it is; ``what`` says in messages what it should be ("prompts file").

    Raises:
        DataError: It is missing, a folder, larger than :data:`SIZE_LIMIT`, or cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise DataError(f"expected a {what} at {path}, found a folder")
        if path.stat().st_size > SIZE_LIMIT:
            raise DataError(f"expected a {what} below {SIZE_LIMIT >> 20} MiB at {path}, found a larger file")
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"no {what} at {path}", hint="check the path and the working directory") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({type(error).__name__})") from None


def decode(content: bytes, where: str) -> str:
    """Text of a file: UTF-8 or UTF-16 with a mark, the encoding that XML declares, UTF-8, else western (cp1252).

    Raises:
        DataError: It is no text, or not in the encoding that it declares; a picture or an archive is told as such.
    """
    if content.startswith(_PICTURES):
        raise DataError(f"{where} cannot be read as text: it is a picture")
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _decode(content, encoding, where).removeprefix("\ufeff")
    if b"\0" in content[:4096]:
        raise DataError(f"{where} cannot be read as text (it holds binary data)")
    declared = _declared(content)
    if declared not in ("", "utf-8"):
        return _decode(content, declared, where)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return _decode(content, "cp1252", where)


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """:func:`read_bytes`, then :func:`decode`."""
    return decode(read_bytes(path, what), str(path))


def parse_json(text: str, where: str, *, hint: str = "") -> Any:
    """The value of a JSON text.

    Raises:
        DataError: It is no JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{where} is nested too deeply to be read", hint=hint) from None
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error})", hint=hint) from None


def parse_xml(text: str, where: str) -> ElementTree.Element:
    """The root of an XML text; one with a document type is refused, since entities in it may grow without bound.

    Raises:
        DataError: It is no XML, or has a document type.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{where} has a document type, which is not read", hint="remove the line <!DOCTYPE ...>")
    try:
        return ElementTree.fromstring(text)  # as text: whatever encoding it declares was obeyed when it was decoded
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise DataError(f"{where} is not XML ({error})") from None


def parse_table(text: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a table with their line numbers, cells stripped; blank lines are passed over.

    The cells are separated by comma, semicolon or tabulator, whichever the first line with content has most of outside
    of quotation marks.

    Raises:
        DataError: A cell is longer than :data:`FIELD_LIMIT`, or a quotation does not end.
    """
    first = next((line for line in text.splitlines() if line.strip(" ,;\t")), "")
    separator = max(",;\t", key=_QUOTED.sub("", first).count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=False)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DataError(f"{where}, line {reader.line_num}: {error}", hint=f"cells hold up to {FIELD_LIMIT}") from None


def format_table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table that :func:`parse_table` reads: commas, and quotation marks around cells that hold one or a comma."""
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(heading)
    table.writerows(rows)
    return text.getvalue()


def _declared(content: bytes) -> str:
    """The encoding that an XML text declares; "" for none, and for one that the declaration itself is not in."""
    found = _DECLARATION.match(content)
    if not found:
        return ""
    try:
        name = codecs.lookup(found[1].decode()).name
        return name if found[0].decode(name) == found[0].decode() else ""
    except (LookupError, UnicodeError):
        return ""


def _decode(content: bytes, encoding: str, where: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeError:
        raise DataError(f"{where} cannot be read as text in {encoding}", hint="save it as UTF-8") from None
