# SPDX-License-Identifier: BSD-2-Clause
"""A server on a unix socket with a thread for each connection."""

import os
import socket
import threading


class UnixServer:
    """Subclasses define serve(connection, number); numbers count from 1.

    stop() also ends the connections that are open: Postfix's processes keep theirs, and
    would go on talking to a server of the test before.
    """

    def __init__(self, path):
        self.path = str(path)
        self._connections = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        os.chmod(self.path, 0o666)
        self._listener.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        os.unlink(self.path)
        for one in (self._listener, *self._connections):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._run, daemon=True,
                             args=(connection, len(self._connections))).start()

    def _run(self, connection, number):
        try:
            self.serve(connection, number)
        except OSError:
            pass  # stopped, or the client went away
        finally:
            connection.close()
