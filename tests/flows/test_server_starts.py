"""The pinned Prefect and FastAPI start together, and call nobody."""

import prefect
from prefect_api import Api


def test_the_server_starts_and_is_healthy(server: Api) -> None:
    assert server.get("health") is True
    assert server.get("admin/version") == prefect.__version__


def test_its_analytics_and_the_interface_that_calls_out_are_off(server: Api) -> None:
    settings = server.get("admin/settings")
    assert settings["server"]["analytics_enabled"] is False
    assert settings["server"]["ui"]["v2_enabled"] is False
    assert settings["server"]["ui"]["show_promotional_content"] is False


def test_it_schedules_one_night_ahead_and_not_a_hundred(server: Api) -> None:
    scheduler = server.get("admin/settings")["server"]["services"]["scheduler"]
    assert (scheduler["min_runs"], scheduler["max_runs"]) == (1, 2)
