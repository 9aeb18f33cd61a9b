#!/usr/bin/env bash
# Makes this virtual machine a master or a worker: provision.sh NAME ADDRESS. Run by Vagrant as root, safe to repeat.
#
#   NODES             every machine of the cluster, "master-1=192.168.56.10 worker-1=192.168.56.100"
#   WORKER_TOKEN      the bootstrap token that workers join by
#   MASTER_TOKEN      that of further masters
#   CERTIFICATE_KEY   what encrypts the keys that masters share
#
# The first master makes the cluster and the tokens. Several masters keep their objects in one etcd, a member on each.
set -euo pipefail
name=$1 address=$2
home=/opt/kubeshim
say() { echo "==> $name: $*"; }
address_of() { tr ' ' '\n' <<<"$NODES" | sed -n "s/^$1=//p"; }
masters=$(tr ' ' '\n' <<<"$NODES" | grep -c '^master-')
first=$(address_of master-1)

# -- name and address, where Vagrant has left them to us
if [ "$(hostname)" != "$name" ]; then
    echo "$name" >/etc/hostname
    hostname "$name"
    sed -i "s/^127\.0\.1\.1.*/127.0.1.1 $name/" /etc/hosts
fi
has_address() { ip -4 -o address show | grep -q " $address/"; }
if ! has_address; then
    printf '[Match]\nName=eth1\n[Network]\nAddress=%s/24\nLinkLocalAddressing=no\n' "$address" >/etc/systemd/network/50-eth1.network
    networkctl reload
    for _ in $(seq 120); do has_address && break; sleep 0.5; done
    has_address || { echo "eth1 has not got the address $address" >&2; exit 1; }
fi
for pair in $NODES; do
    grep -q " ${pair%%=*}\$" /etc/hosts || echo "${pair#*=} ${pair%%=*}" >>/etc/hosts
done

# -- kubeshim, from the checkout
modprobe -a overlay br_netfilter vxlan
cd $home
say "setting up"
./setup.sh run
ln -sf $home/.venv/bin/shim /usr/local/bin/shim
if [ -x .venv/bin/kubectl ]; then ln -sf $home/.venv/bin/kubectl /usr/local/bin/kubectl; fi

# -- etcd, where there are several masters: the first is a cluster of one, and each further master's member joins it
store=()
if [[ $name == master-* ]] && [ "$masters" -gt 1 ]; then
    store=(--store "etcd://$(tr ' ' '\n' <<<"$NODES" | sed -n 's|^master-[0-9]*=\(.*\)|\1:2379|p' | paste -sd,)")
    if ! command -v etcd >/dev/null || ! command -v etcdctl >/dev/null; then
        say "installing etcd"
        mkdir -p /etc/systemd/system-preset
        echo "disable etcd.service" >/etc/systemd/system-preset/10-etcd.preset # not before it is told who it is
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends etcd-server etcd-client
    fi
    if ! grep -qs "^ETCD_NAME=$name$" /etc/default/etcd; then
        say "starting a member of etcd"
        state=new members=$name=http://$address:2380
        if [ "$name" != master-1 ]; then
            etcdctl() { ETCDCTL_API=3 command etcdctl --endpoints "http://$first:2379" "$@"; }
            etcdctl member list | grep -q "http://$address:2380" ||
                etcdctl member add "$name" --peer-urls "http://$address:2380" >/dev/null
            known=$(etcdctl member list) state=existing members=
            for pair in $NODES; do
                url=http://${pair#*=}:2380
                if grep -q "$url" <<<"$known"; then members+=${members:+,}${pair%%=*}=$url; fi
            done
        fi
        # the intervals are long: the processors of virtual machines are not always there
        cat >/etc/default/etcd <<CONFIG
ETCD_NAME=$name
ETCD_LISTEN_PEER_URLS=http://$address:2380
ETCD_LISTEN_CLIENT_URLS=http://$address:2379
ETCD_INITIAL_ADVERTISE_PEER_URLS=http://$address:2380
ETCD_ADVERTISE_CLIENT_URLS=http://$address:2379
ETCD_INITIAL_CLUSTER=$members
ETCD_INITIAL_CLUSTER_STATE=$state
ETCD_HEARTBEAT_INTERVAL=500
ETCD_ELECTION_TIMEOUT=5000
CONFIG
    fi
    systemctl enable --quiet --now etcd
fi

# -- its part in the cluster
export KUBECONFIG=/var/lib/shim/admin.kubeconfig
until_true() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || { echo "not so in time: $*" >&2; journalctl -u 'shim-*' -n 20 --no-pager >&2; exit 1; }
        sleep 2
    done
}
case $name in
    master-1)
        say "starting the control plane"
        shim install server --advertise-address "$address" "${store[@]}"
        until_true 900 shim token list # emulated, and busy: minutes
        has_token() { shim token list | grep -q "^$1 "; }
        has_token "$WORKER_TOKEN" || shim token create "$WORKER_TOKEN" --ttl 0 --description "workers of Vagrant"
        if [ "$masters" -gt 1 ] && ! has_token "$MASTER_TOKEN"; then
            shim token create "$MASTER_TOKEN" --ttl 0 --description "masters of Vagrant" --master --certificate-key "$CERTIFICATE_KEY"
        fi
        is_published() { kubectl get configmap cluster-info -n kube-public -o yaml | grep -q "jws-kubeconfig-$1:"; }
        until_true 900 is_published "${WORKER_TOKEN%%.*}"
        ;;
    master-*)
        say "joining as a master"
        shim install server --advertise-address "$address" "${store[@]}" --join "https://$first:6443" \
            --token "$MASTER_TOKEN" --certificate-key "$CERTIFICATE_KEY"
        ;;
    *)
        say "joining as a worker"
        shim install agent --server "https://$first:6443" --token "$WORKER_TOKEN" --node-ip "$address"
        ;;
esac
say "done; Linux $(uname -r), cgroup $(stat -fc %T /sys/fs/cgroup)"
