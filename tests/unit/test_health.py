from __future__ import annotations

from cortex_compile.launchers.health import SERVER, Health


def test_the_predictors_own_fault_is_told_first_and_all_must_be_cleared() -> None:
    health = Health()
    health.report("api", "api--net", "a compiled module's process ended")
    assert health.faults() == {"api": "a compiled module's process ended"}
    health.report("api", "api", "its process ended")
    health.report(SERVER, SERVER, "it is stopped")
    assert health.faults() == {"api": "its process ended", "": "it is stopped"}
    health.clear("api", "api")
    health.clear(SERVER, SERVER)
    assert health.faults() == {"api": "a compiled module's process ended"}
    health.clear("api", "api--net")
    health.clear("other", "other")
    assert health.faults() == {}


def test_repairs_are_counted_by_reason_and_given_as_copies() -> None:
    health = Health()
    for reason in ("killed", "killed", "core_stopped"):
        health.count("api", reason)
    health.repairs()["api"]["killed"] = 7
    assert health.repairs() == {"api": {"killed": 2, "core_stopped": 1}}


def test_only_what_changes_is_told() -> None:
    told: list[object] = []
    health = Health(lambda: told.append((health.faults(), health.repairs())))
    health.clear("api", "api")
    assert told == []
    for _ in range(2):
        health.report("api", "api", "it is stopped")
    for _ in range(2):
        health.clear("api", "api")
    health.count("api", "killed")
    assert told == [({"api": "it is stopped"}, {}), ({}, {}), ({}, {"api": {"killed": 1}})]
