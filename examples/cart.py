"""A cart in Flask: a nested change is saved, and of two at once none is lost.

pip install 'sojourn[flask]'
python examples/cart.py
curl -c jar -b jar -X POST localhost:5000/cart/tea
"""

from __future__ import annotations

from typing import Any

from flask import Flask, flash, get_flashed_messages, session

from sojourn import CookieConfig, SessionConfig, SessionManager
from sojourn.adapters.flask import SojournSessionInterface

PRICES = {"tea": 4, "cup": 9, "pot": 24}

sessions = SessionManager("sqlite:///cart.db", config=SessionConfig(cookie=CookieConfig(insecure=True)))
app = Flask(__name__)
app.session_interface = SojournSessionInterface(sessions)


@app.get("/cart")
def show() -> dict[str, Any]:
    """Who only looks gets no cookie and no record."""
    cart = session.get("cart", {})
    total = sum(PRICES[item] * number for item, number in cart.items())
    return {"cart": cart, "total": total, "messages": get_flashed_messages()}


@app.post("/cart/<item>")
def add(item: str) -> tuple[dict[str, Any], int]:
    if item not in PRICES:
        return {"error": "we do not sell that"}, 404

    def one_more(cart: dict[str, int] | None) -> dict[str, int]:  # exact, if two requests add the same
        cart = cart or {}
        return {**cart, item: cart.get(item, 0) + 1}

    session.update("cart", one_more)
    flash(f"One {item} more.")
    return session["cart"], 200


@app.delete("/cart/<item>")
def remove(item: str) -> dict[str, Any]:
    session.setdefault("cart", {}).pop(item, None)  # a nested change: no session.modified = True
    return session["cart"]


if __name__ == "__main__":
    app.run()
