"""Attacks over every kind of socket. The listeners are real; a call that arrives is seen."""

import os
import socket

from hostile import REFUSALS, attack

NO_SOCKET = (*REFUSALS, "EAFNOSUPPORT")


@attack()
def connects_by_tcp(there):
    with socket.create_connection(("127.0.0.1", there.tcp), timeout=2) as connection:
        return connection.send(b"hello")


@attack(refusals=NO_SOCKET)
def connects_by_tcp_over_ipv6(there):
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(("::1", there.tcp6))


@attack()
def listens_on_tcp(there):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        return listener.getsockname()


@attack()
def sends_by_udp(there):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"hello", ("127.0.0.1", there.udp))


@attack()
def listens_on_udp(there):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()


@attack(refusals=("EAI_", "gaierror"), control=False)
def asks_for_a_name(there):
    return socket.getaddrinfo("noctuary.example.org", 443)


@attack()
def asks_a_name_server_itself(there):
    question = bytes.fromhex("123401000001000000000000") + b"\7example\3org\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return sender.sendto(question, ("127.0.0.1", there.udp))


@attack()
def connects_to_a_path(there):
    with socket.socket(socket.AF_UNIX) as connection:
        os.chdir(os.path.dirname(there.unix))
        connection.connect("listener")
        return connection.send(b"hello")


@attack()
def connects_to_an_abstract_name(there):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + there.token)
        return connection.send(b"hello")


@attack()
def makes_a_pair_of_sockets(there):
    return [one.fileno() for one in socket.socketpair()]


@attack(refusals=NO_SOCKET)
def asks_the_kernel_for_routes(there):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as connection:
        connection.bind((0, 0))
        return connection.getsockname()


@attack(root=True)
def sends_raw_packets(there):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sender:
        return sender.fileno()


@attack(refusals=NO_SOCKET, root=True)
def listens_to_the_wire(there):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as listener:
        return listener.fileno()


@attack(refusals=NO_SOCKET, control=False)
def connects_by_multipath_tcp(there):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262) as connection:
        connection.connect(("127.0.0.1", there.tcp))
        return connection.send(b"hello")


@attack(refusals=NO_SOCKET, control=False)
def calls_the_host_of_a_virtual_machine(there):
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as connection:
        return connection.fileno()


@attack(refusals=NO_SOCKET, control=False)
def uses_the_ciphers_of_the_kernel(there):
    with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as connection:
        return connection.fileno()
