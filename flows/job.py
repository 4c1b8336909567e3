"""The process of one flow run that a worker starts: `python -m flows.job`.

Prefect's own engine, with one addition: when the worker is gone, however it ended, so is this
process. Nothing goes on working where nobody can see or stop it.
"""

import os
import runpy
import threading
import time

LOOK_EVERY = 0.5
"""Seconds between two looks at who the parent process is."""


def main() -> None:
    """Run the flow run that the environment names (`PREFECT__FLOW_RUN_ID`)."""
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os._exit(1)


if __name__ == "__main__":
    main()
