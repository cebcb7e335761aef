# SPDX-License-Identifier: BSD-2-Clause
"""The directory everything private lives in."""

import os
import pathlib
import pwd
import shutil
import tempfile

# The unprivileged user that Postern's daemons become.
SERVICE_USER = "nobody"


class Workspace:
    """A directory under /tmp (or $POSTERN_TMP) that other users can walk through.

    Short, because a socket's path has at most 107 bytes; not below a checkout or a home,
    because the users postfix and nobody may not walk through those.
    """

    def __init__(self):
        parent = os.environ.get("POSTERN_TMP", "/tmp")
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="postern-", dir=parent))
        self.top.chmod(0o755)

    def directory(self, *parts, owner="root", group=None, mode=0o755):
        """Makes top/PARTS with that owner and mode; returns its path."""
        path = self.top.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        own(path, owner, group)
        path.chmod(mode)
        return path

    def remove(self):
        shutil.rmtree(self.top, ignore_errors=True)


def own(path, owner, group=None):
    entry = pwd.getpwnam(owner)
    if group is None:
        os.chown(path, entry.pw_uid, entry.pw_gid)
    else:
        shutil.chown(path, entry.pw_uid, group)
