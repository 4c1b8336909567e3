"""Ports: two commands that start at the same time get two."""

import os
import socket

from noctuary.cli.processes import claimed_port


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_wanted_port_goes_to_one_command_at_a_time() -> None:
    wanted = unused_port()
    with claimed_port(wanted) as (first, claim), claimed_port(wanted) as (second, none):
        assert first == wanted
        assert claim is not None
        assert second != wanted
        assert none is None
    with claimed_port(wanted) as (again, _):
        assert again == wanted


def test_a_claim_lives_as_long_as_the_process_that_inherits_it() -> None:
    wanted = unused_port()
    with claimed_port(wanted) as (_, claim):
        assert claim is not None
        inherited = os.dup(claim)  # as the server's process has it
    try:
        with claimed_port(wanted) as (other, _):
            assert other != wanted
    finally:
        os.close(inherited)


def test_a_port_that_another_program_listens_on_is_left_to_it() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with claimed_port(listener.getsockname()[1]) as (port, claim):
            assert port != listener.getsockname()[1]
            assert claim is None
