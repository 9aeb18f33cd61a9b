#!/usr/bin/env bash
# libvirt on a machine without systemd, as root and without confinement: libvirt.sh start|stop. Elsewhere it runs by itself.
set -euo pipefail
run=/run/kubeshim-libvirt
case ${1:-} in
    start)
        [ ! -d /run/systemd/system ] || { echo "systemd runs this machine: systemctl start libvirtd" >&2; exit 1; }
        virsh -q -c qemu:///system list >/dev/null 2>&1 && exit 0
        mkdir -p $run /run/libvirt /var/log/libvirt/qemu
        cp -n /etc/libvirt/qemu.conf $run/qemu.conf.before
        # QEMU as root, in no cgroup and no namespace of its own: there is no systemd to make them
        printf '%s\n' 'user = "root"' 'group = "root"' 'dynamic_ownership = 0' 'remember_owner = 0' \
            'security_driver = "none"' 'cgroup_controllers = []' 'namespaces = []' >/etc/libvirt/qemu.conf
        virtlogd -d -p $run/virtlogd.pid
        libvirtd -d -p $run/libvirtd.pid
        for _ in $(seq 100); do virsh -q -c qemu:///system list >/dev/null 2>&1 && exit 0; sleep 0.2; done
        echo "libvirtd does not answer" >&2
        exit 1
        ;;
    stop)
        for network in $(virsh -q -c qemu:///system net-list --name 2>/dev/null); do
            virsh -q -c qemu:///system net-destroy "$network" # with its bridge and name server
        done
        for daemon in libvirtd virtlogd; do
            [ -f $run/$daemon.pid ] || continue
            pid=$(cat $run/$daemon.pid)
            kill "$pid" 2>/dev/null || true
            for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        done
        for tool in iptables ip6tables; do # chains that libvirt leaves behind
            for table in filter nat mangle; do
                $tool-save -t $table 2>/dev/null | grep -E '^-A .*-j LIBVIRT_' | sed 's/^-A/-D/' | while read -r rule; do $tool -t $table $rule; done
                for chain in $($tool-save -t $table 2>/dev/null | sed -n 's/^:\(LIBVIRT_[A-Z]*\) .*/\1/p'); do
                    $tool -t $table -F "$chain"
                done
                for chain in $($tool-save -t $table 2>/dev/null | sed -n 's/^:\(LIBVIRT_[A-Z]*\) .*/\1/p'); do
                    $tool -t $table -X "$chain"
                done
            done
        done
        [ ! -f $run/qemu.conf.before ] || mv $run/qemu.conf.before /etc/libvirt/qemu.conf
        rm -rf $run
        ;;
    *)
        echo "usage: libvirt.sh start|stop" >&2
        exit 2
        ;;
esac
