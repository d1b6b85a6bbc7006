"""What the shop sells, what a cart comes to, and who may be a customer. Pure."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import Any, Final

from msgspec import Struct

__all__ = ["FULL_CART", "POSTCARD", "PRODUCTS", "Line", "Product", "clean_name", "lines", "price", "user_id_of"]

FULL_CART: Final = 1000
"""Items in one cart: a demo that somebody leans on must stay within the session's size limit."""

_LONGEST_NAME: Final = 40


class Product(Struct, frozen=True):
    """One thing to take along."""

    sku: str
    name: str
    cents: int


class Line(Struct, frozen=True):
    """One line of a cart: a product, and how many of it."""

    product: Product
    count: int

    @property
    def cents(self) -> int:
        return self.product.cents * self.count


POSTCARD: Final = Product("postcard", "Postcard", 150)

PRODUCTS: Final = {
    product.sku: product
    for product in (
        Product("pack", "Daypack", 6400),
        Product("flask", "Vacuum flask", 2800),
        Product("map", "Folding map", 950),
        Product("lantern", "Camp lantern", 3600),
        Product("journal", "Travel journal", 1400),
        Product("compass", "Brass compass", 2200),
        Product("umbrella", "Small umbrella", 1900),
        POSTCARD,
    )
}


def lines(items: list[dict[str, Any]]) -> list[Line]:
    """The cart by product, in the order in which they were first added."""
    counted = Counter(item["sku"] for item in items)
    return [Line(PRODUCTS[sku], count) for sku, count in counted.items()]


def price(cents: int) -> str:
    """An amount of money: "€ 1,064.50"."""
    return f"€ {cents // 100:,}.{cents % 100:02}"


def clean_name(text: str) -> str | None:
    """The name as it is kept: 1 to 40 letters, digits, spaces, and . ' - within; None if it is no name."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 1 <= len(name) <= _LONGEST_NAME or not name[0].isalnum():
        return None
    return name if all(sign in " .'’-" or unicodedata.category(sign)[0] in "LMN" for sign in name) else None


def user_id_of(name: str) -> str:
    """The user of that name, however it is capitalised."""
    return name.casefold()
