"""Running a command as an ordinary user from tests that run as root."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

NOBODY = 65534

SHOW = """
set -e
held=$(mktemp -d)
mount --bind "$INTERPRETER" "$held"
mount -t tmpfs -o mode=755 none "$CLOSED"
mkdir -p "$INTERPRETER"
mount --bind "$held" "$INTERPRETER"
umount "$held"
rmdir "$held"
exec "$@"
"""
"""Shows an interpreter that lies in a closed folder, such as root's home, and hides the rest."""


def run_as_nobody(
    command: Sequence[str], home: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command as an ordinary user, with a home folder of its own.

    Only for root. Where the interpreter lies in a folder that others may not enter, the command
    sees a file system in which they may.

    Raises:
        OSError: this machine lacks `setpriv` or `unshare`, or root may not mount here.
    """
    for tool in ("setpriv", "unshare"):
        if shutil.which(tool) is None:
            raise FileNotFoundError(f"no {tool} here")
    home.mkdir(parents=True, exist_ok=True)
    os.chown(home, NOBODY, NOBODY)
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command]
    base = Path(sys.base_prefix)
    closed = next((p for p in reversed(base.parents) if not p.stat().st_mode & 0o001), None)
    variables = {**environment, "HOME": str(home), "INTERPRETER": str(base), "CLOSED": str(closed)}
    if closed is not None:
        user = ["unshare", "--mount", "sh", "-c", SHOW, "sh", *user]
    return subprocess.run(user, env=variables, capture_output=True, text=True, check=False)
