"""A session in a WebSocket, for ASGI: the same session as in the requests of the page around it, live.

    before the socket is accepted   as in a request: it may begin, sign in, rotate; the answer carries the cookie
    while it is open                what changed is committed before each message that the application waits for or
                                    sends, and by ``await session.commit()``; ``await session.refresh()`` reads what
                                    others wrote
    a message that comes in         is activity: the session lives on (at most one write per touch interval)
    the session ends, anywhere      the socket is closed with 1008, within a second, whatever the application does

Nothing polls: the manager's hub tells of ends (`sojourn.watching`), over one connection for all sockets.
"""

from .handshake import is_ours, refuse, serve_socket
from .messages import AGAIN, POLICY, ASGIApp, Heartbeat, Message, Receive, Scope, Send, reject
from .socket import Socket, SocketSession

__all__ = [
    "AGAIN",
    "POLICY",
    "ASGIApp",
    "Heartbeat",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "Socket",
    "SocketSession",
    "is_ours",
    "refuse",
    "reject",
    "serve_socket",
]
