"""Text in Markdown, and addresses: nodes of a short list, and never anything that runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sojourn import UnsupportedValue
from sojourn.live import nodes

TAGS = {
    *("p", "h1", "h2", "h3", "h4", "h5", "h6", "em", "strong", "s", "code", "pre", "a", "ul", "ol", "li"),
    *("blockquote", "hr", "br", "table", "thead", "tbody", "tr", "th", "td", "img"),
}
ATTRIBUTES = {"href", "src", "alt", "title", "start", "align"}


def walk(inside: list[Any]) -> Any:
    for node in inside:
        if isinstance(node, list):
            yield node
            yield from walk(node[2])


def bare(inside: list[Any]) -> str:
    return "".join(node if isinstance(node, str) else bare(node[2]) for node in inside)


def test_markdown_becomes_nodes() -> None:
    """Headings, emphasis, lists, tables, code and links are nodes of tag, attributes and what is inside."""
    assert nodes.markdown("# A *b* **c** ~~d~~") == [
        ["h1", {}, ["A ", ["em", {}, ["b"]], " ", ["strong", {}, ["c"]], " ", ["s", {}, ["d"]]]]
    ]
    assert nodes.markdown("- a\n- b") == [["ul", {}, [["li", {}, ["a"]], ["li", {}, ["b"]]]]]
    assert nodes.markdown("3. a\n\n4. b") == [
        ["ol", {"start": 3}, [["li", {}, [["p", {}, ["a"]]]], ["li", {}, [["p", {}, ["b"]]]]]]
    ]
    assert nodes.markdown("a\nb  \nc") == [["p", {}, ["a\nb", ["br", {}, []], "c"]]]
    assert nodes.markdown("```python\nx = 1\n```") == [["pre", {}, [["code", {}, ["x = 1\n"]]]]]
    head = ["thead", {}, [["tr", {}, [["th", {"align": "right"}, ["a"]], ["th", {}, ["b"]]]]]]
    body = ["tbody", {}, [["tr", {}, [["td", {"align": "right"}, ["1"]], ["td", {}, ["2"]]]]]]
    assert nodes.markdown("|a|b|\n|-:|-|\n|1|2|") == [["table", {}, [head, body]]]
    assert nodes.markdown('[a](http://x.org "t") ![b *c*](/d.png)') == [
        [
            "p",
            {},
            [["a", {"href": "http://x.org", "title": "t"}, ["a"]], " ", ["img", {"src": "/d.png", "alt": "b c"}, []]],
        ]
    ]


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](java\tscript:alert(1))",
        "[a](JaVaScRiPt:alert(1))",
        "[a](&#x6A;avascript:alert(1))",
        "[a](\x01javascript:alert(1))",
        "[a](vbscript:x)",
        "[a](file:///etc/passwd)",
        "[a](blob:http://x)",
        "[a](foo:bar)",
        "[a](data:text/html,<script>alert(1)</script>)",
        "[a](data:image/png;base64,AAAA)",
        "<javascript:alert(1)>",
        "![a](javascript:alert(1))",
        "![a](data:image/svg+xml;base64,AAAA)",
        "![a](data:text/html;base64,AAAA)",
        "![a](mailto:x@y)",
    ],
)
def test_hostile_markdown_is_text(source: str) -> None:
    """HTML stays text, and an address of another kind than those allowed makes neither a link nor an image."""
    made = nodes.markdown(source)
    assert {node[0] for node in walk(made)} <= {"p"}
    assert all(not node[1] for node in walk(made))
    assert "a" in bare(made)


def test_html_is_text_among_markdown() -> None:
    """Markup of HTML is shown letter by letter, and Markdown within it is Markdown."""
    assert nodes.markdown("<div>\n*a*\n</div>") == [["p", {}, ["<div>\n", ["em", {}, ["a"]], "\n</div>"]]]


@pytest.mark.parametrize("address", ["https://x.org/a?b=c:d", "mailto:a@b.org", "/a", "a", "?q=a:b", "#a:b", "./a:b"])
def test_good_addresses_are_links(address: str) -> None:
    """http, https, mailto and relative addresses are followed."""
    assert nodes.markdown(f"[x]({address})") == [["p", {}, [["a", {"href": address}, ["x"]]]]]


def test_what_browsers_leave_out_of_addresses_hides_no_scheme() -> None:
    """Control characters and blanks in front of and within a scheme are looked through."""
    for hidden in ("\tjavascript:x", "java\nscript:x", "\x00javascript:x", " javascript:x", "\u2028javascript:x"):
        assert nodes.url(hidden) is None
    assert nodes.url("HTTPS://x") == "HTTPS://x"


@given(st.text(alphabet="ab<>[]()!*_~`#|-\n :/&;\\\"'0x1.j", max_size=200) | st.text())
@settings(max_examples=150, deadline=None)
@example("> " * 300 + "a")
@example("- " * 300 + "a")
@example("[" * 2000)
@example("*a " * 2000)
@example("![" * 50 + "x" + "](y)" * 50)
def test_any_markdown_is_nodes_of_the_list(source: str) -> None:
    """Whatever the text, nothing but the tags and attributes of the list comes of it, at a bounded depth."""
    made = nodes.markdown(source)
    assert json.loads(json.dumps(made)) == made
    for tag, attributes, _ in walk(made):
        assert tag in TAGS
        assert attributes.keys() <= ATTRIBUTES
        for name in ("href", "src"):
            if name in attributes:
                assert not attributes[name].lower().startswith(("javascript", "data:text", "vbscript"))


def test_very_long_markdown_is_shown_as_it_is() -> None:
    """A text past the limit is not parsed."""
    long = "*a* " * 13_000
    assert nodes.markdown(long) == [["pre", {}, [long]]]


def test_images() -> None:
    """Bytes of images become addresses; other bytes, and addresses that could run something, are refused."""
    png = b"\x89PNG\r\n\x1a\n..."
    assert nodes.image(png).startswith("data:image/png;base64,")
    assert nodes.image(nodes.image(png)) == nodes.image(png)
    assert nodes.image("/a.png") == "/a.png"
    for bad in (b"<svg>", "javascript:x", "data:image/svg+xml;base64,AA", "data:text/html,x", "", 5, "mailto:a@b"):
        with pytest.raises(UnsupportedValue):
            nodes.image(bad)
