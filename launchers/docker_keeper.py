"""A small process that removes a container when its launcher is gone without having done so: when it was killed.

Run as ``python -m cortex_compile.launchers.docker_keeper NAME``. A line on stdin means that nothing is left to do; the
end of stdin without one, that the launcher is gone.
"""

from __future__ import annotations

import sys
import time

# A container may still be in the making when its launcher is killed.
_LOOK_FOR_S, _LOOK_EVERY_S = 5.0, 0.25


def main() -> None:
    import docker
    from docker.errors import APIError, NotFound

    client = docker.from_env()
    name = sys.argv[1]
    print("ready", flush=True)
    if sys.stdin.readline():
        return
    deadline = time.monotonic() + _LOOK_FOR_S
    while time.monotonic() < deadline:
        try:
            client.containers.get(name).remove(force=True, v=True)
            return
        except NotFound:
            time.sleep(_LOOK_EVERY_S)
        except APIError:  # it is being removed by somebody else
            return


if __name__ == "__main__":
    main()
