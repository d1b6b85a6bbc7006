"""One WebSocket between the server and the application, and its session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any, Final, cast

from ..engine import Engine
from ..errors import SessionClosed, SessionGone, SessionNotFound, SojournError, StoreError, TooLate
from ..exchange import ANSWERED, Answered, Exchange, answer_for
from ..facts import changed
from ..ids import Handle
from ..policy import is_over, touch_due, touched
from ..record import Change, Record, replace
from ..session import STATE, AsyncSession
from ..watching import Watch
from .messages import AGAIN, POLICY, ASGIApp, Heartbeat, Message, Receive, Scope, Send, answer_handshake, reject

__all__ = ["Socket", "SocketSession"]

log = logging.getLogger("sojourn")

_CLOSING: Final = 5.0  # seconds that a server may take to close, before it is left alone

_leaving: set[asyncio.Task[None]] = set()  # an event loop alone does not keep its tasks


class SocketSession(AsyncSession):
    """The session of an open WebSocket. Tasks of the same socket may share it."""

    __slots__ = (*STATE, "socket")

    socket: Socket

    async def commit(self) -> None:
        """Commit what changed so far, now. When it returns, others see it. Nothing happens if nothing changed. Raises
        as `save`, and `TooLate` for a visitor who had no session when the socket was accepted."""
        await self.socket.commit()

    async def save(self) -> None:
        """`commit`."""
        await self.socket.commit()

    async def refresh(self) -> None:
        """Commit what changed here, and read the session as it is now. Dicts, lists and sets that were taken out before
        are brought up to date; take other values anew. Raises as `commit`, and `SessionGone` if the session has
        ended."""
        await self.socket.refresh()

    def changes(self) -> AsyncIterator[Change]:
        """What others do to the session, as it happens, with the session read anew before each: ``async for change in
        session.changes()``. ``change.fields`` are those that they changed. What they did since the session was loaded
        comes first, as one change. Ends when the session or the socket
        does, and when the client goes. A visitor without a session waits in vain. Raises as `commit`, and
        `StoreUnavailable` when the manager is closed."""
        return self.socket.changes()

    def rotate(self) -> str:
        """As in a request, before the socket is accepted. Later `TooLate` is raised: the client could not be sent the
        new id."""
        if self.socket.open:
            raise TooLate("an open socket cannot be sent another id: sign in, and rotate, in a request")
        return super().rotate()

    def clear(self) -> None:
        """End the session, as in a request; the socket is closed."""
        self.end()


class Socket:
    """One WebSocket, between the server and the application."""

    def __init__(
        self,
        engine: Engine,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        send: Send,
        heartbeat: Heartbeat | None,
    ) -> None:
        self._engine = engine
        self._exchange = exchange
        self._scope = scope
        self._receive = receive
        self._send = send
        self._heartbeat = heartbeat
        self._committing = asyncio.Lock()  # of several tasks that share the session
        self._hearing = asyncio.Lock()  # or two that listen would both be given one message
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()  # with what code we closed it
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # the application closed, or the
        # client went
        self._receiving: asyncio.Task[Message] | None = None  # kept where who waited for it was cancelled
        self._following: asyncio.Task[None] | None = None
        self._commits: set[asyncio.Task[None]] = set()
        self._queued: asyncio.Task[None] | None = None  # the one that has yet to begin
        self._watches: set[Watch] = set()
        self._followers: list[set[str]] = []  # the `changes` under way: what each has yet to tell
        self._closing_itself = False  # it is the task that follows who closes
        self._task = asyncio.current_task()
        self._unseen: set[str] = set()  # fields that others had changed when this socket committed
        self.open = exchange.transport == "ticket"  # who came with a ticket can be sent no id at all
        """Whether it is too late for another id."""
        self._connected = False  # the application was told of the handshake
        self._answered = False  # and has answered it

    @property
    def session(self) -> SocketSession:
        return cast(SocketSession, self._exchange.session)

    async def run(self, app: ASGIApp) -> None:
        """The application's whole run. What it leaves changed is committed, unless it raises."""
        try:
            await self._follow()
        except ANSWERED as error:
            log.warning("the end of a session could not be watched for, and its socket was refused: %s", error)
            self.session.close()
            await reject(self._scope, self._receive, self._send, answer_for(error), AGAIN)
            return
        try:
            if not self._over.done():
                await app(self._scope, self.receive, self.send)
                await self._settle()
        except ANSWERED as error:
            log.warning("a socket was closed, as its session could not be kept: %s", error)
            await self._close(AGAIN, error)
        except (ConnectionResetError, SessionClosed):
            if not self._over.done():  # else this is how the application was told
                raise
        finally:
            await self._leave()

    # --- What the application calls ----------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """The next message, after what changed so far was committed. If it is cancelled, the next call has it."""
        await self._settle()
        async with self._hearing:
            receiving = self._listen()
            ends = (self._over,) if self._connected else ()  # of the handshake, an application is told in any case
            await asyncio.wait((receiving, *ends), return_when=asyncio.FIRST_COMPLETED)
            if self._connected and self._over.done():
                return {"type": "websocket.disconnect", "code": self._over.result(), "reason": "the session has ended"}
            message = receiving.result()
            if message["type"] == "websocket.receive" and not (self._heartbeat and self._heartbeat(message)):
                await self._touch()
            self._receiving = None  # not before, or a touch that is cancelled would lose the message
            self._connected = True
            if self._followers:
                self._listen()  # so that they know when the client goes
            return message

    async def send(self, message: Message) -> None:
        """Commit what the application's own task has changed, so that who is told of it finds it; then send."""
        kind = message["type"]
        if not self._over.done():
            if kind in ("websocket.accept", "websocket.http.response.start"):
                await asyncio.shield(self._begin(self._answer(message)))
                return
            if kind == "websocket.close":
                self.open = True
            if asyncio.current_task() is self._task:
                await self._settle()
        if not self._over.done():
            if kind == "websocket.close":
                self._is_gone()
            await self._send(message)
        elif kind != "websocket.close":
            raise ConnectionResetError("the socket was closed, as its session has ended")

    # --- What the session's owner calls ------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Commit what changed, and raise what comes of it. Who is cancelled meanwhile leaves the commit to go on: one
        that was cut off might have been made, and would be made again."""
        session = self.session
        if session.closed:
            raise SessionClosed("the socket was closed, or its session has ended")
        if not session.untouched:
            if self._queued is None:  # else it has yet to begin, and takes this along
                self._queued = self._begin(self._commit(session))
            await asyncio.shield(self._queued)

    async def refresh(self) -> None:
        """Commit, and read anew."""
        await self.commit()
        session = self.session
        if not session.stored:
            return
        try:
            async with self._committing:  # or this would go back behind another task's commit
                self._note(await self._engine.refresh(session))
                self._unseen.clear()
        except SessionGone:
            await self._close(POLICY)
            raise

    async def changes(self) -> AsyncIterator[Change]:
        """Follow the session, without one's own commits."""
        untold = set(self._unseen)
        self._followers.append(untold)
        try:
            if self._connected:
                self._listen()
            watch = await self._watch()
            if watch is None:
                await asyncio.wait((self._over, self._gone), return_when=asyncio.FIRST_COMPLETED)
                return
            record = self.session.record
            change: Change | None = changed(record.handle, record.user_id, record.version, None, self._engine.clock())
            while change is not None and change.kind != "ended":
                await self.refresh()
                if change.kind != "changed":
                    yield change
                elif untold:
                    change = replace(change, fields=tuple(sorted(untold)))
                    untold.clear()
                    yield change
                change = await self._next(watch)
            if change is not None:  # or the application, which ends now, would close the socket as if nothing were
                await self._close(POLICY)
        except (SessionGone, SessionClosed):
            return
        finally:
            self._followers = [one for one in self._followers if one is not untold]

    # --- Parts -------------------------------------------------------------------------------------------------------

    async def _commit(self, session: SocketSession) -> None:
        async with self._committing:
            self._queued = None
            if session.closed:
                raise SessionClosed("the socket was closed, or its session has ended")
            try:
                await self._carry_out(session)
            except SessionGone:
                await self._close(POLICY)
                raise
        if session.ended:
            await self._close(POLICY)

    async def _carry_out(self, session: SocketSession) -> None:
        if session.ended:
            await self._engine.finish(session)
        elif self.open and (session.rotated or (not session.stored and (session.modified or session.kept))):
            session.discard()
            raise TooLate(
                "the client would need a cookie that it cannot be sent any more, as the socket was open, or refused: "
                "begin a session, sign in and rotate before accept(), or in a request"
            )
        elif session.stored or not self.open:
            self._note(await self._engine.save_seeing(session))

    def _note(self, others: set[str]) -> None:
        """Note which fields others have changed."""
        if others:
            for names in (self._unseen, *self._followers):
                names |= others

    async def _answer(self, message: Message) -> None:
        """Commit as before the first byte of a response, and send the cookie with the answer to the handshake."""
        try:
            async with self._committing:
                added = await self._exchange.commit()
        except ANSWERED as error:
            log.warning("the session of a socket could not be committed: %s", error)
            await self._close(AGAIN, error)
            return
        if self._over.done():
            raise ConnectionResetError("the socket was closed, as its session has ended")
        self.open = self._answered = True
        if added:
            sent = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in added]
            message = {**message, "headers": [*message.get("headers", ()), *sent]}
        await self._send(message)
        await self._follow()

    async def _settle(self) -> None:
        """Commit at a boundary. That the session has ended is told by the socket's end."""
        if self._over.done() or not self.open:
            return
        try:
            await self.commit()
        except SessionGone:
            self._engine.counts["gone"] += 1
            await self._close(POLICY)
        except SessionClosed:
            if not self._over.done():
                raise

    async def _touch(self) -> None:
        session, now = self.session, self._engine.clock()
        if session.stored and not session.closed and not session.passive and touch_due(session.record, now):
            session.loaded_at = now
            session.committed(touched(session.record, now))  # so that a store that fails is asked once an interval
            await self._engine.touch(session)

    # --- What comes in ---------------------------------------------------------------------------------------------

    def _listen(self) -> asyncio.Task[Message]:
        """The message that comes next, for whoever waits for it."""
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._next_message())
        return self._receiving

    async def _next_message(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            self._is_gone()
        return message

    def _is_gone(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)

    # --- What happens elsewhere ------------------------------------------------------------------------------------

    async def _watch(self) -> Watch | None:
        """A watch of the session; None where there is none. Raises `SessionGone` if it has ended."""
        session = self.session
        if not session.stored or session.closed:
            return None
        try:
            watch = await self._engine.watching(Handle(session.record.handle), None, None)
        except SessionNotFound:
            await self._close(POLICY)
            raise SessionGone("the session has ended") from None
        self._watches.add(watch)
        return watch

    async def _next(self, watch: Watch) -> Change | None:
        """The next change; None when the session or the socket is over."""
        upcoming = asyncio.ensure_future(watch.next())
        try:
            await asyncio.wait((upcoming, self._over, self._gone), return_when=asyncio.FIRST_COMPLETED)
            return None if self._over.done() or self._gone.done() else upcoming.result()
        finally:
            upcoming.cancel()

    async def _follow(self) -> None:
        """Be told of the session's end, from now on."""
        if self._following is None:
            try:
                watch = await self._watch()
            except SessionGone:
                return
            if watch is not None:
                self._following = asyncio.ensure_future(self._wait_for_the_end(watch))

    async def _wait_for_the_end(self, watch: Watch) -> None:
        try:
            while (change := await watch.next()) is not None:
                if change.kind == "ended" or (change.kind in ("rotated", "missed") and not await self._is_still_ours()):
                    break
        except StoreError as error:
            log.warning("a socket was closed, as nobody can tell whether its session lives: %s", error)
            await self._close(AGAIN)
            return
        await self._close(POLICY)

    async def _is_still_ours(self) -> bool:
        """Whether the session lives, and is the same user's."""
        async with self._committing:  # it may be this socket that signs somebody in
            record = await self._engine.store.load(self.session.record.handle)
            return record is not None and not is_over(record, self._engine.clock()) and not self._changed_hands(record)

    def _changed_hands(self, record: Record) -> bool:
        return record.generation != self.session.record.generation

    # --- The end -----------------------------------------------------------------------------------------------------

    async def _close(self, code: int, error: Answered | None = None) -> None:
        """Close the socket from this side; the application is told when it next looks. The session object is dead."""
        if self._over.done():
            return
        self._over.set_result(code)
        self._closing_itself = asyncio.current_task() is self._following
        self.session.close()
        if self._gone.done():
            return
        try:
            if error is not None and not self._answered:
                await answer_handshake(self._scope, self._send, answer_for(error), code)
            else:
                await self._send({"type": "websocket.close", "code": code, "reason": "the session has ended"})
        except Exception as failure:  # the client was quicker: each server has an error of its own for it
            log.debug("a socket could not be closed: %s", failure)

    async def _leave(self) -> None:
        """The application is done, or has failed: nothing more is committed. Who is cancelled leaves this to go on."""
        self.session.close()
        leaving = asyncio.ensure_future(self._clear_away())
        _leaving.add(leaving)
        leaving.add_done_callback(_leaving.discard)
        await asyncio.shield(leaving)

    async def _clear_away(self) -> None:
        following = self._following
        if following is not None and self._closing_itself:
            await asyncio.wait((following,), timeout=_CLOSING)
        if self._commits:
            await asyncio.wait(tuple(self._commits), timeout=_CLOSING)
        tasks = [task for task in (following, self._receiving, *self._commits) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watch in self._watches:
            with suppress(SojournError):
                await watch.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have this done to its end, even if who waits for it is cancelled."""
        task = asyncio.ensure_future(work)
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return task
