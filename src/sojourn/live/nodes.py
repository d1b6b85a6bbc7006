"""Text in Markdown, and addresses, as a browser may show and follow them. Pure.

A node is a text, or ``[tag, attributes, [nodes]]`` of the tags and attributes listed here, with addresses that `url`
allows: whatever a text holds, nothing else comes of it.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeAlias

from ..errors import MissingExtra, UnsupportedValue

__all__ = ["Node", "image", "markdown", "url"]

Node: TypeAlias = str | list[Any]

LONGEST_MARKDOWN: Final = 50_000
"""Characters: what is longer is shown as it is. The parser takes a second or two for the worst of this length."""

# --- Addresses and images --------------------------------------------------------------------------------------------

_SCHEME: Final = re.compile(r"([^/?#:]*):")
_DATA_IMAGE: Final = re.compile(r"data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]*={0,2}")
_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "png"),
    (re.compile(rb"\xff\xd8\xff"), "jpeg"),
    (re.compile(rb"GIF8[79]a"), "gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "webp"),
)


def url(address: str, schemes: AbstractSet[str] = frozenset({"http", "https", "mailto"})) -> str | None:
    """An address that can be followed: relative, or of one of these schemes. None for any other, and so for a scheme
    with a blank or a control character in it, which browsers would leave out."""
    found = _SCHEME.match(address)
    return None if found is not None and found[1].lower() not in schemes else address


def image(value: Any) -> str:
    """The address of an image: http, https, relative, or data:image with a PNG, JPEG, GIF or WebP; of the bytes of such
    an image one that holds them. Raises `UnsupportedValue` for anything else."""
    if isinstance(value, (bytes, bytearray)):
        kind = next((kind for magic, kind in _MAGIC if magic.match(value)), None)
        if kind is None:
            raise UnsupportedValue("bytes", "not a PNG, JPEG, GIF or WebP image")
        return f"data:image/{kind};base64,{base64.b64encode(value).decode()}"
    found = _source(value) if isinstance(value, str) and value else None
    if found is None:
        raise UnsupportedValue(
            type(value).__name__, "no address of an image: http, https, relative or data:image (PNG, JPEG, GIF, WebP)"
        )
    return found


def _source(address: str) -> str | None:
    if _DATA_IMAGE.fullmatch(address):
        return address
    return url(address, frozenset({"http", "https"}))


# --- Markdown --------------------------------------------------------------------------------------------------------

_TAGS: Final = frozenset(
    {
        *("p", "h1", "h2", "h3", "h4", "h5", "h6", "em", "strong", "s", "code", "pre", "a", "img", "hr", "br"),
        *("ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td"),
    }
)


def markdown(source: str) -> list[Node]:
    """The nodes of a text in Markdown. They are shared: change nothing in them. Text past 50,000 characters is shown
    as it is. Raises `MissingExtra` where the parser is not installed."""
    return _parsed(source) if len(source) <= 8_192 else _parse(source)


@functools.lru_cache(maxsize=512)
def _parsed(source: str) -> list[Node]:
    return _parse(source)


@functools.lru_cache(maxsize=1)
def _parser() -> Any:
    try:
        from markdown_it import MarkdownIt
    except ImportError:
        raise MissingExtra("Markdown", "live") from None
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _parse(source: str) -> list[Node]:
    if len(source) > LONGEST_MARKDOWN:
        return [["pre", {}, [source]]]
    return _nodes(_parser().parse(source))


def _nodes(tokens: Iterable[Any]) -> list[Node]:
    """The tree of a row of tokens."""
    top: list[Node] = []
    open_: list[list[Node]] = [top]
    for token in tokens:
        if token.nesting == 1:
            node = _opened(token)
            # What is not let in, and the paragraphs of tight lists, leave what is in them to what is around.
            if node is None:
                open_.append(open_[-1])
            else:
                open_[-1].append(node)
                open_.append(node[2])
        elif token.nesting == -1:
            if len(open_) > 1:
                open_.pop()
        elif token.type == "inline":
            open_[-1].extend(_nodes(token.children or ()))
        else:
            _append(open_[-1], _leaf(token))
    return top


def _opened(token: Any) -> list[Any] | None:
    if token.hidden or token.tag not in _TAGS:
        return None
    attributes: dict[str, Any] = {}
    if token.tag == "a":
        href = url(str(token.attrGet("href") or ""))
        if href is None:
            return None
        attributes["href"] = href
        if token.attrGet("title"):
            attributes["title"] = str(token.attrGet("title"))
    elif token.tag == "ol" and token.attrGet("start") is not None:
        attributes["start"] = int(token.attrGet("start"))
    elif token.tag in ("th", "td") and token.attrGet("style"):
        align = str(token.attrGet("style")).removeprefix("text-align:")
        if align in ("left", "center", "right"):
            attributes["align"] = align
    return [token.tag, attributes, []]


def _leaf(token: Any) -> Node:
    if token.type == "image":
        alt = _bare(token.children or ())
        source = _source(str(token.attrGet("src") or ""))
        if not source:
            return alt
        title = token.attrGet("title")
        return ["img", {"src": source, "alt": alt, **({"title": str(title)} if title else {})}, []]
    if token.type in ("fence", "code_block"):
        return ["pre", {}, [["code", {}, [token.content]]]]
    if token.type == "code_inline":
        return ["code", {}, [token.content]]
    if token.type == "softbreak":
        return "\n"
    if token.type in ("hardbreak", "hr"):
        return ["br" if token.type == "hardbreak" else "hr", {}, []]
    return str(token.content)


def _append(nodes: list[Node], node: Node) -> None:
    if isinstance(node, str) and nodes and isinstance(nodes[-1], str):
        nodes[-1] += node
    elif node:
        nodes.append(node)


def _bare(tokens: Iterable[Any]) -> str:
    """The text of an image's description, without its markup."""
    return "".join(_bare_parts(tokens))


def _bare_parts(tokens: Iterable[Any]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            yield " "
        elif token.children:
            yield from _bare_parts(token.children)
        else:
            yield token.content
