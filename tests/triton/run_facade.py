"""A facade as a process: ``run_facade.py GRPC_ADDRESS APIS METRICS_ADDRESS HTTP_ADDRESS``, the APIs in JSON.

An address of Triton's that it is not to know is "". Prints its port.
"""

from __future__ import annotations

import json
import sys

from cortex_compile.facade.api_route import ApiRoute
from cortex_compile.facade.listener import listen
from cortex_compile.facade.settings import FacadeSettings
from cortex_compile.facade.supervisor import FacadeSupervisor

if __name__ == "__main__":
    listeners = listen("127.0.0.1", 0)
    with FacadeSupervisor(listeners) as facade:
        facade.serve(
            [ApiRoute(**api) for api in json.loads(sys.argv[2])],
            sys.argv[1],
            FacadeSettings(metrics_address=sys.argv[3] or None, triton_http_address=sys.argv[4] or None),
            when_ready=lambda: print(listeners[0].getsockname()[1], flush=True),
            poll_triton=lambda: None,
            health=dict,
        )
