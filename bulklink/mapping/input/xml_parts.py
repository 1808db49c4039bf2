"""Streaming XML parser in bounded memory: no DTD; bounded tokens, depth and names."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Between the URI of a namespace and a name in it.
NAMESPACE_SEPARATOR = "}"
#: Characters that are kept of one text; a longer one is cut.
MAX_TEXT_CHARS = (1 << 20) + 1
_MAX_DEPTH = 100
#: A tag, comment or instruction is held in memory as a whole.
_MAX_TOKEN_BYTES = 1 << 20
#: The parser keeps every name and prefix that it meets.
_MAX_NAMES = 20_000
_MAX_PREFIXES = 1000


class XmlPartError(Exception):
    """Raised when a package or part is not one that a spreadsheet writes."""


class XmlHandler:
    """Receives the elements of one part.

    Attributes:
        depth: open elements.
        texts: pieces of text since the last call of `start_text`.
        in_text: whether the pieces are kept.
    """

    __slots__ = ("depth", "in_text", "texts")

    def __init__(self) -> None:
        self.depth = 0
        self.texts: list[str] = []
        self.in_text = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """Receive a start tag; names are prefixed with the URI of their namespace."""
        self.depth += 1

    def end(self, name: str) -> None:
        """Receive an end tag."""
        self.depth -= 1

    def end_block(self) -> None:
        """Drop text that is no longer needed, after each block."""
        if not self.in_text:
            self.texts.clear()
        elif len(self.texts) > 1:
            self.texts[:] = ["".join(self.texts)[:MAX_TEXT_CHARS]]

    def start_text(self) -> None:
        """Keep the text that follows."""
        self.texts.clear()
        self.in_text = True

    def end_text(self) -> str:
        """Return the text since `start_text`."""
        self.in_text = False
        text = "".join(self.texts)
        self.texts.clear()
        return text


def local_name(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition(NAMESPACE_SEPARATOR)[2]


def parse_part(blocks: Iterable[bytes], handler: XmlHandler) -> Iterator[None]:
    """Parse a part; yield after each block, once the handler has received its elements.

    Args:
        blocks: the part, in small blocks.
        handler: receives the elements.

    Raises:
        XmlPartError: if the part is not well-formed, has a DTD, or would not fit into memory.
    """
    parser = _make_parser(handler)
    fed = 0
    try:
        for block in blocks:
            parser.Parse(block)
            fed += len(block)
            _check_bounds(parser, handler, fed)
            yield
        parser.Parse(b"", True)  # noqa: FBT003 - expat takes no keyword
    except expat.ExpatError:
        raise XmlPartError("it is not well-formed") from None
    yield


def _make_parser(handler: XmlHandler) -> expat.XMLParserType:
    parser = expat.ParserCreate(namespace_separator=NAMESPACE_SEPARATOR)
    parser.buffer_text = True
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    parser.CharacterDataHandler = handler.texts.append
    parser.StartDoctypeDeclHandler = _refuse_dtd
    prefixes: set[str] = set()

    def add_prefix(prefix: str, _uri: str) -> None:
        prefixes.add(prefix)
        if len(prefixes) > _MAX_PREFIXES:
            raise XmlPartError("it has too many namespaces")

    parser.StartNamespaceDeclHandler = add_prefix
    return parser


def _refuse_dtd(*_declaration: object) -> None:
    raise XmlPartError("it has a DTD")


def _check_bounds(parser: expat.XMLParserType, handler: XmlHandler, fed: int) -> None:
    handler.end_block()
    if handler.depth > _MAX_DEPTH:
        raise XmlPartError("it is nested too deeply")
    if fed - parser.CurrentByteIndex > _MAX_TOKEN_BYTES:
        raise XmlPartError("it has an overlong tag")
    if len(parser.intern) > _MAX_NAMES:
        raise XmlPartError("it has too many names")
