#!/usr/bin/env bash
# The virtual machines as one cluster: cluster.sh up|down. `make vagrant-up` and `make vagrant-down` call it.
set -euo pipefail
cd "$(dirname "$0")"
command -v vagrant >/dev/null || { echo "vagrant is missing: apt-get install vagrant, and vagrant-libvirt or VirtualBox" >&2; exit 1; }
case ${1:-} in
    up)
        SECONDS=0
        # one after another: workers join a master that is there. Under emulation two processors are soon busy, too
        vagrant up --no-parallel --no-tty
        vagrant ssh master-1 --no-tty -c 'sudo shim kubeconfig --data-dir /var/lib/shim --server https://192.168.56.10:6443' >kubeconfig.new
        mv kubeconfig.new kubeconfig
        chmod 600 kubeconfig
        echo "==> up after $SECONDS s. Next:"
        echo "  export KUBECONFIG=$PWD/kubeconfig"
        echo "  kubectl get nodes -o wide"
        echo "  make vagrant-test"
        ;;
    down)
        vagrant destroy --force --no-tty
        rm -rf kubeconfig .vagrant/settings.json
        ;;
    *)
        echo "usage: cluster.sh up|down" >&2
        exit 2
        ;;
esac
