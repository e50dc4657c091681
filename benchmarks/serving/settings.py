"""Which workers, threads and batches each server gets: those with which it answers most to many clients."""

from __future__ import annotations

from collections.abc import Sequence

from cortex_compile.cli.load import Load

from .measure import measure
from .peer_servers import PEERS, Setting
from .results import Results
from .servers import OURS, DoesNotServe, cores_of, running
from .workloads import MACHINE, ONE_CORE, Workload

_SECONDS = 3.0
# Of a server that answers few, those tell too little.
_FEW_A_SECOND, _LONGER_S = 20.0, 15.0
# More only wait, for any server.
_MANY_CLIENTS = 32
_WAITING_WORKERS = 1


def candidates(server: str, workload: Workload, track: str, cores: int, known: Setting | None) -> list[Setting]:
    """``known`` is what was best on one core, whose batch is kept on the machine.

    Ours makes its batches by itself; what waits needs no second process.
    """
    batches: Sequence[int] = workload.batches
    if server == OURS or not PEERS[server].batches:
        batches = (1,)
    elif known is not None:
        batches = (known.batch,)
    if workload.waits:
        return [Setting(_WAITING_WORKERS, 1, batch) for batch in batches]
    splits = [(1, 1)] if track == ONE_CORE or cores == 1 else [(cores, 1), (1, cores)]
    return [Setting(workers, threads, batch) for workers, threads in splits for batch in batches]


def choose_setting(server: str, workload: Workload, track: str, results: Results) -> Setting | None:
    """The one that was found before, or is found now; None where the server does not serve this: the reason is kept."""
    key = f"{workload.name}/{track}/{server}"
    if server != OURS and not PEERS[server].takes(workload):
        missing = "has no coroutines" if workload.waits else f"takes no {workload.kind}"
        results.refused[key] = missing
        return None
    if (setting := results.setting(key)) is not None:
        return setting
    known = results.setting(f"{workload.name}/{ONE_CORE}/{server}") if track == MACHINE else None
    found = candidates(server, workload, track, len(cores_of(track)), known)
    if len(found) == 1:
        results.put_setting(key, found[0])
        return found[0]
    clients = min(_MANY_CLIENTS, max(workload.clients))
    rates: dict[Setting, float] = {}
    for candidate in found:
        try:
            with running(server, workload, candidate, track) as served:
                rates[candidate] = measure(served, Load(clients=clients), _SECONDS).per_second
                if rates[candidate] < _FEW_A_SECOND:
                    rates[candidate] = measure(served, Load(clients=clients), _LONGER_S).per_second
            print(f"{key}: {candidate} answers {rates[candidate]:.3g}/s", flush=True)
        except DoesNotServe as error:
            print(f"{key}: {candidate}: {error}", flush=True)
            results.refused[key] = str(error)
    if not rates:
        results.write()
        return None
    results.refused.pop(key, None)
    results.put_setting(key, max(rates, key=rates.__getitem__))
    return results.setting(key)
