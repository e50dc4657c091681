"""``python -m benchmarks.serving.engine_share``: how much of its engine's speed the encoder's server gives on.

In each round the engine is called in a loop on one core, and the server answers what was compiled for one core: on that
core alone, and with all cores, where its engine still has one thread and all else can be beside it. Printed are medians
over the rounds, and shares of the engine's texts a second in the same round.
"""

from __future__ import annotations

import argparse
import statistics

from cortex_compile.cli.load import Load

from .facts import ENGINE_ROWS, run_engine
from .measure import measure
from .peer_servers import Setting
from .servers import OURS, cores_of, running
from .workloads import MACHINE, ONE_CORE, WORKLOADS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.engine_share", description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[ENGINE_ROWS, 16, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    asked = parser.parse_args()
    places = {"one core": cores_of(ONE_CORE), "all cores": cores_of(MACHINE)}
    engine: list[float] = []
    served: dict[tuple[str, int], list[float]] = {(place, few): [] for place in places for few in asked.clients}
    for _ in range(asked.rounds):
        engine.append(run_engine())
        for place, cores in places.items():
            with running(OURS, WORKLOADS["encoder"], Setting(1, 1, 1), ONE_CORE, cores) as server:
                for few in asked.clients:
                    served[place, few].append(measure(server, Load(clients=few), asked.seconds).per_second)
    print(f"the engine in a loop, {ENGINE_ROWS} texts a call: {statistics.median(engine):.4g} a second")
    for (place, few), rates in served.items():
        share = statistics.median(rate / alone for rate, alone in zip(rates, engine, strict=True))
        print(
            f"served on {place}, {few:2} clients: {statistics.median(rates):8.4g} a second, {share:.2f} of the engine"
        )


if __name__ == "__main__":
    main()
