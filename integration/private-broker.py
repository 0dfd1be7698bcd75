"""Becomes a dbus-broker, giving it what systemd would: a listening socket and a journal to log to.

usage: private-broker.py SOCKET CONFIG      in a mount namespace of its own
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys

PR_SET_PDEATHSIG = 1
FIRST_LISTEN_FD = 3  # sd_listen_fds(3)


def listen(path):
    """The socket that clients connect to, whoever they are."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o666)
    listener.listen(128)
    return listener


def copy_journal():
    """Shows on stderr what would go to the journal, until the bus ends."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.makedirs("/run/systemd/journal")
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind("/run/systemd/journal/socket")
    if os.fork():
        journal.close()
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    # The reader of the address must see its end when the bus is gone, not when this is.
    os.dup2(2, 1)
    while True:
        print(journal.recv(65536).decode(errors="replace").strip(), file=sys.stderr, flush=True)


def main():
    path, config = sys.argv[1:]
    config = os.open(config, os.O_RDONLY)
    # Bound before /run is hidden, where it may well be.
    listener = listen(path)
    copy_journal()
    config = os.dup(config) if config == FIRST_LISTEN_FD else config
    os.dup2(listener.fileno(), FIRST_LISTEN_FD)
    os.set_inheritable(config, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="dbus.socket")
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={path}"  # it is a client of itself
    print(f"unix:path={path}\n{os.getpid()}", flush=True)
    command = ["dbus-broker-launch", "--scope", "system", f"--config-file=/dev/fd/{config}"]
    os.execvp(command[0], command)


main()
