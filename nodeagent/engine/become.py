"""How does a process inside a container's namespaces turn into what was asked for? The last steps of init and exec."""

from __future__ import annotations

import base64
import errno
import fcntl
import os
import signal
import stat
import struct
import termios
from collections.abc import Iterable
from typing import NoReturn

from nodeagent.engine import user, wire
from nodeagent.linux import beneath, capabilities, libc, seccomp

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


def open_terminal() -> tuple[int, int]:
    """A pseudo-terminal of the devpts mounted here: its master and the side that programs use."""
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, struct.pack("i", 0))
    return master, fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)


def use_streams(stdin: int, stdout: int, stderr: int) -> None:
    """Make these the standard streams, and have every other descriptor closed by exec."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (stdin, stdout, stderr)]  # clear of 0, 1, 2 first
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=True)
    libc.close_on_exec(3)


def find_user(process: wire.ProcessRequest) -> user.User:
    """Who it will be, by the container's own tables."""
    return user.find(process["user"], process["groups"], listed=process["groups_of_image"])


def become(process: wire.ProcessRequest, who: user.User) -> NoReturn:
    """Turn into the process asked for. Raises Failure or OSError when that is impossible."""
    env: dict[str, str] = dict(process["env"])  # the last of a name wins
    env.setdefault("HOME", who.home)
    if process["tty"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if process["size"]:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *process["size"], 0, 0))
        os.fchown(0, who.uid, -1)
    else:
        _let_user_reopen(who.uid)
    _begin_in(process["cwd"])
    kept = process["capabilities"] & capabilities.held()  # the node itself may lack some
    capabilities.limit(kept)  # needs CAP_SETPCAP: before the user changes
    own = base64.b64decode(process["seccomp_program"])
    if own and not process["no_new_privileges"]:
        seccomp.install_program(own)  # needs CAP_SYS_ADMIN or no_new_privs: likewise before
    elif process["seccomp"] and not own:
        seccomp.install(kept)
    capabilities.keep_over_setuid()
    os.setgroups(who.groups)
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    capabilities.apply(kept)
    if process["no_new_privileges"]:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it: no monitor, no container
    if own and process["no_new_privileges"]:
        seccomp.install_program(own)  # as late as can be: it may refuse what the steps above need
    path = find_program(process["argv"][0], env.get("PATH", ""))
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)  # Python ignores SIGPIPE, and exec would keep that
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        os.execve(path, process["argv"], env)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        raise wire.Failure(f"exec {path}: {_reason(error)}", code) from None


def hand_over(pipes: Iterable[int], uid: int) -> None:
    """Give pipes to the root of a user namespace, who may pass them on; outside of it nobody could be given them."""
    for fd in pipes:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, uid, uid)


def _let_user_reopen(uid: int) -> None:
    """Give the user its pipes, so that opening /dev/stderr (nginx does) is allowed; never the shared /dev/null."""
    for fd in (0, 1, 2):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchown(fd, uid, -1)


def root() -> int:
    """The container's, to look things up below."""
    return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def working_directory(path: str) -> int:
    """Made when the image lacks it, as every container engine does."""
    top = root()
    try:
        return beneath.folder(top, path)
    except OSError as error:
        raise wire.Failure(f"mkdir {path}: {_reason(error)}") from None
    finally:
        os.close(top)


def _begin_in(path: str) -> None:
    """No link leads there out of the container; if one did, the kernel would know no path of the place."""
    fd = working_directory(path)
    try:
        os.fchdir(fd)
        os.getcwd()
    except OSError as error:
        reason = f"chdir to cwd ({_quote(path)}) set in config.json failed: {_reason(error)}"
        raise wire.Failure(reason) from None
    finally:
        os.close(fd)


def find_program(name: str, search: str) -> str:
    """The file to run for ``name``; Failure with the words and codes that users of runc know."""
    if "/" in name:
        try:
            mode = os.stat(name).st_mode
        except OSError as error:
            message = f"exec: {_quote(name)}: stat {name}: {_reason(error)}"
            raise wire.Failure(message, 127 if error.errno in (errno.ENOENT, errno.ENOTDIR) else 126) from None
        if stat.S_ISDIR(mode):
            raise wire.Failure(f"exec: {_quote(name)}: is a directory", 126)
        if not mode & 0o111 or not os.access(name, os.X_OK):
            raise wire.Failure(f"exec: {_quote(name)}: permission denied", 126)
        return name
    for folder in search.split(":") if name else ():
        path = os.path.join(folder or ".", name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise wire.Failure(f"exec: {_quote(name)}: executable file not found in $PATH", 127)


def _reason(error: OSError) -> str:
    text = os.strerror(error.errno or 0)
    return text[:1].lower() + text[1:]


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
