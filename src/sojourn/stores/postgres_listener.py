"""A connection to a PostgreSQL server that waits for what the server says by itself."""

from __future__ import annotations

import os
import socket
import time

from psycopg import Error, pq

from .postgres_statement import Row, Statement, Step
from .postgres_wire import Failed, Wire
from .readiness import READ

__all__ = ["Listener"]


class Listener(Wire):
    """An open connection that hears notifications. One caller at a time; `wake` is anybody's."""

    _asked: Statement | None = None
    _rows: list[Row] | None = None
    answer: list[Row] | None = None
    """What the server answered to the last step that it was asked; None: nothing yet."""

    def ask(self, step: Step) -> None:
        """Ask something, and do not wait: `heard` meets the answer. Raises `Failed`."""
        statement, values = step
        self._asked, self._rows, self.answer = statement, [], None
        try:
            self._connection.send_query_params(
                statement.text, statement.write(values), statement.types, statement.formats, 1
            )
            self._connection.flush()
        except Error as error:
            raise self._broke(error) from error

    async def heard(self, until: float) -> list[bytes]:
        """Wait for notifications, and return what they say; nothing if none came before `until`, or if the answer came
        to what was asked. Raises `Failed`."""
        connection = self._connection
        try:
            while True:
                connection.flush()
                connection.consume_input()
                said = self._notified()
                if self._is_answered() or said or time.monotonic() >= until:
                    return said
                await self._readiness.wait(connection.socket, READ, until)
        except TimeoutError:
            return []
        except Error as error:
            raise self._broke(error) from error

    def wake(self) -> None:
        """Part with the server, so that whoever waits is woken. The connection is still to be closed."""
        self.broken = True
        with socket.socket(fileno=os.dup(self._connection.socket)) as twin:
            twin.shutdown(socket.SHUT_RDWR)

    def _notified(self) -> list[bytes]:
        said = []
        while (notification := self._connection.notifies()) is not None:
            said.append(notification.extra)
        return said

    def _is_answered(self) -> bool:
        """Whether the answer has just come."""
        statement = self._asked
        if statement is None:
            return False
        while not self._connection.is_busy():
            result = self._connection.get_result()
            if result is None:
                self._asked, self.answer = None, self._rows
                return True
            if result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
                raise self._refusal(result)
            self._rows = statement.read(result)
        return False

    def _broke(self, error: Error) -> Failed:
        self.broken = True
        return self._loss(str(error))
